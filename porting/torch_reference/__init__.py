"""PyTorch modules of our own, under the published parameter names: the other side of `--verify`.

They take and give the same layouts as the Flax modules (channels last), so that a test compares
them without transposing.
"""
