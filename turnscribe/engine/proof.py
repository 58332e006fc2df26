"""What an engine proves on its device, when it is loaded, before it uses what is fast there and could be wrong.

On a GPU there are two such things, and each is held against its slow twin on a sound that is made here:

    half precision    against float32: what the encoder makes of the sound, and the scores of the first tokens
    recorded passes   against the same passes unrecorded: the same tokens, plain, drafted and with beams

What differs, raises or does not fit into memory is not used: the engine goes on in float32, or without recorded
passes, says so in one line of the log, and `Engine.running` tells it to whoever asks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turnscribe.engine.attempts import Attempt, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.beams import BeamBatch
from turnscribe.engine.decode import Decoding
from turnscribe.engine.draft import DraftDecoder
from turnscribe.engine.engine import Engine
from turnscribe.engine.graphs import SWITCH, Graphs, Unrecorded, switched_off
from turnscribe.engine.mel import LogMel
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.models import Models
from turnscribe.engine.rules import Rules
from turnscribe.errors import SettingsError
from turnscribe.waveform import SAMPLE_RATE, Waveform

log = logging.getLogger("turnscribe")

WINDOWS = 3  # of the sound, in two rows: the third takes the place of whichever ends first
ROWS = 2
TOKENS = (24, 12, 36)  # of each window, as the end token is suppressed; the last one goes on alone
DRAFTED = 3  # tokens at a time
BEAMS = 2
PASSES = {"plain": "passes", "drafted": "drafting passes", "beams": "passes of beams"}  # what is recorded

# What half precision may differ by from float32. `encoder`: the size of the difference of its outputs, over theirs.
# `scores`: nats by which one of the ten likeliest tokens becomes likelier or less likely; tokens that are nearer may
# change places. Seen with float16 on a CPU and real weights: 0.0012 and 0.011 (tiny.en), 0.0024 and 0.030 (base);
# deeper models have more, and bfloat16 eight times as much. A wrong kernel is off by 1 and more: its results have
# nothing to do with the right ones.
TOLERANCES = {torch.float16: (0.05, 0.5), torch.bfloat16: (0.3, 2.0)}
LIKELIEST = 10

NOT_USABLE = "The GPU fails since the engine tried {}, and this process can compute nothing on it any more: set {}."


def proven(make: Callable[[bool], Engine]) -> Engine:
    """The engine that `make` makes, fit for its device; `make` is told whether float32 is a must.

    Raises `SettingsError` where the device has failed for good. Elsewhere than on a GPU there is nothing to prove.
    """
    engine = make(False)
    if engine.device.kind != "cuda":
        return engine
    began = time.perf_counter()
    reasons = []
    if engine.models.dtype in TOLERANCES:
        reason = prove_precision(engine)
        if reason is not None:
            log.warning("the engine goes on in float32: %s", reason)
            reasons.append(f"float32, since {reason}.")
            device = engine.device
            del engine  # its memory is free before more is asked for
            device.empty_cache()
            engine = make(True)
    graphs = True
    if not switched_off():
        reason = prove_graphs(engine)
        if reason is not None:
            log.warning("the engine goes on without CUDA graphs: %s", reason)
            reasons.append(f"No CUDA graphs, since {reason}.")
            graphs = False
    engine.device.empty_cache()
    log.info("the engine proved itself on %s in %.1f s", engine.device.name, time.perf_counter() - began)
    return Engine(engine.models, device=engine.device, graphs=graphs, reason=" ".join(reasons) or None)


def sound(seconds: float = 5.0, seed: int = 0) -> Waveform:
    """Syllables of a voice that is nobody's: harmonics of a gliding pitch under moving formants, and hiss between."""
    random = np.random.default_rng(seed)
    clock = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * clock + random.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = [middle * (1 + 0.3 * np.sin(2 * np.pi * rate * clock)) for middle, rate in ((500, 1.3), (1500, 0.9))]
    voice = np.zeros_like(clock)
    for harmonic in range(1, 25):
        loudness = sum(np.exp(-(((harmonic * pitch - formant) / 300) ** 2)) for formant in formants)
        voice += loudness * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * clock + random.uniform(0, 6)), 0, None)
    samples: Waveform = (0.05 * voice * syllables + 0.005 * random.normal(size=len(clock))).astype(np.float32)
    return samples


