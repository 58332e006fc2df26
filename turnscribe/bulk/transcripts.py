"""Transcripts as JSON with nothing lost, for tasks on different machines. Knows no files."""

from __future__ import annotations

from functools import cache
from typing import Any

from turnscribe.transcript import Transcript


def to_json(transcript: Transcript) -> bytes:
    """`from_json(to_json(transcript)) == transcript`."""
    return bytes(_adapter().dump_json(transcript))


def from_json(data: bytes | str) -> Transcript:
    transcript: Transcript = _adapter().validate_json(data)
    return transcript


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Transcript)
