"""Draft a family's mapping by comparing the values of tiny models, for you to read and finish.

    .venv/bin/python -m tools.derive.mappings MATRIX FAMILY [--reference-python PYTHON]
    .venv/bin/python -m tools.derive.mappings MATRIX FAMILY --compare

MATRIX is a directory that tools.golden.matrix wrote; with --reference-python it is made first. Each tensor of the
reference is searched among the variables, under all permutations of their dimensions: a transpose is found, never
assumed. Names are then generalised over layers, and over levels that differ in one word; sizes become keys of
config.json. The draft ends in a list of what the values do not decide: decide it by TensorFlow's outputs.

With --compare, the shipped mapping is expanded for each tiny model and compared with the values.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tools.derive.draft import draft
from tools.derive.values import Model, read_model
from tools.paths import ROOT
from transcoder.mapping import expand, find_mappings
from transcoder.mapping.config_values import merge_config


def compare(family: str, models: list[Model]) -> int:
    """Print where the shipped mapping and the values disagree, and return how often they do."""
    count = 0
    for model in models:
        mapping = find_mappings(family, None)[0]
        table = expand(mapping, model.architecture, merge_config(model.config, mapping.config, "config.json"))
        absent, _ = table.absent({match.source for match in model.matches})
        made = {a.target: a for a in table.assignments if a.part not in absent}
        for match in model.matches:
            rule = made.get(match.target)
            if rule is not None and (
                rule.copy_of is not None or (match.source in rule.sources and rule.shape == match.shape)
            ):
                continue
            has = "nothing" if rule is None else f"{', '.join(rule.sources)} {list(rule.shape)}"
            where = f"{model.architecture}: {match.target} {list(match.shape)}"
            print(f"{where} is {match.source}; the mapping has {has}")
            count += 1
    print(f"{sum(len(model.matches) for model in models)} tensors of {len(models)} models compared, {count} differ")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path, metavar="MATRIX", help="directory of the tiny models")
    parser.add_argument("family", metavar="FAMILY", help="model_type of config.json")
    parser.add_argument("--reference-python", metavar="PYTHON", help="Python that makes the tiny models first")
    parser.add_argument("--compare", action="store_true", help="compare the shipped mapping with the values")
    options = parser.parse_args()
    if options.reference_python:
        make = [options.reference_python, "-m", "tools.golden.matrix", options.matrix.absolute(), options.family]
        subprocess.run(make, cwd=ROOT, check=True)
    directories = sorted(path.parent for path in (options.matrix / options.family).glob("*/facts.json"))
    if not directories:
        parser.error(f"no tiny model of {options.family} in {options.matrix}")
    models = [read_model(directory) for directory in directories]
    if options.compare:
        sys.exit(bool(compare(options.family, models)))
    print(draft(options.family, models), end="")


if __name__ == "__main__":
    main()