# Half precision --------------------------------------------------------------------------------------


@torch.inference_mode()
def prove_precision(engine: Engine) -> str | None:
    """Why the weights' type does not do on this device; `None` where it does, or memory is too little to know.

    The weights of one layer at a time are there in float32, and those of the output.
    """
    models, dtype = engine.models, str(engine.models.dtype).removeprefix("torch.")
    try:
        encoder, scores = differences(models)
    except torch.OutOfMemoryError:
        engine.device.empty_cache()
        log.warning("%s was not held against float32: memory is too little for it", dtype)
        return None
    except RuntimeError as error:
        _check(engine, error, f"{dtype}", "ASR_DTYPE=float32")
        return f"{dtype} fails on this device ({_named(error)})"
    most_encoder, most_scores = TOLERANCES[models.dtype]
    if encoder <= most_encoder and scores <= most_scores:  # NaN is not
        return None
    return (
        f"{dtype} differs from it on this device by {encoder:.2g} of the encoder's output (at most {most_encoder} is "
        f"fine) and {scores:.2g} nats (at most {most_scores})"
    )


def differences(models: Models) -> tuple[float, float]:
    """See `TOLERANCES`."""
    waveform = [sound()]
    half, full = models.encoder(models.log_mel(waveform)), _encoded_in_float32(models, waveform)
    difference = float((half.float() - full).norm() / full.norm())
    tokens = _tokens_to_score(models)
    ours = _logprobs(models.decoder, half, tokens)
    exact = _logprobs(Decoder(models.decoder.weights.in_float32()), full, tokens)
    likeliest = exact.topk(LIKELIEST, dim=-1).indices
    return difference, float((ours - exact).gather(-1, likeliest).abs().max())


def _encoded_in_float32(models: Models, waveforms: Sequence[Waveform]) -> Tensor:
    mels = models.log_mel.filters.shape[0]
    features = LogMel(mels, models.device, torch.float32)(waveforms)
    return Encoder(models.encoder.weights.in_float32())(features)


def _tokens_to_score(models: Models) -> Tensor:
    """`[1, N]`: what a row begins with, and text that anybody's vocabulary has."""
    text = torch.arange(TOKENS[0]) * 37 % int(models.config.decoder_start_token_id)
    return torch.cat([torch.tensor(_initial(models.config)), text])[None].to(models.device)


def _logprobs(decoder: Decoder, encoded: Tensor, tokens: Tensor) -> Tensor:
    """Of what comes after each of the tokens `[1, N]`: `[1, N, V]`."""
    rows, length = slice(0, 1), tokens.shape[1]
    cache = decoder.cache(1, frames=encoded.shape[1], slack=0, fixed=False)
    decoder.load_audio(encoded, cache, rows)
    hidden = decoder(tokens, torch.arange(length, device=tokens.device)[None], cache, rows, reach=length)
    return decoder.weights.vocabulary(hidden).float().log_softmax(-1)


# Recorded passes -------------------------------------------------------------------------------------


@torch.inference_mode()
def prove_graphs(engine: Engine) -> str | None:
    """Why recorded passes do not do on this device; `None` where they do.

    Both decodings run passes of the same shapes, so that not a bit may differ.
    """
    device = engine.device
    for kind, passes in PASSES.items():
        if kind == "drafted" and engine.models.draft is None:
            continue
        try:
            plain = decoded(engine, Unrecorded(device), kind)
            recorded = decoded(engine, Graphs(device), kind)
        except torch.OutOfMemoryError:
            device.empty_cache()
            return f"memory is too little to record {passes}"
        except RuntimeError as error:
            _check(engine, error, "recorded passes (CUDA graphs)", f"{SWITCH}=0")
            return f"{passes} cannot be recorded and replayed on this device ({_named(error)})"
        if plain != recorded:
            return f"recorded {passes} say something else than the same passes unrecorded on this device"
    return None


