"""Training configurations; `--config NAME` finds one by its bare name."""
