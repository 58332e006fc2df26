"""A real Ray cluster on this machine: a head and further nodes, each a group of processes with a processor's share.

Nodes are ended by their process groups and never by `ray stop`, which ends every Ray of the machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import REPOSITORY

SECRET = "hf_a_token_that_no_log_may_hold"
OBJECT_STORE_BYTES = "200000000"


class Cluster:
    """`add_node` starts one, the first being the head; the job's `environment` lets it in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # a short path: Ray's sockets are in it
        self.port = _free_port()
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
            "RAY_USAGE_STATS_ENABLED": "0",
            "HF_HUB_OFFLINE": "1",
        }

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add_node(self, **environ: str) -> None:
        """With one processor for actors; its processes know its number as WITNESS."""
        where = ["--address", self.address]
        if not self.nodes:
            where = ["--head", "--port", str(self.port), "--ray-client-server-port", str(_free_port())]
            where += ["--include-dashboard=false", "--disable-usage-stats", "--temp-dir", str(self.folder)]
        else:
            self._wait_for_head()
        log = (self.folder / f"node-{len(self.nodes)}.log").open("wb")
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "1"]
        with log:
            node = subprocess.Popen(
                [*ray, "--object-store-memory", OBJECT_STORE_BYTES, *where],
                env={**self.environment, **environ, "WITNESS": str(len(self.nodes))},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.nodes.append(node)

    def kill_node(self, index: int) -> None:
        """At once, with its raylet and its actors, as a machine that loses its power."""
        for process in [*_below(self.nodes[index].pid), self.nodes[index].pid]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.nodes[index].wait(timeout=60)

    def actors(self) -> list[int]:
        """The processes of a job's actors, as Ray calls them."""
        found = []
        for process in [process for node in self.nodes for process in _below(node.pid)]:
            with suppress(OSError):
                if b"MapWorker" in Path(f"/proc/{process}/cmdline").read_bytes():
                    found.append(process)
        return found

    def wait_for_actors(self) -> None:
        """Until none is left: a job that ends does not wait for those that are at work, the cluster ends them."""
        deadline = time.monotonic() + 120
        while left := self.actors():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)

    def close(self) -> None:
        for index, node in reversed(list(enumerate(self.nodes))):
            if node.poll() is None:
                self.kill_node(index)

    def wait(self) -> None:
        """Until the head knows every node that runs."""
        running = sum(node.poll() is None for node in self.nodes)
        check = (
            f"import ray, time; ray.init('{self.address}', logging_level='error', log_to_driver=False)\n"
            f"while sum(node['Alive'] for node in ray.nodes()) != {running}: time.sleep(0.2)"
        )
        try:
            subprocess.run(
                [sys.executable, "-c", check], env=self.environment, cwd=self.folder, check=True, timeout=180
            )
        except (subprocess.SubprocessError, OSError) as e:
            logs = "\n".join(log.read_text(errors="replace") for log in self.folder.glob("node-*.log"))
            raise AssertionError(f"the cluster did not come up:\n{logs}") from e

    def _wait_for_head(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "node-0.log").read_text(errors="replace"))


@contextmanager
def cluster(*, nodes: int, **environ: str) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    started = Cluster(folder)
    try:
        for _ in range(nodes):
            started.add_node(**environ)
        started.wait()
        yield started
    finally:
        started.close()
        shutil.rmtree(folder, ignore_errors=True)


def start_job(*argv: str, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """`python -m scripts.ray` in the repository, in its own process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.ray", *argv],
        env=dict(environ),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _below(process: int) -> list[int]:
    """The processes that `process` started, and those that they started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(status.read_text().rpartition(")")[2].split()[1]), []).append(
                int(status.parent.name)
            )
    found = list(children.get(process, []))
    for child in found:
        found += children.get(child, [])
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
