"""The engine as an ASR backend: windows in, chunks out. The slow twin is `transformers_asr.TransformersAsr`.

Windows are cut as there; what is decoded and how is `decode.py`'s and `rules.py`'s; a window whose text looks wrong
by Whisper's own measures is decoded again, warmer (Whisper paper, section 4.5). Knows nothing of speakers, files or
requests.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from turnscribe.asr.protocol import AsrOptions, AsrResult, ChunksInOrder, OnChunks, check_options
from turnscribe.engine.batch import Batch
from turnscribe.engine.decode import Attempt, Decoding, Prompt, Work
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.graphs import Graphs
from turnscribe.engine.models import Models
from turnscribe.engine.recordings import Job, Kind
from turnscribe.engine.rules import Rules
from turnscribe.engine.together import Together
from turnscribe.errors import Cancelled
from turnscribe.stages import Progress, ShouldStop
from turnscribe.transcript import Chunk, Speculation
from turnscribe.whisper.alignment import TokenAlignment, token_starts
from turnscribe.whisper.generation_config import is_multilingual, languages, prompt_tokens
from turnscribe.whisper.reading import DecodedWindow, Reader, compression_ratio
from turnscribe.whisper.windows import Window, cut_windows, is_silent, loudest

WARMER = 0.2  # from one attempt's temperature to the next
WARMEST = 1.0
FIRST_WINDOWS = 4  # of a recording are heard before its language is judged
ENCODED_AT_ONCE = {"cpu": 1, "cuda": 16}  # windows; a CPU gains nothing from more, and needs memory for them


class EngineAsr:
    """A loaded Whisper and its assistant, an `asr.Asr` and a `together.Engine`.

    Requests that arrive while another is decoded share its passes. On a GPU the batch with its recorded passes is
    kept from one to the next, and all callers have to be on the same stream.
    """

    def __init__(self, models: Models) -> None:
        self.models = models
        vocabulary = models.decoder.weights.embedding.shape[0]
        self.rules = Rules(models.config, timestamps=True, device=models.device, vocabulary=vocabulary)
        self.reader = Reader(models.tokenizer, self.rules.end, self.rules.first_time)
        self._together = Together(self)
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
        on_chunks: OnChunks | None = None,
    ) -> AsrResult:
        check_options(self, options)
        run = _Run(self, waveform, options, on_progress, should_stop, on_chunks)
        self._together.decode(run)
        return run.result()

    # What `Together` asks, whoever leads --------------------------------------------------------------

    def decoding(self, kind: Kind, rows: int, work: Work[Job]) -> Decoding[Job]:
        models = self.models
        return Decoding(
            self.batch(rows, assisted=kind.assisted),
            work,
            heads=models.heads if kind.words else (),
            draft_length=self.draft_length() if kind.assisted else None,
            end_loops=kind.end_loops,
            encode_at_once=ENCODED_AT_ONCE.get(models.device.type, 1),
        )

    def encode(self, waveforms: Sequence[NDArray[np.float32]], kind: Kind) -> tuple[Tensor, Tensor | None]:
        features = self.models.log_mel(waveforms)
        draft_encoder = self.models.draft_encoder if kind.assisted else None
        return self.models.encoder(features), None if draft_encoder is None else draft_encoder(features)

    def forget_batch(self) -> None:
        """Free what was kept for the next request."""
        self._kept = None
        torch.cuda.empty_cache()

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


class _Run:
    """One request on its way through an `EngineAsr`, a `together.Recording`."""

    def __init__(
        self,
        asr: EngineAsr,
        waveform: NDArray[np.float32],
        options: AsrOptions,
        on_progress: Progress | None,
        should_stop: ShouldStop | None,
        on_chunks: OnChunks | None = None,
    ) -> None:
        self.asr, self.models, self.waveform, self.options = asr, asr.models, waveform, options
        self.on_progress, self.should_stop, self.on_chunks = on_progress, should_stop, on_chunks
        self.kind = Kind(options.assisted, options.words, options.compression_ratio_threshold is not None)
        self.batch_size = options.batch_size
        self.language = options.language or (None if asr.multilingual else "en")
        self.earlier, self.warnings = prompt_tokens(asr.models.tokenizer, options.prompt)
        self.pending = deque(
            window
            for window in cut_windows(waveform, options.chunk_length_s)
            if not is_silent(waveform[window.start : window.stop])
        )
        self.chunks = ChunksInOrder(self.pending)
        self.speculation = Speculation(0, 0)
        self._news: deque[tuple[list[Chunk], float]] = deque()  # further chunks, and the share done

    def result(self) -> AsrResult:
        warnings = tuple(dict.fromkeys(self.warnings))
        speculation = self.speculation if self.options.assisted else None
        return AsrResult(self.chunks.all(), self.language, warnings, speculation)

    # What `Together` asks, in the caller's thread -----------------------------------------------------

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    def report(self) -> None:
        while self._news:
            further, share = self._news.popleft()
            if self.on_chunks and further:
                self.on_chunks(further)
            if self.on_progress:
                self.on_progress(share)

    def stop_if_asked(self) -> None:
        if self.should_stop and self.should_stop():
            raise Cancelled("The request was cancelled.")

    # And in whichever thread leads --------------------------------------------------------------------

    @property
    def heard_together(self) -> int:
        return 1 if self.language else FIRST_WINDOWS

    def samples(self, window: Window) -> NDArray[np.float32]:
        return self.waveform[window.start : window.stop]

    def prompts(self, windows: Sequence[Window], language_scores: Callable[[int, int], Tensor]) -> Sequence[Prompt]:
        config = self.models.config
        start = int(config.decoder_start_token_id)
        initial = [*self.earlier, start]
        if self.asr.multilingual:
            if self.language is None:
                first = windows[:FIRST_WINDOWS]  # however many there was room for
                self.language = self._detected(first, lambda index: language_scores(start, index))
            initial += [config.lang_to_id[f"<|{self.language}|>"], config.task_to_id[self.options.task]]
        limit = token_limit(config, len(initial), self.models.decoder.positions)
        return [Prompt(tuple(initial), len(self.earlier), limit, self.options.temperature)] * len(windows)

    def judge(self, job: Window, attempts: Sequence[Attempt]) -> Attempt | float:
        options, latest = self.options, attempts[-1]
        self.speculation += Speculation(latest.proposed, latest.accepted)
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
        """By what is heard, so that the same audio gives the same text wherever in a recording it stands."""
        return zlib.crc32(self.samples(job).tobytes())

    def read(self, window: Window, attempt: Attempt) -> None:
        tokens, logprobs = list(attempt.tokens), np.array(attempt.logprobs[: len(attempt.tokens)])
        alignment = None
        if attempt.attention is not None and tokens:
            starts = token_starts(attempt.attention, window.duration)
            alignment = TokenAlignment(starts[:-1], starts[1:], logprobs)
        made, rest = self.asr.reader.read(
            DecodedWindow(window, tokens, logprobs, alignment, attempt.no_speech, attempt.temperature), self.language
        )
        if rest is not None:
            self.pending.appendleft(rest)
        further = self.chunks.add(window, made, rest)
        if self.on_chunks or self.on_progress:
            self._news.append((further, 1 - self.chunks.left / max(len(self.waveform), 1)))

    # ------------------------------------------------------------------------------------------------

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
