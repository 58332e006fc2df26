"""Requests that arrive together: each gets what it gets alone, whatever happens to the others."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from config import parse_config
from tests.engine.models import Letters, near_copy, sound, tiny_whisper
from tests.test_handler import TONE, FakeAsr, handler_with
from turnscribe.asr.chunks_in_order import ChunksInOrder
from turnscribe.asr.engine_backend import EngineAsr
from turnscribe.asr.protocol import Recognition
from turnscribe.asr.spoken_language import SpokenLanguage
from turnscribe.asr.transformers_backend import TransformersAsr
from turnscribe.engine import shared_decoding
from turnscribe.engine.batch import Batch
from turnscribe.engine.engine import Engine
from turnscribe.engine.models import Models
from turnscribe.engine.recordings import Participant
from turnscribe.engine.together import URGENT_IN_A_ROW, Together
from turnscribe.errors import Cancelled, OutOfMemory
from turnscribe.listener import SILENT, Listener
from turnscribe.request import DecodingOptions
from turnscribe.transcript import Chunk
from turnscribe.waveform import to_wav
from turnscribe.whisper.windows import Window, cut_windows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_gradients")]

LONG = 60.0  # seconds after which a test that hangs fails
CALM = {"logprob_threshold": None}  # one attempt a window, but for loops


@cache
def whisper() -> Any:
    return tiny_whisper(multilingual=True, mels=80)


@cache
def models() -> Models:
    assistant = near_copy(whisper(), noise=0.03)
    return Models.of(whisper(), Letters(), assistant)


class WatchedEngine(Engine):
    """The engine of `asr`, which is shown every batch."""

    def __init__(self, asr: Watched, draft_length: int | None) -> None:
        super().__init__(models(), draft_length=draft_length)
        self.asr = asr

    def batch(self, rows: int, **options: Any) -> Batch:
        self.asr.made.append(rows)
        batch = super().batch(rows, **options)
        for name in ("step", "speculate"):
            self.asr.watch(batch, name, urgent=options.get("urgent", False))
        return batch


class Watched(EngineAsr):
    """A backend that notes every pass of its engine and may be held before one."""

    def __init__(
        self, before_pass: Callable[[Watched], None] | None = None, *, draft_length: int | None = None
    ) -> None:
        super().__init__(WatchedEngine(self, draft_length))
        self.before_pass = before_pass
        self.active: list[int] = []  # rows, by pass
        self.leaders: list[int] = []  # threads, by pass
        self.times: list[float] = []
        self.urgent: list[bool] = []  # whether it was one of an urgent recording
        self.made: list[int] = []  # rows of the batches

    def watch(self, batch: Any, name: str, *, urgent: bool) -> None:
        do = getattr(batch, name)

        def watched(active: int, *args: int) -> None:
            if self.before_pass:
                self.before_pass(self)
            self.active.append(active)
            self.leaders.append(threading.get_ident())
            self.times.append(time.monotonic())
            self.urgent.append(urgent)
            do(active, *args)

        setattr(batch, name, watched)

    @property
    def known(self) -> int:
        """Requests that wait or are decoded."""
        decodings = (self.together.shared, self.together.urgent)
        return sum(len(decoding.line) + len(decoding.participants) for decoding in decodings)


def until(count: int, *, at: int = 0) -> Callable[[Watched], None]:
    """Holds the pass `at` until `count` requests have come."""

    def before_pass(engine: Watched) -> None:
        if len(engine.active) == at:
            wait_for(lambda: engine.known >= count)

    return before_pass


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


@dataclass
class RequestThread:
    """A request in a thread of its own."""

    waveform: NDArray[np.float32]
    options: DecodingOptions
    listener: Listener = SILENT
    result: Recognition | None = None
    error: BaseException | None = None
    ended: float = 0.0
    thread: Any = None

    def start(self, engine: EngineAsr) -> RequestThread:
        def run() -> None:
            try:
                self.result = engine.transcribe(self.waveform, self.options, self.listener)
            except BaseException as error:
                self.error = error
            self.ended = time.monotonic()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return self

    def join(self) -> None:
        self.thread.join(LONG)
        assert not self.thread.is_alive(), "it never ended"

    def check(self) -> None:
        if self.error:
            raise self.error
        expected = alone(len(self.waveform), float(self.waveform[:100].sum()), self.options, lambda: self.waveform)
        assert text_and_times(self.result) == text_and_times(expected)
        assert self.result is not None
        assert sorted(self.result.warnings) == sorted(expected.warnings)
        for chunk, same in zip(self.result.chunks, expected.chunks, strict=True):
            assert chunk.avg_logprob == pytest.approx(same.avg_logprob, abs=1e-4)
            assert [word.text for word in chunk.words] == [word.text for word in same.words]
            assert [word.start for word in chunk.words] == pytest.approx(
                [word.start for word in same.words], abs=0.021
            )


_alone: dict[Any, Recognition] = {}


def alone(length: int, mark: float, options: DecodingOptions, waveform: Callable[[], Any]) -> Recognition:
    key = (length, mark, options)
    if key not in _alone:
        with torch.inference_mode():
            _alone[key] = EngineAsr(Engine(models())).transcribe(waveform(), options)
    return _alone[key]


def text_and_times(result: Recognition | None) -> tuple[Any, ...]:
    assert result is not None
    return result.language, [(chunk.text, round(chunk.start, 4), round(chunk.end, 4)) for chunk in result.chunks]


def new_request(seed: int, seconds: float, listener: Listener = SILENT, **options: Any) -> RequestThread:
    chosen = DecodingOptions(**{"chunk_length_s": 5, "language": "de", **CALM, **options})
    return RequestThread(sound(seed, seconds), chosen, listener)


def all_at_once(engine: Watched, requests: Sequence[RequestThread]) -> None:
    for request in requests:
        before = engine.known
        request.start(engine)
        wait_for(lambda before=before, request=request: engine.known > before or not request.thread.is_alive())
    for request in requests:
        request.join()


def eight(**same: Any) -> list[RequestThread]:
    return [
        new_request(1, 4, **same),
        new_request(2, 17, language=None, **same),
        new_request(3, 9, language="es", task="translate", **same),
        new_request(4, 4, language="ru", prompt="as before", **same),
        new_request(5, 13, batch_size=1, **same),
        new_request(6, 8, language=None, batch_size=2, prompt="and something else", **same),
        new_request(7, 8, temperature=0.6, **same),
        new_request(8, 11, logprob_threshold=-0.9, batch_size=3, **same),
    ]


# The same text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "at"), [(range(8), 0), ((6, 4, 1, 7, 0, 3, 5, 2), 0), ((4, 7, 2, 0, 5, 6, 1, 3), 11)], ids=str
)
@pytest.mark.parametrize(
    "same", [{}, {"word_times": True}, {"assisted": True}, {"num_beams": 3}, {"full_windows": False}], ids=str
)
def test_eight_requests_at_once_get_what_each_gets_alone(same: dict[str, Any], order: Sequence[int], at: int) -> None:
    requests = [eight(**same)[index] for index in order]
    engine = Watched(until(8, at=at))
    all_at_once(engine, requests)
    for request in requests:
        request.check()
    assert max(engine.active) >= 8  # rows of several
    if same.get("assisted"):
        for request in requests:
            counts = request.result.speculation
            assert 0 < counts.accepted <= counts.proposed
    else:
        passes = Watched()
        for request in requests:
            with torch.inference_mode():
                passes.transcribe(request.waveform, request.options)
        assert len(engine.active) < 0.7 * len(passes.active)  # one of them is decoded window by window


def test_drafts_are_counted_by_request() -> None:
    """A model that drafts for itself is always right but at the end of a window."""
    engine = Watched(until(3), draft_length=4)
    requests = [new_request(1, 4, assisted=True), new_request(2, 17, assisted=True), new_request(3, 9, assisted=True)]
    all_at_once(engine, requests)
    for request in requests:
        one = Watched(draft_length=4)
        with torch.inference_mode():
            expected = one.transcribe(request.waveform, request.options)
        assert request.result is not None
        assert request.result.speculation == expected.speculation


def test_what_cannot_share_passes_waits_its_turn() -> None:
    requests = [
        new_request(1, 9),
        new_request(2, 6, word_times=True),
        new_request(3, 6, assisted=True),
        new_request(4, 6),
        new_request(5, 6, compression_ratio_threshold=None),
        new_request(6, 6, word_times=True, assisted=True),
        new_request(7, 6, full_windows=False),
    ]
    all_at_once(Watched(until(7)), requests)
    for request in requests:
        request.check()


# Joining and leading ---------------------------------------------------------------------------------


def test_a_late_request_joins_a_decoding_that_runs() -> None:
    engine = Watched(until(2, at=9))
    first, late = new_request(2, 60, batch_size=2), new_request(1, 4)
    first.start(engine)
    wait_for(lambda: len(engine.active) == 9)
    late.start(engine)
    for request in (first, late):
        request.join()
        request.check()
    assert len(engine.made) == 1  # into a row that became free
    assert late.ended < first.ended


def test_those_that_come_while_a_small_batch_runs_get_a_larger_one() -> None:
    engine = Watched(until(6, at=5))
    all_at_once(engine, [new_request(1, 4), *(new_request(seed, 9) for seed in range(2, 7))])
    assert engine.made[0] == 1
    assert len(engine.made) == 2
    assert max(engine.active) >= 8


def test_a_short_recording_is_not_stuck_behind_a_long_one() -> None:
    engine = Watched(until(2))
    long, short = new_request(2, 90, batch_size=2), new_request(1, 9, batch_size=2)
    all_at_once(engine, [long, short])
    passes = len(engine.active)
    assert short.ended < long.ended
    rest = [leader for leader in engine.leaders if leader == long.thread.ident]
    assert len(rest) > passes / 2
    long.check()
    short.check()


def test_what_is_urgent_waits_for_one_step_of_the_others_at_most() -> None:
    long, urgent = new_request(1, 25), [new_request(seed, 4, urgent=True) for seed in (2, 3)]

    def come(engine: Watched) -> None:
        if len(engine.active) == 10:
            for request in urgent:
                request.start(engine)
            wait_for(lambda: engine.known == 3)

    engine = Watched(come)
    all_at_once(engine, [long])
    for request in (*urgent, long):
        request.join()
        request.check()
    first, last = engine.urgent.index(True), len(engine.urgent) - engine.urgent[::-1].index(True)
    assert first <= 11, "the step that was under way, and none more"
    between = [index for index, is_urgent in enumerate(engine.urgent[first:last]) if not is_urgent]
    assert len(between) <= (last - first) // URGENT_IN_A_ROW, "hardly a step of the others in between"
    assert last < len(engine.urgent), "and the others went on"


def test_a_recording_goes_on_while_urgent_ones_never_end() -> None:
    steps: list[str] = []

    class Endless:
        def __init__(self, name: str) -> None:
            self.name, self.has_work = name, True

        def step(self) -> None:
            steps.append(self.name)

    together = Together(Engine(models()))
    together.urgent, together.shared = Endless("urgent"), Endless("other")  # type: ignore[assignment]
    for _ in range(3 * (URGENT_IN_A_ROW + 1)):
        together._step()
    assert steps == (["urgent"] * URGENT_IN_A_ROW + ["other"]) * 3
    together.shared.has_work = False  # type: ignore[misc]
    steps.clear()
    for _ in range(2 * URGENT_IN_A_ROW):
        together._step()
    assert set(steps) == {"urgent"}


def test_urgent_recordings_that_come_again_and_again_lose_nothing() -> None:
    engine, long = Watched(), new_request(1, 25)
    long.start(engine)
    for seed in range(2, 7):
        request = new_request(seed, 3, urgent=True).start(engine)
        request.join()
        request.check()
    long.join()
    long.check()
    assert engine.known == 0


def test_no_recording_has_more_rows_than_it_asked_for() -> None:
    engine = Watched()
    with torch.inference_mode():
        engine.transcribe(sound(5, 30), DecodingOptions(chunk_length_s=5, language="de", batch_size=2, **CALM))
    assert max(engine.active) == 2
    engine = Watched(until(2))
    all_at_once(engine, [new_request(2, 30, batch_size=3), new_request(3, 30, batch_size=2)])
    assert max(engine.active) == 3  # together, no more than the larger of them


def test_a_kept_batch_may_be_larger_than_what_is_asked_for() -> None:
    engine = Watched(until(2))
    kept = engine.engine.batch(16, assisted=False)
    engine.engine.batch = lambda rows, **_: kept  # type: ignore[method-assign]
    requests = [new_request(2, 30, batch_size=3), new_request(3, 9, batch_size=2)]
    all_at_once(engine, requests)
    assert max(engine.active) == 3
    for request in requests:
        request.check()


def test_who_led_returns_as_soon_as_its_own_is_read_and_another_goes_on() -> None:
    engine = Watched(until(3, at=1))
    short, others = new_request(1, 4), [new_request(2, 40, batch_size=2), new_request(3, 40, batch_size=2)]
    all_at_once(engine, [short, *others])
    assert engine.leaders[0] == short.thread.ident
    assert short.ended < min(other.ended for other in others)
    assert {leader for leader in engine.leaders if leader != short.thread.ident}
    last_led = len(engine.leaders) - 1 - engine.leaders[::-1].index(short.thread.ident)
    assert last_led < 0.5 * len(engine.leaders)
    for request in (short, *others):
        request.check()


def test_silence_is_not_kept_waiting() -> None:
    engine = Watched(until(2))  # held until the last request below
    first = new_request(2, 9).start(engine)
    with torch.inference_mode():
        assert engine.transcribe(np.zeros(32_000, np.float32), DecodingOptions(language="de")).chunks == ()
    last = new_request(1, 4).start(engine)
    for request in (first, last):
        request.join()
        request.check()


def test_whoever_does_not_fit_in_is_not_overtaken_for_ever() -> None:
    engine = Watched(until(4))
    order: list[str] = []

    def ends(name: str) -> dict[str, Any]:
        return Listener(on_progress=lambda done: order.append(name) if done == 1 else None)

    first = new_request(2, 20, ends("first"))
    other = new_request(3, 4, ends("other"), num_beams=2)
    later = [new_request(seed, 4, ends("later")) for seed in (4, 5)]
    all_at_once(engine, [first, other, *later])
    assert order == ["first", "other", "later", "later"]
    for request in (first, other, *later):
        request.check()


# Stopping --------------------------------------------------------------------------------------------


def test_a_cancelled_request_frees_its_rows_and_the_others_are_right() -> None:
    engine = Watched(until(3))
    stop = Listener(should_stop=lambda: max(engine.active, default=0) > 16)  # rows of all three
    requests = [new_request(2, 60, batch_size=8), new_request(3, 90, stop), new_request(4, 60, batch_size=8)]
    all_at_once(engine, requests)
    assert isinstance(requests[1].error, Cancelled)
    assert requests[1].ended < min(requests[0].ended, requests[2].ended)
    requests[0].check()
    requests[2].check()
    after = [rows for rows, at in zip(engine.active, engine.times, strict=False) if at > requests[1].ended]
    assert len(after) > 20
    assert max(after[1:]) <= 16


@pytest.mark.parametrize("position", [0, 1])
def test_leading_or_not_a_request_stops_when_asked(position: int) -> None:
    engine = Watched(until(2))
    stop = threading.Event()
    requests = [new_request(2, 60, batch_size=1), new_request(3, 60, batch_size=1)]
    requests[position].listener = Listener(should_stop=stop.is_set)
    for request in requests:
        request.start(engine)
    wait_for(lambda: len(engine.active) > 5)
    stop.set()
    began = time.monotonic()
    requests[position].join()
    assert isinstance(requests[position].error, Cancelled)
    assert requests[position].ended - began < 2  # on a busy machine
    requests[1 - position].join()
    requests[1 - position].check()


def test_who_waits_for_its_turn_can_leave() -> None:
    hold = threading.Event()
    engine = Watched(lambda _: wait_for(hold.is_set))
    stop = threading.Event()
    first = new_request(2, 9).start(engine)
    other = new_request(3, 9, Listener(should_stop=stop.is_set), num_beams=2).start(engine)
    wait_for(lambda: engine.known == 2)
    stop.set()
    other.join()  # though nothing moves
    assert isinstance(other.error, Cancelled)
    hold.set()
    first.join()
    first.check()


def test_no_batch_stays_behind_when_the_last_one_is_cancelled() -> None:
    engine = Watched()
    request = new_request(2, 30, Listener(should_stop=lambda: len(engine.active) > 12)).start(engine)
    request.join()
    assert isinstance(request.error, Cancelled)
    assert engine.together.shared.decoding is None
    assert not engine.known


# Failing ---------------------------------------------------------------------------------------------


def failing(*_: Any) -> None:
    raise ValueError("mine alone")


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("callback", ["on_progress", "on_chunks", "should_stop"])
def test_a_callback_that_raises_fails_its_own_request(callback: str, position: int) -> None:
    engine = Watched(until(3))
    requests = [new_request(2, 9), new_request(3, 14), new_request(4, 9)]
    requests[position].listener = Listener(**{callback: failing})
    if callback != "on_chunks":  # not before all are there
        requests[position].listener = Listener(**{callback: lambda *_: len(engine.active) > 5 and failing()})
    all_at_once(engine, requests)
    for index, request in enumerate(requests):
        if index == position:
            assert str(request.error) == "mine alone"
        else:
            request.check()


@pytest.mark.parametrize("where", ["judge", "read"])
def test_a_request_that_cannot_be_judged_or_read_fails_alone(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from turnscribe.asr import engine_backend as backend

    whole = getattr(backend._Transcription, where)
    monkeypatch.setattr(
        backend._Transcription,
        where,
        lambda self, *args: failing() if self.options.prompt == "poison" else whole(self, *args),
    )
    engine = Watched(until(3))
    requests = [new_request(2, 9), new_request(3, 14, prompt="poison"), new_request(4, 9)]
    all_at_once(engine, requests)
    assert str(requests[1].error) == "mine alone"
    requests[0].check()
    requests[2].check()
    assert len(engine.made) <= 2  # nobody was decoded again


def poisonous(engine: Watched, poison: RequestThread, error: type[Exception]) -> None:
    """Encoding a window of `poison` raises."""
    encode = engine.engine.encode

    def encoded(waveforms: Any, options: Any) -> Any:
        if any(np.shares_memory(waveform, poison.waveform) for waveform in waveforms):
            raise error("poison")
        return encode(waveforms, options)

    engine.engine.encode = encoded  # type: ignore[method-assign]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_poisonous_recording_fails_and_the_others_do_not(position: int) -> None:
    engine = Watched(until(2))
    requests = [new_request(2, 9), new_request(3, 14), new_request(4, 9)]
    poisonous(engine, requests[position], RuntimeError)
    engine.before_pass = until(3 if position else 2)
    all_at_once(engine, requests)
    for index, request in enumerate(requests):
        if index == position:
            assert str(request.error) == "poison"
        else:
            request.check()


def test_a_pass_that_fails_is_tried_by_each_alone() -> None:
    failed: list[int] = []

    def before_pass(engine: Watched) -> None:
        until(3)(engine)
        if len(engine.active) == 20:
            engine.active.append(0)
            failed.append(engine.known)
            raise RuntimeError("once")

    engine = Watched(before_pass)
    requests = [new_request(2, 20), new_request(3, 14), new_request(4, 9)]
    all_at_once(engine, requests)
    assert failed == [3]
    for request in requests:
        request.check()


def test_alone_an_error_is_its_callers() -> None:
    def before_pass(engine: Watched) -> None:
        if len(engine.active) == 20:
            raise RuntimeError("once")

    engine = Watched(before_pass)
    with pytest.raises(RuntimeError, match="once"), torch.inference_mode():
        engine.transcribe(sound(2, 9), DecodingOptions(language="de"))
    assert not engine.known
    engine.before_pass = None
    request = new_request(2, 9).start(engine)
    request.join()
    request.check()


def test_out_of_memory_halves_the_rows_of_all_and_nothing_is_lost() -> None:
    def before_pass(engine: Watched) -> None:
        until(3)(engine)
        if engine.together.shared.decoding.limit > 3 and len(engine.active) > 9:
            raise torch.OutOfMemoryError("too many")

    engine = Watched(before_pass)
    requests = [new_request(2, 20), new_request(3, 14, language=None), new_request(4, 9)]
    all_at_once(engine, requests)
    for request in requests:
        request.check()
    assert engine.made[-1] <= 3


def test_a_window_that_never_fits_fails_its_request_alone() -> None:
    engine = Watched()
    requests = [new_request(2, 20), new_request(3, 4), new_request(4, 9)]
    poisonous(engine, requests[1], torch.OutOfMemoryError)
    engine.before_pass = until(3)
    all_at_once(engine, requests)
    assert isinstance(requests[1].error, OutOfMemory)
    assert "smaller model" in str(requests[1].error)
    requests[0].check()
    requests[2].check()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_is_interrupted_while_it_leads_does_not_take_the_others_along(error: type[BaseException]) -> None:
    interrupted: list[int] = []

    def before_pass(engine: Watched) -> None:
        until(3)(engine)
        if len(engine.active) == 15 and not interrupted:
            interrupted.append(threading.get_ident())
            raise error

    engine = Watched(before_pass)
    requests = [new_request(2, 20), new_request(3, 14), new_request(4, 9)]
    all_at_once(engine, requests)
    for request in requests:
        if request.thread.ident == interrupted[0]:
            assert isinstance(request.error, error)
        else:
            request.check()
    assert len(set(engine.leaders)) > 1


def test_callbacks_come_in_their_callers_thread_and_a_slow_one_holds_up_nobody() -> None:
    hold = threading.Event()
    threads: list[int] = []

    def slow(*_: Any) -> None:
        threads.append(threading.get_ident())
        wait_for(hold.is_set)

    engine = Watched(until(3))
    requests = [new_request(2, 20, Listener(on_chunks=slow)), new_request(3, 14), new_request(4, 9)]
    for request in requests:
        request.start(engine)
    for request in requests[1:]:
        request.join()  # while the first one's caller is still busy
        request.check()
    hold.set()
    requests[0].join()
    requests[0].check()
    assert set(threads) == {requests[0].thread.ident}


# Chunks as they come ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize("backend", ["engine", "transformers"])
def test_chunks_come_in_order_as_soon_as_all_before_them_are_there(backend: str, rows: int) -> None:
    if backend == "engine":
        asr: Any = Watched()
    else:
        asr = TransformersAsr(whisper(), Letters(), WhisperFeatureExtractor(feature_size=80))
    calls: list[Sequence[Chunk]] = []
    done: list[float] = []
    options = DecodingOptions(chunk_length_s=5, language="de", batch_size=rows)
    if backend == "engine":
        options = replace(options, logprob_threshold=-0.9)  # some windows take several attempts
    with torch.inference_mode():
        result = asr.transcribe(sound(4, 60), options, Listener(on_chunks=calls.append, on_progress=done.append))
    assert all(calls)
    assert [chunk for chunks in calls for chunk in chunks] == list(result.chunks)
    assert len(calls) >= (5 if rows == 1 or backend == "engine" else 2)
    if backend == "engine":  # whoever listens gets the first window as soon as it is done
        first = cut_windows(sound(4, 60), 5)[0]
        assert all(chunk.end <= first.duration for chunk in calls[0])
    assert done[-1] == 1


def test_what_follows_a_window_that_is_not_finished_waits() -> None:
    first, second, third = windows = [Window(0, 10), Window(10, 20), Window(20, 30)]
    one, two, three, four = (Chunk(text, 0, 1) for text in "abcd")
    chunks = ChunksInOrder(windows)
    assert chunks.add(third, [four], None) == []
    assert chunks.add(first, [one], rest := Window(4, 10)) == [one]
    assert chunks.add(second, [three], None) == []
    assert chunks.add(rest, [two], None) == [two, three, four]
    assert chunks.all() == (one, two, three, four)
    assert ChunksInOrder([]).all() == ()


def test_the_handler_passes_chunks_on_where_there_is_one_order() -> None:
    tone = np.sin(np.arange(16_000) / 5).astype(np.float32) * 0.1
    calls: list[Sequence[Chunk]] = []
    mixed = handler_with(FakeAsr()).pipeline.transcribe(TONE, parse_config({}), Listener(on_chunks=calls.append))
    assert [chunk for chunks in calls for chunk in chunks] == list(mixed.chunks)
    stereo = to_wav(np.stack([tone, -tone], axis=1))
    config = parse_config({"channels": "split"})
    assert len(handler_with(FakeAsr()).pipeline.transcribe(stereo, config, Listener(on_chunks=failing)).chunks) == 2


@pytest.mark.parametrize("rows", [4, 8])
def test_the_language_is_judged_by_the_first_windows_however_many_are_heard(
    monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    judged: list[Any] = []
    judge = SpokenLanguage._log_probabilities

    def noted(language: Any, scores: Any) -> Any:
        judged.append(scores)
        return judge(language, scores)

    monkeypatch.setattr(SpokenLanguage, "_log_probabilities", noted)
    waveform = sound(72, 64)
    waveform[40 * 16_000 :] *= 4  # the loudest windows come later
    options = DecodingOptions(batch_size=rows, chunk_length_s=8, **CALM)
    reference = TransformersAsr(whisper(), Letters(), WhisperFeatureExtractor(feature_size=80))
    language = EngineAsr(Engine(models())).transcribe(waveform, options).language
    assert len(judged) == 4
    assert language == reference.transcribe(waveform, options).language
    assert len(judged) == 8


def test_an_error_that_is_kept_does_not_keep_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[weakref.ref[Batch]] = []

    def fail(batch: Batch, *_: int) -> None:
        batches.append(weakref.ref(batch))
        raise RuntimeError("a kernel")

    monkeypatch.setattr(Batch, "step", fail)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="a kernel") as kept:
            EngineAsr(Engine(models())).transcribe(
                sound(73, 20), DecodingOptions(chunk_length_s=8, language="en", **CALM)
            )
        assert [reference() for reference in batches] == [None]
        assert kept.tb is not None
    finally:
        gc.enable()


def test_memory_that_ran_out_once_does_not_keep_batches_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_decoding, "MORE_AFTER", 3)
    failed: list[int] = []

    def run_out_once(engine: Watched) -> None:
        if len(engine.active) == 2 and not failed:
            failed.append(1)
            raise torch.OutOfMemoryError

    engine = Watched(run_out_once)
    options = DecodingOptions(batch_size=4, chunk_length_s=4, language="en", **CALM)
    result = engine.transcribe(sound(74, 60), options)
    assert text_and_times(result) == text_and_times(Watched().transcribe(sound(74, 60), options))
    assert engine.made[:2] == [4, 2]
    assert max(engine.made[2:]) == 4


def test_a_window_is_pending_once_though_an_interrupt_came_while_it_was_taken() -> None:
    windows = [Window(0, 10), Window(10, 20), Window(20, 30)]
    recording: Any = SimpleNamespace(pending=deque(windows))
    participant = Participant(recording)
    participant.take(windows[0])
    participant.taken[windows[1]] = None  # and the interrupt, before it is no longer pending
    participant.put_back()
    assert list(recording.pending) == windows
    assert not participant.taken
