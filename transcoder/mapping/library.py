"""Finds and loads mappings: the shipped ones, a user's own file, and what each extends."""

from __future__ import annotations

import difflib
from dataclasses import replace
from functools import cache
from os import PathLike
from pathlib import Path

from blake3 import blake3

from transcoder.errors import MappingError, Problem
from transcoder.files.links import leads_to
from transcoder.mapping.expressions import ExpressionError, fill
from transcoder.mapping.language import Mapping
from transcoder.mapping.parse import MappingFile, parse
from transcoder.mapping.yamlfile import load

ORIGINAL = "-tf1"  # ends the names of mappings for releases from before transformers


def shipped_directory() -> Path:
    """Return `mappings/`: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "_mappings"
    return packaged if packaged.is_dir() else package.parent / "mappings"


def shipped_names() -> list[str]:
    """Return the names of the shipped mappings, without those that exist only to be extended."""
    return sorted(p.stem for p in shipped_directory().glob("*.yaml") if not p.stem.startswith("_"))


@cache
def load_shipped(name: str) -> Mapping:
    """Return a shipped mapping, parsed once."""
    return _load(shipped_directory() / f"{name}.yaml", name, ())


def load_inner(model_type: str) -> Mapping:
    """Return the shipped mapping of a model inside another one, by its model_type.

    Raises MappingError: there is none.
    """
    return find_mappings(model_type, None)[0]


def load_mapping(reference: str | PathLike[str]) -> Mapping:
    """Load a mapping.

    Args:
        reference: The name of a shipped mapping, or the path of a YAML file.

    Returns:
        The mapping, merged with all that it extends.

    Raises:
        MappingError: There is no such mapping, or the file or one that it extends is wrong.
    """
    path = mapping_path(reference)
    return load_shipped(path.stem) if path.parent == shipped_directory() else _load(path, path.stem, ())


def mapping_path(reference: str | PathLike[str]) -> Path:
    """Return the file of a mapping.

    Raises MappingError: there is no such mapping. It names the closest shipped one.
    """
    if str(reference) in shipped_names():
        return shipped_directory() / f"{reference}.yaml"
    path = Path(reference)
    if not path.is_file():
        near = difflib.get_close_matches(str(reference), shipped_names(), n=1)
        raise MappingError(
            "no such mapping",
            Problem(
                str(reference),
                "neither a file nor a shipped mapping" + (f" (did you mean {near[0]}?)" if near else ""),
                f"a YAML file or one of: {', '.join(shipped_names())}",
                "check the name (`transcode mapping list` shows all)",
            ),
        )
    return path


def find_mappings(model_type: str | None, architecture: str | None) -> list[Mapping]:
    """Return the shipped mappings for a config.json: for its `model_type`, or else those that have the architecture.

    A mapping's file is named after its model_type. The mapping for an original release, whose variables have other
    names, ends in `-tf1` and comes second.

    Raises MappingError: there is none. It names the closest, and how to pass a custom mapping.
    """
    names = shipped_names()
    if model_type is not None:
        stem = model_type.replace("_", "-")
        found = [load_shipped(name) for name in (stem, f"{stem}{ORIGINAL}") if name in names]
    else:
        found = [m for name in names if architecture in architecture_names(m := load_shipped(name))]
    if found:
        return found
    wanted = model_type or architecture or "this config.json"
    known = [name for name in names if not name.endswith(ORIGINAL)]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.3)
    raise MappingError(
        f"no mapping for {wanted}",
        Problem(
            "config.json",
            (f"model_type {model_type!r}" if model_type else f"no model_type, architecture {architecture!r}")
            + (f" (did you mean {near[0]}?)" if near else ""),
            f"one of: {', '.join(known)}",
            "pass --mapping FILE with your own (it may start with `extends: NAME`), or --mapping NAME",
        ),
    )


def architecture_names(mapping: Mapping) -> dict[str, str]:
    """Return the PyTorch classes of a mapping, each with its key in the file (`{family}ForMaskedLM`).

    Raises MappingError: a name can't be filled in, or two keys give the same name.
    """
    names: dict[str, str] = {}
    problems: list[Problem] = []
    for template, architecture in mapping.architectures.items():
        try:
            name = fill(template, mapping.let)
        except ExpressionError as error:
            problems.append(Problem(architecture.where, str(error), "names from `let`", "fix the name"))
            continue
        if name in names:
            problems.append(Problem(architecture.where, f"{name} a second time", "each architecture once", "remove it"))
        names[name] = template
    if problems:
        raise MappingError(f"the architectures of mapping {mapping.name} have errors", problems)
    return names


def _load(path: Path, label: str, seen: tuple[Path, ...]) -> Mapping:
    if path.resolve() in seen:
        raise MappingError(
            "a mapping extends itself",
            Problem(path.name, "a circle of `extends`", "a chain that ends", "remove one `extends`"),
        )
    shown = f"mappings/{path.name}" if path.parent == shipped_directory() else path.name
    file = parse(load(path, shown))
    digest = blake3(path.read_bytes()).hexdigest()
    base = _base(file, path, (*seen, path.resolve()))
    mapping = Mapping(
        name=label,
        model_type=file.model_type or (base.model_type if base else None),
        about=file.about,
        let=file.let,
        config=file.config,
        derive=file.derive,
        parts=file.parts,
        architectures={name: found for name, found in file.architectures.items() if found is not None},
        drops=file.drops,
        preferences=file.preferences,
        files=((path.name, digest),),
    )
    if base is None:
        return mapping
    return replace(
        mapping,
        let=base.let | mapping.let,
        config=base.config | mapping.config,
        derive=base.derive | mapping.derive,
        parts=base.parts | mapping.parts,
        architectures={
            name: found
            for name, found in (base.architectures | mapping.architectures).items()
            if name in mapping.architectures or name not in file.architectures
        },
        drops=base.drops + mapping.drops,
        preferences=base.preferences + mapping.preferences,
        files=base.files + mapping.files,
    )


def _base(file: MappingFile, path: Path, seen: tuple[Path, ...]) -> Mapping | None:
    if file.extends is None:
        return None
    name = str(file.extends.value)
    if name != Path(name).name:
        raise _unusable_base(file, "a shipped mapping's name or a file beside this one", "write the name alone")
    shipped = shipped_directory() / f"{name}.yaml"
    for candidate in (path.parent / name, shipped):
        if candidate.is_file() and leads_to(candidate) is None:
            return _load(candidate, candidate.stem, seen)
    raise _unusable_base(file, f"one of {', '.join(shipped_names())}, or a file beside this one", "check the name")


def _unusable_base(file: MappingFile, wanted: str, remedy: str) -> MappingError:
    where, found = (file.extends.where, str(file.extends.value)) if file.extends is not None else ("", "")
    return MappingError("a mapping can't be read", Problem(where, f"extends: {found}", wanted, remedy))
