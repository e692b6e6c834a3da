"""Decoders of text."""

from families.family import Family

FAMILIES: dict[str, Family] = {}
