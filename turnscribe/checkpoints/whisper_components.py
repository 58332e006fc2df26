"""A Whisper made of weights from elsewhere: what the readers of foreign checkpoints share.

The weights carry transformers' names, so they are a transformers model's `state_dict`. The modules around them are
made where somebody asks for them: transformers takes longer to import those than to load a small model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from turnscribe.checkpoints.openai_vocabulary import ENGLISH_ONLY, LANGUAGES, TIMESTAMPS, special_tokens
from turnscribe.checkpoints.transformers_versions import dtype_argument

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerBase,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

FRAMES, POSITIONS = 1500, 448  # of every Whisper: the encoder's frames of 30 s, and the longest text in tokens
_OUTPUT, _EMBEDDING = "proj_out.weight", "model.decoder.embed_tokens.weight"  # one and the same


@dataclass(frozen=True)
class Dimensions:
    """A checkpoint's `dims`, by openai/whisper's names."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def multilingual(self) -> bool:
        return self.n_vocab != ENGLISH_ONLY

    @property
    def languages(self) -> int:
        return LANGUAGES[self.n_vocab]

    @property
    def text_tokens(self) -> int:
        """How many tokens come before the first special one, the end."""
        return self.n_vocab - len(special_tokens(self.languages)) - TIMESTAMPS

    @property
    def are_of_a_whisper(self) -> bool:
        """Whether everything that is the same in all released models is the same here."""
        return (
            (self.n_audio_ctx, self.n_text_ctx) == (FRAMES, POSITIONS)
            and self.n_vocab in LANGUAGES
            and self.n_audio_state == self.n_text_state
            and self.n_audio_state % self.n_audio_head == self.n_text_state % self.n_text_head == 0
        )


class WeightsInFile(Mapping[str, "Tensor"]):
    """Weights by name, the output layer's too, which are read when they are asked for.

    A weight that somebody holds is not read again. So whoever packs them one by one never has two copies of all.
    """

    def __init__(self, readers: Mapping[str, Callable[[], Tensor]]) -> None:
        """`readers` reads all of `weight_shapes`."""
        self._readers = {**readers, _OUTPUT: readers[_EMBEDDING]}
        self._held: WeakValueDictionary[str, Tensor] = WeakValueDictionary()

    def __getitem__(self, name: str) -> Tensor:
        key = _EMBEDDING if name == _OUTPUT else name
        weight = self._held.get(key)
        if weight is None:
            weight = self._held[key] = self._readers[name]()
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


@dataclass(frozen=True)
class WhisperWeights:
    """A `WhisperForConditionalGeneration` without its modules: all that the engine reads of one."""

    tensors: Mapping[str, Tensor]
    config: WhisperConfig
    generation_config: GenerationConfig

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.tensors


@dataclass(frozen=True)
class WhisperComponents:
    """What transformers would have loaded."""

    weights: WhisperWeights
    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def model(self) -> WhisperForConditionalGeneration:
        """The modules around the weights, which are not copied."""
        import torch
        from transformers import WhisperForConditionalGeneration

        dtype = self.weights.tensors[_EMBEDDING].dtype
        with torch.device("meta"):  # shapes and no values
            build = WhisperForConditionalGeneration._from_config
            model: WhisperForConditionalGeneration = build(  # type: ignore[no-untyped-call]
                self.weights.config, attn_implementation="sdpa", **dtype_argument(dtype)
            )
        model.load_state_dict(self.weights.tensors, assign=True)
        model.tie_weights()
        model.generation_config = self.weights.generation_config
        model.train(False)
        return model

    @cached_property
    def feature_extractor(self) -> WhisperFeatureExtractor:
        from transformers import WhisperFeatureExtractor

        mels = self.weights.config.num_mel_bins
        return WhisperFeatureExtractor(feature_size=mels)  # type: ignore[no-untyped-call]


def whisper_config(dims: Dimensions, *, end: int, start: int, ffn: tuple[int, int] | None = None) -> WhisperConfig:
    """`end` and `start` are the tokens that end a text and begin one; `ffn` as for `weight_shapes`."""
    from transformers import WhisperConfig

    encoder_ffn, decoder_ffn = ffn or (4 * dims.n_audio_state, 4 * dims.n_text_state)
    return WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=encoder_ffn,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=decoder_ffn,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,  # in the generation configuration
        begin_suppress_tokens=None,
    )


def weight_shapes(dims: Dimensions, ffn: tuple[int, int] | None = None) -> dict[str, tuple[int, ...]]:
    """The shape of each weight that a checkpoint has to bring, by transformers' name.

    `ffn` are the inner widths of the encoder's and the decoder's layers, in released models four times the outer.
    """
    width = dims.n_audio_state
    encoder_ffn, decoder_ffn = ffn or (4 * width, 4 * width)

    def pair(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    def attention(name: str) -> dict[str, tuple[int, ...]]:
        products = pair(f"{name}.q_proj", width, width) | pair(f"{name}.v_proj", width, width)
        key = {f"{name}.k_proj.weight": (width, width)}
        return products | key | pair(f"{name}.out_proj", width, width) | pair(f"{name}_layer_norm", width)

    shapes = pair("model.encoder.conv1", width, dims.n_mels, 3) | pair("model.encoder.conv2", width, width, 3)
    shapes[_EMBEDDING] = (dims.n_vocab, width)
    for part, positions, layers, inner, attentions in (
        ("encoder", dims.n_audio_ctx, dims.n_audio_layer, encoder_ffn, ("self_attn",)),
        ("decoder", dims.n_text_ctx, dims.n_text_layer, decoder_ffn, ("self_attn", "encoder_attn")),
    ):
        shapes[f"model.{part}.embed_positions.weight"] = (positions, width)
        shapes |= pair(f"model.{part}.layer_norm", width)
        for layer in (f"model.{part}.layers.{index}" for index in range(layers)):
            for name in attentions:
                shapes |= attention(f"{layer}.{name}")
            shapes |= pair(f"{layer}.fc1", inner, width) | pair(f"{layer}.fc2", width, inner)
            shapes |= pair(f"{layer}.final_layer_norm", width)
    return shapes


def with_output(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """All of `weight_shapes` by name, and the output layer, whose weights are the embedding's."""
    found = dict(tensors)
    return found | {_OUTPUT: found[_EMBEDDING]}
