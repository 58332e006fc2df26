"""How often an assistant predicts what the main model does: the share of its drafts that would be accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeGuard

from turnscribe.asr.protocol import Asr
from turnscribe.asr.transformers_backend import TransformersAsr
from turnscribe.cli.evaluation.measures import Ratio
from turnscribe.inputs.decode import decode_audio
from turnscribe.listener import SILENT, Listener
from turnscribe.request import Request


def can_measure_drafts(asr: Asr) -> TypeGuard[TransformersAsr]:
    """Only transformers' backend keeps an assistant that can be asked for its predictions."""
    return isinstance(asr, TransformersAsr) and asr.assistant is not None


def draft_agreement(asr: TransformersAsr, audio: bytes, request: Request, listener: Listener = SILENT) -> Ratio:
    """Positions of the main model's own greedy output at which the assistant's best token is the main model's.

    The audio is decoded once more, without the assistant. Both models predict each token after the same ones, by
    plain argmax.
    """
    options = replace(request.decoding, assisted=False, word_times=False)
    watched = _Watched(asr.model, asr.assistant)
    twin = TransformersAsr(watched, asr.tokenizer, asr.feature_extractor, asr.assistant)
    waveform = decode_audio(
        audio,
        sampling_rate=request.sampling_rate,
        encoding=request.encoding,
        audio_track=request.audio_track,
    ).mono
    twin.transcribe(waveform, options, listener)
    return watched.agreed


class _Watched:
    """The main model as the backend uses it; after each `generate` the assistant's predictions are compared."""

    def __init__(self, model: Any, assistant: Any) -> None:
        self._model, self._assistant = model, assistant
        self._features: Any = None  # [B, mels, frames] of the last batch, for an assistant with its own encoder
        self.agreed = Ratio(0, 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def get_encoder(self) -> Callable[[Any], Any]:
        def encode(features: Any) -> Any:
            self._features = features
            return self._model.get_encoder()(features)

        return encode

    def generate(self, **arguments: Any) -> Any:
        sequences = self._model.generate(**arguments)
        encoded = arguments["encoder_outputs"].last_hidden_state  # [B, T, D]
        for index, sequence in enumerate(sequences.tolist()):
            row = slice(index, index + 1)
            self.agreed += self._compared(encoded[row], self._features[row], sequence)
        return sequences

    def _compared(self, encoded: Any, features: Any, sequence: list[int]) -> Ratio:
        import torch

        first, last = self._generated(sequence)
        tokens = torch.tensor([sequence[: last - 1]], device=encoded.device)  # the last one is only predicted
        main = self._model(encoder_outputs=(encoded,), decoder_input_ids=tokens, use_cache=False)
        if self._assistant.config.is_encoder_decoder:
            draft = self._assistant(input_features=features, decoder_input_ids=tokens, use_cache=False)
        else:
            draft = self._assistant(input_ids=tokens, encoder_outputs=(encoded,), use_cache=False)
        agree = main.logits[0, first - 1 :].argmax(-1) == draft.logits[0, first - 1 :].argmax(-1)  # [last - first]
        return Ratio(int(agree.sum()), len(agree))

    def _generated(self, sequence: list[int]) -> tuple[int, int]:
        """Where the tokens after prompt, language and task begin, and where they end, with the end token."""
        config, end_token = self._model.generation_config, self._model.config.eos_token_id
        first = len(sequence) - sequence[::-1].index(config.decoder_start_token_id)
        while first < len(sequence) and end_token < sequence[first] <= config.no_timestamps_token_id:
            first += 1
        return first, sequence.index(end_token, first) + 1 if end_token in sequence[first:] else len(sequence)
