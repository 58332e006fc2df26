"""Synthetic speech with the time of every word: what the demo models are trained and measured on.

Speaks the closed vocabulary (`demo/vocabulary.txt`) in the voices of Debian's `flite` and `espeak-ng`
and composes utterances into dialogues. It does not know any model. Needs the packages `flite`,
`espeak-ng` and `libespeak-ng1`; nothing of the handler needs them.
"""

from __future__ import annotations

import ctypes
import functools
import random
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from turnscribe.waveform import SAMPLE_RATE, Waveform

VOCABULARY_FILE = Path(__file__).resolve().parents[3] / "demo" / "vocabulary.txt"

FLITE_VOICES = ("awb", "kal16", "rms", "slt")
ESPEAK_VOICES = ("en-us+m3", "en-us+m7", "en-us+f2", "en-us+f4")
VOICES = FLITE_VOICES + ESPEAK_VOICES


class UnalignedSpeech(ValueError):
    """The synthesizer's phones do not add up to its words, so their times are unknown."""


@dataclass(frozen=True)
class TimedWord:
    """A word and its seconds from the start of the waveform it is in."""

    text: str
    start: float
    end: float

    def shifted(self, seconds: float) -> TimedWord:
        return TimedWord(self.text, self.start + seconds, self.end + seconds)


@dataclass(frozen=True)
class Utterance:
    """Speech of one voice without a long pause: waveform `[samples]` and its words."""

    voice: str
    waveform: Waveform
    words: tuple[TimedWord, ...]

    @property
    def duration(self) -> float:
        return len(self.waveform) / SAMPLE_RATE


@dataclass(frozen=True)
class Placed:
    """An utterance's words on a dialogue's clock, with who spoke them."""

    speaker: str
    words: tuple[TimedWord, ...]

    @property
    def start(self) -> float:
        return self.words[0].start

    @property
    def end(self) -> float:
        return self.words[-1].end


@dataclass(frozen=True)
class Dialogue:
    waveform: Waveform
    utterances: tuple[Placed, ...]

    @property
    def duration(self) -> float:
        return len(self.waveform) / SAMPLE_RATE


def vocabulary() -> list[str]:
    return VOCABULARY_FILE.read_text().split()


# Sentences -------------------------------------------------------------------------------------------

_SLOTS = {
    "who": "i you we they he she".split(),
    "verb": "need want like send open start finish move change check find make bring".split(),
    "act": "think wait listen talk start finish move help call".split(),
    "det": "the this that my your one two three four five six seven eight nine ten".split(),
    "adj": "new old big small green blue early happy fast great".split(),
    "noun": (
        "meeting call report project team customer budget plan problem question answer email phone computer "
        "office paper price number music coffee water street city train window garden doctor teacher family"
    ).split(),
    "when": (
        "today tomorrow yesterday monday tuesday wednesday thursday friday later again summer winter "
        "early morning evening week"
    ).split(),
    "ask": "what when where who how why".split(),
    "prep": "in on at from with about after before".split(),
    "lead": "yes no okay thanks please sorry hello goodbye maybe great so but and or".split(),
    "be": "is was are".split(),
    "aux": "can will do have".split(),
}
_TEMPLATES = tuple(
    line.split()
    for line in """
who verb det noun
who verb det adj noun when
lead who aux verb det noun
lead who verb it prep det noun
ask be det noun
ask aux who verb det adj noun
det noun be adj
det noun be not ready prep when
it be det adj noun
lead
lead lead
aux who act prep det noun
who aux not act when
who act about det noun
lead please verb det noun prep when
det adj noun and det noun
who will act before when
that be not my noun
""".strip().splitlines()
)


def random_words(rng: random.Random) -> list[str]:
    """The words of one utterance: half the time from a template, half the time at random.

    The random half keeps a model from learning the templates instead of the sounds.
    """
    if rng.random() < 0.5:
        return [rng.choice(_SLOTS[slot]) if slot in _SLOTS else slot for slot in rng.choice(_TEMPLATES)]
    return rng.choices(vocabulary(), k=rng.randint(1, 8))


# Synthesis -------------------------------------------------------------------------------------------


def synthesize(words: list[str], voice: str, *, rate: float = 1.0) -> Utterance:
    """Speak `words` as one sentence; `rate` is the speed relative to the voice's own.

    Raises `UnalignedSpeech` where word times cannot be told (rare, flite only).
    """
    waveform, timed = _flite(words, voice, rate) if voice in FLITE_VOICES else _espeak(words, voice, rate)
    return _trimmed(Utterance(voice, waveform, tuple(timed)))


