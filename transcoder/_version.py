"""The version, in a file of its own so that no part must import another for it."""

__version__ = "0.1.0"
