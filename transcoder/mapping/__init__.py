"""Mappings: YAML tables that say what each TensorFlow variable becomes. Load, look up, expand."""

from transcoder.mapping.choose_mapping import choose
from transcoder.mapping.expand import expand
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import (
    architecture_names,
    find_mappings,
    load_mapping,
    shipped_names,
)
from transcoder.mapping.table import Assignment, DropRule, Table

__all__ = [
    "Assignment",
    "DropRule",
    "Mapping",
    "Table",
    "architecture_names",
    "choose",
    "expand",
    "find_mappings",
    "load_mapping",
    "shipped_names",
]