def _flite(words: list[str], voice: str, rate: float) -> tuple[Waveform, list[TimedWord]]:
    waveform, phones = _flite_phones(" ".join(words), voice, rate)
    if len(words) == 1:
        return waveform, [TimedWord(words[0], phones[0][0], phones[-1][1])]
    counts = [_flite_phone_count(word, voice) for word in words]
    if sum(counts) != len(phones):
        raise UnalignedSpeech(f"flite spoke {len(phones)} phones for {sum(counts)}")
    timed, first = [], 0
    for word, count in zip(words, counts, strict=True):
        timed.append(TimedWord(word, phones[first][0], phones[first + count - 1][1]))
        first += count
    return waveform, timed


@functools.cache
def _flite_phone_count(word: str, voice: str) -> int:
    return len(_flite_phones(word, voice, 1.0)[1])


def _flite_phones(text: str, voice: str, rate: float) -> tuple[Waveform, list[tuple[float, float]]]:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={1 / rate:.4f}", "-psdur"]
        printed = subprocess.run(
            [*command, "-t", text, "-o", file.name], check=True, capture_output=True, text=True
        ).stdout
        with wave.open(file.name) as reader:
            assert (reader.getframerate(), reader.getnchannels()) == (SAMPLE_RATE, 1)
            waveform = _from_int16(reader.readframes(reader.getnframes()))
    phones, previous = [], 0.0
    for entry in printed.split():  # "pau:0.220 dh:0.254 ...": each phone with its end in seconds
        name, _, end = entry.rpartition(":")
        if name != "pau":
            phones.append((previous, float(end)))
        previous = float(end)
    return waveform, phones


class _EspeakEvent(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_EspeakCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent)
)
_ESPEAK_SYNCHRONOUS = 2
_ESPEAK_EVENT_WORD = 1
_ESPEAK_RATE = 1  # the parameter's number; its unit is words per minute, 175 by default
_ESPEAK_WORDS_PER_MINUTE = 175


