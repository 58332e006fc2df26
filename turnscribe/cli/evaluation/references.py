"""What was really said in a recording: read from and written to files beside it, or synthesized.

Beside `name.wav` may lie, each for what it knows:

    name.json   {"words": [{"word", "start", "end", "speaker"}]}, times in seconds; all but "word" may be missing
    name.stm    NIST: file channel speaker start end [<label>] text
    name.txt    plain text, nothing but what is said
    name.rttm   NIST: SPEAKER file channel start duration <NA> <NA> speaker <NA> <NA>

Words come from the first of json, stm and txt; turns from rttm, else from the json's timed words, else from
the stm. Does not know: alternatives and optional words in brackets, regions that are not to be scored (such a
file is refused), nor languages written without spaces.
"""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from turnscribe.cli.evaluation.synthetic_speech import (
    VOICES,
    Dialogue,
    Placed,
    place,
    random_dialogue,
    random_sentence,
)
from turnscribe.cli.transcription.plan import plan
from turnscribe.files import write_whole
from turnscribe.transcript import Turn, Word
from turnscribe.waveform import to_wav

SUFFIXES = (".json", ".stm", ".txt", ".rttm")
MARGIN = 0.5  # seconds around a synthesized sentence
PAUSE = 0.15  # seconds without a word that end a turn: what the demo diarizer is trained on
NOT_SCORED = "ignore_time_segment_in_scoring"


class BadReference(ValueError):
    """A reference file cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class SpokenWord:
    """A normalised word, with its seconds and its speaker where they are known.

    >>> SpokenWord("hello", (0.5, 0.9), "anna").text
    'hello'
    """

    text: str
    span: tuple[float, float] | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Reference:
    """`None` where nothing is known; an empty tuple is known silence."""

    words: tuple[SpokenWord, ...] | None = None
    turns: tuple[Turn, ...] | None = None


def normalise(text: str) -> list[str]:
    """Words in lower case without punctuation: apostrophes go, other marks and symbols part words.

    Numbers, spellings and fillers stay as they are: "2" and "two" are different words.

    >>> normalise("Don't panic: it's 9:30 - a well-known hour.")
    ['dont', 'panic', 'its', '9', '30', 'a', 'well', 'known', 'hour']
    """

    def kept(character: str) -> str:
        if character in "'’ʼ`":
            return ""
        return " " if unicodedata.category(character)[0] in "PS" else character

    return "".join(map(kept, unicodedata.normalize("NFC", text).lower())).split()


def spoken(text: str, span: tuple[float, float] | None = None, speaker: str | None = None) -> list[SpokenWord]:
    """The words of `text`; where there is more than one, nobody knows the times between them."""
    words = normalise(text)
    return [SpokenWord(word, span if len(words) == 1 else None, speaker) for word in words]


# Recordings with references -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A recording to measure: the group it is summed up in, and how to get it."""

    name: str
    group: str
    load: Callable[[], tuple[bytes, Reference]]


def recorded(sources: Sequence[str]) -> tuple[list[Case], list[Path]]:
    """The recordings with references among files, folders and patterns, each once, and those without.

    A recording that is not there is among the first: it fails when its turn comes.
    """
    cases: dict[Path, Case] = {}
    bare: dict[Path, None] = {}
    for given in sources:
        folder = Path(given) if Path(given).is_dir() else Path(given).parent
        for path in plan([given]):
            if path.exists() and not any(path.with_suffix(suffix).is_file() for suffix in SUFFIXES):
                bare[path] = None
            elif path not in cases:
                name = path.relative_to(folder.absolute()) if path.is_relative_to(folder.absolute()) else path
                cases[path] = Case(str(name), str(folder), partial(_recording, path))
    return list(cases.values()), list(bare)


def _recording(path: Path) -> tuple[bytes, Reference]:
    return path.read_bytes(), read_reference(path)


