"""Mappings: YAML tables that say what each TensorFlow variable becomes. Load, look up, expand."""

from transcoder.mapping.choose import choose
from transcoder.mapping.expand import Assignment, DropRule, Table, expand
from transcoder.mapping.language import Mapping
from transcoder.mapping.library import (
    architecture_names,
    find_mappings,
    load_mapping,
    mapping_digest,
    shipped_names,
)

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
    "mapping_digest",
    "shipped_names",
]
