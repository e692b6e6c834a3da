"""transformers' index of a sharded checkpoint: X.index.json names the shard of each variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.files import strictjson
from transcoder.sources.base import Location, read_small
from transcoder.sources.names import tidy

MAX_INDEX_BYTES = 32 << 20
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(h5|safetensors)")


def read_index(path: Location) -> dict[str, Location]:
    """Return the shard of each variable, by its name without the model's scope, as in the shards.

    Source: transformers `modeling_tf_utils.py`, save_pretrained: keys of `weight_map` keep the scope, and the names in
    the shards do not. Raises SourceError with every fault of the index.
    """
    try:
        contents = strictjson.loads(read_small(path, MAX_INDEX_BYTES))
        weight_map = contents.get("weight_map") if isinstance(contents, dict) else None
        if not isinstance(weight_map, dict):
            raise ValueError("no weight_map")
        entries = {str(name): str(file) for name, file in weight_map.items()}
    except ValueError as error:
        raise SourceError(
            f"{path.name} is not an index",
            Problem(str(path), f"{error}", "JSON with a weight_map", "download or copy the index again"),
        ) from error
    problems = []
    for file in sorted(set(entries.values())):
        if file != Path(file).name or not SHARD.fullmatch(file):
            problems.append(
                Problem(
                    str(path),
                    f"the shard {file!r}",
                    "a plain name such as tf_model-00001-of-00002.h5",
                    "download the index again",
                )
            )
        elif not path.with_name(file).is_file():
            problems.append(
                Problem(
                    str(path.with_name(file)),
                    "no such file",
                    "every shard that the index names",
                    "download or copy the missing shard",
                )
            )
    counts = {match[3] for file in entries.values() if (match := SHARD.fullmatch(file))}
    if len(counts) > 1:
        found = f"shards of {' and of '.join(sorted(counts))}"
        problems.append(Problem(str(path), found, "shards of one save", "download all files of one save"))
    if problems:
        raise SourceError(f"{path.name} does not fit its files", problems)
    places = {tidy(name).partition("/")[2] or tidy(name): path.with_name(file) for name, file in entries.items()}
    if len(places) != len(entries):
        raise SourceError(
            f"{path.name} does not fit its files",
            Problem(
                str(path), "variables that differ only in their scope", "each variable once", "download the index again"
            ),
        )
    return places


def check_shards(
    index: Location, places: Mapping[str, Location], found: Mapping[Location, list[str]], copies: bool = False
) -> None:
    """Compare an index with its files, in the order of their numbers.

    With `copies`, a variable may be in several shards: the index names the last. Raises SourceError naming every
    variable that is missing, unlisted, in another file or in two files.
    """
    problems = []
    where: dict[str, Location] = {}
    for path, names in found.items():
        for name in names:
            if name in where and not (copies and places.get(name) == path):
                problems.append(
                    Problem(
                        f"{path}: {name}",
                        f"also in {where[name].name}",
                        "each variable in one shard",
                        "download all files of one save",
                    )
                )
            where[name] = path
    for name in sorted(places.keys() | where.keys()):
        listed, lies = places.get(name), where.get(name)
        if listed != lies:
            problems.append(
                Problem(
                    f"{index}: {name}",
                    f"in {lies.name if lies else 'no shard'}",
                    f"in {listed.name if listed else 'no shard'}, as the index says",
                    "download index and shards of one save",
                )
            )
    if problems:
        raise SourceError(f"{index.name} disagrees with its files", problems)
