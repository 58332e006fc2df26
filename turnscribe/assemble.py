"""A transcript out of its parts: of one recording, or of the pieces that one was cut into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import TypeAlias

from turnscribe.diarization.merge import group_turns
from turnscribe.request import Task
from turnscribe.transcript import Chunk, SpeakerText, Speculation, Transcript, Turn

GroupTurns: TypeAlias = Callable[[Sequence[Chunk]], Sequence[SpeakerText]]


def assemble(
    chunks: Sequence[Chunk],
    turns: Sequence[Turn],
    *,
    duration: float,
    language: str | None,
    timings: Mapping[str, float],
    warnings: Iterable[str],
    speculations: Iterable[Speculation | None],
    task: Task,
    group_turns: GroupTurns = group_turns,
) -> Transcript:
    """The text and its speakers follow from `chunks`; equal warnings are told once; tokens of an assistant add up.

    `language` is what was spoken, the transcript's that of its text: a translation is English.
    """
    counts = [speculation for speculation in speculations if speculation is not None]
    return Transcript(
        text="".join(chunk.text for chunk in chunks).strip(),
        chunks=tuple(chunks),
        duration=round(duration, 3),
        language="en" if language and task == "translate" else language,
        speakers=tuple(group_turns(chunks)),
        turns=tuple(turns),
        timings=dict(timings),
        warnings=tuple(dict.fromkeys(warnings)),
        speculation=reduce(add, counts) if counts else None,
        task=task,
    )
