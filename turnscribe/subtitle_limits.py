"""The limits that subtitles keep to. Depends on nothing, so that a transcript is rendered where only Python is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SubtitleLimits:
    """A cue has at most `max_line_count` lines of `max_line_width` characters, and stays for `max_cue_duration_s`.

    With `max_characters_per_second` a cue stays on the screen until it can be read at that speed, but not beyond the
    next cue, nor beyond `max_cue_duration_s`. `min_cue_gap_s` seconds are free between two cues. Lengths in seconds.

    The first three defaults are the usual limits of subtitle guides
    (https://partnerhelp.netflixstudios.com/hc/en-us/articles/215758617), the names of the first two those of
    openai-whisper and WhisperX. Without the others a cue ends when its last word does.
    """

    max_line_width: int = 42
    max_line_count: int = 2
    max_cue_duration_s: float = 7.0
    max_characters_per_second: float | None = None
    min_cue_gap_s: float = 0.0


USUAL_LIMITS = SubtitleLimits()
