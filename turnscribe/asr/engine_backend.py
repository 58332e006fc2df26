"""The engine as an ASR backend: windows in, chunks out. The slow twin is `transformers_backend.TransformersAsr`.

Windows are cut as there; what is decoded and how is `decode.py`'s and `rules.py`'s; a window whose text looks wrong
by Whisper's own measures is decoded again, warmer (Whisper paper, section 4.5).
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from turnscribe.asr.capabilities import Capabilities, adapt
from turnscribe.asr.chunks_in_order import ChunksInOrder
from turnscribe.asr.protocol import Recognition, WeightsType
from turnscribe.asr.spoken_language import SpokenLanguage
from turnscribe.asr.whisper_loading import load_whisper, whisper_capabilities
from turnscribe.asr.window_text import passed_over_from, read_window, windows_to_decode, written
from turnscribe.asr.windows_done import WindowsDone
from turnscribe.devices import Device, Running, device_of
from turnscribe.engine.attempts import Attempt, GoOn, Prompt
from turnscribe.engine.engine import Engine, SharedOptions
from turnscribe.engine.linear import multiplies_int8
from turnscribe.engine.models import Models
from turnscribe.engine.proof import proven
from turnscribe.engine.together import Together
from turnscribe.errors import SettingsError
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions
from turnscribe.speech.evidence import takes_time
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.transcript import Chunk, Speculation
from turnscribe.waveform import Waveform
from turnscribe.whisper.alignment import TokenAlignment, lead, token_starts
from turnscribe.whisper.constants import SECONDS_PER_FRAME
from turnscribe.whisper.cost import cost_of
from turnscribe.whisper.generation_config import keyword_tokens, prompt_tokens, text_tokens, token_limit
from turnscribe.whisper.reading import DecodedWindow, Reader, compression_ratio
from turnscribe.whisper.windows import Window

WARMER = 0.2  # from one attempt's temperature to the next
WARMEST = 1.0
MOST_A_SECOND = 25  # tokens that anybody says, in writing in which a character takes several of them
LEAST_FURTHER = 32  # tokens that there is room for after those that are forced
SHORT_S = 8.0  # of the longest window of a recording that is encoded as it is
# Of encoding and of decoding, for whoever has not seen a model run: by the times of Whisper base on two cores, and
# for a GPU by those of its parts on an H200.
OPERATIONS_A_SECOND = {"cpu": (1.1e11, 1.8e10), "int8": (3e11, 2.5e10), "cuda": (1e14, 2e12)}
SHORT_FRAMES = 512  # that are encoded of such a window: 10.24 s, as the decoder expects silence at the end


def load(
    model: str, *, assistant: str | None, token: str | None, device: str | Device, dtype: WeightsType
) -> EngineAsr:
    """`registry.load_asr` for this backend."""

    def make(float32: bool) -> Engine:
        weights: WeightsType = "float32" if float32 else dtype
        loaded = load_whisper(model, assistant=assistant, token=token, device=device, dtype=weights, modules=False)
        models = Models.of(loaded.model, loaded.tokenizer, loaded.assistant, int8=in_int8(weights, device))
        return Engine(models, device=device_of(device))

    return EngineAsr(proven(make))


def in_int8(dtype: WeightsType, device: str | Device) -> bool:
    """Whether products are of 8-bit integers: where they are asked for.

    Raises `SettingsError` where the device has no instructions for them.
    """
    if dtype != "int8":
        return False
    if device_of(device).kind != "cpu" or not multiplies_int8():
        raise SettingsError(
            "ASR_DTYPE is int8, which needs a CPU with VNNI instructions and a torch that uses them: give float32, "
            "or leave it out."
        )
    return True


class EngineAsr:
    """An `asr.Asr` over the engine. Requests that arrive while another is decoded share its passes."""

    def __init__(self, engine: Engine, *, reader: Reader | None = None) -> None:
        """`reader` makes text of tokens, by default with the tokenizer of the engine's models."""
        self.engine, self.models = engine, engine.models
        self.reader = reader or Reader(engine.models.tokenizer, engine.rules.end, engine.rules.first_time)
        self.together = Together(engine)

    @property
    def capabilities(self) -> Capabilities:
        return whisper_capabilities(
            self.models.config,
            assistant=self.models.draft is not None,
            short_windows=True,
            prefix=True,
            keywords=True,
        )

    @property
    def device(self) -> torch.device:
        return self.models.device

    @property
    def running(self) -> Running:
        return self.engine.running

    @property
    def seconds_a_second(self) -> float:
        encoding, decoding = self._seconds
        return encoding + decoding

    @property
    def encoding_share(self) -> float:
        """Of the time that a window takes, about."""
        encoding, decoding = self._seconds
        return encoding / (encoding + decoding)

    @property
    def _seconds(self) -> tuple[float, float]:
        """Of encoding and of decoding a second of speech, by the model's shape: a guess."""
        models, kind = self.models, "int8" if self.models.int8 else self.engine.device.kind
        cost = cost_of(
            width=models.encoder.weights.positions.shape[1],
            frames=models.frames,
            encoder_layers=len(models.encoder.weights.layers),
            decoder_layers=models.decoder.layers,
            vocabulary=models.vocabulary,
        )
        encoding, decoding = OPERATIONS_A_SECOND.get(kind, OPERATIONS_A_SECOND["cpu"])
        return cost.encoding / encoding, cost.decoding / decoding

    def transcribe(
        self,
        waveform: Waveform,
        options: DecodingOptions,
        listener: Listener = SILENT,
        speech: SpeechMap | None = None,
    ) -> Recognition:
        options, warnings = adapt(options, self.capabilities)
        transcription = _Transcription(self, waveform, options, listener, speech, warnings)
        self.together.decode(transcription)
        return transcription.result()


