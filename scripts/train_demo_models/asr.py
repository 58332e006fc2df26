"""Trains the demo Whisper: plain PyTorch over the modules of a `WhisperForConditionalGeneration`.

What made two layers of width 192 learn in minutes on two cores, where plain training sat on a plateau:

- The encoder's positions occupy the first 64 dimensions alone, and its attention heads start out looking a
  fixed number of frames back or ahead (a rotation of sinusoids), so the encoder begins as a convolution.
- The embedding of timestamp <|t|> is a learned projection of the position of frame t, so what is learned of one
  time holds for every time.
- Dense supervision: every encoder frame names its word; two heads of the first decoder layer are guided to the
  frames of the token just read, two of the last to the frames of the token to come (`alignment_heads`).
- Short windows at random offsets first, 30 s windows last.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.speech import SAMPLE_RATE, VOICES, TimedWord
from scripts.train_demo_models.bank import Bank
from scripts.train_demo_models.tokenizer import SECONDS_PER_TIMESTAMP, TIMESTAMPS, TokenIds

WIDTH = 192
HEADS = 6
HEAD_WIDTH = WIDTH // HEADS
FRAMES = 1500  # encoder frames of 20 ms in 30 s
FREQUENCIES = 32
POSITION_DIMS = 2 * FREQUENCIES
GUIDED_HEADS = (0, 1)
IGNORED = -100
N_FFT, HOP = 400, 160

OFFSETS = ((-4, -2, -1, 1, 2, 4), (-14, -8, -4, 4, 8, 14))  # frames, by encoder layer and head


@dataclass(frozen=True)
class Stage:
    seconds: float
    batch: int
    steps: int


STAGES = (Stage(5, 24, 2400), Stage(12, 10, 900), Stage(30, 6, 900))
PEAK_LEARNING_RATE = 2e-3
FINAL_LEARNING_RATE = 3e-5


# Data ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    waveforms: Tensor  # [B, samples]
    first_frame: int  # the encoder position of the window's first frame
    frame_words: Tensor  # [B, T], 0 between words, else 1 + the word's number
    inputs: Tensor  # [B, P] token ids
    targets: Tensor  # [B, P] token ids, IGNORED where nothing is to be learned
    input_frames: Tensor  # [B, P, 2] first and last+1 frame of the input token, (0, 0) for none
    target_frames: Tensor  # [B, P, 2]


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
    generator = np.random.default_rng(rng.getrandbits(32))
    noise = generator.standard_normal(samples, np.float32)
    if rng.random() < 0.3:  # coloured: each sample mostly repeats the last
        kernel = np.power(np.float32(rng.uniform(0.5, 0.95)), np.arange(32, dtype=np.float32))
        noise = np.convolve(noise, kernel / np.linalg.norm(kernel), mode="same").astype(np.float32)
    mix += noise * 0.06 * 10 ** (-rng.uniform(14, 45) / 20)
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


class LogMel(nn.Module):
    """`WhisperFeatureExtractor`'s features for windows of any length: `[B, samples] -> [B, 80, frames]`."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import WhisperFeatureExtractor

        filters = torch.tensor(np.array(WhisperFeatureExtractor(feature_size=80).mel_filters)).float()
        self.register_buffer("filters", filters.T if filters.shape[0] != 80 else filters)  # [80, 201]
        self.register_buffer("hann", torch.hann_window(N_FFT))

    def forward(self, waveforms: Tensor) -> Tensor:
        spectrum = torch.stft(waveforms, N_FFT, HOP, window=self.hann, return_complex=True)
        power = spectrum[..., :-1].abs() ** 2
        log = torch.clamp(self.filters @ power, min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0


# Model -----------------------------------------------------------------------------------------------


def new_model(ids: TokenIds, *, decoder_layers: int = 2):  # type: ignore[no-untyped-def]
    """A `WhisperForConditionalGeneration` with the structured initial weights the module text describes."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=ids.size,
        num_mel_bins=80,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=decoder_layers,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        max_source_positions=FRAMES,
        max_target_positions=448,
        dropout=0.0,
        init_std=1 / math.sqrt(WIDTH),
        bos_token_id=ids.end,
        eos_token_id=ids.end,
        pad_token_id=ids.end,
        decoder_start_token_id=ids.start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    encoder, decoder = model.model.encoder, model.model.decoder
    with torch.no_grad():
        for convolution in (encoder.conv1, encoder.conv2):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
        encoder.conv2.weight[:POSITION_DIMS] = 0
        encoder.embed_positions.weight.zero_()
        encoder.embed_positions.weight[:, :POSITION_DIMS] = _sinusoids(FRAMES)
        for layer, offsets in zip(encoder.layers, OFFSETS, strict=True):
            for head, offset in enumerate(offsets):
                _look_at_offset(layer.self_attn, head, offset)
            layer.self_attn.out_proj.weight[:POSITION_DIMS] *= 0.1
            layer.fc2.weight[:POSITION_DIMS] *= 0.1
        for layer in decoder.layers:
            for head in GUIDED_HEADS:
                rows = slice(head * HEAD_WIDTH, head * HEAD_WIDTH + HEAD_WIDTH // 2)
                for projection in (layer.encoder_attn.q_proj, layer.encoder_attn.k_proj):
                    projection.weight[rows] = 0
                    for row, frequency in enumerate(range(0, FREQUENCIES, 4)):
                        first = head * HEAD_WIDTH + 2 * row
                        projection.weight[first, frequency] = 1.0
                        projection.weight[first + 1, FREQUENCIES + frequency] = 1.0
        decoder.embed_tokens.weight.normal_(std=1 / math.sqrt(WIDTH))
        decoder.embed_tokens.weight[:, :POSITION_DIMS] = 0
        decoder.embed_positions.weight.normal_(std=0.02)
        decoder.embed_positions.weight[:, -FREQUENCIES:] += 0.1 * _sinusoids(448, FREQUENCIES // 2)
    return model


def _frequencies(count: int = FREQUENCIES) -> Tensor:
    """Radians a frame, from 1.5 (a period of 4 frames) to 0.004 (1570 frames: the whole window)."""
    return 1.5 * (0.004 / 1.5) ** (torch.arange(count) / (count - 1))


def _sinusoids(length: int, count: int = FREQUENCIES) -> Tensor:
    """[length, 2 * count]: cosines, then sines."""
    angles = torch.arange(length)[:, None] * _frequencies(count)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _look_at_offset(attention, head: int, offset: int, sharpness: float = 1.4) -> None:  # type: ignore[no-untyped-def]
    """Set a head's query and key so that frame i attends to frame i + offset."""
    frequencies = _frequencies()
    chosen = [*range(13), 16, 20, 24]
    assert 2 * len(chosen) == HEAD_WIDTH
    rows = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
    query = torch.zeros(HEAD_WIDTH, attention.q_proj.weight.shape[1])
    key = torch.zeros_like(query)
    for row, index in enumerate(chosen):
        cosine, sine = math.cos(frequencies[index] * offset), math.sin(frequencies[index] * offset)
        query[2 * row, index], query[2 * row, FREQUENCIES + index] = cosine, -sine
        query[2 * row + 1, index], query[2 * row + 1, FREQUENCIES + index] = sine, cosine
        key[2 * row, index] = key[2 * row + 1, FREQUENCIES + index] = 1.0
    attention.q_proj.weight[rows] = sharpness * query
    attention.k_proj.weight[rows] = sharpness * key


class Trainee(nn.Module):
    """A Whisper in training: the model, the timestamps' shared projection and the frame classifier."""

    def __init__(self, ids: TokenIds, model) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.ids = ids
        self.whisper = model
        self.log_mel = LogMel()
        self.frame_head = nn.Linear(WIDTH, 1 + len(ids.words))
        self.time_projection = nn.Parameter(torch.zeros(POSITION_DIMS, WIDTH))
        with torch.no_grad():
            self.time_projection[:, :POSITION_DIMS] = 0.2 * torch.eye(POSITION_DIMS)
        self.register_buffer("times", _sinusoids(TIMESTAMPS))

    def embeddings(self) -> Tensor:
        """[vocabulary, WIDTH]: free rows for text and special tokens, projected rows for timestamps."""
        free = self.whisper.model.decoder.embed_tokens.weight[: self.ids.first_timestamp]
        return torch.cat([free, self.times @ self.time_projection])

    @torch.no_grad()
    def settle(self) -> None:
        """Write the projected timestamp embeddings into the model, as it is saved and generated from."""
        self.whisper.model.decoder.embed_tokens.weight.copy_(self.embeddings())

    def encode(self, features: Tensor, first_frame: int) -> Tensor:
        """[B, 80, 2T] -> [B, T, WIDTH]; the real encoder takes 1,500 frames only, so its layers run here."""
        encoder = self.whisper.model.encoder
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).transpose(1, 2)
        length = hidden.shape[1]
        hidden = hidden + encoder.embed_positions.weight[first_frame : first_frame + length]
        for layer in encoder.layers:
            normed = layer.self_attn_layer_norm(hidden)
            hidden = hidden + _attend(layer.self_attn, normed, normed)
            hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
        return encoder.layer_norm(hidden)

    def decode(self, tokens: Tensor, encoded: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits `[B, P, vocabulary]`, and each layer's guided cross-attention `[B, 2, P, T]`."""
        decoder = self.whisper.model.decoder
        embeddings = self.embeddings()
        hidden = F.embedding(tokens, embeddings) + decoder.embed_positions.weight[: tokens.shape[1]]
        guided = []
        for layer in decoder.layers:
            normed = layer.self_attn_layer_norm(hidden)
            hidden = hidden + _attend(layer.self_attn, normed, normed, causal=True)
            attended, weights = _attend_seen(layer.encoder_attn, layer.encoder_attn_layer_norm(hidden), encoded)
            guided.append(weights)
            hidden = hidden + attended
            hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
        return F.linear(decoder.layer_norm(hidden), embeddings), guided


def _split(states: Tensor) -> Tensor:
    """[B, L, WIDTH] -> [B, HEADS, L, HEAD_WIDTH]"""
    return states.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)


