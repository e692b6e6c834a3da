"""OpenAI's release of the first GPT: `params_shapes.json`, and all arrays in a row, cut into `params_*.npy`.

It contains no names: the order is that of the variables in the training code. Source:
openai/finetune-transformer-lm, train.py.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from transcoder.artifacts import GPT_SHAPES
from transcoder.errors import Problem, SourceError
from transcoder.files import strictjson
from transcoder.sources.arrays.npy import read_header
from transcoder.sources.base import ByteRange, Closing, Location, RangeFile, damaged, in_order
from transcoder.tensors import BY_NAME, TensorSpec

PIECE_NAME = re.compile(r"params_(\d{1,4})\.npy")
MAX_SHAPES_BYTES = 1 << 16
EMBEDDINGS = ("we_positions", "we")
LAYER = ("attn/c_attn/w", "attn/c_attn/b", "attn/c_proj/w", "attn/c_proj/b", "ln_1/g", "ln_1/b",
         "mlp/c_fc/w", "mlp/c_fc/b", "mlp/c_proj/w", "mlp/c_proj/b", "ln_2/g", "ln_2/b")  # fmt: skip
FLOAT32 = BY_NAME["float32"]


class OpenAIGPT(Closing):
    """The release in a directory. Its arrays have the names of the variables in the training code."""

    kind = "openai-gpt"
    producer = "OpenAI, NumPy arrays"
    scope = ""
    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location) -> None:
        self.path = path
        self.not_tensors = {}
        self._files: list[RangeFile] = []
        self._first: list[int] = []  # offset of the numbers in each piece
        self._starts = [0]  # offset of each piece in the whole, and the end
        try:
            for piece in _pieces(path):
                file = RangeFile(piece)
                self._files.append(file)
                first = _header(file)
                self._first.append(first)
                self._starts.append(self._starts[-1] + file.size - first)
            shapes = _shapes(path / GPT_SHAPES)
        except BaseException:
            self.close()
            raise
        ends = list(accumulate(math.prod(shape) * FLOAT32.size for shape in shapes))
        if ends[-1] != self._starts[-1]:
            self.close()
            raise damaged(path / GPT_SHAPES, "all shapes", f"{ends[-1]} bytes", f"the arrays' {self._starts[-1]}")
        names = [f"model/{name}" for name in EMBEDDINGS]
        names += [f"model/h{i}/{name}" for i in range((len(shapes) - 2) // len(LAYER)) for name in LAYER]
        self.specs = {name: TensorSpec(name, FLOAT32, shape) for name, shape in zip(names, shapes, strict=True)}
        self._at = dict(zip(names, (0, *ends), strict=False))

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        at = self._at[name] + start
        done = 0
        while done < len(buffer):
            piece = bisect_right(self._starts, at + done) - 1
            count = min(len(buffer) - done, self._starts[piece + 1] - at - done)
            where = self._first[piece] + at + done - self._starts[piece]
            self._files[piece].read_into(where, buffer[done : done + count], name)
            done += count

    def byte_range(self, name: str) -> ByteRange | None:
        at, nbytes = self._at[name], self.specs[name].nbytes
        piece = bisect_right(self._starts, at) - 1
        if not nbytes or at + nbytes > self._starts[piece + 1]:
            return None
        return ByteRange(self._files[piece], self._first[piece] + at - self._starts[piece])

    def files(self) -> tuple[Location, ...]:
        return (self.path / GPT_SHAPES, *(file.path for file in self._files))

    def close(self) -> None:
        for file in self._files:
            file.close()


def _pieces(directory: Location) -> list[Location]:
    """Return the files in the order of their numbers, which start at 0."""
    found = {int(m[1]): file for file in in_order(directory.iterdir()) if (m := PIECE_NAME.fullmatch(file.name))}
    for number in range(max(found, default=0) + 1):
        if number not in found:
            raise SourceError(
                f"{directory.name} is incomplete",
                Problem(str(directory), f"no params_{number}.npy", "all pieces", "download or copy the missing file"),
            )
    return [found[number] for number in sorted(found)]


def _shapes(path: Location) -> list[tuple[int, ...]]:
    """Return the shapes of the arrays: the two embeddings, then whole layers."""
    file = RangeFile(path)
    try:
        if file.size > MAX_SHAPES_BYTES:
            raise damaged(path, "its size", f"{file.size} bytes", f"at most {MAX_SHAPES_BYTES}")
        shapes = strictjson.loads(file.read(0, file.size, "the shapes"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, "the shapes", str(error), "JSON") from error
    finally:
        file.close()
    entries = shapes if isinstance(shapes, list) else []
    result = [tuple(shape) for shape in entries if isinstance(shape, list) and all(map(_is_dimension, shape))]
    layers, rest = divmod(len(result) - len(EMBEDDINGS), len(LAYER))
    if len(result) < len(entries) or layers < 0 or rest:
        found = f"{len(result)} shapes among {len(entries)} entries"
        raise damaged(path, "the shapes", found, f"{len(EMBEDDINGS)} shapes, and {len(LAYER)} for each layer")
    if sum(math.prod(shape) for shape in result) >= 1 << 60:
        raise damaged(path, "the shapes", "more numbers than a file can hold", "the arrays' shapes")
    return result


def _is_dimension(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _header(file: RangeFile) -> int:
    """Return the offset of a piece's numbers, a row of little-endian float32.

    Raises SourceError: another array, or not an array.
    """
    header = read_header(
        lambda start, length: file.read(start, max(0, min(length, file.size - start)), "the header"),
        file.path,
        "the header",
    )
    count = (file.size - header.size) // FLOAT32.size
    kind = (header.descr, header.fortran_order, header.shape)
    if kind != ("<f4", False, (count,)) or (file.size - header.size) % FLOAT32.size:
        raise damaged(file.path, "the header", str(kind), f"{count} numbers in a row, of '<f4'")
    return header.size
