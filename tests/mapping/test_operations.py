"""Operations of the mapping language do what NumPy does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.build import Array
from tests.support.mappings import Write, fitted, made, one_rule, ramp, refused

ROWS = np.array([[1], [0], [0], [1]], np.float32)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("{from: v, to: t, shape: [4, 6]}", lambda v: v),
        ("{from: v, to: t, shape: [6, 4], transpose: [1, 0]}", lambda v: v.T),
        ("{from: v, to: t, shape: [2, 12], reshape: [2, 12]}", lambda v: v.reshape(2, 12)),
        ("{from: v, to: t, shape: [2 * n, 12], reshape: [2*n, 12]}", lambda v: v.reshape(2, 12)),
        ("{from: v, to: t, shape: [2, 12], reshape: [-1, 12]}", lambda v: v.reshape(2, 12)),
        ("{from: v, to: t, shape: [4, 6], zero_rows: {start: n, stop: 3}}", lambda v: v * ROWS),
        ("{from: v, to: t, shape: [4, 6], cast: float16}", lambda v: v.astype(np.float16)),
        ("{from: v, to: t, shape: [4, 6], cast: int64}", lambda v: v.astype(np.int64)),
        ("{from: v, to: t, shape: [24], ops: [{transpose: [1, 0]}, {reshape: [24]}]}", lambda v: v.T.reshape(24)),
        ("{from: v, to: t, shape: [24], ops: [{reshape: [24, 1]}, {squeeze: [1]}]}", lambda v: v.reshape(24)),
        ("{from: v, to: t, shape: [6, 4], ops: [{transpose: [1, 0]}, {cast: float64}]}", lambda v: v.T.astype(float)),
        ("{from: v, to: t, shape: [4, 6], ops: []}", lambda v: v),
    ],
)  # fmt: skip
def test_an_operation_does_what_numpy_does(
    write: Write, tmp_path: Path, rule: str, wanted: Callable[[Array], Array]
) -> None:
    result = made(write(one_rule(rule, "config: {n: 1}")), {"v": ramp(4, 6)}, tmp_path / "out")
    assert list(result) == ["t"]
    array = wanted(ramp(4, 6))
    assert tuple(result["t"].shape) == array.shape
    assert result["t"].dtype == torch.from_numpy(np.ascontiguousarray(array)).dtype
    assert np.array_equal(result["t"].numpy(), array)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_list_of_variables_is_put_together_by_concat(write: Write, tmp_path: Path, axis: int) -> None:
    a, b = (ramp(2, 3), ramp(5, 3)) if axis == 0 else (ramp(3, 2), ramp(3, 5))
    shape = list(np.concatenate([a, b], axis).shape)
    path = write(one_rule(f"{{from: [x/a, x/b], to: t, shape: {shape}, concat: {axis}}}"))
    assert np.array_equal(made(path, {"x/a": a, "x/b": b}, tmp_path / "out")["t"].numpy(), np.concatenate([a, b], axis))


def test_operations_before_concat_apply_to_each_later_ones_to_the_whole(write: Write, tmp_path: Path) -> None:
    rule = "{from: [a, b], to: t, shape: [15], ops: [{transpose: [1, 0]}, {concat: 0}, {reshape: [15]}]}"
    a, b = ramp(3, 2), ramp(3, 3)
    wanted = np.concatenate([a.T, b.T]).reshape(15)
    assert np.array_equal(made(write(one_rule(rule)), {"a": a, "b": b}, tmp_path / "out")["t"].numpy(), wanted)


def test_slices_over_a_loop_cut_a_variable_into_its_tensors(write: Write, tmp_path: Path) -> None:
    rule = (
        '{from: qkv, to: "t{i}", shape: [n, 6], for: {i: 3}, '
        "ops: [{slice: {axis: 1, start: i * n, stop: (i + 1) * n}}, {transpose: [1, 0]}]}"
    )
    result = made(write(one_rule(rule, "config: {n: 4}")), {"qkv": ramp(6, 12)}, tmp_path / "out")
    assert list(result) == ["t0", "t1", "t2"]
    for i, piece in enumerate(np.split(ramp(6, 12), 3, axis=1)):
        assert np.array_equal(result[f"t{i}"].numpy(), piece.T)


def test_a_copy_is_the_same_tensor_under_a_second_name(write: Write, tmp_path: Path) -> None:
    text = """
parts:
  p:
    - {from: v, to: t, shape: [3, 2], transpose: [1, 0]}
    - {copy: t, to: again}
architectures: {M: {parts: [p]}}
"""
    result = made(write(text), {"v": ramp(2, 3)}, tmp_path / "out")
    assert np.array_equal(result["t"].numpy(), ramp(2, 3).T)
    assert np.array_equal(result["again"].numpy(), ramp(2, 3).T)


def test_a_fill_is_written_without_a_variable(write: Write, tmp_path: Path) -> None:
    fills = ("{fill: 3, cast: int64, to: count, shape: []}", "{fill: 1, to: ones, shape: [n]}")
    rules = "\n    - ".join(("{from: v, to: t, shape: [2]}", *fills))
    result = made(write(one_rule(rules, "config: {n: 2}")), {"v": ramp(2)}, tmp_path / "out")
    assert (result["count"].dtype, result["count"].item(), result["ones"].tolist()) == (torch.int64, 3, [1.0, 1.0])


def test_a_row_is_put_behind_a_table_by_reshaping_each(write: Write, tmp_path: Path) -> None:
    rule = "{from: [table, row], to: t, shape: [5, 3], ops: [{reshape: [-1, 3]}, {concat: 0}]}"
    arrays = {"table": ramp(4, 3), "row": -ramp(3)}
    result = made(write(one_rule(rule)), arrays, tmp_path / "out")["t"].numpy()
    assert np.array_equal(result, np.vstack([arrays["table"], arrays["row"]]))


@pytest.mark.parametrize("rule", ["reshape: [-1, 5]", "reshape: [-1, -1]", "zero_rows: {start: 1, stop: 4}"])
def test_what_does_not_fit_a_variable_is_refused(write: Write, rule: str) -> None:
    (problem,) = refused(write(one_rule("{from: v, to: t, shape: [3, 2], " + rule + "}")), {"v": (3, 2)})
    assert "which does not allow" in problem.found


def test_a_slice_may_drop_the_rest_and_the_plan_says_why(write: Write, tmp_path: Path) -> None:
    rule = '{from: v, to: t, shape: [3, 2], slice: {axis: 0, start: 0, stop: 3, rest: "padding"}}'
    path = write(one_rule(rule))
    assert np.array_equal(made(path, {"v": ramp(4, 2)}, tmp_path / "out")["t"].numpy(), ramp(4, 2)[:3])
    (dropped,) = fitted(path, {"v": (4, 2)}).dropped
    assert (dropped.name, dropped.why) == ("v", "padding")
    assert "3:4" in dropped.what
    assert not fitted(path, {"v": (3, 2)}).dropped