def _attend(attention, queries: Tensor, keys: Tensor, *, causal: bool = False) -> Tensor:  # type: ignore[no-untyped-def]
    query, key = _split(attention.q_proj(queries)), _split(attention.k_proj(keys))
    value = _split(attention.v_proj(keys))
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _attend_seen(attention, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    query, key = _split(attention.q_proj(queries)), _split(attention.k_proj(keys))
    scores = query @ key.transpose(-1, -2) * HEAD_WIDTH**-0.5
    weights = scores.softmax(dim=-1)
    mixed = weights @ _split(attention.v_proj(keys))
    guided = scores[:, list(GUIDED_HEADS)].log_softmax(dim=-1)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2)), guided


# Training --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Losses:
    tokens: Tensor
    frames: Tensor
    guidance: Tensor
    accuracy: float

    def total(self, guidance_weight: float) -> Tensor:
        return self.tokens + 0.7 * self.frames + guidance_weight * self.guidance


def losses(trainee: Trainee, batch: Batch) -> Losses:
    encoded = trainee.encode(trainee.log_mel(batch.waveforms), batch.first_frame)
    frame_logits = trainee.frame_head(encoded)
    logits, guided = trainee.decode(batch.inputs, encoded)
    learned = batch.targets != IGNORED
    return Losses(
        tokens=F.cross_entropy(logits[learned], batch.targets[learned]),
        frames=F.cross_entropy(frame_logits.flatten(0, 1), batch.frame_words.flatten()),
        guidance=_guidance(guided[0], batch.input_frames) * (len(guided) > 1)
        + _guidance(guided[-1], batch.target_frames),
        accuracy=(logits.argmax(-1)[learned] == batch.targets[learned]).float().mean().item(),
    )


