"""Whether there are traces: where the environment names a receiver, by OpenTelemetry's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from turnscribe.errors import SettingsError
from turnscribe.serving.tracing.spans import NO_TRACING, Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
DISABLED = "OTEL_SDK_DISABLED"
SPOKEN = "http/protobuf"


def chosen_tracing(environ: Mapping[str, str] = os.environ) -> Tracing:
    """Nothing is imported where no variable names a receiver.

    Raises `SettingsError` where the packages are missing, or another protocol is asked for.
    """
    endpoint, protocol = _first_set(environ, ENDPOINTS), _first_set(environ, PROTOCOLS)
    if endpoint is None or environ.get(DISABLED, "").strip().lower() == "true":
        return NO_TRACING
    if protocol is not None and environ[protocol].strip() != SPOKEN:
        raise SettingsError(f"{protocol} is another protocol than {SPOKEN}, which alone is spoken: leave it out.")
    try:
        from turnscribe.serving.tracing.otel import OtelTracing
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{endpoint} is set, and {error.name} is not installed: pip install 'turnscribe[otel]', or leave the "
            "variable out."
        ) from error
    return OtelTracing()


def _first_set(environ: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The first that says something: what is said of traces alone goes before what is said of all."""
    return next((name for name in names if environ.get(name, "").strip()), None)
