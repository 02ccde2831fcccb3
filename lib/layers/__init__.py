"""Layers: which tensors a model stores, in which form, and the file that holds them."""
