"""The engine on what is not speech, and on text that goes wrong. The demo models stand for Whisper."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from turnscribe.asr.spoken_language import SpokenLanguage
from turnscribe.engine.attempts import Attempt
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions
from turnscribe.transcript import Chunk, Word
from turnscribe.waveform import SAMPLE_RATE
from turnscribe.whisper.windows import Window

pytestmark = pytest.mark.models
ENGLISH = DecodingOptions(language="en")


def tones(*hertz: float, seconds: float, level: float = 0.2) -> NDArray[np.float32]:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * sum(np.sin(2 * np.pi * f * time) for f in hertz) / len(hertz)).astype(np.float32)


def melody(seconds: float) -> NDArray[np.float32]:
    notes = [tones(f, seconds=0.5, level=0.3) for f in (262, 294, 330, 349, 392, 440, 494, 523)]
    return np.resize(np.concatenate(notes), round(seconds * SAMPLE_RATE)).astype(np.float32)


def noise(seconds: float, level: float) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.normal(0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(30 * SAMPLE_RATE, np.float32),
        noise(30, 0.001),
        noise(30, 0.01),
        noise(30, 0.1),
        tones(220, 330, 440, seconds=30),
        tones(50, seconds=30),
        melody(30),
    ],
    ids=["silence", "faint noise", "noise", "loud noise", "chord", "hum", "melody"],
)
def test_what_is_not_speech_has_no_text(demo_handler, waveform: NDArray[np.float32]) -> None:
    assert demo_handler.pipeline.asr.transcribe(waveform, ENGLISH).chunks == ()


def test_what_is_left_out_is_said_with_its_time(demo_handler) -> None:
    result = demo_handler.pipeline.asr.transcribe(tones(220, 330, 440, seconds=10), ENGLISH)
    assert result.chunks == ()
    assert result.warnings == (
        "The text from 0.0 s to 10.0 s was left out: every attempt to decode it said the same over and over, as over "
        "music or noise.",
    )


def test_one_sentence_in_ten_minutes_of_silence_is_found(demo_handler, conversation_waveform) -> None:
    waveform = np.zeros(600 * SAMPLE_RATE, np.float32)
    start = 300 * SAMPLE_RATE
    said = conversation_waveform[: round(2.5 * SAMPLE_RATE)]
    waveform[start : start + len(said)] += said
    result = demo_handler.pipeline.asr.transcribe(waveform, DecodingOptions(language="en", word_times=True))
    [chunk] = result.chunks
    assert chunk.text == " hello team please listen"
    assert 300 <= chunk.words[0].start < chunk.words[-1].end <= 302.7
    assert all(word.probability > 0.5 for word in chunk.words)


def test_thresholds_can_be_turned_off(demo_handler) -> None:
    options = DecodingOptions(language="en", compression_ratio_threshold=None, logprob_threshold=None)
    assert demo_handler.pipeline.asr.transcribe(melody(3), options).chunks


def test_chunks_say_how_they_were_decoded(demo_handler, conversation_waveform) -> None:
    result = demo_handler.pipeline.asr.transcribe(conversation_waveform[: 10 * SAMPLE_RATE], ENGLISH)
    assert result.chunks
    for chunk in result.chunks:
        assert -1 < chunk.avg_logprob <= 0
        assert 0 <= chunk.no_speech_prob <= 1
        assert chunk.temperature == 0
        assert 0 < chunk.compression_ratio < 2.4


# Memory, stopping, language -------------------------------------------------------------------------


@pytest.fixture
def asr(demo_handler):
    """A second backend over the demo models, to be changed."""
    from turnscribe.asr.engine_backend import EngineAsr
    from turnscribe.engine.engine import Engine

    return EngineAsr(Engine(demo_handler.pipeline.asr.models))


TEN_SECONDS = DecodingOptions(language="en", chunk_length_s=10)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(asr, conversation_waveform) -> None:
    import torch

    def said() -> list[tuple[str, float, float]]:
        chunks = asr.transcribe(conversation_waveform, TEN_SECONDS).chunks
        return [(chunk.text, chunk.start, chunk.end) for chunk in chunks]

    expected = said()
    asked, made, steps = [], asr.engine.batch, 0

    def batch(rows: int, **options: Any):
        asked.append(rows)
        if rows > 3:
            raise torch.OutOfMemoryError("too many")  # before anything was decoded
        one = made(rows, **options)
        step = one.step

        def counted(*args, **kwargs) -> None:
            nonlocal steps
            steps += 1
            if steps == 20:
                raise torch.OutOfMemoryError("in the middle")
            step(*args, **kwargs)

        one.step = counted
        return one

    asr.engine.batch = batch
    assert said() == expected
    assert len(asked) >= 3
    assert asked[0] > 3
    assert all(later == max(earlier // 2, 1) for earlier, later in pairwise(asked))


def test_a_window_that_does_not_fit_is_said_to_the_operator(asr, conversation_waveform) -> None:
    import torch

    from turnscribe.errors import OutOfMemory

    def batch(rows: int, **options: Any):
        raise torch.OutOfMemoryError("too many")

    asr.engine.batch = batch
    with pytest.raises(OutOfMemory, match="choose a smaller model"):
        asr.transcribe(conversation_waveform, TEN_SECONDS)


def test_decoding_stops_between_two_steps(asr, conversation_waveform) -> None:
    from turnscribe.errors import Cancelled

    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 12

    with pytest.raises(Cancelled):
        asr.transcribe(conversation_waveform, TEN_SECONDS, listener=Listener(should_stop=stop))
    assert asked == 12  # five windows were heard, a handful of steps taken, none finished


def test_the_language_is_that_of_several_windows_not_of_the_loudest() -> None:
    config = SimpleNamespace(lang_to_id={"<|en|>": 0, "<|es|>": 1, "<|km|>": 2})
    language = SpokenLanguage(DecodingOptions(), config, multilingual=True, windows=9)
    first, second, third = windows = [Window(0, 10), Window(10, 20), Window(20, 30)]
    scores = {first: [0.0, 1.0, 1.5], second: [0.0, 2.0, 0.0], third: [0.1, 2.0, 0.2]}
    assert language.windows_needed == 4
    language.judge(windows, lambda index: torch.tensor(scores[windows[index]]))
    assert {language.of(window) for window in windows} == {"es"}
    assert language.warnings == []
    assert language.windows_needed == 1, "one more of nine"


def test_small_batches_judge_the_language_by_as_many_windows() -> None:
    config = SimpleNamespace(lang_to_id={"<|en|>": 0, "<|es|>": 1})
    language = SpokenLanguage(DecodingOptions(), config, multilingual=True, windows=9)
    windows = [Window(at, at + 10) for at in range(0, 60, 10)]
    scores = [[1.0, 0.0], *[[0.0, 2.0]] * 3, *[[9.0, 0.0]] * 2]
    for at, window in enumerate(windows):
        for _ in range(2):  # as after a batch that was too large
            language.judge([window], lambda _, at=at: torch.tensor(scores[at]))
    assert [language.of(window) for window in windows] == ["en", "es", "es", "es", "es", "es"]


def test_a_language_that_is_a_guess_is_warned_of() -> None:
    config = SimpleNamespace(lang_to_id={"<|en|>": 0, "<|es|>": 1, "<|ca|>": 2})
    language = SpokenLanguage(DecodingOptions(), config, multilingual=True, windows=1)
    language.judge([Window(0, 10)], lambda index: torch.tensor([0.0, 0.1, 0.2]))
    assert language.of(Window(0, 10)) == "ca"
    assert "another than 'ca', which is 37% likely" in language.warnings[0]


def test_each_window_may_have_its_own_language_among_those_in_question() -> None:
    config = SimpleNamespace(lang_to_id={"<|en|>": 0, "<|es|>": 1, "<|km|>": 2})
    options = DecodingOptions(language="multi", languages=("en", "es"))
    language = SpokenLanguage(options, config, multilingual=True, windows=2)
    windows = [Window(0, 10), Window(10, 20)]
    scores = [[0.0, 1.0, 5.0], [2.0, 1.0, 5.0]]
    language.judge(windows, lambda index: torch.tensor(scores[index]))
    assert [language.of(window) for window in windows] == ["es", "en"]
    chunks = [
        Chunk(" a b", 0, 1, (Word(" a", 0, 1), Word(" b", 0, 1)), language="es"),
        Chunk(" c", 1, 2, language="en"),
    ]
    assert language.of_text(chunks) == "es"
    assert language.of_text([]) is None


# The judge, on attempts made up ----------------------------------------------------------------------


def attempt(text: str, *, logprob: float = -0.1, no_speech: float = 0.0, temperature: float = 0.0) -> Attempt:
    tokens = tuple(ord(letter) for letter in text)
    return Attempt(tokens, (logprob,) * (len(tokens) + 1), no_speech, temperature)


@pytest.fixture
def judge(demo_handler):
    from turnscribe.asr.engine_backend import _Transcription

    letters = SimpleNamespace(said=lambda tokens: "".join(map(chr, tokens)))
    real = demo_handler.pipeline.asr
    asr = SimpleNamespace(
        reader=letters, models=real.models, capabilities=real.capabilities, encoding_share=real.encoding_share
    )

    def judged(*attempts: Attempt, **options):
        recording = _Transcription(
            asr, np.zeros(SAMPLE_RATE, np.float32), DecodingOptions(**options), SILENT, None, ()
        )
        return recording.judge(Window(0, SAMPLE_RATE), attempts), recording.warnings

    return judged


LOOP = "and again " * 20
KNOWN = attempt("all that was said.")


@pytest.mark.parametrize(
    ("further", "is_kept"), [(" And this!", True), (" \x00\x00 ", False), (LOOP, False), (" mumbled", False)]
)
def test_what_goes_on_behind_a_text_is_kept_where_it_looks_right_by_itself(
    judge, further: str, is_kept: bool
) -> None:
    """Else the text before it stands, and what comes after is decoded on its own."""
    logprob = -1.4 if "mumbled" in further else -0.1
    logprobs = (-0.01,) * len(KNOWN.tokens) + (logprob,) * (len(further) + 1)
    tokens = (*KNOWN.tokens, 0, *(ord(letter) for letter in further.replace("\x00", " ")))
    latest = Attempt(tokens, (*logprobs, logprob), 0.0, 0.0, goes_on=True)
    assert latest.avg_logprob > -1, "beside the text before it, it would not be seen"
    assert judge(KNOWN, latest) == (latest if is_kept else KNOWN, [])


def test_a_good_attempt_is_kept(judge) -> None:
    good = attempt("a sentence like any other")
    assert judge(good) == (good, [])


def test_a_loop_is_decoded_again_a_little_warmer(judge) -> None:
    assert judge(attempt(LOOP)) == (0.2, [])
    assert judge(attempt(LOOP), attempt(LOOP, temperature=0.2)) == (0.4, [])
    assert judge(attempt(LOOP, temperature=0.5), temperature=0.5) == (0.7, [])


def test_unlikely_text_is_decoded_again(judge) -> None:
    assert judge(attempt("a sentence", logprob=-1.2)) == (0.2, [])
    kept, _ = judge(attempt("a sentence", logprob=-1.2), logprob_threshold=-1.5)
    assert isinstance(kept, Attempt)


def test_without_fallback_a_window_is_decoded_once(judge) -> None:
    doubted = attempt("a sentence", logprob=-1.2)
    assert judge(doubted, fallback=False) == (doubted, [])
    kept, warnings = judge(attempt(LOOP), fallback=False)
    assert (kept.tokens, warnings) == ((), []), "it is soon heard again"


@pytest.mark.parametrize(("urgent", "most"), [(False, 100), (True, 82)])
def test_what_is_urgent_has_no_more_tokens_than_can_be_said(demo_handler, urgent: bool, most: int) -> None:
    from turnscribe.asr.engine_backend import _Transcription

    asr, window = demo_handler.pipeline.asr, Window(0, 2 * SAMPLE_RATE)
    options = DecodingOptions(language="en", urgent=urgent)
    recording = _Transcription(asr, np.zeros(2 * SAMPLE_RATE, np.float32), options, SILENT, None, ())
    prompt = recording._prompt(window)
    room = prompt.limit - len(prompt.initial)
    assert room == most if urgent else room > most


def test_unlikely_text_where_silence_is_likely_is_dropped(judge) -> None:
    kept, warnings = judge(attempt("thank you", logprob=-1.2, no_speech=0.9))
    assert (kept.tokens, warnings) == ((), [])
    kept, _ = judge(attempt("thank you", logprob=-0.2, no_speech=0.9))  # the text is likelier
    assert kept.tokens


def test_of_attempts_that_all_failed_the_likeliest_that_is_no_loop_is_kept_and_doubted(judge) -> None:
    best = attempt("it may be this", logprob=-1.1, temperature=0.6)
    kept, warnings = judge(attempt(LOOP, logprob=-0.1), best, attempt("or that", logprob=-2.0, temperature=1.0))
    assert kept == best
    assert "0.0 s to 1.0 s is uncertain" in warnings[0]
