"""Random tiny Whispers that behave like real ones, and a small `Work`, for the engine's equality tests.

Their greedy texts differ from window to window, stand between pairs of timestamps, and end by themselves or at the
limit; `test_engine.py` asserts as much, so that its equalities keep meaning something. Nothing here is trained.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForCausalLM,
    WhisperForConditionalGeneration,
)

from turnscribe.asr.engine_backend import token_limit
from turnscribe.engine.attempts import Attempt, GoOn, Prompt
from turnscribe.engine.batch import Batch
from turnscribe.engine.decode import Decoding
from turnscribe.engine.draft import Draft, DraftDecoder
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.rules import Rules

TEXT = 300  # text tokens, before the end token
LANGUAGES = ("en", "zh", "de", "es", "ru")  # in Whisper's order, which transformers checks
TIMESTAMPS = 1501
FRAMES = 1500
RATE = 16_000
LIMIT = 40  # new tokens

# tuned so that texts are varied: some end by themselves, most have several pairs of timestamps
SHARPNESS = 1.6  # of the output's scores
PLACE, AUDIO = 3, 1  # how much the position and the audio count for what comes next
END_SHARE, TIME_SHARE = 1.6, -0.9  # how likely the end and the timestamps are


@dataclass(frozen=True)
class Layout:
    """The special tokens after `TEXT` text tokens, in the order of Whisper's own vocabularies."""

    end: int = TEXT
    start: int = TEXT + 1
    languages: int = TEXT + 2
    translate: int = TEXT + 2 + len(LANGUAGES)
    transcribe: int = TEXT + 3 + len(LANGUAGES)
    start_of_lm: int = TEXT + 4 + len(LANGUAGES)
    previous: int = TEXT + 5 + len(LANGUAGES)
    no_speech: int = TEXT + 6 + len(LANGUAGES)
    no_timestamps: int = TEXT + 7 + len(LANGUAGES)
    first_time: int = TEXT + 8 + len(LANGUAGES)
    vocabulary: int = TEXT + 8 + len(LANGUAGES) + TIMESTAMPS


AT = Layout()


class Letters:
    """A tokenizer of one character a token, every third with the space of a new word before it."""

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join((" " if token % 3 == 0 else "") + chr(0x100 + token) for token in ids if token < AT.end)

    def get_prompt_ids(self, text: str, return_tensors: str = "np") -> Any:
        ids = [AT.previous, *(ord(letter) % TEXT for letter in text)]
        return torch.tensor(ids) if return_tensors == "pt" else np.array(ids)


