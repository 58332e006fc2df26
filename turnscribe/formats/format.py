"""What a format is: a name, how its files are called and sent, and a function that renders a transcript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeAlias

from turnscribe.errors import BadParameters
from turnscribe.subtitle_limits import USUAL_LIMITS, SubtitleLimits
from turnscribe.transcript import Transcript

JSON = "application/json"

Rendered: TypeAlias = str | bytes | dict[str, Any]  # an object of plain values for the JSON shapes


@dataclass(frozen=True)
class RenderOptions:
    """`words=False` keeps word times out of JSON; `recording` is its name where a format names it; `subtitles` are
    the limits of those."""

    words: bool = True
    recording: str = "audio"
    subtitles: SubtitleLimits = USUAL_LIMITS


class Library(NamedTuple):
    """What writes a format, where the package has no writer of its own: its module, and what pip calls it."""

    module: str
    package: str


@dataclass(frozen=True)
class Format:
    """`suffix` is a file's, without the dot; a format that `needs_speakers` says nothing without them.

    One that `is_binary` renders bytes. `library` is imported inside `render` alone.
    """

    name: str
    suffix: str
    media_type: str
    render: Callable[[Transcript, RenderOptions], Rendered]
    needs_speakers: bool = False
    is_binary: bool = False
    library: Library | None = None

    @property
    def is_json(self) -> bool:
        """Whether it renders an object."""
        return self.media_type == JSON

    @property
    def is_available(self) -> bool:
        """Whether this installation has what it needs."""
        return self.library is None or find_spec(self.library.module) is not None

    def check_available(self) -> None:
        """Raises `BadParameters` that says what to install."""
        if self.library is not None and not self.is_available:
            package = self.library.package
            raise BadParameters(
                f"response_format is {self.name!r}, and {package} is not installed here: pip install {package}, "
                "or choose another format."
            )
