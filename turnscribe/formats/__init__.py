"""Renderings of a transcript: OpenAI's three JSON shapes, plain text, subtitles (srt, vtt), tsv and rttm.

    >>> words = Transcript(" Hi.", (Chunk(" Hi.", 0.0, 0.5, speaker="SPEAKER_00"),), duration=1.0)
    >>> print(render(words, "srt"), end="")
    1
    00:00:00,000 --> 00:00:00,500
    SPEAKER_00: Hi.

Only what is known is written: a score, a language or a speaker the transcript does not have is left out,
and token ids are not known here at all. Knows neither files nor HTTP; `answer.py` has the answer's own JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from turnscribe.errors import BadParameters
from turnscribe.transcript import Chunk, Transcript, Turn
from turnscribe.whisper.languages import language_name

FORMATS = ("json", "verbose_json", "diarized_json", "text", "srt", "vtt", "tsv", "rttm")

MAX_CUE_CHARACTERS = 2 * 42  # two lines of 42, the usual limit of subtitle guides
MAX_CUE_SECONDS = 7.0  # the same guides' limit for one cue on the screen
MIN_CUE_SECONDS = 0.1  # what a cue of no length gets: players drop a cue that ends when it starts


def render(
    transcript: Transcript, response_format: str, *, words: bool = True, name: str = "audio"
) -> str | dict[str, Any]:
    """`transcript` in one of `FORMATS`: a dict of plain values for the JSON shapes, else a `str`.

    `words=False` keeps word times out of verbose_json; `name` is the recording's name in rttm.
    Raises `BadParameters` for a name that is not in `FORMATS`.
    """
    match response_format:
        case "json":
            return {"text": transcript.text}
        case "verbose_json":
            return _verbose_json(transcript, words=words)
        case "diarized_json":
            return _diarized_json(transcript)
        case "text":
            return _text(transcript)
        case "srt":
            return _srt(transcript)
        case "vtt":
            return _vtt(transcript)
        case "tsv":
            return _tsv(transcript)
        case "rttm":
            return _rttm(transcript, name)
    raise BadParameters(f"response_format is {response_format!r}; it must be one of {', '.join(FORMATS)}.")


def timestamp(seconds: float, *, separator: str = ".") -> str:
    """`HH:MM:SS` and milliseconds, rounded to the nearest; a negative time is 0, hours grow past 99.

    >>> timestamp(59.9996, separator=",")
    '00:01:00,000'
    """
    minutes, ms = divmod(milliseconds(seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{separator}{ms % 1000:03d}"


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded to the nearest, never negative. Source of every time written below."""
    assert math.isfinite(seconds), "times inside a transcript are finite"
    return max(0, round(seconds * 1000))


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as plain Python, without what is unknown (`None`, NaN, infinity), at any depth.

    numpy's numbers and arrays become Python's, tuples lists, floats are rounded to 6 decimals (float32 has
    no more). A list with an unknown number in it is unknown as a whole: its other places would shift.

    >>> known({"timestamp": (0.25, 1.0), "avg_logprob": float("nan"), "speaker": None})
    {'timestamp': [0.25, 1.0]}
    """
    return {str(key): plain for key, value in values.items() if (plain := _plain(value)) is not None}


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


# --- OpenAI's JSON shapes -----------------------------------------------------------------------------------
# openai-python, src/openai/types/audio/transcription_verbose.py and transcription_diarized.py. Left out
# because they are not known: seek, tokens (no ids here) and usage (nothing is billed).


def _verbose_json(transcript: Transcript, *, words: bool) -> dict[str, Any]:
    """TranscriptionVerbose; a segment has its speaker too, which OpenAI's has not."""
    segments = [
        {
            "id": index,
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "temperature": chunk.temperature,
            "avg_logprob": chunk.avg_logprob,
            "compression_ratio": chunk.compression_ratio,
            "no_speech_prob": chunk.no_speech_prob,
            "speaker": chunk.speaker,
        }
        for index, chunk in enumerate(transcript.chunks)
    ]
    timed = [
        {"word": word.text.strip(), "start": word.start, "end": word.end}
        for word in transcript.words
        if words and word.text.strip()
    ]
    return known(
        {
            "task": transcript.task,
            "language": language_name(transcript.language) if transcript.language else None,
            "duration": transcript.duration,
            "text": transcript.text,
            "segments": segments,
            "words": timed or None,
        }
    )


def _diarized_json(transcript: Transcript) -> dict[str, Any]:
    """TranscriptionDiarized; a chunk nobody was heard in has no `speaker`."""
    segments = [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number:03d}",
            "start": chunk.start,
            "end": chunk.end,
            "text": chunk.text,
            "speaker": chunk.speaker,
        }
        for number, chunk in enumerate(transcript.chunks, start=1)
    ]
    return known(
        {
            "task": transcript.task,
            "duration": transcript.duration,
            "text": transcript.text,
            "segments": segments,
        }
    )


# --- Text formats -------------------------------------------------------------------------------------------