def synthesized(
    seed: int, *, dialogues: int, seconds: float, sentences: int, noise_db: float, save: Path | None = None
) -> list[Case]:
    """Dialogues of the seeds from `seed` on, and sentences, which `seed` and their place determine.

    They are made when they are loaded, and written to `save` with their references.
    """
    made: list[tuple[str, str, Callable[[], Dialogue]]] = []
    for index in range(dialogues):
        make = partial(random_dialogue, seed + index, duration=seconds, noise_db=noise_db)
        made.append((f"dialogue-{seed + index}", "dialogues", make))
    for index in range(sentences):
        made.append((f"sentence-{seed}-{index}", "sentences", partial(_sentence, f"{seed}/{index}", noise_db)))
    return [Case(name, group, partial(_synthesized, name, make, save)) for name, group, make in made]


def _sentence(seed: str, noise_db: float) -> Dialogue:
    rng = random.Random(seed)
    utterance = random_sentence(rng, rng.choice(VOICES))
    return place([(utterance, MARGIN)], duration=utterance.duration + 2 * MARGIN, noise_db=noise_db, rng=rng)


def _synthesized(name: str, make: Callable[[], Dialogue], save: Path | None) -> tuple[bytes, Reference]:
    dialogue = make()
    audio, words = to_wav(dialogue.waveform), words_of(dialogue.utterances)
    if save:
        write_whole(save / f"{name}.wav", audio)
        write_reference(save, name, words)
    return audio, reference_of(words)


# Reading ---------------------------------------------------------------------------------------------


def read_reference(recording: Path) -> Reference:
    """What lies beside `recording`. Raises `BadReference`."""
    found = {suffix: file for suffix in SUFFIXES if (file := recording.with_suffix(suffix)).is_file()}
    reference = Reference()
    for suffix, parse in ((".txt", _parse_txt), (".stm", _parse_stm), (".json", _parse_json), (".rttm", _parse_rttm)):
        if suffix not in found:
            continue
        try:
            known = parse(found[suffix].read_text(encoding="utf-8-sig"), recording.stem)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            reason = str(error) if isinstance(error, BadReference) else "it is not of the form described in --help"
            raise BadReference(f"{found[suffix].name} cannot be used: {reason}.") from error
        words = reference.words if known.words is None else known.words
        reference = Reference(words, reference.turns if known.turns is None else known.turns)
    return reference


def parse_rttm(text: str) -> tuple[Turn, ...]:
    """The turns of an rttm about one recording, by time."""
    return _parse_rttm(text, "").turns or ()


def _parse_txt(text: str, stem: str) -> Reference:
    return Reference(tuple(spoken(text)))


def _parse_json(text: str, stem: str) -> Reference:
    entries = [
        {name: value for name, value in entry.items() if value is not None} for entry in json.loads(text)["words"]
    ]
    for entry in entries:
        if "speaker" in entry:
            entry["speaker"] = str(entry["speaker"])
    if all("start" in entry and "end" in entry for entry in entries):
        return reference_of(
            Word(entry["word"], _seconds(entry["start"]), _seconds(entry["end"]), speaker=entry.get("speaker"))
            for entry in entries
        )
    words: list[SpokenWord] = []
    for entry in entries:
        span = (_seconds(entry["start"]), _seconds(entry["end"])) if "start" in entry and "end" in entry else None
        words += spoken(entry["word"], span, entry.get("speaker"))
    return Reference(tuple(words))


def reference_of(words: Iterable[Word]) -> Reference:
    """Words in the order of their starts, and turns where every word has a speaker."""
    ordered = sorted(words, key=lambda word: word.start)
    said = tuple(part for word in ordered for part in spoken(word.text, (word.start, word.end), word.speaker))
    if not all(word.speaker for word in ordered):
        return Reference(said)
    return Reference(said, tuple(turn for turn, _ in turns_of(ordered)))


