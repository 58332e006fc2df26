"""A Whisper's parts and its draft's, taken from loaded models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from turnscribe.engine.mel import LogMel
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.whisper.alignment import alignment_heads


@dataclass(frozen=True)
class Models:
    """A Whisper's parts and its draft's, ready to run."""

    encoder: Encoder
    decoder: Decoder
    log_mel: LogMel
    tokenizer: Any
    config: Any  # the model's generation configuration
    heads: tuple[tuple[int, int], ...]  # whose attention tells when a word was said
    draft: Decoder | None = None
    draft_encoder: Encoder | None = None  # where the draft does not share the main one
    int8: bool = False  # whether products are of 8-bit integers

    @classmethod
    def of(cls, model: Any, tokenizer: Any, assistant: Any = None, *, int8: bool = False) -> Models:
        """From models of transformers, or their weights and configurations; they can be let go afterwards.

        With `int8`, float32 weights on a CPU are multiplied as 8-bit integers, if it has instructions for that.
        """
        decoder = Decoder.of(model, int8=int8)
        embedding = decoder.weights.embedding
        draft_encoder = None
        if assistant is not None and assistant.config.is_encoder_decoder:
            draft_encoder = Encoder.of(assistant, int8=int8)
        return cls(
            encoder=Encoder.of(model, int8=int8),
            decoder=decoder,
            log_mel=LogMel(model.config.num_mel_bins, embedding.device, embedding.dtype),
            tokenizer=tokenizer,
            config=model.generation_config,
            heads=tuple(alignment_heads(model)),
            draft=None if assistant is None else Decoder.of(assistant, int8=int8, drafts=True),
            draft_encoder=draft_encoder,
            int8=int8,
        )

    @property
    def device(self) -> torch.device:
        return self.decoder.weights.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.weights.embedding.dtype

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.decoder.weights.embedding.shape[0]

    @property
    def frames(self) -> int:
        """How many the encoder makes of a window."""
        return self.encoder.weights.positions.shape[0]
