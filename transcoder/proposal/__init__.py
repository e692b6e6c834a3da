"""Proposals: a mapping drafted for a model that no shipped mapping covers."""
