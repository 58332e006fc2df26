"""A bounded number of requests on the models at a time, and a bounded queue before them.

Threads, as the models release the interpreter's lock while they compute, and requests that run together share the
engine's batches.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from turnscribe.errors import Cancelled
from turnscribe.listener import ShouldStop

Result = TypeVar("Result")

RECENT = 0.2  # of the latest request in the running mean of how long one takes
LONGEST_RETRY_AFTER_S = 120


class QueueFull(Exception):
    """No room in the queue; `retry_after_s` is when there may be some."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"full; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Work(Generic[Result]):
    """A call to be made, what its failure is as a result, and what to do when nothing of it is needed any more.

    A failure is a value, since an exception that is kept holds all frames that it came through, and with them
    everything that the call worked on.
    """

    call: Callable[[ShouldStop], Result]
    failed: Callable[[BaseException], Result]
    release: Callable[[], None] = lambda: None  # called once or more often


class Submission(Generic[Result]):
    """Work that was taken on: its future, which is cancelled or has a result, and how to stop it."""

    def __init__(self, work: Work[Result], seconds: float, leave: Callable[[Submission[Result]], None]) -> None:
        self.work: Work[Result] | None = work  # `None` once it is over: what holds a submission does not hold it
        self.future: Future[Result] = Future()
        self.deadline = time.monotonic() + seconds
        self._stopped = threading.Event()
        self._leave = leave

    def should_stop(self) -> bool:
        return self._stopped.is_set() or time.monotonic() >= self.deadline

    def stop(self) -> None:
        """Nobody wants the result any more; the models are free as soon as the call notices."""
        self._stopped.set()
        if self.future.cancel():
            self._leave(self)


class Workers:
    """At most `running` calls at once and `waiting` more in the queue."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self.room, self._slots = running + waiting, running
        self._pool = ThreadPoolExecutor(running, thread_name_prefix="request")
        self._lock = threading.Lock()
        self._submissions: set[Submission[Any]] = set()
        self._running = 0
        self._usual_s = 1.0

    @property
    def taken(self) -> int:
        """Running and waiting."""
        return len(self._submissions)

    @property
    def retry_after_s(self) -> int:
        """When there may be room, as long as requests take now."""
        return min(max(math.ceil(self._usual_s * self.taken / self._slots), 1), LONGEST_RETRY_AFTER_S)

    @property
    def running(self) -> int:
        return self._running

    @property
    def waiting(self) -> int:
        return self.taken - self._running

    def submit(self, work: Work[Result], *, seconds: float) -> Submission[Result]:
        """Take `work` on; it is asked to stop after `seconds`, those in the queue included. Raises `QueueFull`."""
        with self._lock:
            if self.taken >= self.room:
                raise QueueFull(self.retry_after_s)
            submission = Submission(work, seconds, self._leave)
            self._pool.submit(self._run, submission)
            self._submissions.add(submission)
        return submission

    def close(self, seconds: float) -> bool:
        """Finish what was taken on, within so many seconds; whether that was so. What was not is asked to stop."""
        with self._lock:
            futures = {submission.future for submission in self._submissions}
        unfinished = wait(futures, seconds).not_done
        with self._lock:
            left = list(self._submissions)
        for submission in left:
            submission.stop()
        self._pool.shutdown(wait=not unfinished)
        return not unfinished

    def _run(self, submission: Submission[Result]) -> None:
        work = submission.work
        if not submission.future.set_running_or_notify_cancel() or work is None:
            return
        try:
            if submission.should_stop():
                raise Cancelled("The request was cancelled.")
            result = self._timed(work.call, submission.should_stop)
        except BaseException as error:
            result = work.failed(error)
        self._leave(submission)  # before anybody hears of the result
        submission.future.set_result(result)

    def _timed(self, call: Callable[[ShouldStop], Result], should_stop: ShouldStop) -> Result:
        began = time.monotonic()
        with self._lock:
            self._running += 1
        try:
            return call(should_stop)
        finally:
            with self._lock:
                self._running -= 1
                self._usual_s += RECENT * (time.monotonic() - began - self._usual_s)

    def _leave(self, submission: Submission[Any]) -> None:
        # The pool keeps the submission of a cancelled call until its turn; so it lets go of what the call holds.
        work, submission.work = submission.work, None
        with self._lock:
            self._submissions.discard(submission)
        if work is not None:
            work.release()
