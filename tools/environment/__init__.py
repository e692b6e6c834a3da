"""Builds the environment of the reference programs: TensorFlow, transformers 4 and PyTorch, pinned."""
