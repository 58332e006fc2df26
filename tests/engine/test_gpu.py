"""What the engine does on a GPU only, on the stand-in and on a real one: the tokens are those of a processor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.engine.models import (
    AT,
    FRAMES,
    DecodingCase,
    Encoded,
    GuessedWindows,
    Letters,
    Windows,
    batch_of,
    decoded,
    generated,
    near_copy,
    sound,
    sound_features,
    tiny_assistant,
    tiny_whisper,
)
from tests.engine.test_beams import COUNT, beam_batch, encoded, source
from tests.engine.test_beams import tokens as tokens_of_beams
from tools.fake_gpu import FakeGpu
from turnscribe.asr.engine_backend import EngineAsr
from turnscribe.devices import Device, device_of
from turnscribe.engine import engine as engine_module
from turnscribe.engine.batch import Batch
from turnscribe.engine.cache import Cache
from turnscribe.engine.decode import CHECK_EVERY, Decoding
from turnscribe.engine.draft_length import DraftLength
from turnscribe.engine.engine import ENCODE_AT_ONCE, Engine, SharedOptions
from turnscribe.engine.graphs import SWITCH, Graphs, Unrecorded
from turnscribe.engine.lookup import LookupDraft
from turnscribe.engine.model import Decoder, Encoder
from turnscribe.engine.models import Models
from turnscribe.errors import OutOfMemory
from turnscribe.request import DecodingOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_gradients")]

WINDOWS = 5
CPU = device_of("cpu")


@cache
def model() -> Any:
    return tiny_whisper(multilingual=True, mels=80, limit=24)


@cache
def reference(case: DecodingCase) -> Any:
    return generated(model(), sound_features(80, WINDOWS), case)


def on(gpu: Device, whisper: Any = None) -> Any:
    """A model of its own there."""
    made = tiny_whisper(multilingual=True, mels=80, limit=24)
    made.load_state_dict((whisper or model()).state_dict())
    return made.to(gpu.torch_device)


# Tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graphs", ["0", "1"])
@pytest.mark.parametrize(("rows", "k", "timestamps"), [(1, None, True), (3, None, False), (3, 4, True), (5, 2, True)])
def test_tokens_are_those_of_generate(
    gpu: Device, rows: int, k: int | None, timestamps: bool, graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, graphs)
    whisper, case = on(gpu), DecodingCase(timestamps=timestamps)
    draft = Decoder.of(near_copy(whisper, noise=0.03)) if k else None
    batch = batch_of(whisper, rows, timestamps=timestamps, draft=draft, graphs=Graphs(gpu))
    assert batch.graphs.enabled == (graphs == "1")
    features = sound_features(80, WINDOWS).to(gpu.torch_device)
    for order in (range(WINDOWS), (3, 0, 4, 1, 2)):  # the second time recorded passes are replayed
        windows = Windows(features, Encoder.of(whisper), case.prompt_of(whisper), order=list(order))
        found = decoded(batch, windows, draft_length=k).attempts
        assert [found[window].tokens for window in range(WINDOWS)] == [row.tokens for row in reference(case)]
        for window, row in enumerate(reference(case)):
            np.testing.assert_allclose(found[window].logprobs, row.logprobs, atol=1e-3)


@pytest.mark.parametrize("graphs", ["0", "1"])
@pytest.mark.parametrize(("beams", "rows"), [(2, 1), (3, 4)])
def test_beams_are_those_of_a_processor(
    gpu: Device, beams: int, rows: int, graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, graphs)
    prompt, processor = DecodingCase().prompt_of(model()), tiny_whisper(multilingual=True, mels=80)
    expected = decoded(beam_batch(beams, rows), source(prompt)).attempts
    batch = beam_batch(beams, rows, whisper=processor.to(gpu.torch_device), graphs=Graphs(gpu))
    for order in (range(COUNT), (4, 0, 5, 2, 1, 3)):
        found = decoded(batch, Windows(encoded().to(gpu.torch_device), Encoded(), prompt, order=order)).attempts
        assert tokens_of_beams(found) == tokens_of_beams(expected)


def test_rows_with_a_temperature_are_drawn_without_recorded_passes(gpu: Device) -> None:
    def warm(device: Device) -> list[tuple[int, ...]]:
        whisper = on(device)
        windows = Windows(
            sound_features(80, WINDOWS).to(device.torch_device),
            Encoder.of(whisper),
            DecodingCase().prompt_of(whisper),
            temperature=0.7,
        )
        batch = batch_of(whisper, 3, graphs=Graphs(device))
        found = decoded(batch, windows).attempts
        assert not batch.graphs.recorded
        return [found[window].tokens for window in range(WINDOWS)]

    drawn = warm(gpu)
    assert drawn != [row.tokens for row in reference(DecodingCase())]
    if gpu.torch_device.type == "cpu":  # a GPU has random numbers of its own
        assert drawn == warm(CPU)


# Recorded passes -------------------------------------------------------------------------------------


def test_a_pass_is_run_then_recorded_then_replayed(gpu: Device) -> None:
    graphs, calls = Graphs(gpu), []
    total = torch.zeros(3, device=gpu.torch_device)

    def add(name: str, number: int) -> Callable[[], None]:
        def run_pass() -> None:
            calls.append(name)
            total.add_(torch.full_like(total, number) * 2)

        return run_pass

    seen = []
    for _ in range(4):
        graphs.run("one", add("one", 1))
        graphs.run("other", add("other", 100))
        seen.append(float(total[0]))
    assert seen == [202, 404, 606, 808]
    assert calls == ["one", "other"] * 2  # a replay runs no Python
    assert graphs.recorded == {"one", "other"}
    if isinstance(gpu, FakeGpu):
        assert gpu.log == ["recorder", *["record", "replay"] * 2, *["replay"] * 4]


def test_a_pass_that_asks_for_a_value_cannot_be_recorded_and_the_device_goes_on(gpu: Device) -> None:
    graphs, total = Graphs(gpu), torch.zeros(3, device=gpu.torch_device)

    def asking() -> None:
        total.add_(1)
        if float(total[0]) > 5:
            total.zero_()

    graphs.run("one", asking)
    with pytest.raises(RuntimeError, match=SWITCH):
        graphs.run("one", asking)
    gpu.check()
    assert total.tolist() == [1, 1, 1]  # what was recorded has not been run


def test_memory_that_runs_out_while_recording_is_told_as_such() -> None:
    """On the stand-in alone: a real GPU is not to be filled up for it."""
    graphs = Graphs(FakeGpu(fails="memory"))
    graphs.run("one", lambda: None)
    with pytest.raises(torch.OutOfMemoryError):
        graphs.run("one", lambda: None)


@pytest.mark.parametrize("k", [None, 2])
def test_passes_are_recorded_by_bucket_and_rows_that_are_free_stay_as_they_are(gpu: Device, k: int | None) -> None:
    whisper = on(gpu)
    draft = Decoder.of(near_copy(whisper, noise=0.03)) if k else None
    batch = batch_of(whisper, 7, draft=draft, graphs=Graphs(gpu))
    windows = Windows(
        sound_features(80, WINDOWS)[:3].to(gpu.torch_device), Encoder.of(whisper), DecodingCase().prompt_of(whisper)
    )
    decoded(batch, windows, draft_length=k)
    before = [tensor[3:].clone() for tensor in batch.state]
    again = Windows(windows.features, windows.encoder, DecodingCase().prompt_of(whisper))
    decoded(batch, again, draft_length=k)
    kind = ("step",) if k is None else ("round",)
    assert {(*kind, size) for size in (4,)} <= {key[:2] for key in batch.graphs.recorded}  # three rows in a pass of 4
    assert {key[1] for key in batch.graphs.recorded} <= {1, 2, 4}
    for tensor, kept in zip(batch.state, before, strict=True):
        assert torch.equal(tensor[3:], kept)


def test_the_largest_bucket_is_the_batch(gpu: Device) -> None:
    batch = batch_of(on(gpu), 3, graphs=Graphs(gpu))
    assert [batch._bucket(active) for active in (1, 2, 3)] == [1, 2, 3]
    assert [batch_of(on(gpu), 600, graphs=Graphs(CPU))._bucket(active) for active in (1, 7, 600)] == [1, 7, 600]


class Transfers(TorchDispatchMode):
    """Notes what goes between processor and GPU, down to the operations that others are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question that the tensor answers itself
            return func(*args, **kwargs)
        with self:
            made = func.decompose(*args, **kwargs)
        if made is not NotImplemented:
            return made
        self.operations += 1
        result = func(*args, **kwargs)
        copies = "copy" in func._schema.name  # elsewhere a single number of the processor's goes along with the call
        tensors = [one for one in (*args, result) if isinstance(one, torch.Tensor) and (copies or one.dim() > 0)]
        if len({one.device.type for one in tensors}) > 1 or func._schema.name in (
            "aten::_local_scalar_dense",
            "aten::nonzero",
        ):
            self.seen.append(str(func))
        return result


