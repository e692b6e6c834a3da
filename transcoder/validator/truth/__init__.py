"""Truths for level forward: where the outputs to compare with come from."""
