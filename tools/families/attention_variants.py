"""Encoders of text whose attention or permutations are their own."""

from families.family import Family

FAMILIES: dict[str, Family] = {}
