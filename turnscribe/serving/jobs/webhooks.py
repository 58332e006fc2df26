"""Webhooks: a job that has ended is told to the URL its client gave, signed, and again later where that failed."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from turnscribe.inputs.fetch import HTTPS, post
from turnscribe.serving.jobs.store import Job, JobStore
from turnscribe.serving.problems import reason

log = logging.getLogger("turnscribe.server")

WEBHOOK_SECONDS = 20.0
SLOW_SECONDS = 2.0
MOST_SLOW = 1000  # hosts that are remembered
SIGNATURE = "Turnscribe-Signature"

Post: TypeAlias = Callable[[str, bytes, Mapping[str, str]], int]  # (URL, body, headers) -> the answer's status


def post_webhook(url: str, body: bytes, headers: Mapping[str, str], *, ports: Collection[int] = HTTPS) -> int:
    """To a public https address at one of `ports`, within `WEBHOOK_SECONDS`."""
    return post(url, body, headers, max_seconds=WEBHOOK_SECONDS, ports=ports)


class Webhooks:
    """The webhooks of a store's jobs, sent by `post` and signed with `secret` where there is one."""

    def __init__(self, store: JobStore, *, secret: str | None = None, post: Post = post_webhook) -> None:
        self.store, self._secret, self._post = store, secret, post
        self._lock = threading.Lock()
        self._busy: set[str] = set()  # hosts to which one is being sent
        self._slow: dict[str, float] = {}  # hosts that were slow, and when

    def deliver_next(self) -> bool:
        """Send the next one that is due; false where there is none.

        One at a time to a host, and those that were slow come last: nobody waits for another's server.
        """
        with self._lock:
            job = self.store.claim_webhook(self._rank)
            if job is None:
                return False
            host = _host(job)
            self._busy.add(host)
        began = time.monotonic()
        try:
            self.store.note_webhook_try(job, delivered=self._deliver(job))
        finally:
            with self._lock:
                self._busy.discard(host)
                self._slow.pop(host, None)
                if time.monotonic() - began > SLOW_SECONDS:
                    self._slow[host] = time.monotonic()
                    self._slow = dict(list(self._slow.items())[-MOST_SLOW:])
        return True

    def _rank(self, job: Job) -> int | None:
        host = _host(job)
        return None if host in self._busy else int(host in self._slow)

    def _deliver(self, job: Job) -> bool:
        assert job.webhook is not None
        event = {"id": job.id, "status": job.status, "created_at": job.created_at, "ended_at": job.ended_at}
        body = json.dumps({**event, "error": job.error}).encode()
        try:
            status = self._post(job.webhook, body, webhook_headers(body, self._secret, int(self.store.clock())))
        except Exception as error:
            log.warning("the webhook of job %s could not be sent: %s", job.id, reason(error))
            return False
        return 200 <= status < 300


def _host(job: Job) -> str:
    return urlsplit(job.webhook or "").hostname or ""


def webhook_headers(body: bytes, secret: str | None, now: int) -> dict[str, str]:
    """With a secret, `t=<seconds>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>` under it."""
    headers: dict[str, str] = {"Content-Type": "application/json"}
    if secret:
        signature = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        headers[SIGNATURE] = f"t={now},v1={signature}"
    return headers
