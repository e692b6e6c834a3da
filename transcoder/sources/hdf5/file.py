"""Opening HDF5 files: libhdf5's view of what lies on a disk, on a server or within another file. Decides nothing."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from transcoder.sources.base import Location, RangeFile
from transcoder.sources.hdf5.probe import probe  # which imports look_through back: parent and child run one code
from transcoder.sources.range_io import RangeIO

LOCKING = {"locking": "best-effort"}  # a read-only file system can't lock, and need not
STRUCTURE = 1 << 20  # bytes of it that stay in memory
LARGEST_ATTRIBUTE = 1 << 24  # bytes: a list of some hundred thousand names


def attribute(attributes: h5py.AttributeManager, name: str) -> Any:
    """An attribute's value, of which libhdf5 would else take room for as many elements as it claims to have.

    Raises ValueError: it is larger than any list of names.
    """
    its = attributes.get_id(name)
    size = math.prod(its.shape or ()) * its.get_type().get_size()
    if size > LARGEST_ATTRIBUTE:
        raise ValueError(f"the attribute {name} of {size} bytes")
    return attributes[name]


def is_keras3(path: Location, *, contain: bool = False) -> bool:
    """Whether an HDF5 file holds variables as Keras 3 names them: below groups called `vars`.

    Raises SourceError, with `contain`: libhdf5 can't survive it.
    """
    if not path.is_file():
        return False  # h5py would wait for ever at a FIFO
    if contain:
        with RangeFile(path) as file:
            probe(file, 0, file.size)
    try:
        with RangeFile(path) as file, opened(file) as root:
            if any(name in root.attrs for name in ("layer_names", "layer_names0")) or "model_weights" in root:
                return False
            hard = (isinstance(n, str) and root.id.links.get_info(n.encode()).type == h5py.h5l.TYPE_HARD for n in root)
            return all(hard) and ("vars" in root or "layers" in root)
    except (OSError, RuntimeError, KeyError):
        return False  # KerasH5 says what is wrong


def opened(file: RangeFile, member: tuple[int, int] | None = None) -> h5py.File:
    """HDF5's structure: libhdf5 opens a local file itself; what is remote or within another is read for it."""
    if member is None and isinstance(file.path, Path):
        return keeping_little(h5py.File(file.path, "r", **LOCKING))
    start, size = member or (0, file.size)
    return keeping_little(h5py.File(_as_file(file, start, size), "r"))


def keeping_little(file: h5py.File) -> h5py.File:
    """The file, of whose structure libhdf5 keeps a megabyte: its cache would grow to 32 of what is looked at once."""
    cache = file.id.get_mdc_config()
    cache.incr_mode = 0  # H5C_incr__off
    cache.set_initial_size = True
    cache.initial_size = cache.max_size = cache.min_size = STRUCTURE
    file.id.set_mdc_config(cache)
    return file


def look_through(file: Ranges, size: int) -> None:
    """Have libhdf5 read all of a file's structure that opening it for its datasets does."""
    root = h5py.File(_as_file(file, 0, size), "r")
    waiting, seen = [root], set()
    while waiting:
        group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        list(group.attrs.items())
        for name in group:
            if isinstance(name, str) and group.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
                item = group[name]
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                elif isinstance(item, h5py.Dataset):
                    _look_at(item)


def small_file() -> bytes:
    """An HDF5 file with something of all that may be met in one."""
    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        group = file.create_group("group")
        group.attrs["names"] = np.array([b"a", b"b"])
        group.attrs["version"] = b"2"
        group.attrs["text"] = "ü"
        group.create_dataset("contiguous", data=np.ones((2, 3), ">f4"))
        group.create_dataset("chunked", data=np.ones((2, 3), "<f2"), compression="gzip", fletcher32=True)
        group.create_dataset("text", data=["a"], dtype=h5py.string_dtype())
        group["soft"] = h5py.SoftLink("/nowhere")
    return written.getvalue()


def _look_at(item: h5py.Dataset) -> None:
    list(item.attrs.items())
    properties = item.id.get_create_plist()
    item.id.get_type().equal(h5py.h5t.py_create(np.dtype(item.dtype.str)))
    for i in range(properties.get_nfilters()):
        properties.get_filter(i)
    match properties.get_layout():
        case h5py.h5d.CHUNKED:
            for i in range(item.id.get_num_chunks()):
                item.id.get_chunk_info(i)
        case h5py.h5d.COMPACT:
            item[()]
        case _:
            item.id.get_storage_size()


class Ranges(Protocol):
    """What can be read by absolute ranges: a RangeFile, for one."""

    def read_into(self, start: int, buffer: memoryview, what: str) -> None: ...


def _as_file(file: Ranges, start: int, size: int) -> RangeIO:
    """Return `size` bytes of a file from byte `start` as a file object for h5py."""
    return RangeIO(lambda at, buffer: file.read_into(start + at, buffer, "the structure"), size)
