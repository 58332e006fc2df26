"""The reference ASR backend: `WhisperForConditionalGeneration.generate`, one call a batch of windows.

Windows are cut at quiet points (`windows.py`), each is decoded greedily with Whisper's own timestamp rules, and
every text token ends up in exactly one chunk (`reading.py`). Word times come from `alignment.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from turnscribe.asr.assisted_generation import Tally, begin_suppression, counted
from turnscribe.asr.capabilities import Capabilities, adapt
from turnscribe.asr.chunks_in_order import ChunksInOrder
from turnscribe.asr.protocol import Recognition, WeightsType
from turnscribe.asr.spoken_language import SpokenLanguage
from turnscribe.asr.whisper_loading import load_whisper, whisper_capabilities
from turnscribe.asr.window_text import WindowText, read_window, windows_to_decode
from turnscribe.checkpoints.transformers_versions import quiet_transformers
from turnscribe.devices import device_of
from turnscribe.errors import OutOfMemory, SettingsError
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.threads import follow_load
from turnscribe.transcript import Chunk
from turnscribe.waveform import SAMPLE_RATE, Waveform
from turnscribe.whisper.alignment import TokenAlignment, align, alignment_heads
from turnscribe.whisper.generation_config import prompt_tokens, token_limit
from turnscribe.whisper.reading import DecodedWindow, Reader
from turnscribe.whisper.windows import Window

log = logging.getLogger(__name__)


def load(model: str, *, assistant: str | None, token: str | None, device: str, dtype: WeightsType) -> TransformersAsr:
    """`registry.load_asr` for this backend."""
    if dtype == "int8":
        raise SettingsError("ASR_DTYPE=int8 needs ASR_BACKEND=engine: change one of them.")
    loaded = load_whisper(model, assistant=assistant, token=token, device=device, dtype=dtype, modules=True)
    return TransformersAsr(loaded.model, loaded.tokenizer, loaded.feature_extractor, loaded.assistant)


@dataclass
class TransformersAsr:
    """A loaded Whisper and its assistant, an `asr.Asr`.

    One request decodes at a time (`_lock`): the modules carry state during a call.
    """

    model: Any
    tokenizer: Any
    feature_extractor: Any
    assistant: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def capabilities(self) -> Capabilities:
        return whisper_capabilities(
            self.model.generation_config,
            fallback=False,
            patience=False,
            assistant=self.assistant is not None,
            assisted_batch_size=1,
        )

    @property
    def device(self) -> Any:
        return self.model.device

    def transcribe(
        self,
        waveform: Waveform,
        options: DecodingOptions,
        listener: Listener = SILENT,
        speech: SpeechMap | None = None,
    ) -> Recognition:
        options, warnings = adapt(options, self.capabilities)
        with self._lock, quiet_transformers():
            return _Transcription(self, waveform, options, listener, speech, warnings).result()


class _Transcription:
    """One recording on its way through a `TransformersAsr`."""

    def __init__(
        self,
        asr: TransformersAsr,
        waveform: Waveform,
        options: DecodingOptions,
        listener: Listener,
        speech: SpeechMap | None,
        warnings: Sequence[str],
    ) -> None:
        self.asr, self.model, self.waveform, self.speech = asr, asr.model, waveform, speech
        self.options, self.listener, self.warnings = options, listener, list(warnings)
        self.tally = Tally()
        self.windows = windows_to_decode(waveform, speech, options)
        self.language = SpokenLanguage(
            options,
            asr.model.generation_config,
            multilingual=asr.capabilities.multilingual,
            windows=len(self.windows),
        )
        self.config = config = asr.model.generation_config
        self.end_token = int(asr.model.config.eos_token_id)
        self.first_timestamp = int(config.no_timestamps_token_id) + 1
        self.reader = Reader(asr.tokenizer, self.end_token, self.first_timestamp)
        self.batch_size = options.batch_size
        self.prompt = self._prompt_ids()

    def result(self) -> Recognition:
        pending = self.windows
        samples = max(sum(window.samples for window in pending), 1)
        chunks = ChunksInOrder(pending)
        while pending:
            self.listener.stop_if_asked()
            follow_load()
            self._judge_language(pending)
            batch = self._of_one_language(pending[: self.batch_size])
            pending = pending[len(batch) :]
            decoded = self._decode(batch)
            if decoded is None:  # out of memory
                self.batch_size = max(self.batch_size // 2, 1)
                pending = batch + pending
                continue
            rests: list[Window] = []
            further: list[Chunk] = []
            for one in decoded:
                text = self._read(one)
                self.warnings += text.warnings
                further += chunks.add(one.window, text.chunks, text.rest)
                if text.rest is not None:
                    rests.append(text.rest)
            pending = rests + pending
            if further:
                self.listener.on_chunks(further)
            self.listener.on_progress(1 - chunks.left / samples)
        speculation = self.tally.speculation() if self.options.assisted else None
        made_in_all = chunks.all()
        language = self.language.of_text(made_in_all)
        warnings = tuple(dict.fromkeys([*self.warnings, *self.language.warnings]))
        return Recognition(made_in_all, language, warnings, speculation)

    def _read(self, decoded: DecodedWindow) -> WindowText:
        spoken = self.language.of(decoded.window)
        return read_window(self.reader, decoded, spoken=spoken, task=self.options.task, speech=self.speech)

    def _judge_language(self, pending: Sequence[Window]) -> None:
        """Of the windows that come next."""
        if self.asr.capabilities.multilingual:
            first = pending[: max(self.language.windows_needed, self.batch_size)]
            self.language.judge(first, lambda index: self._language_scores(first[index]))

    def _of_one_language(self, windows: Sequence[Window]) -> list[Window]:
        """The first of the windows that can be decoded together."""
        language = self.language.of(windows[0])
        return list(takewhile(lambda window: self.language.of(window) == language, windows))

    def _prompt_ids(self) -> Any:
        import torch

        ids, warnings = prompt_tokens(self.asr.tokenizer, self.options.prompt, self.options.keywords)
        self.warnings += warnings
        return torch.tensor(ids, device=self.model.device) if ids else None

    def _features(self, windows: Sequence[Window]) -> Any:
        """`[B, mels, 3000]`"""
        extracted = self.asr.feature_extractor(
            [window.heard(self.waveform) for window in windows],
            sampling_rate=SAMPLE_RATE,
            return_tensors="pt",
            padding="max_length",
        )
        return extracted.input_features.to(self.model.device, self.model.dtype)

    def _language_scores(self, window: Window) -> Any:
        """Scores of the token after the start token: `[V]`."""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        start = int(self.model.generation_config.decoder_start_token_id)
        with torch.inference_mode():
            encoded = self.model.get_encoder()(self._features([window])).last_hidden_state
            tokens = torch.full((1, 1), start, device=self.model.device)
            output = self.model(encoder_outputs=BaseModelOutput(encoded), decoder_input_ids=tokens)
        return output.logits[0, -1]

    def _decode(self, windows: Sequence[Window]) -> list[DecodedWindow] | None:
        """The windows' tokens; `None` when memory ran out and a smaller batch is worth a try."""
        import torch

        try:
            with torch.inference_mode():
                return self._generate(windows)
        except torch.OutOfMemoryError as error:
            if len(windows) == 1:
                raise OutOfMemory(
                    "The device has too little memory for one window: choose a smaller model or a larger device."
                ) from error
            log.warning("out of memory at batch size %d, trying half", len(windows))
        device_of(self.model.device).empty_cache()
        return None

    def _generate(self, windows: Sequence[Window]) -> list[DecodedWindow]:
        features = self._features(windows)
        encoded = self.model.get_encoder()(features).last_hidden_state  # [B, 1500, D]
        arguments: dict[str, Any] = {"num_beams": 1, "return_timestamps": True, "do_sample": False}
        if self.options.num_beams > 1:  # probabilities are those among the tokens that the rules allow, as elsewhere
            arguments |= {
                "num_beams": self.options.num_beams,
                "length_penalty": self.options.length_penalty,
                "early_stopping": True,
                "renormalize_logits": True,
            }
        if self.asr.capabilities.multilingual:
            arguments |= {"language": self.language.of(windows[0]), "task": self.options.task}
        if self.prompt is not None:
            arguments["prompt_ids"] = self.prompt
        if self.options.assisted:
            arguments["assistant_model"] = self.asr.assistant
            arguments["logits_processor"] = begin_suppression(self.model)
        with counted(self.model, self.asr.assistant, self.tally):
            sequences = self.model.generate(
                **self._heard(features, encoded),
                force_unique_generate_call=True,  # `result` follows up windows that are not finished
                **arguments,
            )
        rows = [self._without_initial(row) for row in sequences.tolist()]
        self.tally.generated += sum(len(row) + 1 for _, row in rows)
        alignments: Sequence[TokenAlignment | None] = [None] * len(rows)
        if self.options.word_times:
            alignments = align(
                self.model,
                encoded,
                rows[0][0],
                [row for _, row in rows],
                [window.duration for window in windows],
                alignment_heads(self.model),
                self.end_token,
            )
        positions = int(self.model.config.max_target_positions)
        return [
            DecodedWindow(
                window,
                row,
                None if alignment is None else alignment.logprobs,
                alignment,
                reached_limit=len(initial) + len(row) >= token_limit(self.config, len(initial), positions),
                with_tokens=self.options.token_logprobs,
            )
            for window, (initial, row), alignment in zip(windows, rows, alignments, strict=True)
        ]

    def _heard(self, features: Any, encoded: Any) -> dict[str, Any]:
        """What `generate` listens to: the encoder's output, or, for an assistant with an encoder of its own, the
        features, since `generate` has no other way to hand it something of its own."""
        from transformers.modeling_outputs import BaseModelOutput

        if self.options.assisted and self.asr.assistant.config.is_encoder_decoder:
            return {"input_features": features}
        return {"input_features": None, "encoder_outputs": BaseModelOutput(encoded)}

    def _without_initial(self, sequence: list[int]) -> tuple[list[int], list[int]]:
        """The tokens up to language and task, and those generated after them, without the end and padding."""
        start_token = self.model.generation_config.decoder_start_token_id
        first = len(sequence) - sequence[::-1].index(start_token)
        while first < len(sequence) and self.end_token < sequence[first] < self.first_timestamp:
            first += 1
        generated = sequence[first:]
        if self.end_token in generated:
            generated = generated[: generated.index(self.end_token)]
        return sequence[:first], generated
