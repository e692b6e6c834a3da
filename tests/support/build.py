"""Make small sources: in memory, and in HDF5 as Keras 2 writes it. tools.golden.tensor_bundle makes checkpoints."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from transcoder.sources.base import ByteRange, Closing, RangeFile
from transcoder.tensors import BY_NAME, BY_NUMPY, DType, TensorSpec

Array: TypeAlias = NDArray[Any]


class InMemory(Closing):
    """A source whose variables are byte strings. It can be told to fail at the n-th read."""

    kind = "in-memory"
    producer = "a test"
    scope = ""
    path = Path("in-memory")
    not_tensors: Mapping[str, str] = {}

    def __init__(self, variables: Mapping[str, tuple[DType, tuple[int, ...], bytes]]) -> None:
        self.specs: Mapping[str, TensorSpec] = {
            name: TensorSpec(name, dtype, shape) for name, (dtype, shape, _) in variables.items()
        }
        self.data = {name: data for name, (_, _, data) in variables.items()}
        self.file: RangeFile | None = None
        self.reads_left = -1
        self.error: Exception = OSError("told to fail")

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        if self.reads_left == 0:
            raise self.error
        self.reads_left -= 1
        piece = self.data[name][start : start + len(buffer)]
        assert len(piece) == len(buffer), "a read past the variable's end"
        buffer[:] = piece

    def store(self, path: Path) -> None:
        """Write the bytes into a file too, from which they can be read as well."""
        path.write_bytes(b"".join(self.data.values()))
        self.file = RangeFile(path)

    def byte_range(self, name: str) -> ByteRange | None:
        if self.file is None:
            return None
        before = itertools.takewhile(lambda other: other != name, self.data)
        return ByteRange(self.file, sum(len(self.data[other]) for other in before))

    def files(self) -> tuple[Path, ...]:
        return ()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def in_memory(arrays: Mapping[str, Array], bfloat16: Sequence[str] = ()) -> InMemory:
    """Return a source of arrays; those named in `bfloat16` are uint16 arrays of its bits."""
    return InMemory(
        {
            name: (BY_NAME["bfloat16"] if name in bfloat16 else BY_NUMPY[a.dtype.str], a.shape, a.tobytes())
            for name, a in arrays.items()
        }
    )


def read(source: Any, name: str) -> bytes:
    """Return all bytes of a variable by one read."""
    data = bytearray(source.specs[name].nbytes)
    source.read_into(name, 0, memoryview(data))
    return bytes(data)


def raised_by(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises. It runs in another thread, so that a call that hangs fails the test."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


# Keras HDF5 ---------------------------------------------------------------------------------------------------------


def write_keras(path: Path, layers: Mapping[str, Mapping[str, Array]]) -> Path:
    """Write an HDF5 file as Keras 2's save_weights_to_hdf5_group does: layer -> weight name -> array."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.19.0"
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, array in weights.items():
                group.create_dataset(name, data=array)
    return path


def numbers(shape: tuple[int, ...], dtype: str = "<f4", seed: int = 0) -> Array:
    """Return arbitrary bits as an array, the same on every run: NaN and infinities included."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape)) * kind.itemsize
    raw = np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8)
    return (raw & 1).view(bool).reshape(shape) if kind.kind == "b" else raw.view(kind).reshape(shape)
