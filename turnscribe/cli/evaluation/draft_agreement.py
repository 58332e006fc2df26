"""How often an assistant predicts what the main model does: the share of its drafts that would be accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turnscribe.cli.evaluation.measures import Ratio
from turnscribe.stages import Progress


def draft_agreement(
    asr: Any,
    audio: bytes,
    config: Any,
    *,
    on_progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Ratio:
    """Positions of the main model's own greedy output at which the assistant's best token is the main model's.

    `asr` has the model, assistant, tokenizer and feature extractor of a `TransformersAsr`, which decodes the
    audio once more, without the assistant. Both models predict each token after the same ones, by plain argmax.
    """
    from turnscribe.asr.protocol import AsrOptions
    from turnscribe.asr.transformers_backend import TransformersAsr
    from turnscribe.inputs.decode import decode_audio

    names = ("task", "language", "batch_size", "chunk_length_s", "prompt")
    options = AsrOptions(**{name: getattr(config, name) for name in names})
    watched = _Watched(asr.model, asr.assistant)
    twin = TransformersAsr(watched, asr.tokenizer, asr.feature_extractor, asr.assistant)
    waveform = decode_audio(audio, sampling_rate=config.sampling_rate, encoding=config.encoding).mono
    twin.transcribe(waveform, options, on_progress=on_progress, should_stop=should_stop)
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
