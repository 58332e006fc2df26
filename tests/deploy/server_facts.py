"""What is true of the server, for the files that deploy it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import yaml

from config import ModelSettings, ServerSettings
from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
OTHERS = {"OTEL_EXPORTER_OTLP_ENDPOINT"}  # variables of OpenTelemetry's


def secrets() -> set[str]:
    return {"API_KEYS", "HF_TOKEN", "WEBHOOK_SECRET"}


def variables() -> set[str]:
    """All that the server reads."""
    fields = {name.upper() for kind in (ModelSettings, ServerSettings) for name in kind.model_fields}
    assert secrets() <= fields
    return fields | {f"{name}_FILE" for name in secrets()} | OTHERS


def shutdown_default() -> float:
    return float(ServerSettings.model_fields["shutdown_timeout_s"].default)


def routes(client: httpx.Client) -> set[str]:
    return set(client.get("/openapi.json").json()["paths"])


def metric_names(client: httpx.Client) -> set[str]:
    return set(re.findall(r"^(turnscribe_\w+)", client.get("/metrics").text, flags=re.MULTILINE))


def documents(file: Path) -> list[dict]:
    return list(yaml.safe_load_all(file.read_text()))
