"""Threads that work through the jobs of a store, deliver its webhooks and forget what has expired."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from turnscribe.errors import Cancelled, TurnscribeError
from turnscribe.listener import Estimate, Listener
from turnscribe.serving.jobs.store import Job, JobStore
from turnscribe.serving.jobs.webhooks import Webhooks
from turnscribe.serving.problems import openai_error, problem_of, reason

log = logging.getLogger("turnscribe.server")

HOUSEKEEPING_S = 1.0  # between two looks for webhooks that are due and jobs that have expired
WEBHOOK_THREADS = 4

TranscribeJob: TypeAlias = Callable[[Job, Listener], str]  # to the transcript as JSON


class JobRunner:
    """`running` jobs of `store` at a time go through `transcribe`."""

    def __init__(
        self, store: JobStore, transcribe: TranscribeJob, *, running: int, webhooks: Webhooks | None = None
    ) -> None:
        self.store, self._transcribe = store, transcribe
        self._changed = threading.Condition()  # guards what follows
        self._stopping = False
        self._deleted: set[str] = set()  # of the jobs that are running
        self._progress: dict[str, float] = {}  # likewise
        self._remaining: dict[str, float] = {}
        self._stage: dict[str, str] = {}
        deliver = (webhooks or Webhooks(store)).deliver_next
        self._threads = [self._thread(step) for step in [self._run_next] * running + [self._forget_expired]]
        self._webhook_threads = [self._thread(deliver) for _ in range(WEBHOOK_THREADS)]  # which nobody waits for

    def start(self) -> None:
        for thread in (*self._threads, *self._webhook_threads):
            thread.start()

    def stop(self) -> None:
        """Queue what runs again, before all else, and stop it as soon as the models let go."""
        with self._changed:
            self._stopping = True
            try:
                self.store.give_back()
            except Exception:  # a full disk: the next server finds them running, and counts the attempt
                log.exception("running jobs could not be given back")
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait until the models have let go of all jobs, so many seconds at most; whether they have."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(max(until - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def wake(self) -> None:
        """There is a new job."""
        with self._changed:
            self._changed.notify_all()

    def progress_of(self, job: Job) -> float:
        """The share done, 0 to 1."""
        return 1.0 if job.status == "done" else self._progress.get(job.id, 0.0)

    def remaining_of(self, job: Job) -> float | None:
        """About how many seconds it will take yet; `None` where nobody knows."""
        return self._remaining.get(job.id)

    def stage_of(self, job: Job) -> str | None:
        """What is being done, as the answer's `timings` name it; `None` unless the job runs."""
        return self._stage.get(job.id)

    def delete(self, id: str) -> bool:
        """Forget a job, and stop it where it runs; false where there is none."""
        with self._changed:
            existed = self.store.delete(id)
            if id in self._progress:
                self._deleted.add(id)
        return existed

    def _thread(self, step: Callable[[], bool]) -> threading.Thread:
        return threading.Thread(target=self._repeat, args=(step,), name="jobs", daemon=True)

    def _repeat(self, step: Callable[[], bool]) -> None:
        """`step` until the end; where it found nothing to do or failed (a full disk), after a while or when woken."""
        while not self._stopping:
            try:
                found = step()
            except Exception:
                log.exception("the jobs' folder cannot be used, trying again")
                found = False
            with self._changed:
                if not found and not self._stopping:
                    self._changed.wait(HOUSEKEEPING_S)

    def _run_next(self) -> bool:
        with self._changed:
            job = None if self._stopping else self.store.claim()
            if job is None:
                return False
            self._progress[job.id] = 0.0
        try:
            self._write(job, self._run(job))
        finally:
            with self._changed:
                self._progress.pop(job.id, None)
                self._stage.pop(job.id, None)
                self._remaining.pop(job.id, None)
                self._deleted.discard(job.id)
                self._changed.notify_all()  # a webhook may be due
        return True

    def _run(self, job: Job) -> Callable[[], object]:
        """Work on it; the function that writes the outcome into the store."""

        def should_stop() -> bool:
            return self._stopping or job.id in self._deleted

        def on_progress(share: float) -> None:
            self._progress[job.id] = max(self._progress[job.id], share)

        def on_estimate(estimate: Estimate) -> None:
            self._remaining[job.id] = estimate.remaining
            on_progress(estimate.share)

        def on_stage(stage: str) -> None:
            self._stage[job.id] = stage

        listener = Listener(
            on_progress=on_progress, on_stage=on_stage, on_estimate=on_estimate, should_stop=should_stop
        )
        began = time.perf_counter()
        try:
            transcript = self._transcribe(job, listener)
        except Cancelled:
            return partial(self.store.delete, job.id) if job.id in self._deleted else lambda: None  # given back
        except Exception as error:
            if not isinstance(error, TurnscribeError):
                log.error("job %s failed: %s", job.id, reason(error))
            log.info("job %s failed after %.1f s", job.id, time.perf_counter() - began)
            return partial(self.store.end, job.id, error=openai_error(problem_of(error))["error"])
        log.info("job %s done after %.1f s", job.id, time.perf_counter() - began)
        return partial(self.store.end, job.id, transcript=transcript)

    def _write(self, job: Job, write: Callable[[], object]) -> None:
        """Until the outcome is on the disk; a server that ends before that starts the job again."""
        while True:
            try:
                write()
                return
            except Exception:
                log.exception("the outcome of job %s cannot be written, trying again", job.id)
                if self._stopping:
                    return
            with self._changed:
                self._changed.wait(HOUSEKEEPING_S)

    def _forget_expired(self) -> bool:
        return self.store.expire() > 0
