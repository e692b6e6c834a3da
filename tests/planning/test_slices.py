"""Slices of a variable tile it, or are refused."""

import pytest

from tests.support.mappings import SOUND, Write, fitted, one_rule, refused


def slices(*cuts: tuple[int, int], axis: int = 0) -> str:
    pairs = [f"{{axis: {axis}, start: {start}, stop: {stop}}}" for start, stop in cuts]
    rules = [f"    - {{from: v, to: t{i}, shape: [{b - a}, 2], slice: {pairs[i]}}}" for i, (a, b) in enumerate(cuts)]
    return "parts:\n  p:\n" + "\n".join(rules) + "\n" + SOUND


def looped(length: int, count: int, start: str, stop: str, axis: int = 0) -> str:
    cut = f"slice: {{axis: {axis}, start: {start}, stop: {stop}}}"
    return one_rule(f'{{from: v, to: "t{{i}}", shape: [{length}, 2], for: {{i: {count}}}, {cut}}}')


def one_line(first: str, second: str) -> str:
    return f"parts: {{p: [{{from: v, to: t, {first}}}, {{from: v, to: u, {second}}}]}}\n{SOUND}"


def test_slices_that_tile_their_variable_are_taken(write: Write) -> None:
    plan = fitted(write(looped(2, 3, "2 * i", "2 * i + 2")), {"v": (6, 2)})
    assert [(spec.name, spec.shape) for spec in plan.specs] == [("t0", (2, 2)), ("t1", (2, 2)), ("t2", (2, 2))]


@pytest.mark.parametrize(
    "text",
    [
        looped(2, 2, "2 * i", "2 * i + 2"),  # too few
        looped(2, 3, "2 * i + 1", "2 * i + 3"),  # not from the start
        looped(2, 5, "i", "i + 2"),  # overlapping
        looped(1, 3, "2 * i", "2 * i + 1"),  # with holes
        looped(6, 2, "0", "6"),  # twice the whole
        looped(2, 4, "2 * i", "2 * i + 2"),  # beyond the end
        looped(2, 3, "2 * i", "2 * i + 2", axis=1),  # along an axis that is shorter
        looped(2, 3, "2 * i", "2 * i + 2", axis=5),  # along an axis that does not exist
        one_rule("{from: v, to: t, shape: [2, 2], slice: {axis: 0, start: 0, stop: 2}}"),
        one_rule("{from: v, to: t, shape: [0, 2], slice: {axis: 0, start: 2, stop: 2}}"),
        one_rule("{from: v, to: t, shape: [1, 2], slice: {axis: 7, start: 0, stop: 1}}"),
        one_rule("{from: [v, v], to: t, shape: [12, 2], concat: 0}"),
        one_line(
            "slice: {axis: 1, start: 0, stop: 1}, shape: [6, 1]", "slice: {axis: 0, start: 1, stop: 6}, shape: [5, 2]"
        ),
        one_line("slice: {axis: 0, start: 0, stop: 6}, shape: [6, 2]", "shape: [6, 2]"),
    ],
)
def test_slices_that_do_not_tile_their_variable_are_refused(write: Write, text: str) -> None:
    problems = refused(write(text), {"v": (6, 2)})
    assert all(problem.where == "source: variable v" or "v, v" in problem.where for problem in problems)


def test_slices_by_several_rules_are_refused(write: Write) -> None:
    (problem,) = refused(write(slices((0, 2), (2, 6))), {"v": (6, 2)})
    assert "own.yaml:3 and own.yaml:4" in problem.found
