"""What the original releases of the families hold, under their own names: for the reference environment.

Each group file holds an ``ORIGINALS`` table. Names and shapes are those of the releases' own training code, which
each cites; they are not read off the reference's loaders, which would only prove that these agree with themselves.
"""

import importlib

from tools.golden.originals.original import Original

GROUPS = ("big_transfer", "decoders_and_vision", "encoders")

ORIGINALS: dict[str, Original] = {}
for group in GROUPS:
    ORIGINALS |= importlib.import_module(f"tools.golden.originals.{group}").ORIGINALS
