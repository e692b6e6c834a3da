"""Batches on a real Ray cluster of three nodes on this machine. Skipped if Ray is not installed.

pip install 'weight-transcoder[ray]' && python -m pytest tests/batch/test_batch_ray.py
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import zoo
from tests.support.cases import files
from tests.support.paths import ROOT

pytest.importorskip("ray", reason="Ray is not installed: pip install 'weight-transcoder[ray]'")

NODES = 3
COUNT = 30


def environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}


class Cluster:
    """Start raylets, each by another `ray start`, as on separate machines."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        # Ray makes sockets below it, and the path of a socket must be short.
        self.directory = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.directory.name}"]
        self.nodes: list[subprocess.Popen[bytes]] = []
        for number in range(NODES):  # one by one: at once they would take each other's ports
            self.start(*(head if number == 0 else [f"--address={self.address}"]))
            self.wait_for(number + 1)

    def start(self, *words: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        self.nodes.append(
            subprocess.Popen(
                [*command, "--object-store-memory=80000000", *words],
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def wait_for(self, count: int) -> None:
        script = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print(len(ray.nodes()))"
        command = [sys.executable, "-c", script, self.address]
        for _ in range(30):
            said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
            if said.returncode == 0 and int(said.stdout.split()[-1]) >= count:
                return
            time.sleep(1)
        raise AssertionError(f"no cluster of {count} nodes: {said.stdout}{said.stderr[-2000:]}")

    def raylet(self, number: int) -> int:
        """Return the process of a node that runs its tasks."""
        children = Path(f"/proc/{self.nodes[number].pid}/task/{self.nodes[number].pid}/children").read_text().split()
        names = {int(pid): Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
        return next(pid for pid, name in names.items() if name == "raylet")

    def stop(self) -> None:
        for node in self.nodes:
            os.killpg(node.pid, signal.SIGKILL)  # at SIGTERM each node would drain for half a minute
            node.wait()
        self.directory.cleanup()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    try:
        yield started
    finally:
        started.stop()


def batch(root: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "transcoder", "batch", str(root), str(out), "--json", *words]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """Return the events of a batch that succeeded."""
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:] + errors
    return [json.loads(line) for line in said.splitlines()]


def outputs(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(out).items() if not name.startswith((".", "batch"))}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Return a zoo, and what a batch on this machine makes of it."""
    where = tmp_path_factory.mktemp("ray")
    zoo.make(where / "zoo", COUNT, broken=0)
    ended(batch(where / "zoo", where / "local"))
    return where / "zoo", outputs(where / "local")


def test_a_cluster_of_three_nodes_makes_what_this_machine_makes(
    cluster: Cluster, local: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    root, wanted = local
    events = ended(batch(root, tmp_path / "out", "--ray-address", cluster.address))
    assert sum(event["event"] == "done" for event in events) == COUNT
    assert len({event["worker"] for event in events if event["event"] == "started"}) >= NODES
    assert outputs(tmp_path / "out") == wanted
    again = ended(batch(root, tmp_path / "out", "--ray-address", cluster.address))
    assert sum(event["event"] == "skipped" for event in again) == COUNT


def test_a_node_that_dies_in_mid_run_loses_nothing(
    cluster: Cluster, local: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    root, wanted = local
    process = batch(root, tmp_path / "out", "--ray-address", cluster.address)
    assert process.stdout is not None
    seen = ""
    while seen.count('"event": "done"') < 3:
        line = process.stdout.readline()
        assert line, "it ended too soon"
        seen += line
    os.kill(cluster.raylet(NODES - 1), signal.SIGKILL)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:] + errors
    assert (seen + said).count('"event": "done"') == COUNT
    assert outputs(tmp_path / "out") == wanted
