"""Webhooks: a job that has ended is told to the URL its client gave, signed, and again later where that failed."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from turnscribe.inputs.fetch import post
from turnscribe.serving.jobs.store import Job, JobStore

log = logging.getLogger("turnscribe.server")

WEBHOOK_SECONDS = 20.0
SIGNATURE = "Turnscribe-Signature"

Post: TypeAlias = Callable[[str, bytes, Mapping[str, str]], int]  # (URL, body, headers) -> the answer's status


def post_webhook(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """To a public https address, within `WEBHOOK_SECONDS`."""
    return post(url, body, headers, max_seconds=WEBHOOK_SECONDS)


class Webhooks:
    """The webhooks of a store's jobs, sent by `post` and signed with `secret` where there is one."""

    def __init__(self, store: JobStore, *, secret: str | None = None, post: Post = post_webhook) -> None:
        self.store, self._secret, self._post = store, secret, post

    def deliver_next(self) -> bool:
        """Send the next one that is due; false where there is none."""
        job = self.store.claim_webhook()
        if job is None:
            return False
        self.store.note_webhook_try(job, delivered=self._deliver(job))
        return True

    def _deliver(self, job: Job) -> bool:
        assert job.webhook is not None
        event = {"id": job.id, "status": job.status, "created_at": job.created_at, "ended_at": job.ended_at}
        body = json.dumps({**event, "error": job.error}).encode()
        try:
            status = self._post(job.webhook, body, webhook_headers(body, self._secret, int(self.store.clock())))
        except Exception as error:
            log.warning("a webhook could not be sent: %s", type(error).__name__)
            return False
        return 200 <= status < 300


def webhook_headers(body: bytes, secret: str | None, now: int) -> dict[str, str]:
    """With a secret, `t=<seconds>,v1=<hex>`: HMAC-SHA256 of `<seconds>.<body>` under it."""
    headers: dict[str, str] = {"Content-Type": "application/json"}
    if secret:
        signature = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        headers[SIGNATURE] = f"t={now},v1={signature}"
    return headers
