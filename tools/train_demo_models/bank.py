"""The bank: single words and whole sentences of every voice, synthesized once and kept on disk."""

from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from turnscribe.cli.evaluation.synthetic_speech import (
    VOICES,
    TimedWord,
    Utterance,
    joined,
    random_sentence,
    synthesize,
    vocabulary,
)
from turnscribe.waveform import FULL_SCALE, Waveform, to_int16

WORD_RATES = (0.85, 0.95, 1.05, 1.2)


@dataclass(frozen=True)
class Stage:
    """A stretch of training: windows of so many seconds, so many at a time."""

    seconds: float
    batch: int
    steps: int


@dataclass(frozen=True)
class Bank:
    words: dict[str, list[Utterance]]  # by voice; one word each
    sentences: dict[str, list[Utterance]]  # by voice

    def utterance(self, rng: random.Random, voice: str) -> Utterance:
        """A sentence, or now and then a phrase put together from single words."""
        if rng.random() < 0.7:
            return rng.choice(self.sentences[voice])
        count = rng.randint(1, 7)
        pieces = rng.choices(self.words[voice], k=count)
        return joined(pieces, [rng.uniform(0.0, 0.12) for _ in range(count - 1)] + [0.0])


def background_noise(rng: random.Random, samples: int) -> Waveform:
    """White or coloured noise `[samples]`, 14 to 45 dB below the bank's speech (RMS 0.06)."""
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(samples, np.float32)
    if rng.random() < 0.3:  # coloured: each sample mostly repeats the last
        kernel = np.power(np.float32(rng.uniform(0.5, 0.95)), np.arange(32, dtype=np.float32))
        noise = np.convolve(noise, kernel / np.linalg.norm(kernel), mode="same").astype(np.float32)
    return noise * 0.06 * 10 ** (-rng.uniform(14, 45) / 20)


def load_or_make_bank(folder: Path, *, sentences_per_voice: int, seed: int) -> Bank:
    """The bank in `folder`, made first where it is absent (some minutes on two cores)."""
    file = folder / f"bank-{sentences_per_voice}-{seed}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            (voice, seed * 1_000_003 + index, max(sentences_per_voice // 8, 1) if index else 0)
            for voice in VOICES
            for index in range(9)  # job 0 of a voice makes its words, the others its sentences
        ]
        with multiprocessing.get_context("spawn").Pool() as pool:
            made = list(tqdm(pool.imap(_make, jobs), total=len(jobs), desc="bank"))
        save_bank(file, [utterance for part in made for utterance in part])
    return load_bank(file)


def _make(job: tuple[str, int, int]) -> list[Utterance]:
    voice, seed, count = job
    if not count:
        return [synthesize([word], voice, rate=rate) for word in vocabulary() for rate in WORD_RATES]
    rng = random.Random(f"{voice}-{seed}")
    return [random_sentence(rng, voice) for _ in range(count)]


def save_bank(file: Path, utterances: list[Utterance]) -> None:
    samples = np.concatenate([u.waveform for u in utterances])
    index = [
        [u.voice, len(u.waveform), [[w.text, round(w.start, 4), round(w.end, 4)] for w in u.words]]
        for u in utterances
    ]
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, samples=to_int16(samples), index=json.dumps(index))
    partial.rename(file)


def load_bank(file: Path) -> Bank:
    with np.load(file) as data:
        samples, index = data["samples"], json.loads(str(data["index"]))
    bank = Bank({voice: [] for voice in VOICES}, {voice: [] for voice in VOICES})
    position = 0
    for voice, length, words in index:
        waveform = samples[position : position + length].astype(np.float32) / FULL_SCALE
        timed = tuple(TimedWord(*word) for word in words)
        kind = bank.words if len(timed) == 1 else bank.sentences
        kind[voice].append(Utterance(voice, waveform, timed))
        position += length
    return bank
