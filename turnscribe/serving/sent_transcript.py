"""A transcript that a client sends, in the shape of the endpoint's answer: one that a person has mended, say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from turnscribe.assemble import assemble
from turnscribe.formats import FORMATS
from turnscribe.serving.problems import Malformed
from turnscribe.transcript import Chunk, Transcript, Turn, Word

MOST_WORDS = 200_000  # twenty hours of speech
MOST_ERRORS = 100
LONGEST_NAME = 200  # characters
LONGEST_S = 1e6  # seconds, twelve days
RIGHT = "send it as the endpoint answers it, with text, chunks, speakers, words, language and duration"
NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")  # XML has no place for it
TURN_PAUSE_S = 1.0  # a pause that ends a turn

ItemT = TypeVar("ItemT")
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
Span = tuple[Seconds, Seconds]
Text = Annotated[str, AfterValidator(lambda text: NO_TEXT.sub(" ", text))]
Name = Annotated[Text, Field(max_length=LONGEST_NAME)]
Many = Annotated[list[ItemT], Field(max_length=MOST_WORDS)]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SentWord(_Sent):
    word: Text
    start: Seconds
    end: Seconds
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    speaker: Name | None = None


class SentChunk(_Sent):
    text: Text
    timestamp: Span
    speaker: Name | None = None
    language: Name | None = None


class SentTurn(_Sent):
    speaker: Name
    timestamp: Span


class SentTranscript(_Sent):
    """The parts of an answer that say what was said; `text` counts where there is nothing else."""

    text: Text = ""
    chunks: Many[SentChunk] = []
    words: Many[SentWord] = []
    speakers: Many[SentTurn] = []
    language: Name | None = None
    duration: Seconds | None = None


class RenderOrder(_Sent):
    """What is to be rendered, how, and what the recording is called."""

    transcript: SentTranscript
    response_format: str = "json"
    filename: Name = "transcript"


def read_order(body: bytes) -> RenderOrder:
    """The order in a body of JSON. Raises `Malformed`, one sentence without anything of the body."""
    try:
        return RenderOrder.model_validate_json(body)
    except ValidationError as error:
        if error.error_count() > MOST_ERRORS:  # to read them all would hold the interpreter for seconds
            raise Malformed(f"transcript is wrong in {error.error_count()} places: {RIGHT}.") from None
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        raise Malformed(_sentence(errors[0])) from None


def to_transcript(sent: SentTranscript) -> Transcript:
    """The same as the pipeline's nouns. Words are shared out among the chunks; where they do not spell those, the
    words count, and their speakers' runs are the chunks."""
    words = [
        Word(each.word, each.start, max(each.start, each.end), each.probability, each.speaker) for each in sent.words
    ]
    chunks = [
        Chunk(each.text, each.timestamp[0], max(each.timestamp), speaker=each.speaker, language=each.language)
        for each in sent.chunks
    ]
    if words:
        chunks = _with_words(chunks, words) or list(_runs(words))
    elif not chunks and sent.text.strip():
        chunks = [Chunk(sent.text, 0.0, sent.duration or 0.0)]
    return assemble(
        chunks,
        _turns(words) or [Turn(each.speaker, each.timestamp[0], max(each.timestamp)) for each in sent.speakers],
        duration=sent.duration or max((chunk.end for chunk in chunks), default=0.0),
        language=sent.language,
        timings={},
        warnings=(),
        speculations=(),
        task="transcribe",
    )


def _with_words(chunks: Sequence[Chunk], words: Sequence[Word]) -> list[Chunk]:
    """Each chunk with the words that spell it; nothing where they spell something else."""
    found, at = list[Chunk](), 0
    for chunk in chunks:
        first, letters = at, _letters(chunk.text)
        spelt = ""
        while at < len(words) and len(spelt) < len(letters):
            spelt += _letters(words[at].text)
            at += 1
        if spelt != letters:
            return []
        own = tuple(words[first:at])
        found.append(Chunk(chunk.text, chunk.start, chunk.end, own, chunk.speaker, language=chunk.language))
    return found if at == len(words) else []


def _runs(words: Sequence[Word]) -> Iterator[Chunk]:
    for speaker, run in groupby(words, key=lambda word: word.speaker):
        own = tuple(run)
        yield Chunk("".join(word.text for word in own), own[0].start, own[-1].end, own, speaker)


def _turns(words: Sequence[Word]) -> list[Turn]:
    turns = list[Turn]()
    for word in words:
        last = turns[-1] if turns else None
        if last and word.speaker == last.speaker and word.start - last.end < TURN_PAUSE_S:
            turns[-1] = Turn(last.speaker, last.start, max(last.end, word.end))
        elif word.speaker:
            turns.append(Turn(word.speaker, word.start, word.end))
    return turns


def _letters(text: str) -> str:
    return "".join(text.split())


def _sentence(error: Any) -> str:
    """The first thing that is wrong; where it is has only our own names and numbers in it."""
    if error["type"] == "json_invalid" or not error["loc"]:
        return "The body is no JSON object: send transcript, response_format and filename."
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if where == "response_format":
        return f"response_format is no text: give one of {', '.join(FORMATS)}."
    if error["type"] == "missing":
        return f"{where} is missing: {RIGHT}."
    return f"{where} is wrong ({error['msg'].removeprefix('Input ')}): {RIGHT}."