def _text(transcript: Transcript) -> str:
    """The text; one line a speaker's run of chunks where speakers are known."""
    if not any(chunk.speaker for chunk in transcript.chunks):
        return _lines([transcript.text.strip()])
    runs = groupby(transcript.chunks, key=lambda chunk: chunk.speaker)
    return _lines(_spoken(speaker, "".join(chunk.text for chunk in chunks)) for speaker, chunks in runs)


def _srt(transcript: Transcript) -> str:
    """SubRip. It has no escapes: an arrow in the text becomes one character, and tags stay as they are."""
    blocks = []
    for number, cue in enumerate(_cues(transcript), start=1):
        start, end = timestamp(cue.start, separator=","), timestamp(cue.end, separator=",")
        blocks.append(f"{number}\n{start} --> {end}\n{_spoken(cue.speaker, cue.text).replace('-->', '→')}\n")
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    """WebVTT, the speaker as a voice tag. https://www.w3.org/TR/webvtt1/"""
    blocks = ["WEBVTT\n"]
    for cue in _cues(transcript):
        speaker = _one_line(cue.speaker or "")
        voice = f"<v {_escape(speaker)}>".replace("-->", "-&#45;>") if speaker else ""
        start, end = timestamp(cue.start), timestamp(cue.end)
        blocks.append(f"{start} --> {end}\n{voice}{_escape(_one_line(cue.text))}\n")
    return "\n".join(blocks)


def _tsv(transcript: Transcript) -> str:
    """Whisper's columns (start and end in milliseconds, text), then the speaker where any is known."""
    diarized = any(chunk.speaker for chunk in transcript.chunks)
    rows = [["start", "end", "text", "speaker"]]
    for chunk in transcript.chunks:
        text, speaker = _one_line(chunk.text), _one_line(chunk.speaker or "")
        rows.append([str(milliseconds(chunk.start)), str(milliseconds(chunk.end)), text, speaker])
    columns = 4 if diarized else 3
    return _lines("\t".join(cell.replace("\t", " ") for cell in row[:columns]) for row in rows)


def _rttm(transcript: Transcript, name: str) -> str:
    """NIST's rttm of the turns; of the chunks where there are none and speakers are known all the same.

    A turn of no length says nothing and some readers refuse it, so it is left out.
    """
    chunks = [Turn(chunk.speaker, chunk.start, chunk.end) for chunk in transcript.chunks if chunk.speaker]
    lines = []
    for turn in transcript.turns or chunks:
        start_ms, end_ms = milliseconds(turn.start), milliseconds(turn.end)
        if end_ms > start_ms:
            times = f"{start_ms / 1000:.3f} {(end_ms - start_ms) / 1000:.3f}"
            lines.append(f"SPEAKER {_field(name)} 1 {times} <NA> <NA> {_field(turn.speaker)} <NA> <NA>")
    return _lines(lines)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines if line)


def _one_line(text: str) -> str:
    """Without line breaks of any kind (Unicode has ten): they would end a cue or a row."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _spoken(speaker: str | None, text: str) -> str:
    text = _one_line(text)
    return f"{_one_line(speaker)}: {text}" if speaker and text else text


def _escape(text: str) -> str:
    """Cue text and annotations of WebVTT; `>` too, since `-->` would be read as a cue's times."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _field(name: str) -> str:
    """One field of rttm: no spaces, and no quotes, which CSV readers take for a quoted field."""
    return "_".join(name.replace('"', " ").split()) or "unknown"


# --- Cues ---------------------------------------------------------------------------------------------------


def _cues(transcript: Transcript) -> Iterator[Chunk]:
    """The chunks as a subtitle shows them: none empty, none of no length, the long ones cut at words."""
    for chunk in transcript.chunks:
        for cue in _readable(chunk):
            if _one_line(cue.text):
                start = max(0.0, cue.start)
                shown = milliseconds(cue.end) > milliseconds(start)
                yield replace(cue, start=start, end=cue.end if shown else start + MIN_CUE_SECONDS)


def _readable(chunk: Chunk) -> Iterator[Chunk]:
    """`chunk`, or pieces of it no longer than the limits where its words tell their times.

    A piece also ends with a sentence once it is half full. Words that do not spell the chunk's text are no
    evidence: then it stays whole. A single word over the limits stays whole too.
    """
    fits = len(chunk.text.strip()) <= MAX_CUE_CHARACTERS and chunk.end - chunk.start <= MAX_CUE_SECONDS
    if fits or "".join(word.text for word in chunk.words).split() != chunk.text.split():
        yield chunk
        return
    first, text = 0, ""
    for index, word in enumerate(chunk.words):
        full = (
            len((text + word.text).strip()) > MAX_CUE_CHARACTERS
            or word.end - chunk.words[first].start > MAX_CUE_SECONDS
            or (len(text) > MAX_CUE_CHARACTERS / 2 and text.endswith((".", "?", "!", "。", "？", "！")))
        )
        if full and index > first:
            yield _piece(chunk, first, index, text)
            first, text = index, ""
        text += word.text
    yield _piece(chunk, first, len(chunk.words), text)


def _piece(chunk: Chunk, first: int, stop: int, text: str) -> Chunk:
    words = chunk.words[first:stop]
    return replace(chunk, text=text, start=words[0].start, end=words[-1].end, words=words)
