"""Judge tiny models: each is converted, compared tensor by tensor, loaded and run, and gets a verdict.

`tools.oracle.matrix` and `tools.oracle.releases` share this: the row of a model, the comparison of tensors, the command
line, and the file of proofs. They decide what is converted, and which verdict follows from what was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tools.golden.tensor_digests import Digests, digests_of, read_digests
from tools.oracle.run import Seen, Unrun, load_and_run
from transcoder.errors import TranscodeError
from transcoder.mapping.proofs import MappingProof, to_json

MAX_ERROR = 1e-4  # of an output, relative to its largest value, or to 1 where that is smaller
MAX_NAMES = 6  # of tensors or problems in a note
VERDICTS = ("failed", "unrun", "better", "equal")  # the worst first
PASSED = ("better", "equal")


@dataclass
class Row:
    """What was found out about a model.

    ``name`` is MAPPING/CLASS, the name of its directory. ``verdict`` is one of VERDICTS. ``tensors`` counts the tensors
    of the output, ``differing`` names those that are not the reference's. The errors are those of the worst output.
    ``containers`` gave the same bytes; the single .h5 comes first. ``note`` says why.
    """

    name: str
    verdict: str = "failed"
    tensors: int = 0
    forward_error: float | None = None
    reference_forward_error: float | None = None
    differing: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    note: str = ""


Check: TypeAlias = Callable[[Path, str | None], Row]  # a model's directory, the reference Python


class Failed(Exception):  # noqa: N818  (a verdict)
    """The model is not what it should be; the text is the row's note."""


def judge(row: Row, steps: Callable[[Row, Path], None]) -> Row:
    """Run the steps, which fill the row, in a scratch directory. An exception is a verdict too."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            steps(row, Path(scratch))
        except TranscodeError as refusal:
            found = [f"{problem.where} {problem.found}" for problem in refusal.problems]
            row.note = f"{refusal.summary}: {'; '.join(found[:MAX_NAMES])} ({len(found)} in all)"
        except Failed as reason:
            row.note = str(reason)
        except Unrun as reason:
            row.verdict, row.note = "unrun", joined(str(reason), row.note)
        except Exception as reason:  # a model that does not load or run
            row.note = joined(f"{type(reason).__name__}: {reason}", row.note)
    return row


def joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def examine(row: Row, out: Path, truth: Path | None, reference_python: str | None, allowed: Iterable[str] = ()) -> None:
    """Load the output, and run it if there is a truth. Fail on problems, but for tensors that a new model recreates.

    Of these, all tables are allowed where the model runs, and the tensors that are ``allowed`` by name.
    """
    seen = load_and_run(out, truth, reference_python)
    row.forward_error = seen.error
    if problems := remaining_problems(seen, {*allowed} & {*seen.recreated} | ({*seen.tables} if truth else set())):
        raise Failed("; ".join(problems[:MAX_NAMES]))


def remaining_problems(seen: Seen, allowed: set[str]) -> list[str]:
    return [problem for problem in seen.problems if problem.partition(": ")[2] not in allowed]


def is_within(error: float | None) -> bool:
    """Say whether an output was compared and is close enough. A NaN is not."""
    return error is not None and error <= MAX_ERROR


# Tensors


def output_digests(out: Path) -> Digests:
    return digests_of(out / "model.safetensors")


def reference_digests(directory: Path) -> Digests:
    """Return the digests of the reference loader's tensors; a golden case has these and not the tensors."""
    kept = directory / "expected.json"
    return read_digests(kept) if kept.is_file() else digests_of(directory / "reference.safetensors")


def is_tied(name: str, output: Digests, reference: Digests) -> bool:
    """Say whether a tensor of the output is a second name for a tensor that both have."""
    return any(
        other != name and output[name] == digest and reference.get(other) == digest for other, digest in output.items()
    )


def describe_differences(names: Sequence[str], output: Digests, reference: Digests) -> str:
    """Return a note of the first names: ``differs: a, b; extra: c; absent: d``."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in names[:MAX_NAMES]:
        kind = "absent" if name not in output else "extra" if name not in reference else "differs"
        kinds[kind].append(name)
    return "; ".join(f"{kind}: {', '.join(found)}" for kind, found in kinds.items())


# The command line


def main(description: str | None, check: Check) -> None:
    """Judge the models below a directory, print a line for each, and write the proofs where asked to."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path, metavar="DIR", help="directory of the tiny models")
    parser.add_argument("only", nargs="*", metavar="NAME[/CLASS]", help="models to judge  [default: all]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file of proofs to write")
    parser.add_argument(
        "--reference-python", metavar="PYTHON", help="Python for classes that the installed transformers lacks"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for directory in models_below(options.made, set(options.only)):
        rows.append(check(directory, options.reference_python))
        show(rows[-1])
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in reversed(VERDICTS)}
    print(f"{len(rows)} models: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")
    if options.json:
        options.json.write_text(to_json(proofs_of(rows)))
    sys.exit(any(row.verdict not in PASSED for row in rows))


def models_below(made: Path, only: set[str]) -> list[Path]:
    directories = [path.parent for path in sorted(made.glob("*/*/facts.json"))]
    return [path for path in directories if not only or {path.parent.name, name_of(path)} & only]


def name_of(directory: Path) -> str:
    return f"{directory.parent.name}/{directory.name}"


def show(row: Row) -> None:
    """Print a model's line: name, verdict, tensors, the two errors, and why."""
    errors = ("-" if error is None else f"{error:.0e}" for error in (row.forward_error, row.reference_forward_error))
    own, reference = errors
    print(f"{row.name:<58} {row.verdict:<7} {row.tensors:4} {own:>6} {reference:>6}", row.note, flush=True)


def proofs_of(rows: Iterable[Row]) -> list[MappingProof]:
    """Return a proof for each mapping and class. Of variants of a class, the worst verdict counts."""
    variants: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        mapping, _, architecture = row.name.partition("/")
        variants[mapping.replace("_", "-"), architecture.partition("+")[0]].append(row)
    return [
        MappingProof(
            mapping,
            architecture,
            min((row.verdict for row in group), key=VERDICTS.index),
            max(row.tensors for row in group),
            largest(row.forward_error for row in group),
            largest(row.reference_forward_error for row in group),
            group[0].containers,
            "; ".join(dict.fromkeys(row.note for row in group if row.note)),
        )
        for (mapping, architecture), group in variants.items()
    ]


def largest(errors: Iterable[float | None]) -> float | None:
    return max((error for error in errors if error is not None), default=None)
