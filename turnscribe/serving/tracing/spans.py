"""What is traced: a span for each request and job, and below it one for each stage of the work.

A span is known to others by its W3C `traceparent`, a short text that goes along with a request, into the queue and
into the database of the jobs. Whether spans go anywhere is for `turnscribe/serving/tracing/choice.py`; without a
receiver there are none, and OpenTelemetry's SDK is not imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol, TypeAlias

from turnscribe.listener import Listener

Attributes: TypeAlias = Mapping[str, str | int]
NO_ATTRIBUTES: Attributes = MappingProxyType({})


class Span(Protocol):
    """Something that takes time, from where it was begun to `end`."""

    @property
    def traceparent(self) -> str | None:
        """By which further spans say that they belong to it; `None` where nothing is traced."""

    def end(self, *, name: str | None = None, failed: bool = False, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """It is over; called again, nothing happens. The name and the attributes hold nothing of the caller's own."""


class Tracing(Protocol):
    """Begins spans, and sends those that have ended. May be called in several threads."""

    def begin(self, name: str, parent: str | None, *, incoming: bool = False) -> Span:
        """A span below the one with the traceparent `parent`, or the first of a trace.

        `incoming` is what somebody else asked for; `parent` is theirs then, and may be any text.
        """

    def end(self, seconds: float) -> None:
        """Send what is left, for so many seconds at most."""


class _NoSpan:
    traceparent = None

    def end(self, *, name: str | None = None, failed: bool = False, attributes: Attributes = NO_ATTRIBUTES) -> None:
        pass


class _NoTracing:
    def begin(self, name: str, parent: str | None, *, incoming: bool = False) -> Span:
        return _NO_SPAN

    def end(self, seconds: float) -> None:
        pass


_NO_SPAN: Span = _NoSpan()
NO_TRACING: Tracing = _NoTracing()


@contextmanager
def stage_spans(tracing: Tracing, parent: str | None, listener: Listener) -> Iterator[Listener]:
    """The listener, which also begins and ends a span for each stage. Those that an error leaves open end with it."""
    if parent is None:
        yield listener
        return
    spans: dict[str, Span] = {}

    def on_stage(stage: str) -> None:
        if stage not in spans:  # it is told again where another one beside it has ended
            spans[stage] = tracing.begin(stage, parent)
        listener.on_stage(stage)

    def on_stage_end(stage: str) -> None:
        if (span := spans.pop(stage, None)) is not None:
            span.end()
        listener.on_stage_end(stage)

    try:
        yield replace(listener, on_stage=on_stage, on_stage_end=on_stage_end)
    finally:
        for span in list(spans.values()):
            span.end(failed=True)
