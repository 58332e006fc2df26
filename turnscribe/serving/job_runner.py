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
from typing import Any

from turnscribe.errors import Cancelled, TurnscribeError
from turnscribe.fetch import post
from turnscribe.serving.jobs import Job, JobStore
from turnscribe.serving.problems import as_openai, problem_of
from turnscribe.stages import Progress, ShouldStop

log = logging.getLogger("turnscribe.server")

HOUSEKEEPING_S = 1.0  # between two looks for webhooks that are due and jobs that have expired
WEBHOOK_SECONDS = 20.0
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
        self._news = threading.Condition()
        self._stopping = False
        self._dropped: set[str] = set()
        self._progress: dict[str, float] = {}  # of the jobs that are running
        targets = [self._run_jobs] * running + [self._keep_house]
        self._threads = [threading.Thread(target=target, name="jobs", daemon=True) for target in targets]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

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
        gone = self.store.delete(id)
        if id in self._progress:
            self._dropped.add(id)
        return gone

    def _run_jobs(self) -> None:
        while not self._stopping:
            job = self.store.claim()
            if job is None:
                with self._news:
                    if not self._stopping:
                        self._news.wait(HOUSEKEEPING_S)
                continue
            self._progress[job.id] = 0.0
            try:
                self._run(job)
            finally:
                self._progress.pop(job.id, None)
                self._dropped.discard(job.id)

    def _run(self, job: Job) -> None:
        def should_stop() -> bool:
            return self._stopping or job.id in self._dropped

        def on_progress(done: float) -> None:
            self._progress[job.id] = done

        began = time.perf_counter()
        try:
            transcript = self.work(job, on_progress, should_stop)
        except Cancelled:
            if self._stopping:
                self.store.give_back(job)
        except Exception as error:
            if not isinstance(error, TurnscribeError):
                log.exception("a job failed")
            self.store.end(job.id, error=as_openai(problem_of(error))["error"])
            log.info("job failed after %.1f s", time.perf_counter() - began)
        else:
            self.store.end(job.id, transcript=transcript)
            log.info("job done after %.1f s", time.perf_counter() - began)
        with self._news:
            self._news.notify_all()  # a webhook may be due

    def _keep_house(self) -> None:
        while not self._stopping:
            self.store.expire()
            job = self.store.webhook_due()
            if job is None:
                with self._news:
                    if not self._stopping:
                        self._news.wait(HOUSEKEEPING_S)
                continue
            self.store.webhook_tried(job, delivered=self._told(job))

    def _told(self, job: Job) -> bool:
        assert job.webhook is not None
        event = {"id": job.id, "status": job.status, "created_at": job.created_at, "ended_at": job.ended_at}
        body = json.dumps({**event, "error": job.error}).encode()
        try:
            status = self.send(job.webhook, body, webhook_headers(body, self.secret, int(self.store.clock())))
        except TurnscribeError as error:
            log.warning("a webhook was not told: %s", error)
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
