"""Models of sound, and of several kinds of input at once."""

from families.family import Family

FAMILIES: dict[str, Family] = {}
