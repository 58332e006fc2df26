"""The engine as an ASR backend: windows in, chunks out. The slow twin is `transformers_asr.TransformersAsr`.

Windows are cut as there; what is decoded and how is `decode.py`'s and `rules.py`'s; a window whose text looks wrong
by Whisper's own measures is decoded again, warmer (Whisper paper, section 4.5). Knows nothing of speakers, files or
requests.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnscribe.alignment import TokenAlignment, token_starts
from turnscribe.asr import AsrOptions, AsrResult, check_options
from turnscribe.engine.batch import Batch
from turnscribe.engine.decode import Attempt, Decoding, Prompt
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.models import Models
from turnscribe.engine.rules import Rules
from turnscribe.errors import Cancelled, OutOfMemory
from turnscribe.reading import DecodedWindow, Reader, compression_ratio
from turnscribe.stages import Progress, ShouldStop
from turnscribe.transcript import Chunk, Speculation
from turnscribe.whisper import is_multilingual, languages, prompt_tokens
from turnscribe.windows import Window, cut_windows, is_silent, loudest

log = logging.getLogger("turnscribe")

WARMER = 0.2  # from one attempt's temperature to the next
WARMEST = 1.0
ENCODED_AT_ONCE = {"cpu": 1, "cuda": 16}  # windows; a CPU gains nothing from more, and needs memory for them


class EngineAsr:
    """A loaded Whisper and its assistant, an `asr.Asr`.

    One request decodes at a time. On a GPU the batch with its recorded passes is kept from one to the next.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        vocabulary = models.decoder.weights.embedding.shape[0]
        self.rules = Rules(models.config, timestamps=True, device=models.device, vocabulary=vocabulary)
        self.reader = Reader(models.tokenizer, self.rules.end, self.rules.first_time)
        self._lock = threading.Lock()
        self._kept: Batch | None = None

    @property
    def multilingual(self) -> bool:
        return is_multilingual(self.models.config)

    @property
    def languages(self) -> frozenset[str]:
        return languages(self.models.config)

    @property
    def device(self) -> torch.device:
        return self.models.device

    @property
    def has_assistant(self) -> bool:
        return self.models.draft is not None

    def transcribe(
        self,
        waveform: NDArray[np.float32],
        options: AsrOptions,
        *,
        on_progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> AsrResult:
        check_options(self, options)
        with self._lock, torch.inference_mode():
            return _Run(self, waveform, options, on_progress, should_stop).result()

    def batch(self, rows: int, *, assisted: bool) -> Batch:
        """A batch with room for at least `rows` rows."""
        models = self.models
        draft = models.draft if assisted else None
        if self._kept is not None and self._kept.rows >= rows and self._kept.draft is draft:
            return self._kept
        self._kept = None  # its memory is free before more is asked for
        graphs = Graphs(models.device)
        made = Batch(models.decoder, self.rules, rows=rows, frames=models.frames, draft=draft, graphs=graphs)
        if graphs.enabled:
            self._kept = made
        return made

    def draft_length(self) -> DraftLength | int:
        """How many tokens the draft proposes at a time: what suits the share that is accepted."""
        models = self.models
        assert models.draft is not None
        return DraftLength(models.decoder, models.draft, frames=models.frames)

    def forget_batch(self) -> None:
        """Free what was kept for the next request."""
        self._kept = None


class _Run:
    """One recording on its way through an `EngineAsr`: the `decode.Work` of its windows."""

    def __init__(
        self,
        asr: EngineAsr,
        waveform: NDArray[np.float32],
        options: AsrOptions,
        on_progress: Progress | None,
        should_stop: ShouldStop | None,
    ) -> None:
        self.asr, self.models, self.waveform, self.options = asr, asr.models, waveform, options
        self.on_progress, self.should_stop = on_progress, should_stop
        self.warnings: list[str] = []
        self.language = options.language or (None if asr.multilingual else "en")
        self.pending = deque(
            window
            for window in cut_windows(waveform, options.chunk_length_s)
            if not is_silent(waveform[window.start : window.stop])
        )
        self.chunks: list[tuple[float, list[Chunk]]] = []

    def result(self) -> AsrResult:
        rows = max(min(self.options.batch_size, len(self.pending)), 1)
        proposed = accepted = 0
        while self.pending:
            decoding = None
            try:
                decoding = self._decoding(rows)
                for window, attempt in decoding.run():
                    self._read(window, attempt)
            except torch.OutOfMemoryError as error:
                if rows == 1:
                    raise OutOfMemory(
                        "The device has too little memory for one window: choose a smaller model or a larger device."
                    ) from error
                log.warning("out of memory at batch size %d, trying half", rows)
                rows //= 2
                if decoding is not None:
                    self.pending.extendleft(reversed(decoding.unfinished))
            if decoding is not None:
                proposed, accepted = proposed + decoding.proposed, accepted + decoding.accepted
                del decoding
            if self.pending:  # after an error: free what it took before the next try
                self.asr.forget_batch()
                torch.cuda.empty_cache()
        self.chunks.sort(key=lambda pair: pair[0])
        merged = tuple(chunk for _, made in self.chunks for chunk in made)
        speculation = Speculation(proposed, accepted) if self.options.assisted else None
        return AsrResult(merged, self.language, tuple(dict.fromkeys(self.warnings)), speculation)

    def _decoding(self, rows: int) -> Decoding[Window]:
        models = self.models
        return Decoding(
            self.asr.batch(rows, assisted=self.options.assisted),
            self,
            temperature=self.options.temperature,
            heads=models.heads if self.options.words else (),
            draft_length=self.asr.draft_length() if self.options.assisted else None,
            end_loops=self.options.compression_ratio_threshold is not None,
            between_steps=self._stop_if_asked,
            encode_at_once=ENCODED_AT_ONCE.get(models.device.type, 1),
        )

    # What `Decoding` asks ---------------------------------------------------------------------------

    def take(self, count: int) -> Sequence[Window]:
        return [self.pending.popleft() for _ in range(min(count, len(self.pending)))]

    def encode(self, jobs: Sequence[Window]) -> tuple[Tensor, Tensor | None]:
        self._stop_if_asked()
        features = self.models.log_mel([self.waveform[window.start : window.stop] for window in jobs])
        draft_encoder = self.models.draft_encoder if self.options.assisted else None
        return self.models.encoder(features), None if draft_encoder is None else draft_encoder(features)

    def prompt(self, jobs: Sequence[Window], language_scores: Callable[[int, int], Tensor]) -> Prompt:
        config = self.models.config
        start = int(config.decoder_start_token_id)
        initial = [start]
        if self.asr.multilingual:
            if self.language is None:
                self.language = self._detected(jobs, lambda index: language_scores(start, index))
            initial += [config.lang_to_id[f"<|{self.language}|>"], config.task_to_id[self.options.task]]
        before, warnings = prompt_tokens(self.models.tokenizer, self.options.prompt)
        self.warnings += warnings
        tokens = (*before, *initial)
        return Prompt(tokens, len(before), token_limit(config, len(tokens), self.models.decoder.positions))

    def judge(self, job: Window, attempts: Sequence[Attempt]) -> Attempt | float:
        options, latest = self.options, attempts[-1]
        unlikely = options.logprob_threshold is not None and latest.avg_logprob < options.logprob_threshold
        if unlikely and options.no_speech_threshold is not None and latest.no_speech > options.no_speech_threshold:
            return _nothing(latest)
        if not unlikely and not self._loops(latest):
            return latest
        warmer = round(latest.temperature + WARMER, 6)
        if warmer <= WARMEST:
            return warmer
        calm = [attempt for attempt in attempts if not self._loops(attempt)]
        if calm:
            self._doubt(job, "is uncertain: no attempt to decode it met the thresholds")
            return max(calm, key=lambda attempt: attempt.avg_logprob)
        self._doubt(
            job, "was left out: every attempt to decode it said the same over and over, as over music or noise"
        )
        return _nothing(latest)

    def seed(self, job: Window) -> int:
        return job.start

    # ------------------------------------------------------------------------------------------------

    def _stop_if_asked(self) -> None:
        if self.should_stop and self.should_stop():
            raise Cancelled("The request was cancelled.")

    def _loops(self, attempt: Attempt) -> bool:
        limit = self.options.compression_ratio_threshold
        if limit is None:
            return False
        return attempt.stuck or compression_ratio(self.asr.reader.said(list(attempt.tokens))) > limit

    def _doubt(self, window: Window, what: str) -> None:
        self.warnings.append(
            f"The text from {window.offset:.1f} s to {window.offset + window.duration:.1f} s {what}."
        )

    def _detected(self, windows: Sequence[Window], scores: Callable[[int], Tensor]) -> str:
        """The language of the loudest of the first windows."""
        heard = scores(loudest(self.waveform, windows)).tolist()  # [V]
        tokens = self.models.config.lang_to_id
        return str(max(tokens, key=lambda name: heard[tokens[name]])).strip("<|>")

    def _read(self, window: Window, attempt: Attempt) -> None:
        tokens, logprobs = list(attempt.tokens), np.array(attempt.logprobs[: len(attempt.tokens)])
        alignment = None
        if attempt.attention is not None and tokens:
            starts = token_starts(attempt.attention, window.duration)
            alignment = TokenAlignment(starts[:-1], starts[1:], logprobs)
        made, rest = self.asr.reader.read(
            DecodedWindow(window, tokens, logprobs, alignment, attempt.no_speech, attempt.temperature), self.language
        )
        self.chunks.append((window.offset, made))
        if rest is not None:
            self.pending.appendleft(rest)
        if self.on_progress:
            left = sum(w.stop - w.start for w in self.pending)
            self.on_progress(1 - left / max(len(self.waveform), 1))


def _nothing(attempt: Attempt) -> Attempt:
    """The attempt without its tokens."""
    return replace(attempt, tokens=(), logprobs=())


def token_limit(config: Any, initial: int, positions: int) -> int:
    """The length, initial tokens and all, at which transformers ends a row of this generation configuration."""
    new_tokens = getattr(config, "max_new_tokens", None)
    if new_tokens is not None:
        return min(initial + int(new_tokens), positions)
    longest = getattr(config, "max_length", None) or positions
    return min(int(longest) + min(initial, positions // 2 - 1), positions)
