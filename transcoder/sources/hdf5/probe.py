"""A first look at an HDF5 file's structure in a process of its own, which libhdf5 may crash, fill or keep busy.

The child can open no file: it asks this process for the bytes, and so reads what is remote or within another file as
well. What it survives, this process reads after it, from the same bytes by the same code. It is no sandbox: it guards
against faults of libhdf5, not against code that one would let in.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from transcoder.errors import Problem, SourceError
from transcoder.sources.base import Location, RangeFile

REQUEST = struct.Struct("<QQ")  # first byte and count
LARGEST = 1 << 26  # bytes asked for at once
MEMORY = 1 << 28  # bytes that the structure may take, beyond what the libraries do
SECONDS = 4  # of processor time: thousands of datasets take one
OUT_OF_MEMORY, OPENED = 3, 4


def probe(file: RangeFile, base: int, size: int, *, memory: int = MEMORY, seconds: int = SECONDS) -> None:
    """Have the HDF5 file that lies in `size` bytes from `base` looked through by a child.

    Raises SourceError: the child crashed or reached a limit. What else is wrong is left to be found again.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            arguments = map(str, (theirs.fileno(), size, memory, seconds))
            words = [sys.executable, "-m", "transcoder.sources.hdf5.probe", *arguments]
            package = str(Path(__file__).resolve().parents[3])
            environment = {**os.environ, "PYTHONPATH": package, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            child = subprocess.Popen(  # noqa: S603
                words, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        try:
            _serve(ours, file, base, size)
        except BaseException:
            child.kill()  # who interrupts this process won't wait until the child has loaded its libraries
            raise
        finally:
            ours.close()
            code = child.wait()
    if code < 0:
        raise _unreadable(file.path, f"{signal.Signals(-code).name} in libhdf5")
    if code:
        found = {OUT_OF_MEMORY: "no end of memory", OPENED: "that it opens another file"}
        raise _unreadable(file.path, found.get(code, f"exit code {code} of what looked through it"))


def _serve(ours: socket.socket, file: RangeFile, base: int, size: int) -> None:
    """Give the child the bytes that it asks for, until it has ended."""
    with suppress(ConnectionError):  # it died
        while len(request := ours.recv(REQUEST.size, socket.MSG_WAITALL)) == REQUEST.size:
            start, count = REQUEST.unpack(request)
            if count > LARGEST or start + count > size:
                return
            ours.sendall(file.read(base + start, count, "the structure"))


def _unreadable(path: Location, found: str) -> SourceError:
    return SourceError(
        f"{path.name} is damaged",
        Problem(str(path), found, "a file whose structure can be read", "do not trust this file; fetch it again"),
    )


class _Bytes:
    """A file in memory, as what `look_through` reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_into(self, start: int, buffer: memoryview, what: str) -> None:
        buffer[:] = self._data[start : start + len(buffer)]


class _Asking:
    """The parent's file, as what `window` reads from."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def read_into(self, start: int, buffer: memoryview, what: str) -> None:
        if len(buffer) == 0:
            return
        self._socket.sendall(REQUEST.pack(start, len(buffer)))
        while buffer:
            count = self._socket.recv_into(buffer)
            if count == 0:
                raise OSError(what)
            buffer = buffer[count:]


def _child(descriptor: int, size: int, memory: int, seconds: int) -> None:
    from transcoder.sources.hdf5.file import look_through, small_file

    # What Python and h5py load when it is first needed, they could not load any more.
    small = small_file()
    look_through(_Bytes(small), len(small))
    with Path("/proc/self/statm").open() as statm:
        own = int(statm.read().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, own + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    try:
        look_through(_Asking(descriptor), size)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:  # whatever it is, this process's parent meets it again
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            os._exit(OPENED)
        os._exit(OUT_OF_MEMORY if "memory allocation failed" in str(error) else 0)
    os._exit(0)  # libhdf5's own clearing up would call back for bytes


if __name__ == "__main__":
    _child(*(int(word) for word in sys.argv[1:]))
