"""Decides where every byte of the output is: order, shards, file names, offsets, headers and index. Pure.

A file is byte-identical to what the safetensors library writes for the same tensors and metadata. Sources:
safetensors `src/tensor.rs` (prepare, serialize), and the Hub's conventions for sharded files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from transcoder.artifacts import SINGLE
from transcoder.tensors import LAYOUT_RANK, TensorSpec

METADATA = {"format": "pt"}  # some loaders refuse a file without it


@dataclass(frozen=True)
class Shard:
    """One file.

    Attributes:
        file: Its name.
        header: Its header, with the length prefix.
        offsets: The byte at which each tensor starts, from the start of the file.
        size: Its size in bytes.
    """

    file: str
    header: bytes
    offsets: dict[str, int]
    size: int


def lay_out(specs: Sequence[TensorSpec], max_shard_size: int) -> tuple[Shard, ...]:
    """Distribute tensors over shards in the given order, and lay out each shard.

    The tensors of a shard take at most `max_shard_size` bytes together, unless a single tensor is larger.
    """
    groups: list[list[TensorSpec]] = []
    room = -1
    for spec in specs:
        if spec.nbytes > room:
            groups.append([])
            room = max_shard_size
        groups[-1].append(spec)
        room -= spec.nbytes
    if len(groups) <= 1:
        return (_shard(SINGLE, specs),)
    names = (f"model-{i:05d}-of-{len(groups):05d}.safetensors" for i in range(1, len(groups) + 1))
    return tuple(_shard(name, group) for name, group in zip(names, groups, strict=True))


def index_json(shards: Sequence[Shard], specs: Sequence[TensorSpec]) -> str:
    """Return the text of model.safetensors.index.json, as transformers writes it."""
    index = {
        "metadata": {
            "total_parameters": sum(spec.elements for spec in specs),
            "total_size": sum(spec.nbytes for spec in specs),
        },
        "weight_map": {name: shard.file for shard in shards for name in shard.offsets},
    }
    return json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _shard(file: str, specs: Sequence[TensorSpec]) -> Shard:
    # By dtype, the widest first, so that each tensor is aligned. Then by the UTF-8 bytes of the name.
    ordered = sorted(specs, key=lambda spec: (-LAYOUT_RANK[spec.dtype.name], spec.name.encode()))
    header: dict[str, object] = {"__metadata__": METADATA}
    relative: dict[str, int] = {}
    at = 0
    for spec in ordered:
        relative[spec.name] = at
        header[spec.name] = {
            "dtype": spec.dtype.safetensors,
            "shape": list(spec.shape),
            "data_offsets": [at, at + spec.nbytes],
        }
        at += spec.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    prefixed = len(text).to_bytes(8, "little") + text
    return Shard(file, prefixed, {name: len(prefixed) + start for name, start in relative.items()}, len(prefixed) + at)
