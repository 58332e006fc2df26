"""A decoded window's text on the recording's clock, held against where somebody speaks. What both backends do.

1. read the tokens: chunks, and words as they are aligned
2. leave out the words that nobody had time to say
3. put the others where somebody speaks
4. see whether something is left to decode
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from turnscribe.request import DecodingOptions, Task
from turnscribe.speech.evidence import without_time
from turnscribe.speech.placement import place, stretches_in
from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.speech.windows import speech_windows
from turnscribe.transcript import Chunk, Word
from turnscribe.waveform import Waveform, is_silent
from turnscribe.whisper.reading import DecodedWindow, Reader
from turnscribe.whisper.windows import Window, cut_windows

LEAST_SPEECH = 0.2  # seconds of it in what is left of a window, or it is not decoded
UNWRITTEN = (
    1.0  # seconds of speech behind the text of a window that says it is finished, and that is decoded on its own
)
BEFORE_SPEECH = 0.2  # seconds before it that are heard, too


@dataclass(frozen=True)
class WindowText:
    """Chunks in seconds of the recording, in order and apart; what is left to decode; what the caller is to know."""

    chunks: list[Chunk]
    rest: Window | None
    warnings: tuple[str, ...] = ()


def windows_to_decode(waveform: Waveform, speech: SpeechMap | None, options: DecodingOptions) -> list[Window]:
    """Windows of speech, or where nothing is known of speech, of all of the recording that is not silent."""
    if speech is not None:
        return speech_windows(
            waveform,
            speech,
            max_seconds=options.chunk_length_s,
            margin=options.vad_speech_pad_ms / 1000,
            longest_pause=options.vad_min_silence_duration_ms / 1000,
        )
    windows = cut_windows(waveform, options.chunk_length_s)
    return [window for window in windows if not is_silent(window.heard(waveform))]


def read_window(
    reader: Reader, decoded: DecodedWindow, *, spoken: str, task: Task, speech: SpeechMap | None
) -> WindowText:
    """`spoken` is the language of what is said; `speech` is the recording's, `None` where it is not known."""
    window = decoded.window
    chunks, rest_from = reader.read(decoded, written(spoken, task))
    chunks, warnings = _without_what_nobody_said(chunks, window)
    rest = _rest(window, rest_from, speech) or _unwritten(window, _written_until(chunks), speech)
    stretches = stretches_in(window, speech) or stretches_in(window, None)
    if rest is not None:
        stretches = _until(rest.offset, stretches)
    aligned = [_in_recording(word, window) for chunk in chunks for word in chunk.words]
    words = iter(place(aligned, stretches, exact=speech is not None))
    placed = []
    for chunk in chunks:
        own = tuple(next(words) for _ in chunk.words)
        start = own[0].start if own else window.time(chunk.start)
        end = own[-1].end if own else window.time(chunk.end, end=True)
        placed.append(replace(chunk, start=start, end=end, words=own, language=spoken))
    return WindowText(_apart(placed), rest, warnings)


def passed_over_from(
    reader: Reader,
    window: Window,
    tokens: Sequence[int],
    decoded: Callable[[], DecodedWindow],
    *,
    spoken: str,
    task: Task,
    speech: SpeechMap | None,
) -> float | None:
    """Where speech begins that comes after a closed text, in seconds of the window; `None` where there is none.

    `decoded` is called where the last timestamp alone does not say so: its words have to be aligned.
    """
    closed_at = reader.closed_at(tokens)
    if closed_at is None or _unwritten(window, closed_at, speech) is None:
        return None
    chunks, rest_from = reader.read(decoded(), written(spoken, task))
    if rest_from is not None:
        return None
    chunks, _ = _without_what_nobody_said(chunks, window)
    unwritten = _unwritten(window, _written_until(chunks), speech)
    return None if unwritten is None else window.duration - unwritten.duration


def written(spoken: str, task: Task) -> str:
    """The language of the text: a translation is English."""
    return "en" if task == "translate" else spoken


def _until(time: float, stretches: Sequence[Stretch]) -> list[Stretch]:
    """What there is before a time: the last word before it is aligned to all that is not written down yet, too."""
    before = [Stretch(one.start, min(one.end, time)) for one in stretches if one.start < time]
    return before or [Stretch(time, time)]


def _without_what_nobody_said(chunks: Sequence[Chunk], window: Window) -> tuple[list[Chunk], tuple[str, ...]]:
    words = [word for chunk in chunks for word in chunk.words]
    runs = without_time(words)
    if not runs:
        return list(chunks), ()
    dropped = {index for first, stop in runs for index in range(first, stop)}
    warnings = tuple(
        f"Text at {window.time(words[first].start):.1f} s was left out: nobody had time to say its "
        f"{stop - first} words."
        for first, stop in runs
    )
    kept: list[Chunk] = []
    index = 0
    for chunk in chunks:
        own = tuple(word for position, word in enumerate(chunk.words, start=index) if position not in dropped)
        index += len(chunk.words)
        if len(own) < len(chunk.words):
            chunk = replace(chunk, text="".join(word.text for word in own), words=own)
        if chunk.text.strip():
            kept.append(chunk)
    return kept, warnings


def _in_recording(word: Word, window: Window) -> Word:
    start = window.time(word.start)
    return replace(word, start=start, end=max(window.time(word.end, end=True), start))


def _apart(chunks: list[Chunk]) -> list[Chunk]:
    """Chunks without words may overlap their neighbours: the later one begins where the earlier one ends."""
    for index, (before, after) in enumerate(pairwise(chunks), start=1):
        if after.start < before.end and not after.words:
            chunks[index] = replace(after, start=before.end, end=max(after.end, before.end))
    return chunks


def _rest(window: Window, rest_from: float | None, speech: SpeechMap | None) -> Window | None:
    if rest_from is None:
        return None
    rest = window.after(rest_from)
    if speech is None:
        return rest if rest.samples else None
    return rest if SpeechMap(tuple(stretches_in(rest, speech)), speech.duration).seconds >= LEAST_SPEECH else None


def _written_until(chunks: Sequence[Chunk]) -> float | None:
    """Up to where there is text, in the chunks' seconds. Ends of words are drawn out over what is not written."""
    begun = [word.start for chunk in chunks for word in chunk.words]
    return max([chunk.end for chunk in chunks] + begun, default=None)


def _unwritten(window: Window, written_until: float | None, speech: SpeechMap | None) -> Window | None:
    """What Whisper passed over at the end of a window: it closed the text with a timestamp, and whole stretches of
    speech come after it. `written_until` is in seconds of the window; `None` is without any text."""
    if speech is None or written_until is None:
        return None
    until = window.time(written_until, end=True)
    stretches = stretches_in(window, speech)
    after = [stretch for stretch in stretches if stretch.start >= until]
    if len(after) == len(stretches) or sum(stretch.end - stretch.start for stretch in after) < UNWRITTEN:
        return None
    return window.since(max(after[0].start - BEFORE_SPEECH, until))