def without_numbers(whisper: Any) -> Any:
    """The model's weights in half precision on a GPU that need not be there."""
    tensors = {
        name: torch.empty(value.shape, dtype=torch.float16, device="cuda")
        for name, value in whisper.state_dict().items()
    }
    return SimpleNamespace(
        config=whisper.config,
        generation_config=whisper.generation_config,
        device=torch.device("cuda"),
        state_dict=lambda: tensors,
    )


# Tried with torch 2.11; 2.5 moves indices to a real GPU.
needs_imagined_gpu = pytest.mark.skipif(torch.__version__ < "2.11", reason="this torch cannot imagine a GPU")


@needs_imagined_gpu
@pytest.mark.parametrize("kind", ["step", "round", "beams"])
def test_recorded_passes_ask_the_gpu_for_nothing_and_send_it_nothing(kind: str) -> None:
    """With torch's tensors without numbers, which say that they are on a GPU where there is none."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    models, graphs = (model(), tiny_assistant(model(), seed=1)), Unrecorded(FakeGpu())
    with FakeTensorMode(allow_non_fake_inputs=True):
        whisper, draft = (without_numbers(one) for one in models)
        if kind == "beams":
            batch: Batch = beam_batch(3, 4, whisper=whisper, graphs=graphs)
        else:
            batch = batch_of(whisper, 4, draft=Decoder.of(draft), graphs=graphs)
        assert batch.tokens.device.type == "cuda"
        audio = torch.zeros(4, FRAMES, 32, device="cuda", dtype=torch.float16)
        batch.load_audio(audio, None, slice(0, 4))
        transfers = Transfers()
        with transfers:
            if kind == "round":
                batch._round(slice(0, 4), 3, 100)
            else:
                batch._step(slice(0, 4), 100)
    assert not transfers.seen
    assert transfers.operations > 100


@needs_imagined_gpu
@pytest.mark.parametrize(
    "wait", [lambda x: x[[0, 1]], lambda x: x + torch.tensor(1.0).to("cuda"), lambda x: x.cpu(), lambda x: x[x > 0]]
)
def test_what_waits_for_the_processor_is_seen(wait: Callable[[torch.Tensor], Any]) -> None:
    from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

    transfers = Transfers()
    with FakeTensorMode():
        x = torch.zeros(3, device="cuda")
        try:
            with transfers:
                wait(x)
        except DynamicOutputShapeException:
            return  # nobody knows the shape before the values
    assert transfers.seen


# How a decoding goes ---------------------------------------------------------------------------------


def options(**changes: Any) -> SharedOptions:
    return SharedOptions(**{"assisted": False, "word_times": False, "end_loops": False, **changes})


def engine_on(gpu: Device, **more: Any) -> Engine:
    whisper = on(gpu)
    return Engine(Models.of(whisper, Letters(), near_copy(whisper, noise=0.03)), device=gpu, **more)


def test_ends_are_looked_for_every_few_steps(gpu: Device) -> None:
    steps: dict[str, list[int]] = {}
    for device in (gpu, CPU):
        whisper, passes = on(device), []
        batch = batch_of(whisper, 2, graphs=Graphs(device))
        step, length_asked = batch.step, []
        batch.step = lambda *args, step=step, passes=passes: passes.append(1) or step(*args)  # type: ignore
        windows = Windows(
            sound_features(80, WINDOWS).to(device.torch_device),
            Encoder.of(whisper),
            DecodingCase().prompt_of(whisper),
        )
        decoding = Decoding(batch, windows)
        while decoding.step() is not None:
            length_asked.append(len(passes))
        steps[device.kind] = sorted(set(np.diff(length_asked).tolist()) - {0})
    assert steps == {"cuda": [CHECK_EVERY["cuda"]], "cpu": [1]}
    drafting = batch_of(on(gpu), 1, draft=Decoder.of(on(gpu)), graphs=Graphs(gpu))
    assert Decoding(drafting, windows, draft_length=3)._check_every == 1


def test_new_windows_are_encoded_when_a_quarter_of_the_rows_is_free(gpu: Device) -> None:
    taken: dict[str, list[int]] = {}
    for device in (gpu, CPU):
        whisper = on(device)
        batch = batch_of(whisper, 8, graphs=Graphs(device))
        case = DecodingCase()
        prompts = [case.prompt_of(whisper) for _ in range(20)]
        windows = Uneven(
            sound_features(80, WINDOWS).repeat(4, 1, 1).to(device.torch_device), Encoder.of(whisper), prompts[0]
        )
        decoded(batch, windows)
        taken[device.kind] = windows.taken
    assert taken["cpu"][0] == taken["cuda"][0] == 8
    assert min(taken["cpu"][1:-1]) == 1
    assert min(taken["cuda"][1:-1]) >= 2
    assert sum(taken["cpu"]) == sum(taken["cuda"]) == 20


class Uneven(Windows):
    """Each window is as long as its number."""

    def prompts(self, windows: Any, language_scores: Any) -> Any:
        whole = super().prompts(windows, language_scores)
        return [
            type(prompt)(prompt.initial, prompt.start_of_transcript, len(prompt.initial) + 2 + window)
            for prompt, window in zip(whole, windows, strict=True)
        ]


def test_a_batch_is_kept_with_what_it_recorded_and_memory_is_given_back_after_an_error(gpu: Device) -> None:
    engine = engine_on(gpu)
    windows = Windows(
        sound_features(80, 2).to(gpu.torch_device), Encoder.of(model()), DecodingCase().prompt_of(model())
    )
    decoding = engine.decoding(options(), 3, windows)
    assert decoding.encode_at_once == ENCODE_AT_ONCE["cuda"]
    assert engine.decoding(options(), 2, windows).batch is decoding.batch
    assert engine.decoding(options(), 4, windows).batch is not decoding.batch
    larger = engine.batch(4, assisted=False)
    short = engine.batch(4, assisted=False, frames=FRAMES // 2)
    assert engine.batch(4, assisted=False) is larger
    assert engine.batch(4, assisted=False, frames=FRAMES // 2) is short
    assert engine.batch(4, assisted=True) is not larger
    kept = engine.batch(4, assisted=True)
    engine.forget_batch()
    assert engine.batch(4, assisted=True) is not kept
    if isinstance(gpu, FakeGpu):
        assert gpu.log.count("empty cache") == 1
    processors = Engine(Models.of(model(), Letters()))
    assert processors.batch(3, assisted=False) is not processors.batch(3, assisted=False)
    assert processors.decoding(options(), 2, windows).encode_at_once == 1


def test_guesses_over_recorded_passes_leave_the_tokens_alone(gpu: Device) -> None:
    engine, prompt = engine_on(gpu), DecodingCase().prompt_of(model())
    features = sound_features(80, WINDOWS)
    plain = decoded(batch_of(model(), 3), Windows(features, Encoder.of(model()), prompt)).attempts
    source = GuessedWindows(features.to(gpu.torch_device), Encoder.of(on(gpu)), prompt)
    source.guesses = {
        window: tuple(token for index, token in enumerate(attempt.tokens) if token < AT.end and index % 5)
        for window, attempt in plain.items()
    }
    decoding = engine.decoding(options(guessed=True), 3, source)
    found = dict(decoding.run())
    assert {window: attempt.tokens for window, attempt in found.items()} == {
        window: attempt.tokens for window, attempt in plain.items()
    }
    assert decoding.accepted > 0
    assert isinstance(decoding.batch.draft, LookupDraft)
    assert any(key[0] == "round" for key in decoding.batch.graphs.recorded)  # type: ignore[index]
    assert engine.batch(3, assisted=False) is not decoding.batch
    assert engine.batch(3, assisted=False, guessed=True) is not decoding.batch, "it made room for the other"


def test_what_is_kept_for_other_windows_makes_room(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_on(gpu)
    full = engine.batch(4, assisted=False)
    tries: list[int] = []

    def scarce(*arguments: Any, **named: Any) -> Batch:
        tries.append(named["frames"])
        if engine._kept:
            raise torch.OutOfMemoryError("not beside what is kept")
        return Batch(*arguments, **named)

    monkeypatch.setattr(engine_module, "Batch", scarce)
    short = engine.batch(4, assisted=False, frames=FRAMES // 2)
    assert tries == [FRAMES // 2] * 2
    assert engine.batch(4, assisted=False, frames=FRAMES // 2) is short
    assert engine.batch(4, assisted=False) is not full

    def none(*_: Any, **__: Any) -> Batch:
        raise torch.OutOfMemoryError("none at all")

    engine.forget_batch()
    monkeypatch.setattr(engine_module, "Batch", none)
    with pytest.raises(torch.OutOfMemoryError):
        engine.batch(4, assisted=False)


def test_tokens_are_nearly_free_to_check_so_more_are_drafted(gpu: Device) -> None:
    wide = tiny_whisper(multilingual=True, mels=80, width=128)
    engine = Engine(Models.of(wide, Letters(), tiny_assistant(model(), seed=3)), device=gpu)
    length = engine.draft_length(options(assisted=True))
    assert isinstance(length, DraftLength)
    assert engine.models.draft is not None
    processors = DraftLength(engine.models.decoder, engine.models.draft, frames=FRAMES, kind="cpu")
    drafted = [(length.best(rows), processors.best(rows)) for rows in (1, 4, 8, 24)]
    assert all(more >= fewer for more, fewer in drafted)
    assert any(more > fewer for more, fewer in drafted), drafted


@pytest.mark.parametrize("origins", [[2, 1, 1, 3, 3, 5], [0, 1, 2, 3, 4, 5]])
def test_beams_are_reordered_alike_whether_or_not_it_is_asked_which_change(gpu: Device, origins: list[int]) -> None:
    found = []
    for asking in (True, False):
        cache = Cache(
            layers=2,
            rows=2,
            heads=2,
            width=4,
            frames=5,
            positions=9,
            beams=3,
            fixed=True,
            device=gpu.torch_device,
            dtype=torch.float32,
        )
        numbers = torch.arange(6 * 4 * 16.0, device=gpu.torch_device).view(6, 4, 16)
        cache.write_own(1, slice(0, 6), torch.arange(4, device=gpu.torch_device).expand(6, -1), numbers)
        cache.reorder(slice(0, 2), torch.tensor(origins, device=gpu.torch_device), 4, asking=asking)
        found.append(torch.cat(cache.own(1, slice(0, 6), 4)))
    assert torch.equal(*found)


def said(recognition: Any) -> list[tuple[str, float, float]]:
    return [(chunk.text, chunk.start, chunk.end) for chunk in recognition.chunks]


def test_where_recording_runs_out_of_memory_half_the_rows_are_tried() -> None:
    """On the stand-in alone: a real GPU is not to be filled up for it."""
    gpu = FakeGpu(fails="memory", times=2)
    whisper = on(gpu)
    waveform = np.concatenate([sound(number, 7) for number in range(6)])
    wanted = DecodingOptions(language="de", word_times=False, vad=False, batch_size=6, chunk_length_s=7)
    expected = EngineAsr(Engine(Models.of(whisper, Letters()))).transcribe(waveform, wanted)
    asr = EngineAsr(Engine(Models.of(whisper, Letters()), device=gpu))
    found = asr.transcribe(waveform, wanted)
    assert said(found) == said(expected)
    assert len(said(found)) > 6
    assert gpu.log.count("empty cache") == 2
    never = EngineAsr(Engine(Models.of(whisper, Letters()), device=FakeGpu(fails="memory")))
    with pytest.raises(OutOfMemory):
        never.transcribe(waveform, wanted)


@pytest.mark.parametrize("beams", [1, 2])
def test_other_keywords_are_decoded_with_the_passes_that_were_recorded_for_the_first(gpu: Device, beams: int) -> None:
    """And the tokens are a processor's, with the same keywords."""
    engine, prompt = engine_on(gpu), DecodingCase().prompt_of(model())
    processors = Engine(Models.of(model(), Letters()))
    features = sound_features(80, WINDOWS)
    plain = decoded(batch_of(model(), 3), Windows(features, Encoder.of(model()), prompt)).attempts
    said = [[token for token in plain[window].tokens if token < AT.end] for window in range(WINDOWS)]
    lists = [  # whatever is not said after a token that is
        tuple((text[place], other) for text in said[:3] for other in range(AT.end) if other != text[place + 1])
        for place in (1, 4)
    ]
    batches, changed = [], 0
    for keywords in lists:
        wanted = options(keywords=keywords, num_beams=beams)
        on_gpu = engine.decoding(wanted, 3, Windows(features.to(gpu.torch_device), Encoder.of(on(gpu)), prompt))
        on_processor = processors.decoding(wanted, 3, Windows(features, Encoder.of(model()), prompt))
        found, expected = dict(on_gpu.run()), dict(on_processor.run())
        assert {window: attempt.tokens for window, attempt in found.items()} == {
            window: attempt.tokens for window, attempt in expected.items()
        }
        changed += any(expected[window].tokens != plain[window].tokens for window in expected)
        batches.append(on_gpu.batch)
    assert batches[0] is batches[1]
    assert batches[0].graphs.recorded
    assert changed
