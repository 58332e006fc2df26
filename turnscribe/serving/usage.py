"""How much each API key is used: counters that name a key by the beginning of its hash.

A label is the first 8 hexadecimal digits of the key's SHA-256, without a salt: it stays the same over restarts and
replicas, and whoever has a key can say which one it is. It does not give the key away where keys are drawn at random,
as they should be; one that can be guessed can be tried against it. Only configured keys have a label, so there are at
most as many series as keys, times the few values beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter

LABEL_DIGITS = 8

Kind: TypeAlias = Literal["request", "job", "live"]
KINDS: tuple[Kind, ...] = ("request", "job", "live")


def label_of(key: str) -> str:
    """What stands for a key in `/metrics`.

    >>> label_of("secret")
    '2bb80d53'
    """
    return hashlib.sha256(key.encode()).hexdigest()[:LABEL_DIGITS]


class Usage:
    """Of `labels`, and of nobody else: what a key did that is not configured any more is not counted."""

    def __init__(self, registry: CollectorRegistry, labels: Iterable[str]) -> None:
        self._labels = frozenset(labels)
        self._requests = Counter(
            "turnscribe_key_requests_total",
            "Requests and live connections by API key and outcome.",
            ["key", "outcome"],
            registry=registry,
        )
        self._seconds = Counter(
            "turnscribe_key_audio_seconds_total",
            "Seconds of audio by API key: transcribed in requests and jobs, heard in live sessions.",
            ["key", "kind"],
            registry=registry,
        )
        self._errors = Counter(
            "turnscribe_key_errors_total",
            "By API key: requests answered with an error, jobs and utterances of live sessions that failed.",
            ["key", "kind"],
            registry=registry,
        )
        for label in self._labels:
            self._requests.labels(label, "ok")
            for kind in KINDS:  # a rate needs to see it at 0
                self._seconds.labels(label, kind)
                self._errors.labels(label, kind)

    def count_request(self, label: str | None, outcome: str) -> None:
        if label in self._labels:
            self._requests.labels(label, outcome).inc()
            if outcome not in ("ok", "gone"):
                self._errors.labels(label, "request").inc()

    def count_audio(self, label: str | None, kind: Kind, seconds: float) -> None:
        if label in self._labels:
            self._seconds.labels(label, kind).inc(seconds)

    def count_error(self, label: str | None, kind: Kind) -> None:
        if label in self._labels:
            self._errors.labels(label, kind).inc()
