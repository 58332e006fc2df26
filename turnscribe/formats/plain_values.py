"""Values for JSON: plain Python's, and only those that are known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from turnscribe.transcript import Token


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as plain Python, without what is unknown (`None`, NaN, infinity), at any depth.

    numpy's numbers and arrays become Python's, tuples lists, floats are rounded to 6 decimals (float32 has
    no more). A list with an unknown number in it is unknown as a whole: its other places would shift.

    >>> known({"timestamp": (0.25, 1.0), "avg_logprob": float("nan"), "speaker": None})
    {'timestamp': [0.25, 1.0]}
    """
    return {str(key): plain for key, value in values.items() if (plain := _plain(value)) is not None}


def token_logprobs(tokens: Iterable[Token]) -> list[dict[str, Any]] | None:
    """OpenAI's `logprobs` (openai-python, `types/audio/transcription.py`); `None` where there are none."""
    listed = [
        {"token": token.text, "bytes": list(token.text.encode()), "logprob": round(token.logprob, 6)}
        for token in tokens
    ]
    return listed or None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy and torch, without importing them
        value = value.tolist()
    if isinstance(value, float):
        return round(float(value), 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return known(value)
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return None if any(item is None for item in items) else items
    return value
