"""A transcript as JSON with nothing lost: what is kept on a disk or sent to another machine."""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter

from turnscribe.transcript import Transcript


def to_json(transcript: Transcript) -> bytes:
    """`from_json(to_json(transcript)) == transcript`."""
    return _adapter().dump_json(transcript)


def from_json(data: bytes | str) -> Transcript:
    """Raises `pydantic.ValidationError`, a `ValueError`, for what another version wrote and this one cannot read."""
    return _adapter().validate_json(data)


@cache
def _adapter() -> TypeAdapter[Transcript]:
    return TypeAdapter(Transcript)
