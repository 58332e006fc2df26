"""Training windows for the demo Whisper: random dialogues from the bank, with the tokens and frames of every word."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tools.train_demo_models.bank import Bank, Stage, background_noise
from tools.train_demo_models.tokenizer import SECONDS_PER_TIMESTAMP, TokenIds
from turnscribe.cli.evaluation.synthetic_speech import VOICES, TimedWord
from turnscribe.waveform import SAMPLE_RATE

FRAMES = 1500  # encoder frames of 20 ms in 30 s
IGNORED = -100  # a target that is not learned


@dataclass(frozen=True)
class Batch:
    waveforms: Tensor  # [B, samples]
    first_frame: int  # the encoder position of the window's first frame
    frame_words: Tensor  # [B, T], 0 between words, else 1 + the word's number
    inputs: Tensor  # [B, P] token ids
    targets: Tensor  # [B, P] token ids, IGNORED where nothing is to be learned
    input_frames: Tensor  # [B, P, 2] first and last+1 frame of the input token, (0, 0) for none
    target_frames: Tensor  # [B, P, 2]

    def to(self, device: str) -> Batch:
        moved: dict[str, Any] = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(self).items()
        }
        return Batch(**moved)


def make_batch(bank: Bank, ids: TokenIds, rng: random.Random, stage: Stage) -> Batch:
    frames = round(stage.seconds / SECONDS_PER_TIMESTAMP)
    first_frame = rng.randint(0, FRAMES - frames)
    rows = [_row(bank, ids, rng, stage.seconds, first_frame) for _ in range(stage.batch)]
    positions = max(len(row.inputs) for row in rows)
    batch = Batch(
        waveforms=torch.from_numpy(np.stack([row.waveform for row in rows])),
        first_frame=first_frame,
        frame_words=torch.from_numpy(np.stack([row.frame_words for row in rows])),
        inputs=torch.full((len(rows), positions), ids.end),
        targets=torch.full((len(rows), positions), IGNORED),
        input_frames=torch.zeros((len(rows), positions, 2), dtype=torch.long),
        target_frames=torch.zeros((len(rows), positions, 2), dtype=torch.long),
    )
    for index, row in enumerate(rows):
        count = len(row.inputs)
        batch.inputs[index, :count] = torch.tensor(row.inputs)
        batch.targets[index, :count] = torch.tensor(row.targets)
        batch.input_frames[index, :count] = torch.tensor(row.input_frames)
        batch.target_frames[index, :count] = torch.tensor(row.target_frames)
    return batch


@dataclass(frozen=True)
class _Row:
    waveform: np.ndarray  # [samples]
    frame_words: np.ndarray  # [T]
    inputs: list[int]
    targets: list[int]
    input_frames: list[tuple[int, int]]
    target_frames: list[tuple[int, int]]


def _row(bank: Bank, ids: TokenIds, rng: random.Random, seconds: float, first_frame: int) -> _Row:
    waveform, utterances = _window(bank, rng, seconds)
    frames = round(seconds / SECONDS_PER_TIMESTAMP)
    word_numbers = {word: number for number, word in enumerate(ids.words, start=1)}
    frame_words = np.zeros(frames, np.int64)
    task = ids.translate if rng.random() < 0.05 else ids.transcribe
    timestamps = rng.random() > 0.08
    tokens: list[int] = []
    spans: list[tuple[int, int]] = []
    if rng.random() < 0.06:
        tokens += [ids.previous, *(ids.words[w] for w in rng.choices(list(ids.words), k=rng.randint(1, 6)))]
    prompt_length = len(tokens)
    tokens += [ids.start, ids.english, task]
    if not timestamps:
        tokens.append(ids.no_timestamps)
    spans = [(0, 0)] * len(tokens)
    body_starts = len(tokens)

    def add_time(at: float) -> None:
        if timestamps:
            frame = min(round(at / SECONDS_PER_TIMESTAMP), frames)
            tokens.append(ids.first_timestamp + first_frame + frame)
            spans.append((max(frame - 2, 0), min(frame + 2, frames)) if frame < frames else (frames - 3, frames))

    for words in utterances:
        add_time(words[0].start)
        for word in words:
            first = min(int(word.start / SECONDS_PER_TIMESTAMP + 0.5), frames - 1)
            last = min(max(int(word.end / SECONDS_PER_TIMESTAMP + 0.5), first + 1), frames)
            tokens.append(ids.words[word.text])
            spans.append((first, last))
            frame_words[first:last] = word_numbers[word.text]
        add_time(words[-1].end)
    if not utterances:
        add_time(0.0)
    tokens.append(ids.end)
    spans.append((0, 0))
    targets = tokens[1:]
    for position in range(body_starts - 1):  # of the prompt, only the language is learned
        targets[position] = IGNORED
    targets[prompt_length] = ids.english if utterances else ids.no_speech
    return _Row(waveform, frame_words, tokens[:-1], targets, spans[:-1], spans[1:])


def _window(bank: Bank, rng: random.Random, seconds: float) -> tuple[np.ndarray, list[list[TimedWord]]]:
    """A window cut out of a random dialogue: noise, loudness, silence at the end, words cut at the edges."""
    samples = round(seconds * SAMPLE_RATE)
    mix = np.zeros(samples, np.float32)
    utterances: list[list[TimedWord]] = []
    spoken_until = seconds * (rng.uniform(0.1, 1.0) if rng.random() < 0.35 else 1.0)
    if rng.random() < 0.03:
        spoken_until = 0.0
    voices = rng.sample(VOICES, rng.choice((1, 2, 2, 3)))
    gains = {voice: 10 ** (rng.uniform(-6, 6) / 20) for voice in voices}
    voice = rng.choice(voices)
    at = rng.uniform(-1.5, 1.0)
    while at < spoken_until:
        utterance = bank.utterance(rng, voice)
        first = round(at * SAMPLE_RATE)
        part = utterance.waveform[max(-first, 0) : max(samples - first, 0)]
        mix[max(first, 0) : max(first, 0) + len(part)] += part * gains[voice]
        words = [_clipped(word.shifted(at), seconds) for word in utterance.words]
        kept = [word for word in words if word is not None]
        if kept:
            utterances.append(kept)
        at += utterance.duration + rng.uniform(0.15, 1.0)
        if rng.random() < 0.5:
            voice = rng.choice(voices)
    mix += background_noise(rng, samples)
    mix *= 10 ** (rng.uniform(-12, 10) / 20)
    if spoken_until < seconds and rng.random() < 0.7:  # a window is padded with true silence
        ends = max((words[-1].end for words in utterances), default=0.0)
        mix[round((ends + rng.uniform(0.05, 0.4)) * SAMPLE_RATE) :] = 0
    return np.clip(mix, -1, 1), utterances


def _clipped(word: TimedWord, seconds: float) -> TimedWord | None:
    """The part of a word inside the window; `None` when under 60 % of it is."""
    start, end = max(word.start, 0.0), min(word.end, seconds)
    if end - start < 0.6 * (word.end - word.start) or end - start < 0.02:
        return None
    return TimedWord(word.text, start, end)
