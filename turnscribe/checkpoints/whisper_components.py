"""A transformers Whisper made of weights from elsewhere: what the readers of foreign checkpoints share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnscribe.checkpoints.openai_vocabulary import ENGLISH_ONLY, LANGUAGES, TIMESTAMPS, special_tokens
from turnscribe.checkpoints.transformers_versions import dtype_argument

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase, WhisperFeatureExtractor, WhisperForConditionalGeneration

FRAMES, POSITIONS = 1500, 448  # of every Whisper: the encoder's frames of 30 s, and the longest text in tokens
_OUTPUT, _EMBEDDING = "proj_out.weight", "model.decoder.embed_tokens.weight"  # one and the same


@dataclass(frozen=True)
class WhisperComponents:
    """What transformers would have loaded."""

    model: WhisperForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    feature_extractor: WhisperFeatureExtractor


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


def empty_model(dims: Dimensions, weights: torch.dtype, *, end: int, start: int) -> WhisperForConditionalGeneration:
    """A model on the device `meta`: its weights have shapes and no values.

    `end` and `start` are the tokens that end a text and begin one.
    """
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,  # in the generation configuration
        begin_suppress_tokens=None,
    )
    with torch.device("meta"):
        build = WhisperForConditionalGeneration._from_config
        empty: WhisperForConditionalGeneration = build(  # type: ignore[no-untyped-call]
            config, attn_implementation="sdpa", **dtype_argument(weights)
        )
    return empty


def weight_shapes(model: WhisperForConditionalGeneration) -> Mapping[str, tuple[int, ...]]:
    """The shape of each weight that a checkpoint has to bring, by transformers' name."""
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if key != _OUTPUT}


def fill(
    model: WhisperForConditionalGeneration,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    device: torch.device,
    weights: torch.dtype,
) -> None:
    """Give the empty `model` its weights: `tensors` are all of `weight_shapes` by name, in memory of their own."""
    filled = {key: tensor.to(device, weights) for key, tensor in tensors}
    model.load_state_dict(filled | {_OUTPUT: filled[_EMBEDDING]}, assign=True)
    model.tie_weights()
    model.train(False)
