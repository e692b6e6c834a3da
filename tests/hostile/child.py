"""Run the command line in a fork for each line of stdin, within limits, and print how it ended.

One process imports everything, so that each run costs a fork and no start of Python.
"""

from __future__ import annotations

import json
import os
import resource
import sys

import transcoder.cli.convert
import transcoder.cli.inspect
import transcoder.cli.mapping
import transcoder.cli.plan
import transcoder.cli.validate
import transcoder.pipeline
import transcoder.sources.arrays.npz
import transcoder.sources.arrays.openai_gpt
import transcoder.sources.arrays.tf_safetensors
import transcoder.sources.hdf5.datasets
import transcoder.sources.hdf5.keras2
import transcoder.sources.hdf5.keras2_shards
import transcoder.sources.hdf5.keras3
import transcoder.sources.hdf5.probe
import transcoder.sources.tf.checkpoint
import transcoder.sources.tf.v1
import transcoder.validator.weights  # noqa: F401
from transcoder.cli import entry as cli

PROCESSOR_SECONDS = 5
ADDRESSES = 1 << 30  # beyond what this process has: threads reserve more than they use
LARGEST_FILE = 1 << 26


def run(words: list[str], directory: str) -> None:
    """In the fork: never returns."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        pages = int(statm.read().split()[0])
    most = pages * resource.getpagesize() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    code = 99
    try:
        cli.main(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 98
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(request["words"], request["directory"])
        print(json.dumps({"pid": pid}), flush=True)
        _, status, usage = os.wait4(pid, 0)
        ended = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": ended, "peak_mb": usage.ru_maxrss // 1024}), flush=True)


if __name__ == "__main__":
    main()
