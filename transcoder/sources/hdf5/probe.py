"""Reads an HDF5 file's structure in a separate process first, with limits on memory and time: libhdf5 may crash.

The child opens no file. It asks the parent for the bytes, so that it can read a remote file or one inside another file.
After the child succeeds, the parent reads the same bytes with the same code. The child is no sandbox: it guards against
faults of libhdf5, not against hostile code.
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
MAX_REQUEST_BYTES = 1 << 26
MEMORY_BYTES = 1 << 28  # for the structure, above what the libraries take
CPU_SECONDS = 4  # thousands of datasets take 1
OUT_OF_MEMORY, OPENED_A_FILE = 3, 4


def probe(file: RangeFile, base: int, size: int, *, memory: int = MEMORY_BYTES, seconds: int = CPU_SECONDS) -> None:
    """Have a child process read the HDF5 file in the `size` bytes from `base`.

    Raises SourceError: the child crashed or reached a limit. The parent finds any other fault itself.
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
            child.kill()  # an interrupt must not wait until the child has loaded its libraries
            raise
        finally:
            ours.close()
            code = child.wait()
    if code < 0:
        raise _unreadable(file.path, f"{signal.Signals(-code).name} in libhdf5")
    if code:
        found = {OUT_OF_MEMORY: "memory limit exceeded", OPENED_A_FILE: "an attempt to open another file"}
        raise _unreadable(file.path, found.get(code, f"exit code {code} of the process that reads the structure"))


def _serve(ours: socket.socket, file: RangeFile, base: int, size: int) -> None:
    """Send the child the bytes that it asks for, until it ends."""
    with suppress(ConnectionError):  # it died
        while len(request := ours.recv(REQUEST.size, socket.MSG_WAITALL)) == REQUEST.size:
            start, count = REQUEST.unpack(request)
            if count > MAX_REQUEST_BYTES or start + count > size:
                return
            ours.sendall(file.read(base + start, count, "the structure"))


def _unreadable(path: Location, found: str) -> SourceError:
    return SourceError(
        f"{path.name} is damaged",
        Problem(
            str(path), found, "a file with a readable structure", "fetch the file again from a source that you trust"
        ),
    )


class _Bytes:
    """A file in memory, for `read_structure`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_into(self, start: int, buffer: memoryview, what: str) -> None:
        buffer[:] = self._data[start : start + len(buffer)]


class _Asking:
    """The parent's file, for `read_structure`: asks the parent for each byte range."""

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
    from transcoder.sources.hdf5.file import read_structure, sample_file

    # Python and h5py load some modules at first use. Under the limits they could not.
    small = sample_file()
    read_structure(_Bytes(small), len(small))
    with Path("/proc/self/statm").open() as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    for kind, limit in (
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))
    try:
        read_structure(_Asking(descriptor), size)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:  # the parent meets every other error itself
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            os._exit(OPENED_A_FILE)
        os._exit(OUT_OF_MEMORY if "memory allocation failed" in str(error) else 0)
    os._exit(0)  # a normal exit would let libhdf5 ask for bytes again


if __name__ == "__main__":
    _child(*(int(word) for word in sys.argv[1:]))
