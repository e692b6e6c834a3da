"""Finds mappings: those that ship with the package, a user's own file, and what each extends."""

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
from transcoder.mapping.parse import File, parse
from transcoder.mapping.yamlfile import load


def shipped_directory() -> Path:
    """`mappings/`: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "_mappings"
    return packaged if packaged.is_dir() else package.parent / "mappings"


def shipped_names() -> list[str]:
    """Names of the mappings that ship, without those that only serve to be extended."""
    return sorted(p.stem for p in shipped_directory().glob("*.yaml") if not p.stem.startswith("_"))


ORIGINAL = "-tf1"  # ends the names of mappings for the releases of before transformers


@cache
def load_shipped(name: str) -> Mapping:
    return _load(shipped_directory() / f"{name}.yaml", name, ())


def load_inner(model_type: str) -> Mapping:
    """The shipped mapping of a model inside another, by its model_type.

    Raises MappingError: there is none.
    """
    return find_mappings(model_type, None)[0]


def load_mapping(reference: str | PathLike[str]) -> Mapping:
    """A mapping by the name of a shipped one or by the path of a file.

    Raises MappingError: none of that name, or the file or one that it extends is wrong.
    """
    path = mapping_path(reference)
    return load_shipped(path.stem) if path.parent == shipped_directory() else _load(path, path.stem, ())


def mapping_path(reference: str | PathLike[str]) -> Path:
    """The file of a mapping.

    Raises MappingError naming the nearest.
    """
    if str(reference) in shipped_names():
        return shipped_directory() / f"{reference}.yaml"
    path = Path(reference)
    if not path.is_file():
        near = difflib.get_close_matches(str(reference), shipped_names(), n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise MappingError(
            "no such mapping",
            Problem(
                str(reference),
                "neither a file nor a shipped mapping",
                f"a YAML file or one of: {', '.join(shipped_names())}",
                f"check the name{hint} (`transcode mapping list` shows all)",
            ),
        )
    return path


def find_mappings(model_type: str | None, architecture: str | None) -> list[Mapping]:
    """The shipped mappings for a config.json: of its `model_type`, or else those that know the architecture.

    A mapping's file is called after its model_type; that of an original release, whose variables have other
    names, ends in `-tf1` and comes second. Raises MappingError naming the nearest and how to pass one's own.
    """
    names = shipped_names()
    if model_type is not None:
        stem = model_type.replace("_", "-")
        found = [load_shipped(name) for name in (stem, f"{stem}{ORIGINAL}") if name in names]
    else:
        found = [m for name in names if architecture in architecture_names(m := load_shipped(name))]
    if found:
        return found
    wanted = model_type or architecture or "nothing"
    known = [name for name in names if not name.endswith(ORIGINAL)]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.3)
    raise MappingError(
        f"no mapping for {wanted}",
        Problem(
            "config.json",
            f"model_type {model_type!r}" if model_type else f"no model_type, architecture {architecture!r}",
            f"one of: {', '.join(known)}",
            (f"the nearest is {near[0]}: " if near else "")
            + "pass --mapping FILE with your own (it may start with `extends: NAME`), or --mapping NAME",
        ),
    )


def architecture_names(mapping: Mapping) -> dict[str, str]:
    """The PyTorch class names a mapping knows -> the key under which it has them (`{family}ForMaskedLM`).

    Raises MappingError: a name that can't be filled in, or that two keys give.
    """
    names: dict[str, str] = {}
    problems: list[Problem] = []
    for template, architecture in mapping.architectures.items():
        try:
            name = fill(template, mapping.let)
        except ExpressionError as error:
            problems.append(Problem(architecture.where, str(error), "names from `let`", "mend the name"))
            continue
        if name in names:
            problems.append(Problem(architecture.where, f"{name} a second time", "each architecture once", "remove it"))
        names[name] = template
    if problems:
        raise MappingError(f"the architectures of mapping {mapping.name} are wrong", problems)
    return names


def mapping_digest(mapping: Mapping) -> str:
    """blake3 over all files that a mapping was read from."""
    return blake3("\n".join(f"{label} {digest}" for label, digest in mapping.files).encode()).hexdigest()


def _load(path: Path, label: str, seen: tuple[Path, ...]) -> Mapping:
    if path.resolve() in seen:
        raise MappingError(
            "a mapping extends itself", Problem(path.name, "a circle of `extends`", "a chain", "break it")
        )
    shown = f"mappings/{path.name}" if path.parent == shipped_directory() else path.name
    root = load(path, shown)
    file = parse(root)
    digest = blake3(path.read_bytes()).hexdigest()
    base = _base(file, path, (*seen, path.resolve()))
    own = Mapping(
        name=label,
        model_type=file.model_type or (base.model_type if base else None),
        about=file.about,
        let=file.let,
        config=file.config,
        derive=file.derive,
        parts=file.parts,
        architectures={name: own for name, own in file.architectures.items() if own is not None},
        drops=file.drops,
        preferences=file.preferences,
        files=((path.name, digest),),
    )
    if base is None:
        return own
    return replace(
        own,
        let=base.let | own.let,
        config=base.config | own.config,
        derive=base.derive | own.derive,
        parts=base.parts | own.parts,
        architectures={
            name: architecture
            for name, architecture in (base.architectures | own.architectures).items()
            if name in own.architectures or name not in file.architectures
        },
        drops=base.drops + own.drops,
        preferences=base.preferences + own.preferences,
        files=base.files + own.files,
    )


def _base(file: File, path: Path, seen: tuple[Path, ...]) -> Mapping | None:
    if file.extends is None:
        return None
    name = str(file.extends.value)
    if name != Path(name).name:
        raise MappingError(
            "a mapping can't be read",
            Problem(
                file.extends.where,
                f"extends: {name}",
                "a shipped mapping's name or a file beside this one",
                "write the name alone",
            ),
        )
    shipped = shipped_directory() / f"{name}.yaml"
    for candidate in (path.parent / name, shipped):
        if candidate.is_file() and leads_to(candidate) is None:
            return _load(candidate, candidate.stem, seen)
    raise MappingError(
        "a mapping can't be read",
        Problem(
            file.extends.where,
            f"extends: {name}",
            f"one of {', '.join(shipped_names())}, or a file beside this one",
            "check the name",
        ),
    )
