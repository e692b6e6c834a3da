"""The tests' power: our own code changed in one place at a time, and whether a test notices.

    python -m tools.power.tests [MODULE ...] [--most N] [--seconds N] [--json FILE]

A mutant is one operator, comparison, condition, constant, raise, return or call changed. For each, a fork of
this process, which has imported what the tests need but nothing of ours, runs the module's tests until one fails.
Text is left as it is: most of it is messages. `--most` takes that many of a module, the same on every run. Prints the
share that was noticed, and each one that was not.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.paths import ROOT

MAPPING = ["tests/mapping", "tests/planning/test_fitting.py", "tests/planning/test_slices.py", "-k", "not ships"]
TESTS = {
    "planning.layout": [
        "tests/planning/test_index.py",
        "tests/planning/test_layout.py",
        "-k",
        "index or safetensors or shard",
    ],
    "writing.shards": [
        "tests/files/test_links.py",
        "tests/writing/test_write.py",
        "tests/writing/test_disk.py",
        "-k",
        "disk or reported or files or handed or progress or fails or changed_in_a_checkpoint or interrupted"
        " or takes_long",
    ],
    "planning.planner": [
        "tests/conversion/test_bad_plan.py",
        "tests/writing/test_write.py",
        *MAPPING[:-1],
        "not ships and not chains",
    ],
    "planning.fit": [
        "tests/conversion/test_bad_plan.py",
        "tests/writing/test_write.py",
        *MAPPING[:-1],
        "not ships and not chains",
    ],
    "ops": [
        "tests/writing/test_stream.py",
        "tests/writing/test_write.py",
        "tests/writing/test_disk.py",
        "tests/writing/test_casting.py",
        "tests/validator/test_recompute.py",
        *MAPPING[:3],
    ],
    "mapping.expressions": MAPPING,
    "mapping.glob": MAPPING,
    "mapping.expand": MAPPING,
    "mapping.table": MAPPING,
    "mapping.parse": MAPPING,
    "mapping.yamlfile": MAPPING,
    "mapping.choose_mapping": MAPPING,
    "mapping.config_values": MAPPING,
}
OPTIONS = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
SECONDS = 90  # of processor time for a module's tests; a mutant that takes longer, or hangs, is noticed
COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
OPERATE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
           ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift}  # fmt: skip


def sites(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """(number of the node, number of the change) of every mutant; annotations are no code that runs."""
    skipped = {id(inner) for node in ast.walk(tree) for part in _not_run(node) for inner in ast.walk(part)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) not in skipped:
            yield from ((number, change) for change in range(len(changes(node))))


def _not_run(node: ast.AST) -> list[ast.AST]:
    parts: list[Any] = [getattr(node, name, None) for name in ("annotation", "returns")]
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        parts.append(node)
    return [part for part in parts if isinstance(part, ast.AST)]


def changes(node: ast.AST) -> list[dict[str, Any]]:
    """What may be put for fields of a node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARE:
            return [{"ops": [COMPARE[type(op)]()]}]
        case ast.BinOp(op=op, left=left) if type(op) in OPERATE and not isinstance(left, (ast.JoinedStr, ast.Constant)):
            return [{"op": OPERATE[type(op)]()}]
        case ast.AugAssign(op=op) if type(op) in OPERATE:
            return [{"op": OPERATE[type(op)]()}]
        case ast.BoolOp(op=ast.And()):
            return [{"op": ast.Or()}]
        case ast.BoolOp(op=ast.Or()):
            return [{"op": ast.And()}]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [{"op": ast.UAdd(), "operand": ast.Call(ast.Name("bool", ast.Load()), [operand], [])}]
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            return [{"test": ast.UnaryOp(ast.Not(), test)}]
        case ast.Constant(value=bool() as value):
            return [{"value": not value}]
        case ast.Constant(value=int() as value):
            return [{"value": value + 1}]
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            return [{"value": ast.Constant(None)}]
        case ast.Raise():
            return [{"exc": None, "cause": None, "_pass": True}]
        case ast.Expr(value=ast.Call()):
            return [{"value": ast.Constant(None)}]
        case _:
            return []


def mutated(source: str, number: int, change: int) -> tuple[ast.Module, str]:
    """The module with one change, and where it is."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[number]
    before = ast.unparse(node).splitlines()[0]
    fields = dict(changes(node)[change])
    if fields.pop("_pass", False):
        _replace(tree, node, ast.Pass())
        after = "pass"
    else:
        fields = {name: copy.deepcopy(value) for name, value in fields.items()}
        for name, value in fields.items():
            setattr(node, name, value)
        after = ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]
    return ast.fix_missing_locations(tree), f"line {getattr(node, 'lineno', 0)}: {before[:90]}  ->  {after[:90]}"


def _replace(tree: ast.Module, old: ast.AST, new: ast.stmt) -> None:
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and any(item is old for item in value):
                value[[item is old for item in value].index(True)] = new


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant where the module is asked for."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name, self._path, self._tree = name, path, tree

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self._tree, str(self._path), "exec"), vars(module))  # noqa: S102


def noticed(name: str, path: Path, tree: ast.Module | None, seconds: float) -> bool:
    """Whether the tests fail with the mutant, or with the module itself where there is none."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        if tree is not None:
            sys.meta_path.insert(0, Finder(f"transcoder.{name}", path, tree))
        import hypothesis
        import pytest

        # The same examples for every mutant, and none made small.
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=phases)
        hypothesis.settings.load_profile("mutants")
        os._exit(int(pytest.main([*OPTIONS, *TESTS[name]]) != 0))
    for _ in range(30 * int(seconds)):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.1)  # counted, not taken from a clock: this process may be stopped for a while, and the other too
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=[])
    parser.add_argument("--most", type=int, default=10**9, help="mutants of a module")
    parser.add_argument("--seconds", type=float, default=1e9, help="after which no more are tried")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads would not be there in a fork
    import blake3  # noqa: F401
    import click  # noqa: F401
    import h5py  # noqa: F401
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import safetensors.torch  # noqa: F401
    import yaml  # noqa: F401

    began = time.monotonic()
    result: dict[str, Any] = {}
    for name in given.modules or TESTS:
        path = ROOT / "transcoder" / f"{name.replace('.', '/')}.py"
        source = path.read_text()
        all_sites = list(sites(ast.parse(source)))
        chosen = sorted(random.Random(0).sample(all_sites, min(given.most, len(all_sites))))  # noqa: S311
        if noticed(name, path, None, 600):
            print(f"{name}: its tests fail as it is")
            return 2
        seen, tried, survivors = 0, 0, []
        for number, change in chosen:
            if time.monotonic() - began > given.seconds:
                break
            tree, where = mutated(source, number, change)
            tried += 1
            if noticed(name, path, tree, SECONDS):
                seen += 1
            else:
                survivors.append(where)
                print(f"survives: {name} {where} ({tried} of {len(chosen)} tried)", flush=True)
        result[name] = {"all": len(all_sites), "tried": tried, "noticed": seen, "survivors": survivors}
        print(f"{name}: {seen} of {tried} noticed ({len(all_sites)} in all)", flush=True)
        if given.json:
            given.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