def decoded(engine: Engine, graphs: Graphs, kind: str) -> list[tuple[tuple[int, ...], int]]:
    """Of three sounds in two rows, so that rows end, are refilled and change places: the tokens of each, and how many
    drafted ones were right, since a wrong draft changes no text. `kind` is one of `PASSES`."""
    models, frames, drafts = engine.models, engine.models.frames, kind == "drafted"
    rules = Rules(models.config, timestamps=True, device=models.device, vocabulary=models.vocabulary)
    for bias in (rules.bias, rules.begin_bias):
        bias[rules.end] = -torch.inf
    if kind == "beams":
        batch: Batch = BeamBatch(models.decoder, rules, rows=ROWS, frames=frames, beams=BEAMS, graphs=graphs)
    else:
        draft = None
        if drafts:
            assert models.draft is not None
            draft = DraftDecoder(models.draft, rules, rows=ROWS, frames=frames, fixed=graphs.enabled)
        batch = Batch(models.decoder, rules, rows=ROWS, frames=frames, draft=draft, graphs=graphs)
    decoding = Decoding(batch, _Sounds(models, drafts), draft_length=DRAFTED if drafts else None)
    attempts: dict[int, Attempt] = {}
    for _ in range(4 * sum(TOKENS)):  # wrong passes may never come to their end
        finished = decoding.step()
        if finished is None:
            break
        attempts.update(finished)
    return [(attempts[index].tokens, attempts[index].accepted) for index in sorted(attempts)]


class _Sounds:
    """A `WindowSource`."""

    def __init__(self, models: Models, assisted: bool) -> None:
        self._models, self._assisted = models, assisted
        self._pending = list(range(WINDOWS))

    def take(self, count: int) -> list[int]:
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def encode(self, windows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        features = self._models.log_mel([sound(seed=window) for window in windows])
        draft_encoder = self._models.draft_encoder if self._assisted else None
        return self._models.encoder(features), None if draft_encoder is None else draft_encoder(features)

    def prompts(self, windows: Sequence[int], language_scores: Callable[[int, int], Tensor]) -> Sequence[Prompt]:
        initial, most = _initial(self._models.config), self._models.decoder.positions
        return [Prompt(initial, 0, min(len(initial) + TOKENS[window], most)) for window in windows]

    def judge(self, window: int, attempts: Sequence[Attempt]) -> Attempt:
        return attempts[-1]

    def seed(self, window: int) -> int:
        return window

    def advanced(self, window: int, tokens: int) -> None:
        pass

    def unwanted(self, window: int) -> bool:
        return False


def _initial(config: Any) -> tuple[int, ...]:
    """The initial tokens of any Whisper: the first of its languages, where it has several."""
    languages, tasks = (getattr(config, name, None) or {} for name in ("lang_to_id", "task_to_id"))
    named = [next(iter(languages.values())), tasks["transcribe"]] if languages and tasks else []
    return tuple(int(token) for token in (config.decoder_start_token_id, *named))


def _named(error: BaseException) -> str:
    """What went wrong in the first place, fit for everybody: CUDA's own line, or the kind of error."""
    log.debug("what was tried failed", exc_info=error)
    cause = error.__cause__ or error
    line = str(cause).strip().partition("\n")[0]
    return line if line.startswith("CUDA error") else type(cause).__name__


def _check(engine: Engine, error: RuntimeError, tried: str, instead: str) -> None:
    """Some errors of CUDA are for ever: whatever comes after fails too."""
    try:
        engine.device.check()
    except RuntimeError:
        raise SettingsError(NOT_USABLE.format(tried, instead)) from error
