"""transformers' index of a sharded checkpoint: X.index.json says which variable lies in which file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.files import strictjson
from transcoder.sources.base import Location, read_small
from transcoder.sources.names import tidy

LARGEST = 32 << 20
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(h5|safetensors)")


def read_index(path: Location) -> dict[str, Location]:
    """Variable name, without the model's scope as the files have it -> the shard that holds it.

    Source: transformers `modeling_tf_utils.py`, save_pretrained: keys of `weight_map` keep the scope, what lies
    in the shards has lost it. Raises SourceError with everything that is wrong with the index.
    """
    try:
        contents = strictjson.loads(read_small(path, LARGEST))
        weight_map = contents.get("weight_map") if isinstance(contents, dict) else None
        if not isinstance(weight_map, dict):
            raise ValueError("no weight_map")
        entries = {str(name): str(file) for name, file in weight_map.items()}
    except ValueError as error:
        raise SourceError(
            f"{path.name} can't be used",
            Problem(str(path), f"{error}", "JSON with a weight_map", "fetch or copy the index again"),
        ) from error
    problems = []
    for file in sorted(set(entries.values())):
        if file != Path(file).name or not SHARD.fullmatch(file):
            problems.append(Problem(str(path), f"the shard {file!r}", "a plain name such as tf_model-00001-of-00002.h5",
                                    "fetch the index again"))  # fmt: skip
        elif not path.with_name(file).is_file():
            problems.append(Problem(str(path.with_name(file)), "no such file", "every shard that the index names",
                                    "fetch or copy the missing shard"))  # fmt: skip
    counts = {match[3] for file in entries.values() if (match := SHARD.fullmatch(file))}
    if len(counts) > 1:
        found = f"shards of {' and of '.join(sorted(counts))}"
        problems.append(Problem(str(path), found, "shards of one save", "fetch all files of one save"))
    if problems:
        raise SourceError(f"{path.name} does not fit its files", problems)
    places = {tidy(name).partition("/")[2] or tidy(name): path.with_name(file) for name, file in entries.items()}
    if len(places) != len(entries):
        raise SourceError(
            f"{path.name} does not fit its files",
            Problem(str(path), "variables that differ in their scope alone", "each variable once",
                    "fetch the index again"),
        )  # fmt: skip
    return places


def check_shards(
    index: Location, places: Mapping[str, Location], found: Mapping[Location, list[str]], copies: bool = False
) -> None:
    """Hold an index against what its files hold, in the order of their numbers.

    With `copies`, a variable may lie in several: the index names the last. Raises SourceError naming every variable
    that is missing, unlisted, in another file or there twice.
    """
    problems = []
    where: dict[str, Location] = {}
    for path, names in found.items():
        for name in names:
            if name in where and not (copies and places.get(name) == path):
                problems.append(Problem(f"{path}: {name}", f"also in {where[name].name}", "each variable in one shard",
                                        "fetch all files of one save"))  # fmt: skip
            where[name] = path
    for name in sorted(places.keys() | where.keys()):
        listed, lies = places.get(name), where.get(name)
        if listed != lies:
            problems.append(Problem(f"{index}: {name}", f"in {lies.name if lies else 'no shard'}",
                                    f"in {listed.name if listed else 'no shard'}, as the index says",
                                    "fetch index and shards of one save"))  # fmt: skip
    if problems:
        raise SourceError(f"{index.name} disagrees with its files", problems)
