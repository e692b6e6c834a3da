"""Opens HDF5 files from a disk, from a server or inside another file, and limits what libhdf5 keeps in memory."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from transcoder.sources.base import Location, RangeFile
from transcoder.sources.hdf5.probe import probe  # which imports read_structure back: parent and child run one code
from transcoder.sources.range_io import RangeIO

LOCKING = {"locking": "best-effort"}  # a read-only file system can't lock, and needs no lock
STRUCTURE_CACHE_BYTES = 1 << 20
MAX_ATTRIBUTE_BYTES = 1 << 24  # enough for a list of several hundred thousand names


def read_attribute(attributes: h5py.AttributeManager, name: str) -> Any:
    """Return an attribute's value. Checks its size first: libhdf5 allocates whatever size the file declares.

    Raises ValueError: the attribute is larger than `MAX_ATTRIBUTE_BYTES`.
    """
    stored = attributes.get_id(name)
    size = math.prod(stored.shape or ()) * stored.get_type().get_size()
    if size > MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"attribute {name!r} of {size} bytes")
    return attributes[name]


def is_keras3(path: Location, *, contain: bool = False) -> bool:
    """Return whether an HDF5 file names its variables as Keras 3 does: in groups called `vars`.

    Raises SourceError, with `contain` only: libhdf5 crashes on the file or reaches a limit.
    """
    if not path.is_file():
        return False  # h5py would block forever on a FIFO
    if contain:
        with RangeFile(path) as file:
            probe(file, 0, file.size)
    try:
        with RangeFile(path) as file, open_hdf5(file) as root:
            if any(name in root.attrs for name in ("layer_names", "layer_names0")) or "model_weights" in root:
                return False
            hard = (isinstance(n, str) and root.id.links.get_info(n.encode()).type == h5py.h5l.TYPE_HARD for n in root)
            return all(hard) and ("vars" in root or "layers" in root)
    except (OSError, RuntimeError, KeyError):
        return False  # KerasH5 reports the fault


def open_hdf5(file: RangeFile, member: tuple[int, int] | None = None) -> h5py.File:
    """Open an HDF5 file. libhdf5 opens a local file itself; `file` reads for it if remote or inside another file."""
    if member is None and isinstance(file.path, Path):
        return limit_structure_cache(h5py.File(file.path, "r", **LOCKING))
    start, size = member or (0, file.size)
    return limit_structure_cache(h5py.File(_as_file(file, start, size), "r"))


def limit_structure_cache(file: h5py.File) -> h5py.File:
    """Limit libhdf5's structure cache to 1 MiB and return the file. It could grow to 32 MiB of data used once."""
    cache = file.id.get_mdc_config()
    cache.incr_mode = 0  # H5C_incr__off
    cache.set_initial_size = True
    cache.initial_size = cache.max_size = cache.min_size = STRUCTURE_CACHE_BYTES
    file.id.set_mdc_config(cache)
    return file


def read_structure(file: ByteReader, size: int) -> None:
    """Read all of the structure that listing a file's datasets reads."""
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
                    _read_dataset_structure(item)


def sample_file() -> bytes:
    """Return an HDF5 file that has every supported kind of object."""
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


def _read_dataset_structure(item: h5py.Dataset) -> None:
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


class ByteReader(Protocol):
    """A readable sequence of bytes with absolute positions, such as a RangeFile."""

    def read_into(self, start: int, buffer: memoryview, what: str) -> None: ...


def _as_file(file: ByteReader, start: int, size: int) -> RangeIO:
    """Return `size` bytes of a file from byte `start` as a file object for h5py."""
    return RangeIO(lambda at, buffer: file.read_into(start + at, buffer, "the structure"), size)
