"""Checkpoints on other machines: a URL as a path, and byte ranges of what is there."""
