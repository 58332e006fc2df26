"""Threads that work through the jobs of a store, and one that tells webhooks and forgets what has expired.

Knows neither HTTP routes nor models: `work` makes a job's transcript.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from turnscribe.errors import Cancelled, TurnscribeError
from turnscribe.inputs.fetch import post
from turnscribe.serving.jobs.store import Job, JobStore
from turnscribe.serving.problems import as_openai, problem_of
from turnscribe.stages import Progress, ShouldStop

log = logging.getLogger("turnscribe.server")

HOUSEKEEPING_S = 1.0  # between two looks for webhooks that are due and jobs that have expired
WEBHOOK_SECONDS = 20.0
WEBHOOK_THREADS = 2
SIGNATURE = "Turnscribe-Signature"

Work = Callable[[Job, Progress, ShouldStop], str]
Post = Callable[[str, bytes, Mapping[str, str]], int]


class JobRunner:
    """`work(job, on_progress, should_stop)` returns the transcript as JSON; `running` jobs at a time."""

    def __init__(
        self, store: JobStore, work: Work, *, running: int, secret: str | None = None, send: Post | None = None
    ) -> None:
        self.store, self.work, self.secret = store, work, secret
        self.send = send or _send
        self._news = threading.Condition()  # guards what follows
        self._holding = self._stopping = False
        self._dropped: set[str] = set()
        self._progress: dict[str, float] = {}  # of the jobs that are running
        steps = [self._run_next] * running + [self._forget_old] + [self._tell_next] * WEBHOOK_THREADS
        self._threads = [
            threading.Thread(target=self._again_and_again, args=(step,), name="jobs", daemon=True) for step in steps
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def hold(self) -> None:
        """Begin no further job: the server is about to end."""
        self._holding = True

    def stop(self) -> None:
        """Stop as soon as the models let go; jobs in the middle are queued again."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def wake(self) -> None:
        """There is a new job."""
        with self._news:
            self._news.notify_all()

    def said(self, job: Job) -> dict[str, Any]:
        """What is told of a job, without its result."""
        said: dict[str, Any] = {
            "id": job.id,
            "object": "transcription.job",
            "filename": job.name or None,
            "status": job.status,
            "progress": 1.0 if job.status == "done" else round(self._progress.get(job.id, 0.0), 4),
            "created_at": job.created_at,
            "started_at": job.started_at,
            "ended_at": job.ended_at,
            "expires_at": self.store.expires_at(job),
            "error": job.error,
        }
        if job.status == "queued":
            said["position"] = self.store.ahead_of(job)
        if job.webhook:
            said["webhook"] = {"state": job.webhook_state, "tries": job.webhook_tries}
        return said

    def drop(self, id: str) -> bool:
        """Forget a job, and stop it where it runs; false where there is none."""
        with self._news:
            gone = self.store.delete(id)
            if id in self._progress:
                self._dropped.add(id)
        return gone

    def _again_and_again(self, step: Callable[[], bool]) -> None:
        """`step` until the end; where it did nothing or failed (a full disk), after a while or when there is news."""
        while not self._stopping:
            try:
                went_on = step()
            except Exception:
                log.exception("the jobs' folder cannot be used")
                went_on = False
            with self._news:
                if not went_on and not self._stopping:
                    self._news.wait(HOUSEKEEPING_S)

    def _run_next(self) -> bool:
        with self._news:
            job = None if self._holding else self.store.claim()
            if job is None:
                return False
            self._progress[job.id] = 0.0
        try:
            self._keep(self._run(job))
        finally:
            with self._news:
                self._progress.pop(job.id, None)
                self._dropped.discard(job.id)
                self._news.notify_all()  # a webhook may be due
        return True

    def _run(self, job: Job) -> Callable[[], object]:
        """Work on it; what is to be noted of that."""

        def should_stop() -> bool:
            return self._stopping or job.id in self._dropped

        def on_progress(done: float) -> None:
            self._progress[job.id] = done

        began = time.perf_counter()
        try:
            transcript = self.work(job, on_progress, should_stop)
        except Cancelled:
            return partial(self.store.delete if job.id in self._dropped else self.store.give_back, job.id)
        except Exception as error:
            if not isinstance(error, TurnscribeError):
                log.error("a job failed: %s", type(error).__name__)
            log.info("job failed after %.1f s", time.perf_counter() - began)
            return partial(self.store.end, job.id, error=as_openai(problem_of(error))["error"])
        log.info("job done after %.1f s", time.perf_counter() - began)
        return partial(self.store.end, job.id, transcript=transcript)

    def _keep(self, note: Callable[[], object]) -> None:
        """Until it is on the disk; a server that ends before that starts the job again."""
        while True:
            try:
                note()
                return
            except Exception:
                log.exception("a job's outcome cannot be written, trying again")
                if self._stopping:
                    return
            with self._news:
                self._news.wait(HOUSEKEEPING_S)

    def _forget_old(self) -> bool:
        return self.store.expire() > 0

    def _tell_next(self) -> bool:
        job = self.store.webhook_due()
        if job is None:
            return False
        self.store.webhook_tried(job, delivered=self._told(job))
        return True

    def _told(self, job: Job) -> bool:
        assert job.webhook is not None
        event = {"id": job.id, "status": job.status, "created_at": job.created_at, "ended_at": job.ended_at}
        body = json.dumps({**event, "error": job.error}).encode()
        try:
            status = self.send(job.webhook, body, webhook_headers(body, self.secret, int(self.store.clock())))
        except Exception as error:
            log.warning("a webhook was not told: %s", type(error).__name__)
            return False
        return 200 <= status < 300


def webhook_headers(body: bytes, secret: str | None, now: int) -> dict[str, str]:
    """With a secret, `t=<seconds>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>` under it."""
    headers: dict[str, str] = {"Content-Type": "application/json"}
    if secret:
        signed = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        headers[SIGNATURE] = f"t={now},v1={signed}"
    return headers


def _send(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    return post(url, body, headers, max_seconds=WEBHOOK_SECONDS)
