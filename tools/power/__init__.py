"""Damages outputs and code, and counts what the validator and the tests notice."""
