"""Drafts the mapping of a family by comparing values."""
