"""Random windows of conversation out of the bank, with who speaks when: what the diarizer learns from.

Word times in the bank give speech to the centisecond. Of the models only the times of their frames matter here.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tools.train_demo_models.bank import Bank, Stage, background_noise
from turnscribe.cli.evaluation.synthetic_speech import VOICES, TimedWord, Utterance
from turnscribe.waveform import SAMPLE_RATE

MERGED_GAP = 0.15  # seconds: a pause between words that still counts as speech


def speech_spans(words: tuple[TimedWord, ...]) -> list[tuple[float, float]]:
    """Start and end seconds of the speech in an utterance, over its short pauses.

    >>> speech_spans((TimedWord("a", 0.0, 0.2), TimedWord("b", 0.3, 0.5), TimedWord("c", 0.9, 1.0)))
    [(0.0, 0.5), (0.9, 1.0)]
    """
    spans: list[tuple[float, float]] = []
    for word in words:
        if spans and word.start - spans[-1][1] < MERGED_GAP:
            spans[-1] = (spans[-1][0], word.end)
        else:
            spans.append((word.start, word.end))
    return spans


class Scene:
    """A window of a random dialogue in the making: the mix `[samples]` and who speaks when."""

    def __init__(self, seconds: float) -> None:
        self.mix = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        self.spans: list[tuple[str, float, float]] = []  # voice, start, end

    def add(self, utterance: Utterance, at: float, gain: float) -> None:
        first = round(at * SAMPLE_RATE)
        part = utterance.waveform[max(-first, 0) : max(len(self.mix) - first, 0)]
        self.mix[max(first, 0) : max(first, 0) + len(part)] += part * gain
        self.spans += [(utterance.voice, s + at, e + at) for s, e in speech_spans(utterance.words)]

    def activity(self, times: NDArray[np.float64]) -> NDArray[np.float32]:
        """[voices, frames]: 1 where the voice speaks at the frame's time; never more than two at once."""
        active = np.zeros((len(VOICES), len(times)), np.float32)
        for voice, start, end in self.spans:
            active[VOICES.index(voice), (times >= start) & (times < end)] = 1
        active[:, :] *= np.cumsum(active, axis=0) <= 2
        return active


def random_scene(bank: Bank, rng: random.Random, seconds: float) -> Scene:
    """Up to three voices in turns, sometimes overlapping, with backchannels, silence and noise."""
    scene = Scene(seconds)
    voices = rng.sample(VOICES, rng.choices((1, 2, 3), (2, 4, 4))[0])
    gains = {voice: 10 ** (rng.uniform(-6, 6) / 20) for voice in voices}
    until = seconds * (rng.uniform(0.0, 1.0) if rng.random() < 0.25 else 1.0)
    at, voice = rng.uniform(-2.0, 1.5), rng.choice(voices)
    while at < until:
        utterance = bank.utterance(rng, voice)
        scene.add(utterance, at, gains[voice])
        ends = at + utterance.duration
        others = [other for other in voices if other != voice]
        if others and rng.random() < 0.15:  # a word of 0.2 to 0.6 s inside someone else's turn
            other = rng.choice(others)
            scene.add(rng.choice(bank.words[other]), rng.uniform(at, ends), gains[other])
        if others and rng.random() < 0.5:
            voice = rng.choice(others)
            overlaps = rng.random() < 0.15
            at = ends - rng.uniform(0.1, min(1.0, 0.5 * utterance.duration)) if overlaps else ends
            at += 0.0 if overlaps else rng.uniform(0.05, 0.8)
        else:
            at = ends + rng.uniform(0.15, 0.6)
    scene.mix += background_noise(rng, len(scene.mix))
    scene.mix *= 10 ** (rng.uniform(-12, 8) / 20)
    if until < seconds and rng.random() < 0.3:  # digital silence, as where a file is padded
        scene.mix[round(max([until, *(end for _, _, end in scene.spans)]) * SAMPLE_RATE) :] = 0
    np.clip(scene.mix, -1, 1, out=scene.mix)
    return scene


def make_batch(bank: Bank, rng: random.Random, stage: Stage, grid: Any) -> tuple[Tensor, Tensor]:
    """Waveforms `[B, 1, samples]` and activity `[B, voices, frames]` on the frames of `grid`, a PyanNet."""
    scenes = [random_scene(bank, rng, stage.seconds) for _ in range(stage.batch)]
    frames, field = grid.num_frames(round(stage.seconds * SAMPLE_RATE)), grid.receptive_field
    times = field.start + field.duration / 2 + field.step * np.arange(frames)
    waveforms = np.stack([scene.mix for scene in scenes])[:, None]
    return torch.from_numpy(waveforms), torch.from_numpy(np.stack([s.activity(times) for s in scenes]))
