"""One device: its process, which is listened to and replaced when it ends, and the requests that are in it."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from queue import Empty, SimpleQueue
from typing import TypeAlias

from turnscribe.devices import Running
from turnscribe.listener import Listener
from turnscribe.serving.devices.channel import (
    Answer,
    Begin,
    Channel,
    Estimated,
    Failure,
    Further,
    LoadFailed,
    News,
    Progress,
    Ready,
    Result,
    Stage,
    Start,
    Stop,
    Work,
    file_of,
)

log = logging.getLogger("turnscribe.server")

LOOK_EVERY = 0.05  # seconds after which whoever waits for a process sees again whether to stop
WAITS_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # before the next process, after so many ended too soon in a row
STEADY_S = 120.0  # a process that was there for so long did not end too soon
END_S = 5.0  # for a process to leave by itself
PROGRAM = (sys.executable, "-P", "-m", "turnscribe.serving.devices.program")

Ended: TypeAlias = None  # in place of news: the process is gone


class ProcessEnded(Exception):
    """The process that a request was in is gone."""


class NotTaken(Exception):
    """The process was gone before it had the request."""


@dataclass(frozen=True)
class DeviceState:
    """What `/health` and the metrics say of a device; `restarts` counts the processes that were started anew."""

    device: str
    ready: bool
    running: int
    restarts: int
    engine: Running | None  # how its models run, once they do


class Device:
    """A process for the device `name`, from `start` to `close`.

    `changed` guards all that is said here of the device and its requests, and is notified when that changes.
    """

    def __init__(self, name: str, begin: Begin, environ: Mapping[str, str], changed: threading.Condition) -> None:
        self.name, self.changed = name, changed
        self.ready: Ready | None = None  # of the process that there is now
        self.failure: str | None = None  # why the first process could not serve; there is no second one then
        self.calls: dict[int, Call] = {}
        self._begin, self._environ = begin, environ
        self._channel: Channel | None = None
        self._restarts = 0
        self._served = False  # some process of it did
        self._closed = False
        self._thread = threading.Thread(target=self._keep, name=f"device {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def state(self) -> DeviceState:
        engine = None if self.ready is None else self.ready.running
        return DeviceState(self.name, self.ready is not None, len(self.calls), self._restarts, engine)

    @property
    def load(self) -> tuple[int, int]:
        """How busy it is: its requests, then their bytes."""
        return len(self.calls), sum(call.size for call in self.calls.values())

    @property
    def has_suspect(self) -> bool:
        """Whether a request is in it that was in a process when that ended."""
        return any(call.suspect for call in self.calls.values())

    @property
    def not_urgent(self) -> int:
        """How many of its requests are not."""
        return sum(not call.urgent for call in self.calls.values())

    def take(self, number: int, size: int, *, suspect: bool, urgent: bool) -> Call:
        """A request's place in the process that is ready now. Called with `changed` held."""
        assert self._channel is not None
        call = self.calls[number] = Call(self, self._channel, number, size, suspect=suspect, urgent=urgent)
        return call

    def leave(self, number: int) -> None:
        """The request is over here."""
        with self.changed:
            self.calls.pop(number, None)
            self.changed.notify_all()

    def lose(self, channel: Channel) -> None:
        """Nobody is at its other end: no more requests for that process, before its end is heard of."""
        with self.changed:
            if self._channel is channel:
                self.ready = None

    def close(self) -> None:
        """The process ends, whatever is in it; `join` waits for that."""
        with self.changed:
            self._closed = True
            if self._channel is not None:
                self._channel.close()
            self.changed.notify_all()

    def join(self) -> None:
        if self._thread.ident is not None:  # it was started
            self._thread.join()

    # In the thread of its own -------------------------------------------------------------------------

    def _keep(self) -> None:
        """One process after the other, until it is closed, or the first cannot serve."""
        too_soon = 0
        while True:
            began = time.monotonic()
            reason = self._serve()
            with self.changed:
                if self._closed:
                    return
                if not self._served:
                    self.failure = reason
                    self.changed.notify_all()
                    return
                too_soon = 0 if time.monotonic() - began >= STEADY_S else too_soon + 1
                wait_s = WAITS_S[min(max(too_soon - 1, 0), len(WAITS_S) - 1)]
                log.error("%s is started anew in %g s. %s", self.name, wait_s, reason)
                if self.changed.wait_for(lambda: self._closed, wait_s):
                    return
                self._restarts += 1

    def _serve(self) -> str:
        """One process, from its start to its end; the sentence that says why it ended."""
        ours, theirs = Pipe()
        channel = Channel(ours)
        try:
            with theirs:
                process = subprocess.Popen(
                    [*PROGRAM, self.name, str(theirs.fileno())],
                    env=dict(self._environ),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # a Ctrl-C is for the server
                )
        except OSError as error:
            channel.release()
            return f"Its process could not be started: {error.strerror}."
        with self.changed:
            self._channel = channel
            if self._closed:
                channel.close()
        reason = self._listen(channel)
        with self.changed:
            self.ready = self._channel = None
            lost, self.calls = self.calls, {}
        channel.close()
        channel.release()
        for call in lost.values():
            call.news.put(None)
        end = _end_of(process)
        return reason or f"Its process ended ({end}) with {len(lost)} requests in it."

    def _listen(self, channel: Channel) -> str | None:
        """Hand on what the process says, until it is gone, or says why it cannot load its models."""
        try:
            channel.send(self._begin)
            while True:
                message, _ = channel.receive()
                if isinstance(message, Ready):
                    with self.changed:
                        self.ready, self._served = message, True
                        self.changed.notify_all()
                elif isinstance(message, LoadFailed):
                    return message.reason
                elif isinstance(message, News):
                    call = self.calls.get(message.number)
                    if call is not None:
                        call.news.put(message)
        except (EOFError, OSError):
            return None
        except Exception:
            log.exception("what a device's process was to be told, or said, could not be understood")
            return "Its models cannot be loaded in a process: what loads them has to be a function of a module."


