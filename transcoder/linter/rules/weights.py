"""Rules for safetensors files and their index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from transcoder.artifacts import INDEX, SINGLE
from transcoder.linter.directory import Directory
from transcoder.linter.findings import Hit, rule
from transcoder.repository.hub_tables import ADVISED_FILE, LARGEST_FILE
from transcoder.tensors import format_bytes

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")
CONVERT = "convert again, or save the model again with save_pretrained"


@rule(
    "W001",
    "error",
    "no weights",
    reason="from_pretrained looks for model.safetensors, or the index of its shards.",
    remedy=CONVERT,
)
def no_weights(d: Directory) -> Iterator[Hit]:
    if SINGLE not in d.files and INDEX not in d.files:
        others = [name for name in d.headers if "/" not in name]
        found = f"{', '.join(others)}, which no loader looks for" if others else "no safetensors file"
        yield Hit(".", found, f"{SINGLE}, or {INDEX}")


@rule(
    "W002",
    "error",
    "an unreadable safetensors header",
    reason="No reader accepts the file.",
    remedy="download the file again; " + CONVERT,
)
def unreadable_header(d: Directory) -> Iterator[Hit]:
    for name, header in d.headers.items():
        yield from (Hit(name, found, wanted) for found, wanted in header.broken)


@rule(
    "W003",
    "error",
    "tensors that do not fit their file",
    reason="The buffer must be the tensors in a row: the safetensors library refuses gaps and overlaps.",
    remedy="download the file again; " + CONVERT,
)
def misplaced_tensors(d: Directory) -> Iterator[Hit]:
    for name, header in d.headers.items():
        yield from (Hit(name, found, wanted) for found, wanted in header.misplaced)


@rule(
    "W004",
    "error",
    "no format tag, or another framework's",
    reason="transformers 4 refuses a file without it, and reads another framework's file in that framework's layout.",
    remedy=CONVERT,
)
def format_tag(d: Directory) -> Iterator[Hit]:
    for name, header in d.headers.items():
        tag = (header.metadata or {}).get("format")
        if not header.broken and tag != "pt":
            yield Hit(name, "no format" if tag is None else f"format {tag!r}", "format 'pt' in __metadata__")


@rule("W005", "error", "a file without tensors", reason="It usually comes from a failed save.", remedy=CONVERT)
def no_tensors(d: Directory) -> Iterator[Hit]:
    for name, header in d.headers.items():
        if not header.broken and not header.entries:
            yield Hit(name, "no tensor", "at least one")


@rule(
    "W006",
    "error",
    "an unreadable index",
    reason="Without weight_map, a loader can't find a tensor's shard.",
    remedy="remove it and convert again",
)
def unreadable_index(d: Directory) -> Iterator[Hit]:
    if INDEX in d.files and not d.weight_map:
        try:
            d.json(INDEX)
            found = "no weight_map"
        except ValueError as error:
            found = str(error)
        yield Hit(INDEX, found, "an object with weight_map: shard by tensor")


@rule(
    "W007",
    "error",
    "a missing shard",
    reason="The index names it, so loading fails.",
    remedy="add the shard, or convert again",
)
def missing_shard(d: Directory) -> Iterator[Hit]:
    for file in sorted(set(d.weight_map.values()) - d.headers.keys()):
        yield Hit(file, "no such file", f"a shard that {INDEX} names")


def _rebuild(d: Directory, _: Hit) -> None:
    """Rewrite the index from the shards, keeping its other keys."""
    files = sorted(set(d.weight_map.values()) & d.headers.keys())
    entries = {name: (file, entry) for file in files for name, entry in d.headers[file].entries.items()}
    index = dict(d.index or {})
    index["metadata"] = {**_metadata(d), "total_size": sum(entry.nbytes for _, entry in entries.values())}
    index["weight_map"] = {name: entries[name][0] for name in sorted(entries)}
    d.write(INDEX, json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _metadata(d: Directory) -> dict[str, object]:
    metadata = (d.index or {}).get("metadata")
    return dict(metadata) if isinstance(metadata, dict) else {}


@rule(
    "W008",
    "error",
    "an index that contradicts its shards",
    reason="A tensor that it omits is never loaded; a tensor that is missing or in another shard is an error.",
    remedy="rewrite the index from the shards",
    fix=_rebuild,
)
def inconsistent_index(d: Directory) -> Iterator[Hit]:
    sound = {file for file, header in d.headers.items() if not header.broken}
    shards = set(d.weight_map.values()) & sound
    inside = {name: file for file in sorted(shards) for name in d.headers[file].entries}
    for name, file in d.weight_map.items():
        if file in sound and name not in d.headers[file].entries:
            yield Hit(INDEX, f"{name} in {file}", f"in {inside[name]}" if name in inside else "no such tensor")
    for name, file in inside.items():
        if name not in d.weight_map:
            yield Hit(INDEX, f"no entry for {name}", f"{name} in {file}")


@rule(
    "W009",
    "error",
    "a wrong total_size",
    reason="Loaders plan memory and devices with it, and the Hub shows it.",
    remedy="set it to the bytes of all tensors",
    fix=_rebuild,
)
def total_size(d: Directory) -> Iterator[Hit]:
    shards = set(d.weight_map.values())
    if not shards or not shards <= d.headers.keys() or any(d.headers[file].broken for file in shards):
        return
    wanted = sum(entry.nbytes for file in shards for entry in d.headers[file].entries.values())
    found = _metadata(d).get("total_size")
    if found != wanted:
        yield Hit(INDEX, f"total_size {found}", str(wanted))


@rule(
    "W010",
    "error",
    "an unreferenced weight file",
    reason="It is uploaded and downloaded but never read, or it is read instead of the right one.",
    remedy="remove it, or the file that it contradicts",
)
def stray_weights(d: Directory) -> Iterator[Hit]:
    named = set(d.weight_map.values())
    for name in d.headers:
        if name == SINGLE and INDEX in d.files and SINGLE not in named:
            yield Hit(name, f"both {SINGLE} and {INDEX}", "one of them: loaders take the single file")
        elif name != SINGLE and name not in named and (SINGLE in d.files or INDEX in d.files):
            yield Hit(name, "a file that the index does not name", f"only {SINGLE}, or the shards of {INDEX}")


@rule("W011", "error", "a tensor in two shards", reason="The loader decides which of the two is used.", remedy=CONVERT)
def tensor_twice(d: Directory) -> Iterator[Hit]:
    first: dict[str, str] = {}
    for file in sorted(set(d.weight_map.values()) & d.headers.keys()):
        for name in d.headers[file].entries:
            if first.setdefault(name, file) != file:
                yield Hit(file, f"{name}, which is also in {first[name]}", "each tensor once")


@rule(
    "W012",
    "warning",
    "a file larger than the Hub advises",
    reason="The Hub refuses files above its limit, and large downloads are hard to resume.",
    remedy="convert with --max-shard-size 5GB",
)
def large_files(d: Directory) -> Iterator[Hit]:
    for name, stat in d.files.items():
        if stat.st_size > ADVISED_FILE:
            wanted = f"at most {format_bytes(ADVISED_FILE)} (the Hub's limit is {format_bytes(LARGEST_FILE)})"
            yield Hit(name, format_bytes(stat.st_size), wanted)


@rule(
    "W013",
    "warning",
    "inconsistent shard names",
    reason="Users and scripts expect 00001-of-N to N-of-N to see that a download is complete.",
    remedy=CONVERT,
)
def shard_names(d: Directory) -> Iterator[Hit]:
    shards = sorted(set(d.weight_map.values()))
    for place, name in enumerate(shards, 1):
        match = _SHARD.search(name)
        if match is None or (int(match[1]), int(match[2])) != (place, len(shards)):
            yield Hit(name, f"shard {place} of {len(shards)}", f"model-{place:05d}-of-{len(shards):05d}.safetensors")
