"""The server's process through restarts and kills, and which requests may go unanswered over one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired

from tools.load_test.server import NotServing, ServerProcess
from tools.load_test.watch import Watch

SHUTDOWN_S = 25.0  # the server's own SHUTDOWN_TIMEOUT_S
SLOWEST_END_S = SHUTDOWN_S + 10  # and the interpreter's end


class Ended(Exception):
    """The soak is over: there is no server any more."""


@dataclass(frozen=True)
class Outage:
    """From a signal to the next server that is ready."""

    began: float
    killed: bool


@dataclass
class Lives:
    """One server at a time, on one folder of jobs. With `with` it is ended, whatever happens."""

    environ: Mapping[str, str]
    folder: Path
    log: Path
    watch: Watch
    fail: Callable[[str], None]
    restarts: int = 0
    kills: int = 0
    slowest_end_s: float = 0.0
    outages: list[Outage] = field(default_factory=list)
    _process: ServerProcess | None = None
    _url: str | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _over: bool = False

    def __enter__(self) -> Lives:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Raises `NotServing`."""
        self._process = ServerProcess(self.environ, folder=self.folder, log=self.log)
        self._process.__enter__()
        self.watch.follow(self._process.process.pid)
        url = self._process.ready()
        with self._changed:
            self._url = url
            self._changed.notify_all()

    def url(self) -> str:
        """Of the server, once there is one. Raises `Ended`."""
        with self._changed:
            self._changed.wait_for(lambda: self._url is not None or self._over)
            if self._url is None:
                raise Ended
            return self._url

    def restart(self) -> None:
        """SIGTERM, and the next one once it has ended. Raises `NotServing`."""
        self.restarts += 1
        self.end(killed=False)
        self.start()

    def kill(self) -> None:
        """SIGKILL, and the next one. Raises `NotServing`."""
        self.kills += 1
        self.end(killed=True)
        self.start()

    def check(self) -> None:
        """Raises `NotServing` where the server has ended by itself."""
        status = None if self._process is None else self._process.process.poll()
        if status is not None:
            raise NotServing(f"The server ended by itself with status {status}: see its log.")

    def end(self, *, killed: bool) -> None:
        """And say so where it does not end in time, or with another status than 0."""
        assert self._process is not None
        self.check()
        with self._changed:
            self._url = None
        began = time.monotonic()
        self.outages.append(Outage(began, killed))
        self.watch.follow(None)
        if killed:
            self._process.kill()
        else:
            try:
                if status := self._process.end(SLOWEST_END_S):
                    self.fail(f"The server ended with status {status} after SIGTERM.")
            except TimeoutExpired:
                self.fail(f"The server had not ended {SLOWEST_END_S:g} s after SIGTERM.")
            self.slowest_end_s = max(self.slowest_end_s, time.monotonic() - began)
        self._process = None

    def stop(self) -> None:
        """End the server, wherever it is in its life."""
        self.give_up()
        if self._process is not None:
            self._process.end()

    def give_up(self) -> None:
        """Nobody waits for a server any more."""
        with self._changed:
            self._over, self._url = True, None
            self._changed.notify_all()

    def disturbed(self, since: float) -> bool:
        """Whether the server ended, or was ending, after that time."""
        return self._over or any(outage.began >= since for outage in self.outages)

    def excuses(self, began: float, sent: float | None, now: float) -> bool:
        """Whether a request may have got no answer.

        Over a kill, always; over a restart, where it was not `sent` in full before the signal, or takes longer than
        the server has.
        """
        return self._over or any(
            outage.killed or sent is None or sent >= outage.began or now - outage.began > SHUTDOWN_S * 0.9
            for outage in self.outages
            if outage.began >= began
        )
