"""Spans by OpenTelemetry's SDK, sent as OTLP over HTTP in a thread of its own.

The SDK reads its variables itself: where to send, with which headers, how many spans may wait, which traces are kept
(`OTEL_EXPORTER_OTLP_...`, `OTEL_BSP_...`, `OTEL_TRACES_SAMPLER`), and the service's name. What its exporter says of a
failure may hold an address with a secret in its query, so the log has a sentence of ours in its place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import turnscribe
from turnscribe.serving.tracing.spans import NO_ATTRIBUTES, Attributes

log = logging.getLogger("turnscribe.server")

LONGEST_TRACEPARENT = 128  # characters; W3C's first version has 55


class OtelTracing:
    """`exporter` takes the place of OTLP's, whose receiver the environment names."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL + 1)
        own = Resource.create({"service.name": "turnscribe", "service.version": turnscribe.__version__})
        # not at the interpreter's exit: nobody would bound how long that takes
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(exporter or OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("turnscribe", turnscribe.__version__)

    def begin(self, name: str, parent: str | None, *, incoming: bool = False) -> OtelSpan:
        """As `Tracing.begin`. Of what a caller sends, the ids and the flag count; `tracestate` is not taken up."""
        kind = SpanKind.SERVER if incoming else SpanKind.INTERNAL
        return OtelSpan(self._tracer.start_span(name, _context_of(parent, remote=incoming), kind))

    def end(self, seconds: float) -> None:
        """As `Tracing.end`; a receiver that does not answer is left alone after that."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(seconds)


class OtelSpan:
    def __init__(self, span: Span) -> None:
        self._span = span
        self._ended = False

    @property
    def traceparent(self) -> str:
        own = self._span.get_span_context()
        return f"00-{format_trace_id(own.trace_id)}-{format_span_id(own.span_id)}-{own.trace_flags:02x}"

    def end(self, *, name: str | None = None, failed: bool = False, attributes: Attributes = NO_ATTRIBUTES) -> None:
        if self._ended:
            return
        self._ended = True
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(attributes)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class _Exporter(SpanExporter):
    """Says once that the receiver does not take spans, and once that it does again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lost = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        lost = result != SpanExportResult.SUCCESS
        if lost and not self._lost:
            log.warning(
                "traces cannot be sent to the receiver that OTEL_EXPORTER_OTLP_ENDPOINT names: they are dropped"
            )
        elif self._lost and not lost:
            log.info("traces are sent again")
        self._lost = lost
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _context_of(traceparent: str | None, *, remote: bool) -> Context:
    """Never what this thread or task happens to have as its span; empty where the text is no traceparent."""
    if not traceparent or len(traceparent) > LONGEST_TRACEPARENT:
        return Context()
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    if remote:
        return context
    read = get_current_span(context).get_span_context()
    own = SpanContext(read.trace_id, read.span_id, is_remote=False, trace_flags=read.trace_flags)
    return set_span_in_context(NonRecordingSpan(own), Context())