def _parse_stm(text: str, stem: str) -> Reference:
    rows = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(";;"):
            continue
        name, _, speaker, start, end, *rest = line.split(maxsplit=5)
        said = rest[0] if rest else ""
        if said.startswith("<"):
            said = said.partition(">")[2]
        if NOT_SCORED in said.lower():
            raise BadReference("it has regions that are not to be scored, which is not supported")
        rows.append((name, Turn(speaker, _seconds(start), _seconds(end)), said))
    rows = sorted(_of_recording(rows, stem), key=lambda row: row[1].start)
    rows = [row for row in rows if normalise(row[2])]  # gaps between segments have rows too
    words = [word for _, turn, said in rows for word in spoken(said, None, turn.speaker)]
    return Reference(tuple(words), tuple(turn for _, turn, _ in rows))


def _parse_rttm(text: str, stem: str) -> Reference:
    rows = []
    for line in text.splitlines():
        fields = line.split()
        if fields and fields[0] == "SPEAKER":
            start, duration = _seconds(fields[3]), _seconds(fields[4])
            rows.append((fields[1], Turn(fields[7], start, start + duration)))
    return Reference(turns=tuple(turn for _, turn in sorted(_of_recording(rows, stem), key=lambda row: row[1].start)))


def _of_recording(rows: list[Any], stem: str) -> list[Any]:
    """The rows whose first field names the recording; all of them where only one recording is named at all."""
    names = {row[0] for row in rows}
    own = [row for row in rows if row[0] == stem]
    if not own and len(names) > 1:
        raise BadReference(f"it is about several recordings and none of them is {stem}")
    return own or rows


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise BadReference(f"{value!r} is not a time in seconds")
    return seconds


# Writing ---------------------------------------------------------------------------------------------


def write_reference(folder: Path, stem: str, words: Iterable[Word]) -> None:
    """The words of a recording, each with its speaker, as `stem.json`, `.stm`, `.rttm` and `.txt` in `folder`.

    Each file is there as a whole or not at all; older ones are replaced.
    """
    ordered = sorted(words, key=lambda word: word.start)
    assert all(word.speaker for word in ordered), "a reference names who spoke each word"
    entries = [
        {"word": w.text.strip(), "start": round(w.start, 3), "end": round(w.end, 3), "speaker": w.speaker}
        for w in ordered
    ]
    lines = ",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in entries)
    name, stm, rttm = _field(stem), "", ""
    for turn, texts in turns_of(ordered):
        speaker = _field(turn.speaker)
        stm += f"{name} 1 {speaker} {turn.start:.3f} {turn.end:.3f} {' '.join(texts)}\n"
        rttm += f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
    files = {
        ".json": f'{{"words": [\n{lines}\n]}}\n',
        ".stm": stm,
        ".rttm": rttm,
        ".txt": "".join(f"{entry['word']} " for entry in entries).rstrip() + "\n",
    }
    for suffix, text in files.items():
        write_whole(folder / f"{stem}{suffix}", text.encode())


def turns_of(words: Sequence[Word]) -> list[tuple[Turn, list[str]]]:
    """Each speaker's words in stretches without a pause of 0.15 s, by time; others may speak meanwhile."""
    turns: list[tuple[Turn, list[str]]] = []
    latest: dict[str, int] = {}  # the speaker's last turn
    for word in words:
        assert word.speaker is not None
        index = latest.get(word.speaker, -1)
        if index >= 0 and word.start - turns[index][0].end < PAUSE:
            turn, texts = turns[index]
            end = max(turn.end, word.end)
            turns[index] = (Turn(turn.speaker, turn.start, end), [*texts, word.text.strip()])
        else:
            latest[word.speaker] = len(turns)
            turns.append((Turn(word.speaker, word.start, word.end), [word.text.strip()]))
    return turns


def words_of(utterances: Iterable[Placed]) -> list[Word]:
    """The words of a synthesized dialogue, on its clock and with their speakers."""
    return [
        Word(word.text, word.start, word.end, speaker=utterance.speaker)
        for utterance in utterances
        for word in utterance.words
    ]


def _field(name: str) -> str:
    return "_".join(name.split()) or "unknown"
