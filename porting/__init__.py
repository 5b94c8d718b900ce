"""Published PyTorch weights to Flax and back."""