class _Transcription:
    """One recording on its way through an `EngineAsr`: a `recordings.Recording`."""

    def __init__(
        self,
        asr: EngineAsr,
        waveform: Waveform,
        options: DecodingOptions,
        listener: Listener,
        speech: SpeechMap | None,
        warnings: Sequence[str],
    ) -> None:
        self.asr, self.models, self.waveform, self.speech = asr, asr.models, waveform, speech
        self.options, self.listener = options, listener
        self.streams = listener.on_chunks is not SILENT.on_chunks  # somebody waits for the first text
        self.batch_size = 1 if self.streams else options.batch_size
        self.earlier, prompt_warnings = prompt_tokens(asr.models.tokenizer, options.prompt, options.keywords)
        self.warnings = [*warnings, *prompt_warnings]
        self.pending = deque(windows_to_decode(waveform, speech, options))
        self.first = next(iter(self.pending), None)
        is_short = all(window.duration <= SHORT_S for window in self.pending)
        self.shared_options = SharedOptions(
            assisted=options.assisted,
            word_times=options.word_times,
            end_loops=options.compression_ratio_threshold is not None,
            num_beams=options.num_beams,
            frames=SHORT_FRAMES if is_short and not options.full_windows else None,
            urgent=options.urgent,
            guessed=options.urgent and not options.assisted and options.num_beams == 1,
            keywords=keyword_tokens(asr.models.tokenizer, options.keywords),
        )
        self.language = SpokenLanguage(
            options,
            asr.models.config,
            multilingual=asr.capabilities.multilingual,
            windows=len(self.pending),
            first_at_once=self.streams,
        )
        self.samples_in_all = sum(window.samples for window in self.pending)
        self.chunks = ChunksInOrder(self.pending)
        self.done = WindowsDone(self.samples_in_all, asr.encoding_share)
        self.speculation = Speculation(0, 0)
        self._news: deque[tuple[list[Chunk], float]] = deque()  # further chunks, and the share done

    def result(self) -> Recognition:
        warnings = tuple(dict.fromkeys([*self.warnings, *self.language.warnings]))
        speculation = self.speculation if self.options.assisted else None
        chunks = self.chunks.all()
        return Recognition(chunks, self.language.of_text(chunks), warnings, speculation)

    # What `Together` needs, in the caller's thread ----------------------------------------------------

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    def report(self) -> None:
        while self._news:
            further, share = self._news.popleft()
            if further:
                self.listener.on_chunks(further)
            self.listener.on_progress(share)

    def stop_if_asked(self) -> None:
        self.listener.stop_if_asked()

    # And in whichever thread leads --------------------------------------------------------------------

    @property
    def windows_at_once(self) -> int:
        return self.language.windows_needed

    def samples(self, window: Window) -> Waveform:
        self.done.encoded(window)  # which follows
        self._tell()
        return window.heard(self.waveform)

    def prompts(self, windows: Sequence[Window], language_scores: Callable[[int, int], Tensor]) -> Sequence[Prompt]:
        config = self.models.config
        start = int(config.decoder_start_token_id)
        self.language.judge(windows, lambda index: language_scores(start, index))
        return [self._prompt(window) for window in windows]

    def judge(self, window: Window, attempts: Sequence[Attempt]) -> Attempt | GoOn | float:
        options, latest = self.options, attempts[-1]
        self.speculation += Speculation(latest.proposed, latest.accepted)
        if latest.goes_on:
            if self._says_more(latest, attempts[-2]):
                return self._passed_over(window, latest) or latest
            return attempts[-2]  # and what comes after it is decoded on its own
        if self._unlikely(latest):
            if options.no_speech_threshold is not None and latest.no_speech > options.no_speech_threshold:
                return _nothing(latest)
        elif not self._loops(latest) or self._takes_time(window, latest):
            return self._passed_over(window, latest) or latest
        if not options.fallback:
            return _nothing(latest) if self._loops(latest) else latest
        warmer = round(latest.temperature + WARMER, 6)
        if warmer <= WARMEST:
            return warmer
        calm = [attempt for attempt in attempts if not self._loops(attempt)]
        if calm:
            self._doubt(window, "is uncertain: no attempt to decode it met the thresholds")
            return max(calm, key=lambda attempt: attempt.avg_logprob)
        self._doubt(
            window, "was left out: every attempt to decode it said the same over and over, as over music or noise"
        )
        return _nothing(latest)

    def seed(self, window: Window) -> int:
        """From the samples, so that the same audio gives the same text wherever in a recording it stands."""
        return zlib.crc32(window.heard(self.waveform).tobytes())

    def advanced(self, window: Window, tokens: int) -> None:
        self.done.wrote(window, tokens)
        self._tell()

    def read(self, window: Window, attempt: Attempt) -> None:
        self.batch_size = self.options.batch_size  # the first window is done
        decoded = self._decoded(window, attempt)
        text = read_window(
            self.asr.reader,
            decoded,
            spoken=self.language.of(window),
            task=self.options.task,
            speech=self.speech,
        )
        self.warnings += text.warnings
        if text.rest is not None:
            self.pending.appendleft(text.rest)
        further = self.chunks.add(window, text.chunks, text.rest)
        self.done.finished(window, len(attempt.tokens))
        self._news.append((further, self.done.share(self.chunks.left)))

    # ------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """How far it is, where that is worth it: who speaks live waits for words alone."""
        if not self.options.urgent and (share := self.done.risen(self.chunks.left)) is not None:
            self._news.append(([], share))

    def _says_more(self, latest: Attempt, before: Attempt) -> bool:
        """Whether an attempt says more than the one it goes on from, and that by itself looks right."""
        known = len(before.tokens) + 1  # and the timestamp behind them
        further = replace(latest, tokens=latest.tokens[known:], logprobs=latest.logprobs[known:])
        said = self.asr.reader.said(list(further.tokens)).strip()
        return bool(said) and not self._unlikely(further) and not self._loops(further)

    def _passed_over(self, window: Window, attempt: Attempt) -> GoOn | None:
        """Speech that comes after a closed text is decoded behind it, where there is room for more tokens: its window
        is encoded already."""
        if self.speech is None or self.options.num_beams > 1:
            return None
        begins = passed_over_from(
            self.asr.reader,
            window,
            attempt.tokens,
            lambda: self._decoded(window, attempt),
            spoken=self.language.of(window),
            task=self.options.task,
            speech=self.speech,
        )
        if begins is None:
            return None
        first_time = self.asr.engine.rules.first_time
        forced = (*attempt.tokens, max(first_time + round(begins / SECONDS_PER_FRAME), attempt.tokens[-1]))
        return GoOn(forced) if _has_room(self._prompt(window), forced) else None

    def _unlikely(self, attempt: Attempt) -> bool:
        threshold = self.options.logprob_threshold
        return threshold is not None and attempt.avg_logprob < threshold

    def _prompt(self, window: Window) -> Prompt:
        config = self.models.config
        initial = [*self.earlier, int(config.decoder_start_token_id)]
        if self.asr.capabilities.multilingual:
            language = config.lang_to_id[f"<|{self.language.of(window)}|>"]
            initial += [language, config.task_to_id[self.options.task]]
        limit = token_limit(config, len(initial), self.models.decoder.positions)
        if self.options.urgent:
            limit = min(limit, len(initial) + LEAST_FURTHER + round(MOST_A_SECOND * window.duration))
        prompt = Prompt(
            tuple(initial),
            len(self.earlier),
            limit,
            self.options.temperature,
            self.options.length_penalty,
            self.options.patience,
        )
        forced = self._forced(window)
        if not _has_room(prompt, forced):
            return prompt
        return replace(prompt, forced=forced, guess=self._guess(window))

    def _forced(self, window: Window) -> tuple[int, ...]:
        """The tokens that the window's text is known to begin with."""
        prefix = self.options.prefix
        if not prefix or window != self.first:
            return ()
        return (self.asr.engine.rules.first_time, *text_tokens(self.models.tokenizer, prefix))

    def _guess(self, window: Window) -> tuple[int, ...]:
        """The tokens that may come after those."""
        guess = self.options.guess
        if not guess or window != self.first or not self.shared_options.guessed:
            return ()
        return tuple(text_tokens(self.models.tokenizer, guess))

    def _decoded(self, window: Window, attempt: Attempt) -> DecodedWindow:
        tokens, logprobs = list(attempt.tokens), np.array(attempt.logprobs[: len(attempt.tokens)])
        alignment = None
        if attempt.attention is not None and tokens:
            starts = token_starts(attempt.attention, window.duration, lead(self.models.heads))
            alignment = TokenAlignment(starts[:-1], starts[1:], logprobs)
        return DecodedWindow(
            window,
            tokens,
            logprobs,
            alignment,
            attempt.no_speech,
            attempt.temperature,
            attempt.reached_limit or attempt.in_loop,
            with_tokens=self.options.token_logprobs,
        )

    def _takes_time(self, window: Window, attempt: Attempt) -> bool:
        if attempt.attention is None or attempt.in_loop:
            return False
        language = written(self.language.of(window), self.options.task)
        return takes_time(self.asr.reader.words(self._decoded(window, attempt), language))

    def _loops(self, attempt: Attempt) -> bool:
        limit = self.options.compression_ratio_threshold
        if limit is None:
            return False
        return attempt.in_loop or compression_ratio(self.asr.reader.said(list(attempt.tokens))) > limit

    def _doubt(self, window: Window, what: str) -> None:
        self.warnings.append(
            f"The text from {window.offset:.1f} s to {window.offset + window.duration:.1f} s {what}."
        )


def _has_room(prompt: Prompt, forced: Sequence[int]) -> bool:
    """Whether something can follow the tokens that are forced."""
    return len(prompt.initial) + len(forced) + LEAST_FURTHER <= prompt.limit


def _nothing(attempt: Attempt) -> Attempt:
    """The attempt without its tokens."""
    return replace(attempt, tokens=(), logprobs=())
