"""The original releases of text decoders, sequence-to-sequence models and vision models."""

from originals.original import Original

ORIGINALS: dict[str, Original] = {}