def _guidance(log_weights: Tensor, spans: Tensor) -> Tensor:
    """Cross-entropy between the heads' attention `[B, 2, P, T]` and an even spread over each token's frames."""
    frames = torch.arange(log_weights.shape[-1], device=log_weights.device)
    inside = (frames >= spans[..., :1]) & (frames < spans[..., 1:])  # [B, P, T]
    guided = inside.any(-1)
    target = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    per_token = -(log_weights * target[:, None]).sum(-1).mean(1)  # [B, P]
    return per_token[guided].mean()


def train(bank: Bank, folder: Path, *, seed: int, device: str = "cpu", stages: tuple[Stage, ...] = STAGES) -> Trainee:
    """Train, or go on from `folder/whisper.pt`; progress is printed, and a checkpoint written every 100 steps."""
    torch.manual_seed(seed)
    ids = TokenIds()
    trainee = Trainee(ids, new_model(ids)).to(device)
    return fit(trainee, bank, folder / "whisper.pt", seed=seed, device=device, stages=stages)


def fit(
    trainee: Trainee, bank: Bank, checkpoint: Path, *, seed: int, device: str, stages: tuple[Stage, ...]
) -> Trainee:
    ids = trainee.ids
    positions = {id(trainee.whisper.model.encoder.embed_positions.weight)}
    parameters = [p for p in trainee.parameters() if id(p) not in positions]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    plan = [stage for stage in stages for _ in range(stage.steps)]
    step = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        trainee.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    began, smooth = time.monotonic(), None
    while step < len(plan):
        stage = plan[step]
        rng = random.Random(f"{seed}-{step}")
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(plan))
        batch = make_batch(bank, ids, rng, stage)
        batch = Batch(
            **{name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(batch).items()}
        )
        seen = losses(trainee, batch)
        optimizer.zero_grad(set_to_none=True)
        seen.total(0.5 if step < len(plan) // 2 else 0.3).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        smooth = seen.accuracy if smooth is None else 0.95 * smooth + 0.05 * seen.accuracy
        if step % 25 == 0:
            print(
                f"step {step}/{len(plan)} {stage.seconds:.0f}s tokens {seen.tokens.item():.3f} frames {seen.frames.item():.3f} "
                f"guidance {seen.guidance.item():.3f} accuracy {smooth:.3f} {time.monotonic() - began:.0f}s",
                flush=True,
            )
        if step % 100 == 0 or step == len(plan):
            save_checkpoint(checkpoint, trainee, optimizer, step)
    return trainee


def learning_rate(step: int, steps: int) -> float:
    warm = min((step + 1) / 100, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return warm * (FINAL_LEARNING_RATE + (PEAK_LEARNING_RATE - FINAL_LEARNING_RATE) * cosine)


def save_checkpoint(file: Path, trainee: Trainee, optimizer: torch.optim.Optimizer, step: int) -> None:
    partial = file.with_suffix(".partial")
    torch.save({"model": trainee.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.rename(file)
