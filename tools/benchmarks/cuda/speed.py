"""The engine beside transformers' `generate` on random weights of a shape: seconds and memory, by row.

Every row of every candidate is a fixed number of tokens: the end token is suppressed. Each place of a text has a word
of its own that is by far the likeliest there, so that half precision and other batch sizes change no token, and a
scripted draft is right as often as it is told. `generate` stands for the transformers pipeline, whose time around it
(features, text) is left out. Scripted drafts are synthetic: see `benchmarks/scripted.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tools.benchmarks.cuda.report import Row
from tools.benchmarks.scripted import ScriptedDraft
from tools.benchmarks.shapes import (
    INITIAL_TOKENS,
    WhisperShape,
    distilled,
    generation_settings,
    whisper_config,
)
from turnscribe.devices import Device
from turnscribe.engine.attempts import Attempt, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.decode import Decoding
from turnscribe.engine.draft import Draft, DraftDecoder
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.rules import Rules

SECTION = "Transcription"
FRAMES, WINDOW_SECONDS = 1500, 30
ACCEPTANCES = (0.7, 0.8, 0.9)
BANDWIDTH, COMPUTE = 4.3e12, 790e12  # bytes and float16 operations a second of one H200 (DESIGN 6)
LIKELIEST = 15.0  # the score of a place's own word, where others have about one: see `_say_the_place`


class Windows:
    """Features, taken once each: the `WindowSource` of the benchmark."""

    def __init__(self, encoder: Encoder, features: Tensor, prompt: Prompt) -> None:
        self._encoder, self._features, self._prompt = encoder, features, prompt
        self._next = 0

    def take(self, count: int) -> Sequence[int]:
        first, self._next = self._next, min(self._next + count, len(self._features))
        return range(first, self._next)

    def encode(self, windows: Sequence[int]) -> tuple[Tensor, None]:
        return self._encoder(self._features[list(windows)]), None

    def prompts(self, windows: Sequence[int], language_scores: Any) -> Sequence[Prompt]:
        return [self._prompt] * len(windows)

    def judge(self, window: int, attempts: Sequence[Attempt]) -> Attempt:
        return attempts[-1]

    def seed(self, window: int) -> int:
        return window

    def advanced(self, window: int, tokens: int) -> None:
        pass

    def unwanted(self, window: int) -> bool:
        return False


class Speed:
    """A Whisper of `shape` with random weights on the device, its draft, and what they take."""

    def __init__(self, device: Device, shape: WhisperShape, dtype: torch.dtype, *, tokens: int, rounds: int) -> None:
        self.device, self.shape, self.tokens, self.rounds = device, shape, tokens, rounds
        self.model = random_whisper(shape, device.torch_device, dtype, tokens)
        self.draft_model = random_whisper(distilled(shape), device.torch_device, dtype, tokens)
        self.encoder, self.decoder = Encoder.of(self.model), Decoder.of(self.model)
        self.draft = Decoder.of(self.draft_model)
        config = self.model.generation_config
        self.rules = Rules(config, timestamps=True, device=device.torch_device, vocabulary=shape.vocab_size)
        initial = (config.decoder_start_token_id, config.lang_to_id["<|en|>"], config.task_to_id["transcribe"])
        self.prompt = Prompt(initial, 0, INITIAL_TOKENS + tokens)
        self.dtype = dtype

    def features(self, size: int) -> Tensor:
        """The same every time."""
        noise = torch.Generator().manual_seed(size)
        shape = (size, self.shape.num_mel_bins, 2 * FRAMES)
        return torch.randn(shape, generator=noise).to(self.device.torch_device, self.dtype)

    # Each of these is a row ---------------------------------------------------------------------------

    def encode(self, size: int) -> Row:
        return self._timed("encoder", size, Meter(self.device), partial(self.encoder, self.features(size)))

    def generate(self, size: int) -> Row:
        meter, features = Meter(self.device), self.features(size)
        return self._timed("transformers generate", size, meter, partial(self.generated, features))

    def decode(self, size: int, *, graphs: bool) -> Row:
        meter = Meter(self.device)
        features, batch = self.features(size), self.batch(size, graphs=graphs)
        name = "turnscribe" if graphs else "turnscribe without graphs"
        return self._timed(name, size, meter, partial(self.run, features, batch), warm_up=2)  # the second records

    def decode_drafted(self, size: int, acceptance: float) -> Row:
        features = self.features(size)
        scripts = self.decoded(features) * (self.rounds + 3)
        meter = Meter(self.device)
        batch = self.batch(size, draft=self.scripted(size, scripts, acceptance))
        found: list[str] = []

        def run() -> None:
            length = DraftLength(self.decoder, self.draft, frames=FRAMES, kind=self.device.kind)
            decoding = self.run(features, batch, draft_length=length)
            share = decoding.accepted / max(decoding.proposed, 1)
            found[:] = [f"synthetic draft, {share:.2f} of {decoding.proposed} accepted"]

        return self._timed(
            f"turnscribe, draft right at {acceptance}", size, meter, run, note=lambda: found[0], warm_up=2
        )

    def picture(self, size: int) -> Row:
        """Seconds by bytes and operations alone, for encoder and decoder in half precision on one H200."""
        shape, bytes_each = self.shape, 2
        width, layers = shape.d_model, shape.encoder_layers
        products = FRAMES * layers * 12 * width**2 + 2 * layers * FRAMES**2 * width  # multiplications a window
        cross = shape.decoder_layers * 2 * FRAMES * width * bytes_each
        weights = (shape.decoder_layers * 14 * width**2 + shape.vocab_size * width) * bytes_each
        seconds = size * 2 * products / COMPUTE + self.tokens * (weights + size * cross) / BANDWIDTH
        note = "predicted for one H200, not measured"
        return Row(SECTION, "physical picture", size, seconds, size * WINDOW_SECONDS / seconds, note=note)

    # And what they are made of ------------------------------------------------------------------------

    def decoded(self, features: Tensor) -> list[tuple[int, ...]]:
        source = Windows(self.encoder, features, self.prompt)
        attempts = dict(Decoding(self.batch(len(features), graphs=False), source, encode_at_once=16).run())
        return [attempts[index].tokens for index in range(len(features))]

    def batch(self, rows: int, *, draft: Draft | None = None, graphs: bool = True) -> Batch:
        recorder = Graphs(self.device, allowed=graphs)
        return Batch(self.decoder, self.rules, rows=rows, frames=FRAMES, draft=draft, graphs=recorder)

    def scripted(self, rows: int, scripts: Sequence[Sequence[int]], acceptance: float) -> ScriptedDraft:
        fixed = Graphs(self.device).enabled
        draft = DraftDecoder(self.draft, self.rules, rows=rows, frames=FRAMES, fixed=fixed)
        return ScriptedDraft(draft, rows=rows, scripts=scripts, acceptance=acceptance)

    def run(self, features: Tensor, batch: Batch, draft_length: DraftLength | None = None) -> Decoding[int]:
        source = Windows(self.encoder, features, self.prompt)
        decoding = Decoding(batch, source, draft_length=draft_length, encode_at_once=16)
        for _, attempt in decoding.run():
            assert len(attempt.tokens) == self.tokens, len(attempt.tokens)
        return decoding

    def generated(self, features: Tensor) -> None:
        generated = self.model.generate(
            features,
            num_beams=1,
            do_sample=False,
            return_timestamps=True,
            language="en",
            task="transcribe",
            force_unique_generate_call=True,
        )
        assert generated.shape[1] == self.tokens + INITIAL_TOKENS, generated.shape

    def _timed(
        self,
        name: str,
        size: int,
        meter: Meter,
        work: Callable[[], Any],
        *,
        note: Callable[[], str] = lambda: "",
        warm_up: int = 1,
    ) -> Row:
        times = [meter.seconds(work) for _ in range(warm_up + self.rounds)][warm_up:]
        median = statistics.median(times)
        return Row(SECTION, name, size, median, size * WINDOW_SECONDS / median, meter.gigabytes, note=note())


class Meter:
    """Time and memory of work on a device."""

    def __init__(self, device: Device) -> None:
        self._on_gpu = device.torch_device.type == "cuda"
        if self._on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()

    def seconds(self, work: Callable[[], Any]) -> float:
        """Until it is done, on the device too."""
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    @property
    def gigabytes(self) -> float | None:
        """At most so far, beside what was there before."""
        return (torch.cuda.max_memory_allocated() - self._before) / 1e9 if self._on_gpu else None

    def _wait(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()


@torch.no_grad()
def random_whisper(shape: WhisperShape, device: torch.device, dtype: torch.dtype, tokens: int) -> Any:
    """Random weights, made on the device; layers keep their scale, so that half precision holds."""
    from transformers import GenerationConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model = WhisperForConditionalGeneration(whisper_config(shape)).eval()
        finally:
            torch.set_default_dtype(before)
    _say_the_place(model)
    model.generation_config = GenerationConfig(**generation_settings(shape, tokens))
    return model


def _say_the_place(model: Any) -> None:
    """Make the word `1000 + n` by far the likeliest after place n, whatever was said before.

    Places outweigh words and layers in what reaches the output, which is the embedding: each place's word points
    where the place does.
    """
    decoder = model.model.decoder
    places, words = decoder.embed_positions.weight, decoder.embed_tokens.weight
    width = words.shape[1]
    words.normal_(0, 1 / width**0.5)  # of length 1
    places.normal_(0, 8 / width**0.5)
    words[1000 : 1000 + len(places)] = places / places.norm(dim=1, keepdim=True)
    decoder.layer_norm.weight.fill_(LIKELIEST / width**0.5)
