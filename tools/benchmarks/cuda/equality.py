"""What has to be equal on a device: tokens of the engine and of `generate`, recorded and plain, half and whole.

The weights are those of `shapes.py`, whose likeliest token is clearly so, and hangs on all the layers: in float32
nothing may differ. The proof that every engine makes at load (`turnscribe/engine/proof.py`) is run on the shape that
is measured, and timed: that is what it adds to a start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tools.benchmarks.cuda.report import Row
from tools.benchmarks.cuda.speed import FRAMES, Windows
from tools.benchmarks.shapes import (
    INITIAL_TOKENS,
    WhisperShape,
    distilled,
    generation_settings,
    random_weights,
    whisper_config,
)
from turnscribe.devices import Device
from turnscribe.engine import proof
from turnscribe.engine.attempts import Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.beams import BeamBatch
from turnscribe.engine.decode import Decoding
from turnscribe.engine.draft import DraftDecoder
from turnscribe.engine.engine import Engine
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.models import Models
from turnscribe.engine.rules import Rules

SECTION, PROOF = "Equality", "The proof at load"
WINDOWS, ROWS = 5, 3


@contextmanager
def without_tf32() -> Iterator[None]:
    """A GPU's float32 products are as exact as a processor's."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class Equality:
    """A small Whisper in float32 on the device, and what `generate` says with it."""

    def __init__(self, device: Device, shape: WhisperShape, tokens: int) -> None:
        self.device, self.tokens = device, tokens
        self.whisper, self.draft = (_whisper(one, device.torch_device, tokens) for one in (shape, distilled(shape)))
        noise = torch.Generator().manual_seed(0)
        size = (WINDOWS, shape.num_mel_bins, 2 * FRAMES)
        self.features = torch.randn(size, generator=noise).to(device.torch_device)
        config = self.whisper.generation_config
        initial = (config.decoder_start_token_id, config.lang_to_id["<|en|>"], config.task_to_id["transcribe"])
        self.prompt = Prompt(initial, 0, INITIAL_TOKENS + tokens)
        self.rules = Rules(config, timestamps=True, device=device.torch_device, vocabulary=shape.vocab_size)
        self.encoder, self.decoder = Encoder.of(self.whisper), Decoder.of(self.whisper)

    def rows(self) -> list[Row]:
        """Each a question with its answer."""
        with without_tf32():
            return self._rows()

    def _rows(self) -> list[Row]:
        plain = self.decoded(graphs=False)
        rows = [_same("the engine and generate, float32", plain, self.generated())]
        for name, options in (
            ("recorded passes and plain ones", {}),
            ("recorded passes that draft and plain ones", {"drafted": 3}),
            ("drafts of changing length and plain ones", {"drafted": 5}),
        ):
            rows.append(_same(name, self.decoded(graphs=True, **options), plain))
        beams = self.decoded(graphs=False, beams=3)
        rows.append(_same("recorded beams and plain ones", self.decoded(graphs=True, beams=3), beams))
        return rows

    def decoded(self, *, graphs: bool, drafted: int | None = None, beams: int = 1) -> list[tuple[int, ...]]:
        """The windows' tokens, the second time round: then recorded passes are replayed."""
        recorder = Graphs(self.device, allowed=graphs)
        batch: Batch
        if beams > 1:
            batch = BeamBatch(self.decoder, self.rules, rows=ROWS, frames=FRAMES, beams=beams, graphs=recorder)
        else:
            draft = None
            if drafted:
                draft = DraftDecoder(
                    Decoder.of(self.draft), self.rules, rows=ROWS, frames=FRAMES, fixed=recorder.enabled
                )
            batch = Batch(self.decoder, self.rules, rows=ROWS, frames=FRAMES, draft=draft, graphs=recorder)
        for _ in range(2):
            source = Windows(self.encoder, self.features, self.prompt)
            attempts = dict(Decoding(batch, source, draft_length=drafted).run())
        return [attempts[index].tokens for index in range(WINDOWS)]

    def generated(self) -> list[tuple[int, ...]]:
        """What transformers says, after the initial tokens."""
        output: Tensor = self.whisper.generate(
            self.features,
            num_beams=1,
            do_sample=False,
            return_timestamps=True,
            language="en",
            task="transcribe",
            force_unique_generate_call=True,
        )
        return [tuple(row[INITIAL_TOKENS:]) for row in output.tolist()]


def proved(engine: Engine) -> list[Row]:
    """The two proofs of `engine`, each with its time and what it found."""
    rows = []
    for name, prove in (("half precision", proof.prove_precision), ("recorded passes", proof.prove_graphs)):
        if name == "half precision" and engine.models.dtype not in proof.TOLERANCES:
            continue
        began = time.perf_counter()
        reason = prove(engine)
        rows.append(Row(PROOF, name, seconds=time.perf_counter() - began, passed=reason is None, note=reason or ""))
    if engine.models.dtype in proof.TOLERANCES and rows[0].passed:  # else its note says what was wrong
        rows[0].note = _measured_differences(engine)
    engine.device.empty_cache()
    return rows


def _measured_differences(engine: Engine) -> str:
    try:
        encoder, scores = proof.differences(engine.models)
    except RuntimeError as error:  # too little memory, which is no reason against half precision
        return f"not held against float32: {type(error).__name__}"
    limits = proof.TOLERANCES[engine.models.dtype]
    return f"the encoder differs by {encoder:.2g} of at most {limits[0]}, scores by {scores:.2g} of {limits[1]} nats"


def engine_of(whisper: Any, draft: Any, device: Device) -> Engine:
    return Engine(Models.of(whisper, None, draft), device=device)


def _whisper(shape: WhisperShape, device: torch.device, tokens: int) -> Any:
    from transformers import GenerationConfig, WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration(whisper_config(shape)).eval()
    model.load_state_dict(random_weights(shape), strict=False)  # the output is the embedding
    model.generation_config = GenerationConfig(**generation_settings(shape, tokens))
    return model.to(device)


def _same(name: str, found: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]) -> Row:
    equal = sum(one == other for one, other in zip(found, expected, strict=True))
    different = len(set(expected))
    note = f"{equal} of {len(expected)} windows alike, {different} different texts"
    return Row(SECTION, name, passed=equal == len(expected), note=note)
