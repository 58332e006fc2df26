"""What a format is: a name, how its files are called and sent, and a function that renders a transcript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from turnscribe.transcript import Transcript

JSON = "application/json"

Rendered: TypeAlias = str | dict[str, Any]  # an object of plain values for the JSON shapes


@dataclass(frozen=True)
class RenderOptions:
    """`words=False` keeps word times out of JSON; `recording` is its name where a format names it."""

    words: bool = True
    recording: str = "audio"


@dataclass(frozen=True)
class Format:
    """`suffix` is a file's, without the dot; a format that `needs_speakers` says nothing without them."""

    name: str
    suffix: str
    media_type: str
    render: Callable[[Transcript, RenderOptions], Rendered]
    needs_speakers: bool = False

    @property
    def is_json(self) -> bool:
        """Whether it renders an object."""
        return self.media_type == JSON