class _Espeak:
    """libespeak-ng, whose events tell where in the audio each word starts (the program does not)."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._rate = self._library.espeak_Initialize(_ESPEAK_SYNCHRONOUS, 0, None, 0)  # sample rate
        self._callback = _EspeakCallback(self._collect)  # kept: the library holds only a pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._samples: list[bytes] = []
        self._starts: dict[int, float] = {}  # seconds by position in the text, in bytes

    def _collect(self, samples, count, events) -> int:  # type: ignore[no-untyped-def]
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type:
            if events[index].type == _ESPEAK_EVENT_WORD and events[index].text_position > 0:
                self._starts[events[index].text_position - 1] = events[index].audio_position / 1000
            index += 1
        return 0

    def speak(self, words: list[str], voice: str, rate: float) -> tuple[Waveform, list[float | None]]:
        """The waveform and where each word starts; `None` for one spoken as a unit with the word before."""
        from scipy.signal import resample_poly

        self._samples, self._starts = [], {}
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        self._library.espeak_SetParameter(_ESPEAK_RATE, round(_ESPEAK_WORDS_PER_MINUTE * rate), 0)
        text = " ".join(words).encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, 1, None, None)
        positions = [len(" ".join(words[:index])) + bool(index) for index in range(len(words))]
        if not self._starts.keys() <= set(positions) or 0 not in self._starts:
            raise UnalignedSpeech(f"espeak-ng starts words at {sorted(self._starts)}, not at {positions}")
        waveform = _from_int16(b"".join(self._samples))
        resampled = resample_poly(waveform, SAMPLE_RATE, self._rate).astype(np.float32)
        return resampled, [self._starts.get(position) for position in positions]


@functools.cache
def _espeak_library() -> _Espeak:
    return _Espeak()


def _espeak(words: list[str], voice: str, rate: float) -> tuple[Waveform, list[TimedWord]]:
    """espeak-ng speaks pairs like "in the" as one unit: the time inside a unit is shared out by letters."""
    waveform, starts = _espeak_library().speak(words, voice, rate)
    bounds = [*starts, _speech_bounds(waveform)[1]]
    known = {index: bound for index, bound in enumerate(bounds) if bound is not None}
    letters = np.cumsum([0, *map(len, words)])
    times = np.interp(letters, letters[list(known)], list(known.values())).tolist()
    return waveform, [TimedWord(w, s, e) for w, s, e in zip(words, times[:-1], times[1:], strict=True)]


def _from_int16(samples: bytes) -> Waveform:
    return np.frombuffer(samples, dtype="<i2").astype(np.float32) / np.float32(32768)


def _speech_bounds(waveform: Waveform) -> tuple[float, float]:
    """First and last second whose 10 ms energy is within 40 dB of the loudest."""
    frame = SAMPLE_RATE // 100
    energy = np.square(waveform[: len(waveform) // frame * frame]).reshape(-1, frame).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() * 1e-4)
    return float(loud[0]) / 100, float(loud[-1] + 1) / 100


def _trimmed(utterance: Utterance) -> Utterance:
    """Without the silence around the words, at one loudness (RMS 0.06) for every voice."""
    first, last = _speech_bounds(utterance.waveform)
    first, last = max(first - 0.02, 0.0), min(last + 0.02, utterance.duration)
    clip = utterance.waveform[round(first * SAMPLE_RATE) : round(last * SAMPLE_RATE)]
    clip = clip * (0.06 / max(float(np.sqrt(np.mean(np.square(clip)))), 1e-6))
    words = [word.shifted(-first) for word in utterance.words]
    words = [TimedWord(w.text, max(w.start, 0.0), min(w.end, last - first)) for w in words]
    return Utterance(utterance.voice, clip.astype(np.float32), tuple(words))


def joined(pieces: list[Utterance], gaps: list[float]) -> Utterance:
    """Pieces of one voice after one another, `gaps[i]` seconds of silence after piece `i`."""
    waveforms: list[Waveform] = []
    words: list[TimedWord] = []
    position = 0
    for piece, gap in zip(pieces, gaps, strict=True):
        words += [word.shifted(position / SAMPLE_RATE) for word in piece.words]
        silence = round(gap * SAMPLE_RATE)
        waveforms += [piece.waveform, np.zeros(silence, np.float32)]
        position += len(piece.waveform) + silence
    return Utterance(pieces[0].voice, np.concatenate(waveforms), tuple(words))


# Dialogues -------------------------------------------------------------------------------------------


def place(turns: list[tuple[Utterance, float]], *, duration: float, noise_db: float, rng: random.Random) -> Dialogue:
    """Utterances at their start seconds, summed, with white noise `noise_db` below the speech.

    Speakers are named after their voices.
    """
    mix = np.zeros(round(duration * SAMPLE_RATE), np.float32)
    placed = []
    for utterance, start in turns:
        first = round(start * SAMPLE_RATE)
        part = utterance.waveform[: len(mix) - first]
        mix[first : first + len(part)] += part
        placed.append(Placed(utterance.voice, tuple(word.shifted(start) for word in utterance.words)))
    spoken = mix[mix != 0]
    level = float(np.sqrt(np.mean(np.square(spoken)))) if len(spoken) else 0.06
    generator = np.random.default_rng(rng.getrandbits(32))
    mix += generator.standard_normal(len(mix), np.float32) * level * 10 ** (-noise_db / 20)
    return Dialogue(np.clip(mix, -1, 1), tuple(placed))


def random_dialogue(seed: int, *, duration: float = 60.0, noise_db: float = 20.0) -> Dialogue:
    """A dialogue of two or three voices, synthesized for this seed alone: turns of one to three
    sentences, pauses of 0.2 to 0.5 s inside a turn and 0.2 to 0.8 s between turns, no overlap.

    The words and the order are the seed's; espeak-ng lets its voices flutter, so samples differ from run to run and
    times by a few milliseconds.
    """
    rng = random.Random(seed)
    voices = rng.sample(VOICES, rng.choice((2, 3)))
    turns: list[tuple[Utterance, float]] = []
    time, voice = rng.uniform(0.1, 1.0), rng.choice(voices)
    while True:
        for _ in range(rng.choice((1, 1, 2, 3))):
            utterance = random_sentence(rng, voice)
            if time + utterance.duration > duration:
                return place(turns, duration=duration, noise_db=noise_db, rng=rng)
            turns.append((utterance, time))
            time += utterance.duration + rng.uniform(0.2, 0.5)
        time += rng.uniform(0.0, 0.3)
        voice = rng.choice([other for other in voices if other != voice])


def random_sentence(rng: random.Random, voice: str) -> Utterance:
    """A new sentence in `voice` at 0.85 to 1.2 times its own speed."""
    while True:
        try:
            return synthesize(random_words(rng), voice, rate=rng.uniform(0.85, 1.2))
        except UnalignedSpeech:
            continue