def tiny_whisper(
    *,
    multilingual: bool,
    mels: int,
    seed: int = 0,
    width: int = 32,
    positions: int = 448,
    limit: int | None = LIMIT,
    audio: float = AUDIO,
    device: str = "cpu",
) -> WhisperForConditionalGeneration:
    """A Whisper with random weights, and a generation configuration as the published ones have."""
    config = WhisperConfig(
        vocab_size=AT.vocabulary,
        num_mel_bins=mels,
        d_model=width,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=4,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_source_positions=FRAMES,
        max_target_positions=positions,
        init_std=0.25,
        pad_token_id=AT.end,
        bos_token_id=AT.end,
        eos_token_id=AT.end,
        decoder_start_token_id=AT.start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = WhisperForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()
        with torch.no_grad():
            _liven(model, audio)
    finally:
        torch.set_rng_state(state)
    model.generation_config = _generation_config(multilingual, positions, limit)
    return model.to(device)


def _liven(model: Any, audio: float) -> None:
    """Biases that are not zero, audio that counts, and sensible shares of text, timestamps and ends."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_(0, 0.1)
        elif "layer_norm.weight" in name:
            parameter.normal_(1, 0.1)
    model.model.encoder.layer_norm.weight.mul_(3)
    decoder = model.model.decoder
    decoder.embed_positions.weight.normal_(0, PLACE)
    for layer in decoder.layers:
        layer.encoder_attn.v_proj.weight.mul_(audio)
        layer.self_attn.v_proj.weight.mul_(2)
        layer.fc2.weight.mul_(2)
    # the output is tied to the embedding: one direction for the kind of token, the others for which it is
    words = decoder.embed_tokens.weight[:, 1:].normal_()
    words.mul_(SHARPNESS / words.norm(dim=1, keepdim=True))  # no token louder than the others
    kinds = decoder.embed_tokens.weight[:, 0]
    kinds.normal_(0, 0.1)
    kinds[AT.end] = END_SHARE
    kinds[AT.start : AT.first_time] = -1.0
    kinds[AT.first_time :] = TIME_SHARE
    decoder.layer_norm.bias[0] = 3.0
    decoder.layer_norm.weight[0] = 0.5
    decoder.layer_norm.weight[1:] *= 2


def _generation_config(multilingual: bool, positions: int, limit: int | None) -> GenerationConfig:
    config = GenerationConfig(
        bos_token_id=AT.end,
        eos_token_id=AT.end,
        pad_token_id=AT.end,
        decoder_start_token_id=AT.start,
        max_length=positions,
        max_new_tokens=limit,
        suppress_tokens=[1, 2, 7, 8, 9, AT.start, *range(AT.translate, AT.no_timestamps)],
        begin_suppress_tokens=[20, AT.end],
    )
    config.no_timestamps_token_id = AT.no_timestamps
    config.prev_sot_token_id = AT.previous
    config.max_initial_timestamp_index = 50
    config.alignment_heads = [[0, 1], [1, 0], [1, 3]]
    config.return_timestamps = False
    config.is_multilingual = multilingual
    if multilingual:
        config.lang_to_id = {f"<|{name}|>": AT.languages + index for index, name in enumerate(LANGUAGES)}
        config.task_to_id = {"translate": AT.translate, "transcribe": AT.transcribe}
    return config


def tiny_assistant(model: Any, *, seed: int) -> WhisperForCausalLM:
    """A decoder alone, of one layer, that listens to the encoder of `model`."""
    config = WhisperConfig.from_dict({**model.config.to_dict(), "decoder_layers": 1})
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        assistant = WhisperForCausalLM._from_config(config, attn_implementation="sdpa").eval()
    finally:
        torch.set_rng_state(state)
    assistant.generation_config = _generation_config(
        model.generation_config.is_multilingual, model.config.max_target_positions, LIMIT
    )
    return assistant.to(model.device)


def near_copy(model: Any, *, noise: float, seed: int = 0) -> WhisperForConditionalGeneration:
    """The model with disturbed weights: a draft that is right now and then."""
    copy = WhisperForConditionalGeneration._from_config(
        WhisperConfig.from_dict(model.config.to_dict()), attn_implementation="sdpa"
    ).eval()
    copy.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in copy.model.decoder.layers.parameters():
            parameter.add_(noise * torch.randn(parameter.shape, generator=generator).to(parameter))
    return copy.to(model.device)


# Sound -----------------------------------------------------------------------------------------------


def sound(seed: int, seconds: float) -> NDArray[np.float32]:
    """Noise that swells and fades, and two tones."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(0.1, 2) * time + random.uniform(0, 6))
    tones = sum(np.sin(2 * np.pi * random.uniform(100, 4000) * time) for _ in range(2))
    noise = random.normal(size=len(time))
    return (random.uniform(0.01, 0.3) * swell * (0.3 * tones + random.uniform(0, 1) * noise)).astype(np.float32)


@lru_cache(maxsize=4)
def sound_features(mels: int, count: int) -> torch.Tensor:
    """Features of `count` windows of 2 to 30 s: `[count, mels, 3000]`, by transformers."""
    extractor = WhisperFeatureExtractor(feature_size=mels)
    waves = [sound(seed, 2 + 28 * (seed % 7) / 6) for seed in range(count)]
    return extractor(waves, sampling_rate=RATE, return_tensors="pt", padding="max_length").input_features


# A case, and the slow twin's answer -----------------------------------------------------------


@dataclass(frozen=True)
class DecodingCase:
    """One way to decode windows; `language` is for multilingual models, `None` there means detected."""

    timestamps: bool = True
    language: str | None = "de"
    task: str = "transcribe"
    prompt: tuple[int, ...] = ()

    def initial(self, model: Any, language: int | None = None) -> tuple[int, ...]:
        """The initial tokens; `language` is the detected one."""
        config = model.generation_config
        tokens = [*self.prompt, AT.start]
        if config.is_multilingual:
            tokens.append(config.lang_to_id[f"<|{self.language}|>"] if self.language else language)
            tokens.append(config.task_to_id[self.task])
        if not self.timestamps:
            tokens.append(AT.no_timestamps)
        return tuple(tokens)

    def prompt_of(self, model: Any, language: int | None = None) -> Prompt:
        initial = self.initial(model, language)
        limit = token_limit(model.generation_config, len(initial), model.config.max_target_positions)
        return Prompt(initial, len(self.prompt), limit)


@dataclass(frozen=True)
class Reference:
    """A row of `generate`: without initial tokens, end and padding."""

    initial: tuple[int, ...]
    tokens: tuple[int, ...]
    ended: bool  # by itself
    logprobs: tuple[float, ...]  # of the tokens, and of the end where it was reached
    margin: float  # between the chosen token's score and the next best, the least of the row


@torch.inference_mode()
def generated(model: Any, features: torch.Tensor, case: DecodingCase) -> list[Reference]:
    """What `model.generate` says of features `[B, mels, 3000]`."""
    arguments: dict[str, Any] = {"num_beams": 1, "do_sample": False, "return_timestamps": case.timestamps}
    if model.generation_config.is_multilingual:
        arguments |= {"language": case.language, "task": case.task}
    if case.prompt:
        arguments["prompt_ids"] = torch.tensor(case.prompt, device=model.device)
    output = model.generate(
        features.to(model.device),
        force_unique_generate_call=True,
        return_dict_in_generate=True,
        output_scores=True,
        **arguments,
    )
    length = output.sequences.shape[1] - len(output.scores)
    rows = []
    for index, row in enumerate(output.sequences.tolist()):
        tokens, ended = row[length:], False
        if AT.end in tokens:
            tokens, ended = tokens[: tokens.index(AT.end)], True
        scores = torch.stack([step[index] for step in output.scores[: len(tokens) + ended]]).float().cpu()
        logprobs = scores.log_softmax(-1)[torch.arange(len(scores)), row[length : length + len(scores)]]
        best = scores.topk(2).values
        rows.append(
            Reference(
                initial=tuple(row[:length]),
                tokens=tuple(tokens),
                ended=ended,
                logprobs=tuple(logprobs.tolist()),
                margin=float((best[:, 0] - best[:, 1]).min()),
            )
        )
    return rows


# The engine ------------------------------------------------------------------------------------------


class Windows:
    """A `WindowSource` over features `[N, mels, 3000]`; a window is its index."""

    def __init__(
        self,
        features: torch.Tensor,
        encoder: Encoder,
        prompt: Prompt | Callable[[Sequence[int], Callable[[int, int], torch.Tensor]], Prompt],
        *,
        order: Sequence[int] | None = None,
        draft_encoder: Encoder | None = None,
        judge: Callable[[int, Sequence[Attempt]], Attempt | GoOn | float] = lambda window, attempts: attempts[-1],
        seed: Callable[[int], int] = lambda window: window,
        temperature: float = 0.0,
    ) -> None:
        self.features, self.encoder, self.draft_encoder = features, encoder, draft_encoder
        self.pending = deque(range(len(features)) if order is None else order)
        self._prompt, self._judge, self.seed, self.temperature = prompt, judge, seed, temperature
        self.taken: list[int] = []  # how many at each time

    def take(self, count: int) -> list[int]:
        windows = [self.pending.popleft() for _ in range(min(count, len(self.pending)))]
        self.taken += [len(windows)] if windows else []
        return windows

    def encode(self, windows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        features = self.features[list(windows)]
        return self.encoder(features), None if self.draft_encoder is None else self.draft_encoder(features)

    def prompts(
        self, windows: Sequence[int], language_scores: Callable[[int, int], torch.Tensor]
    ) -> Sequence[Prompt]:
        prompt = self._prompt if isinstance(self._prompt, Prompt) else self._prompt(windows, language_scores)
        return [replace(prompt, temperature=self.temperature)] * len(windows)

    def judge(self, window: int, attempts: Sequence[Attempt]) -> Attempt | GoOn | float:
        return self._judge(window, attempts)

    def advanced(self, window: int, tokens: int) -> None:
        pass

    def unwanted(self, window: int) -> bool:
        return False


class GuessedWindows(Windows):
    """Each window with a guess at its text; `guesses` are by window."""

    guesses: Mapping[int, tuple[int, ...]]

    def prompts(
        self, windows: Sequence[int], language_scores: Callable[[int, int], torch.Tensor]
    ) -> Sequence[Prompt]:
        prompts = zip(windows, super().prompts(windows, language_scores), strict=True)
        return [replace(prompt, guess=self.guesses[window]) for window, prompt in prompts]


class Encoded:
    """Stands for an encoder where features are encoded already."""

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        return features


def rules_of(model: Any, *, timestamps: bool = True) -> Rules:
    return Rules(
        model.generation_config, timestamps=timestamps, device=model.device, vocabulary=model.config.vocab_size
    )


def batch_of(
    model: Any,
    rows: int,
    *,
    timestamps: bool = True,
    draft: Decoder | None = None,
    wrap: Callable[[Draft], Draft] = lambda draft: draft,
    graphs: Graphs | None = None,
) -> Batch:
    """`draft` proposes tokens, or what `wrap` makes of it."""
    rules, graphs = rules_of(model, timestamps=timestamps), graphs or Graphs(model.device)
    drafts: Draft | None = None
    if draft is not None:
        drafts = wrap(DraftDecoder(draft, rules, rows=rows, frames=FRAMES, fixed=graphs.enabled))
    return Batch(Decoder.of(model), rules, rows=rows, frames=FRAMES, draft=drafts, graphs=graphs)


@torch.inference_mode()
def decoded(
    batch: Batch,
    source: Windows,
    *,
    heads: Sequence[tuple[int, int]] = (),
    draft_length: DraftLength | int | None = None,
    encode_at_once: int = 2,
) -> SimpleNamespace:
    """`attempts` by window, and how many tokens were `proposed` and `accepted`."""
    decoding = Decoding(
        batch,
        source,
        heads=heads,
        draft_length=draft_length,
        encode_at_once=encode_at_once,
    )
    attempts: dict[int, Attempt] = {}
    for window, attempt in decoding.run():
        assert window not in attempts, f"window {window} came twice"
        attempts[window] = attempt
    return SimpleNamespace(attempts=attempts, proposed=decoding.proposed, accepted=decoding.accepted)