class Call:
    """A request in a device's process. `size` is that of its recording, in bytes."""

    def __init__(
        self, device: Device, channel: Channel, number: int, size: int, *, suspect: bool, urgent: bool
    ) -> None:
        self.size, self.suspect, self.urgent = size, suspect, urgent
        self.news: SimpleQueue[News | Ended] = SimpleQueue()
        self._device, self._channel, self._number = device, channel, number

    def run(self, audio: bytes, work: Work, listener: Listener) -> Result:
        """In the thread of whoever waits. Raises `NotTaken`, `ProcessEnded`, or what was raised in the process."""
        try:
            with file_of(audio) as file:
                try:
                    self._channel.send(Start(self._number, work), file)
                except OSError:
                    self._device.lose(self._channel)
                    raise NotTaken from None
            return self._follow(listener)
        finally:
            self._device.leave(self._number)

    def _follow(self, listener: Listener) -> Result:
        stopped = False
        while True:
            if not stopped and listener.should_stop():
                stopped = True
                self._send(Stop(self._number))
            try:
                news = self.news.get(timeout=LOOK_EVERY)
            except Empty:
                continue
            match news:
                case None:
                    raise ProcessEnded
                case Progress():
                    listener.on_progress(news.share)
                case Estimated():
                    listener.on_estimate(news.estimate)
                case Stage():
                    (listener.on_stage_end if news.over else listener.on_stage)(news.name)
                case Further():
                    listener.on_chunks(news.chunks)
                case Answer():
                    return news.result
                case Failure():
                    raise news.kind(news.text)

    def _send(self, message: Stop) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise ProcessEnded from None


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended whose channel is closed; one that does not end is killed."""
    try:
        status = process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    if status >= 0:
        return f"status {status}"
    return "SIGKILL, as where memory runs out" if status == -signal.SIGKILL else signal.Signals(-status).name
