"""The engine beside transformers' `generate` on a GPU, on random weights of a named shape: one command, one table.

    python -m scripts.benchmark_cuda --shape large-v3

Imports torch and transformers only. Every row of every candidate is a fixed number of tokens (the end token is
suppressed). `generate` stands for the transformers pipeline, whose time around it (features, text) is left out.
Scripted drafts are synthetic: see `benchmarks/scripted.py`. Diarization needs pyannote, and faster-whisper its own
libraries: both are in `scripts.benchmark`, where they are installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.benchmarks.scripted import ScriptedDraft
from tools.benchmarks.shapes import INITIAL_TOKENS, SHAPES, WhisperShape, distilled
from turnscribe.engine.attempts import Attempt, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.decode import Decoding
from turnscribe.engine.draft import Draft, DraftDecoder
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.rules import Rules

FRAMES, WINDOW_SECONDS = 1500, 30
ACCEPTANCES = (0.7, 0.8, 0.9)
BANDWIDTH, COMPUTE = 4.3e12, 790e12  # bytes and float16 operations a second of one H200 (DESIGN 6)


class Windows:
    """Random features, taken once each: the `WindowSource` of the benchmark."""

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

    def unwanted(self, window: int) -> bool:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    device = torch.device(options.device)
    dtype = getattr(torch, options.dtype)
    shape = SHAPES[options.shape]
    bench = _Bench(shape, options, device, dtype)
    with torch.inference_mode():
        rows = bench.measured()
    result = {"about": _about(options, device), "rows": rows}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["about"]))
    print("| | batch | s | times real time | note |\n|---|---|---|---|---|")
    for row in rows:
        speed = row["batch"] * WINDOW_SECONDS / row["seconds"]
        print(f"| {row['name']} | {row['batch']} | {row['seconds']:.4f} | {speed:.0f} | {row['note']} |")
    return 0


class _Bench:
    def __init__(
        self, shape: WhisperShape, options: argparse.Namespace, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.options, self.device, self.dtype, self.shape = options, device, dtype, shape
        self.model = _random_whisper(shape, device, dtype, options.tokens)
        self.encoder, self.decoder = Encoder.of(self.model), Decoder.of(self.model)
        self.draft = Decoder.of(_random_whisper(distilled(shape), device, dtype, options.tokens))
        config = self.model.generation_config
        self.rules = Rules(config, timestamps=True, device=device, vocabulary=shape.vocab_size)
        initial = (config.decoder_start_token_id, config.lang_to_id["<|en|>"], config.task_to_id["transcribe"])
        self.prompt = Prompt(initial, 0, INITIAL_TOKENS + options.tokens)
        self.rows: list[dict[str, Any]] = []

    def measured(self) -> list[dict[str, Any]]:
        for size in (1, self.options.batch):
            shape = (size, self.shape.num_mel_bins, 2 * FRAMES)
            features = torch.randn(shape, device=self.device).to(self.dtype)
            self._time("encoder", size, partial(self.encoder, features))
            self._time("transformers generate", size, partial(self._generate, features))
            rows = self._decode(features)
            for graphs in (False, True) if self.device.type == "cuda" else (False,):
                batch = self._batch(size, graphs=graphs)
                name = "turnscribe" if graphs or self.device.type != "cuda" else "turnscribe without graphs"
                self._time(name, size, partial(self._run, features, batch))
            for acceptance in ACCEPTANCES:
                self._time_scripted(features, rows, acceptance)
            self._row("physical picture (H200)", size, self._picture(size), "predicted, not measured")
        return self.rows

    def _time_scripted(self, features: Tensor, rows: list[tuple[int, ...]], acceptance: float) -> None:
        scripts = [tokens for _ in range(self.options.rounds + 3) for tokens in rows]
        batch = self._batch(len(features), draft=self._scripted(len(features), scripts, acceptance))
        found: list[str] = []

        def run() -> None:
            length = DraftLength(self.decoder, self.draft, frames=FRAMES)
            decoding = self._run(features, batch, draft_length=length)
            found[:] = [f"synthetic draft, {decoding.accepted} of {decoding.proposed} accepted"]

        self._time(f"turnscribe, draft right at {acceptance}", len(features), run, note=lambda: found[0])

    def _decode(self, features: Tensor) -> list[tuple[int, ...]]:
        batch = self._batch(len(features), graphs=False)
        source = Windows(self.encoder, features, self.prompt)
        attempts = dict(Decoding(batch, source, encode_at_once=len(features)).run())
        return [attempts[index].tokens for index in range(len(features))]

    def _batch(self, rows: int, *, draft: Draft | None = None, graphs: bool = True) -> Batch:
        recorder = Graphs(self.device)
        recorder.enabled = recorder.enabled and graphs
        return Batch(self.decoder, self.rules, rows=rows, frames=FRAMES, draft=draft, graphs=recorder)

    def _scripted(self, rows: int, scripts: Sequence[Sequence[int]], acceptance: float) -> ScriptedDraft:
        fixed = Graphs(self.device).enabled
        draft = DraftDecoder(self.draft, self.rules, rows=rows, frames=FRAMES, fixed=fixed)
        return ScriptedDraft(draft, rows=rows, scripts=scripts, acceptance=acceptance)

    def _run(self, features: Tensor, batch: Batch, draft_length: DraftLength | None = None) -> Decoding[int]:
        source = Windows(self.encoder, features, self.prompt)
        decoding = Decoding(batch, source, draft_length=draft_length, encode_at_once=len(features))
        for _, attempt in decoding.run():
            assert len(attempt.tokens) == self.options.tokens, len(attempt.tokens)
        return decoding

    def _generate(self, features: Tensor) -> None:
        generated = self.model.generate(
            features,
            num_beams=1,
            do_sample=False,
            return_timestamps=True,
            language="en",
            task="transcribe",
            force_unique_generate_call=True,
        )
        assert generated.shape[1] == self.options.tokens + INITIAL_TOKENS, generated.shape

    def _time(self, name: str, batch: int, work: Callable[[], Any], *, note: Callable[[], str] = lambda: "") -> None:
        times = []
        for number in range(self.options.rounds + 2):  # two to warm up: the second one records graphs
            self._wait()
            began = time.perf_counter()
            work()
            self._wait()
            if number >= 2:
                times.append(time.perf_counter() - began)
        self._row(name, batch, statistics.median(times), note())

    def _row(self, name: str, batch: int, seconds: float, note: str) -> None:
        print(f"{name}, batch {batch}: {seconds:.4f} s {note}", file=sys.stderr, flush=True)
        self.rows.append({"name": name, "batch": batch, "seconds": seconds, "note": note})

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _picture(self, rows: int) -> float:
        """Seconds by bytes and operations alone, for encoder and decoder."""
        shape, bytes_each = self.shape, 2
        width, layers = shape.d_model, shape.encoder_layers
        products = FRAMES * layers * 12 * width**2 + 2 * layers * FRAMES**2 * width  # multiplications a window
        cross = shape.decoder_layers * 2 * FRAMES * width * bytes_each
        weights = (shape.decoder_layers * 14 * width**2 + shape.vocab_size * width) * bytes_each
        steps = self.options.tokens * (weights + rows * cross) / BANDWIDTH
        return rows * 2 * products / COMPUTE + steps


def _random_whisper(shape: WhisperShape, device: torch.device, dtype: torch.dtype, tokens: int) -> Any:
    """Random weights on the device; layers keep their scale, so that half precision holds."""
    from transformers import GenerationConfig, WhisperForConditionalGeneration

    from tools.benchmarks.shapes import generation_settings, whisper_config

    torch.manual_seed(0)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model = WhisperForConditionalGeneration(whisper_config(shape)).eval()
        finally:
            torch.set_default_dtype(before)
    model.generation_config = GenerationConfig(**generation_settings(shape, tokens))
    return model


def _about(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    import transformers

    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"device": name, "shape": options.shape, "dtype": options.dtype, "tokens": options.tokens, **versions}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark_cuda", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="large-v3")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=["float16", "bfloat16", "float32"], default="float16")
    parser.add_argument("--tokens", type=int, default=100, help="new tokens a window")
    parser.add_argument("--batch", type=int, default=24, help="windows at once, beside one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table as JSON, too")
    return parser.parse_args(argv)
