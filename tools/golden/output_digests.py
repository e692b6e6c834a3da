"""Converts every golden source and prints, or writes, the blake3 digest of each output file.

    python -m tools.golden.output_digests                   # compare with the list; exit code 1 if a file differs
    python -m tools.golden.output_digests --write CASE...   # write the digests of new or knowingly changed cases
    python -m tools.golden.output_digests --write-receipts  # write the digests of the receipts, and of nothing else

The list is the safety net for a change that must not alter an output:
tests/conversion/test_outputs.py compares with it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blake3 import blake3

import transcoder
from tools.paths import GOLDEN

LIST = GOLDEN / "outputs.json"
RECEIPT = "transcode.json"
Digests = dict[str, dict[str, str]]  # case -> file -> blake3


def cases() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Each golden source with the keyword arguments that `convert` needs for it, by a name of its own."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for config in sorted(GOLDEN.glob("*/config.json")):
        found[config.parent.name] = (config.parent, {})
    found["batch/bert"] = (GOLDEN / "batch" / "bert", {})
    for name in ("encoder", "classifier"):
        found[f"training/{name}"] = (GOLDEN / "training" / name / "tf_model.h5", {})
    for facts in sorted((GOLDEN / "families").glob("*/*/facts.json")):
        found[f"families/{facts.parent.parent.name}/{facts.parent.name}"] = (facts.parent / "tf_model.h5", {})
    for path in sorted((GOLDEN / "originals").glob("*/*/facts.json")):
        facts, directory, name = json.loads(path.read_text()), path.parent, path.parent.parent.name
        source, case = directory / facts["file"], f"originals/{name}/{directory.name}"
        found[case] = (source, {"config": directory / "config.json"})
        if (directory / "release.json").is_file():
            release = {"config": directory / "release.json", "mapping": name, "architecture": facts["architecture"]}
            found[f"{case} as released"] = (source, release)
    roberta = {"config": GOLDEN / "roberta-model" / "config.json", "architecture": "RobertaModel"}
    for container in sorted((GOLDEN / "containers").glob("roberta-*")):
        found[f"containers/{container.name}"] = (container, roberta)
    masked = GOLDEN / "roberta-masked-lm"
    found["roberta-masked-lm in shards"] = (masked, {"max_shard_size": "20KB"})
    for dtype in ("float16", "bfloat16"):
        found[f"roberta-masked-lm in {dtype}"] = (masked, {"dtype": dtype})
    return found


def digests(source: Path, options: dict[str, Any]) -> dict[str, str]:
    """The blake3 digest of each file of one conversion's output."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        transcoder.convert(source, out, **options)
        return {path.name: blake3(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def differences(wanted: Digests, found: Digests) -> list[str]:
    """One line for each output file that is missing, new or different."""
    return [
        f"{case}: {name}: {found.get(case, {}).get(name, 'missing')}, not {wanted.get(case, {}).get(name, 'known')}"
        for case in sorted({*wanted, *found})
        for name in sorted({*wanted.get(case, {}), *found.get(case, {})})
        if wanted.get(case, {}).get(name) != found.get(case, {}).get(name)
    ]


def _write(keep: Callable[[str, str], bool], wanted: Digests, found: Digests) -> None:
    """Write the list: the old digest where ``keep(case, file)``, the new one elsewhere."""
    merged = {
        case: {name: wanted[case][name] if keep(case, name) else digest for name, digest in files.items()}
        for case, files in found.items()
    }
    LIST.write_text(json.dumps(merged, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", nargs="*", metavar="CASE")
    parser.add_argument("--write-receipts", action="store_true")
    options = parser.parse_args()
    wanted: Digests = json.loads(LIST.read_text()) if LIST.is_file() else {}
    found = {case: digests(source, arguments) for case, (source, arguments) in cases().items()}
    if options.write_receipts:
        _write(lambda case, name: name != RECEIPT, wanted, found)
    elif options.write is not None:
        _write(lambda case, _: case in wanted and case not in options.write, wanted, found)
    else:
        different = differences(wanted, found)
        print(*different, f"{len(found)} conversions, {len(different)} differences", sep="\n")
        sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
