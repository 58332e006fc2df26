"""The merge of turns and text against a slow twin, and the loader against fakes and the demo diarizer."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diarization_utils import Diarizer, assign_speakers, diarize, group_turns, load_diarizer
from turnscribe.diarization import pyannote_versions
from turnscribe.diarization.pyannote import PyannoteDiarizer
from turnscribe.errors import Cancelled, SettingsError
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.transcript import Chunk, SpeakerText, Turn, Word

REPOSITORY = Path(__file__).resolve().parent.parent
DEMO = REPOSITORY / "demo" / "diarizer"


def words(*timed: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(*word) for word in timed)


def chunk_of(*timed: tuple[str, float, float]) -> Chunk:
    return Chunk("".join(text for text, _, _ in timed), timed[0][1], timed[-1][2], words(*timed))


def owners(chunks: tuple[Chunk, ...]) -> list[tuple[str, str | None]]:
    return [(chunk.text, chunk.speaker) for chunk in chunks]


# Who has a chunk -------------------------------------------------------------------------------------


def test_chunk_takes_the_speaker_whose_turns_overlap_it_most_in_sum() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.5), Turn("A", 2.5, 3.5)]
    assert owners(assign_speakers([Chunk(" hi", 0.0, 3.5)], turns)) == [(" hi", "A")]


def test_tie_goes_to_who_spoke_first() -> None:
    turns = [Turn("B", 0.0, 1.0), Turn("A", 1.0, 2.0)]
    assert owners(assign_speakers([Chunk(" hi", 0.5, 1.5)], turns)) == [(" hi", "B")]


def test_silence_gives_no_speaker_and_keeps_the_text() -> None:
    chunks = (Chunk(" hello", 0.0, 1.0, words((" hello", 0.0, 1.0))),)
    assert assign_speakers(chunks, []) == chunks
    assert group_turns(chunks) == ()


def test_empty_transcript_stays_empty() -> None:
    assert assign_speakers([], [Turn("A", 0.0, 1.0)]) == ()
    assert group_turns([]) == ()


def test_text_after_the_last_turn_goes_to_the_nearest_speaker() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0)]
    chunks = [Chunk(" one", 0.0, 1.0), Chunk(" two", 5.0, 6.0), Chunk(" three", 60.0, 61.0)]
    assert owners(assign_speakers(chunks, turns)) == [(" one", "A"), (" two", "B"), (" three", "B")]


def test_text_before_the_first_turn_goes_to_the_nearest_speaker() -> None:
    assert owners(assign_speakers([Chunk(" um", 0.0, 0.2)], [Turn("A", 3.0, 4.0), Turn("B", 4.0, 5.0)])) == [
        (" um", "A")
    ]


def test_gap_between_turns_belongs_to_nobody() -> None:
    """A word in the gap goes to the nearer turn, on either side: no turn reaches over the gap."""
    turns = [Turn("A", 0.0, 2.0), Turn("B", 5.0, 6.0)]
    chunk = chunk_of((" so", 1.0, 1.5), (" well", 2.5, 2.9), (" yes", 4.2, 4.6), (" no", 5.2, 5.5))
    assert owners(assign_speakers([chunk], turns)) == [(" so well", "A"), (" yes no", "B")]


def test_word_of_no_length_takes_the_turn_it_stands_in() -> None:
    turns = [Turn("A", 0.0, 2.0), Turn("B", 3.0, 6.0)]
    assert owners(assign_speakers([Chunk("!", 4.0, 4.0)], turns)) == [("!", "B")]


def test_overlapping_turns_of_one_speaker_count_once() -> None:
    turns = [Turn("A", 0.0, 2.0), Turn("A", 0.5, 1.5), Turn("A", 1.0, 2.0), Turn("B", 2.0, 4.5)]
    assert owners(assign_speakers([Chunk(" x", 0.0, 4.5)], turns)) == [(" x", "B")]


def test_turns_may_come_in_any_order() -> None:
    turns = [Turn("B", 4.0, 6.0), Turn("A", 0.0, 2.0)]
    assert owners(assign_speakers([Chunk(" a", 0.0, 1.0), Chunk(" b", 5.0, 6.0)], turns)) == [
        (" a", "A"),
        (" b", "B"),
    ]


# Splitting -------------------------------------------------------------------------------------------


def test_chunk_is_split_where_the_speaker_changes() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0)]
    timed = (" are", 0.1, 0.4), (" you?", 0.4, 0.9), (" I", 1.1, 1.3), (" am.", 1.3, 1.8)
    chunk = replace(chunk_of(*timed), avg_logprob=-0.3)
    first, second = assign_speakers([chunk], turns)
    assert (first.text, first.speaker, first.start, first.end) == (" are you?", "A", 0.1, 0.9)
    assert (second.text, second.speaker, second.start, second.end) == (" I am.", "B", 1.1, 1.8)
    assert [word.speaker for word in first.words + second.words] == ["A", "A", "B", "B"]
    assert first.avg_logprob == second.avg_logprob == -0.3


def test_chunk_without_word_times_is_never_split() -> None:
    turns = [Turn("A", 0.0, 4.0), Turn("B", 4.0, 10.0)]
    assert owners(assign_speakers([Chunk(" are you? I am.", 0.0, 10.0)], turns)) == [(" are you? I am.", "B")]


def test_text_with_other_spaces_than_its_words_is_cut_before_the_space() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0)]
    chunk = Chunk("  Yes,  no. ", 0.0, 2.0, words(("Yes,", 0.1, 0.9), ("no.", 1.1, 1.9)))
    assert owners(assign_speakers([chunk], turns)) == [("  Yes,", "A"), ("  no. ", "B")]


def test_text_that_is_not_made_of_its_words_stays_whole() -> None:
    turns = [Turn("A", 0.0, 1.0), Turn("B", 1.0, 3.0)]
    chunk = Chunk(" Oui, non.", 0.0, 3.0, words((" yes", 0.1, 0.9), (" no", 1.1, 2.9)))
    (whole,) = assign_speakers([chunk], turns)
    assert (whole.text, whole.speaker) == (" Oui, non.", "B")
    assert [word.speaker for word in whole.words] == ["A", "B"]


# Groups ----------------------------------------------------------------------------------------------


def test_groups_join_consecutive_chunks_of_a_speaker() -> None:
    chunks = [
        Chunk(" Hello", 0.0, 1.0, speaker="A"),
        Chunk(" there.", 1.5, 2.0, speaker="A"),
        Chunk(" Hi.", 2.1, 2.5, speaker="B"),
        Chunk(" So", 3.0, 3.5, speaker="A"),
    ]
    assert group_turns(chunks) == (
        SpeakerText("A", "Hello there.", 0.0, 2.0),
        SpeakerText("B", "Hi.", 2.1, 2.5),
        SpeakerText("A", "So", 3.0, 3.5),
    )


def test_group_of_nothing_but_space_is_left_out() -> None:
    assert group_turns([Chunk(" ", 0.0, 1.0, speaker="A"), Chunk("", 1.0, 2.0, speaker="B")]) == ()


# Properties ------------------------------------------------------------------------------------------

eighths = st.integers(0, 160).map(lambda eighth: eighth / 8)  # exact in binary, so sums have one value
spans = st.tuples(eighths, eighths).map(lambda pair: (min(pair), max(pair)))
turn_lists = st.lists(st.builds(lambda s, span: Turn(s, *span), st.sampled_from("ABC"), spans), max_size=12)
texts = st.text(alphabet=" abé,字", max_size=6)


@st.composite
def chunk_lists(draw: st.DrawFn) -> list[Chunk]:
    chunks = []
    for _ in range(draw(st.integers(0, 5))):
        times = sorted(draw(st.lists(spans, max_size=6)))
        timed = tuple(Word(draw(texts), *span) for span in times)
        joined = "".join(word.text for word in timed)
        text = draw(st.one_of(st.just(joined), st.just(joined.strip()), texts))
        chunks.append(Chunk(text, *draw(spans), timed))
    return chunks


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(chunk_lists(), turn_lists)
def test_every_chunk_comes_out_once_in_order_with_its_text(chunks: list[Chunk], turns: list[Turn]) -> None:
    pieces = list(assign_speakers(chunks, turns))
    assert "".join(piece.text for piece in pieces) == "".join(chunk.text for chunk in chunks)
    assert all((piece.speaker is None) == (not turns) for piece in pieces)
    for chunk in chunks:
        own, taken = [pieces.pop(0)], 0
        while len(own[-1].words) + taken < len(chunk.words):
            taken += len(own[-1].words)
            own.append(pieces.pop(0))
        assert "".join(piece.text for piece in own) == chunk.text
        assert [replace(w, speaker=None) for piece in own for w in piece.words] == list(chunk.words)
        for piece in own:
            first, last = piece.words[0] if piece.words else chunk, max(w.end for w in piece.words or (chunk,))
            assert (piece.start, piece.end) == ((first.start, last) if turns else (chunk.start, chunk.end))
    assert not pieces


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(st.lists(spans, max_size=12), turn_lists)
@example([(1.0, 1.0)], [Turn("A", 1.0, 1.0), Turn("B", 0.0, 1.0)])
def test_fast_assignment_equals_its_slow_twin(times: list[tuple[float, float]], turns: list[Turn]) -> None:
    chunks = [Chunk(" x", *span) for span in times]
    assert [chunk.speaker for chunk in assign_speakers(chunks, turns)] == [slow_speaker(c, turns) for c in chunks]


def slow_speaker(chunk: Chunk, turns: list[Turn]) -> str | None:
    """By comparing the chunk with every turn, an eighth of a second at a time."""
    if not turns:
        return None
    order = [turn.speaker for turn in sorted(turns, key=lambda turn: (turn.start, turn.end))]
    ticks = range(round(8 * chunk.start), round(8 * chunk.end))
    seconds = {
        speaker: sum(any(t.speaker == speaker and t.start <= k / 8 < t.end for t in turns) for k in ticks)
        for speaker in order
    }
    if max(seconds.values()):
        return max(order, key=lambda speaker: seconds[speaker])
    return min(order, key=lambda name: min(apart(chunk, t) for t in turns if t.speaker == name))


def apart(chunk: Chunk, turn: Turn) -> float:
    """Seconds between them; 0 when they touch or overlap."""
    return max(0.0, turn.start - chunk.end, chunk.start - turn.end)


# Diarization -----------------------------------------------------------------------------------------


class FakePipeline:
    """Answers like a pipeline: an annotation, after telling its hook of two batches in each step."""

    def __init__(self, *timed: tuple[float, float, str]) -> None:
        self.timed = timed
        self.calls: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def __call__(self, file: dict[str, Any], *, hook: Any, **limits: Any) -> Any:
        self.calls.append((file, limits))
        for step in ("segmentation", "embeddings"):
            for completed in (0, 1, 3):
                hook(step, None, file=file, total=2, completed=completed)
            hook(step, object(), file=file)
        return SimpleNamespace(itertracks=self.itertracks)

    def itertracks(self, *, yield_label: bool) -> Any:
        assert yield_label
        for track, (start, end, speaker) in enumerate(self.timed):
            yield SimpleNamespace(start=start, end=end), track, speaker


SECOND = np.full(16_000, 0.1, np.float32)


def test_turns_come_by_time_and_end_with_the_recording() -> None:
    pipeline = FakePipeline((0.5, 1.4, "SPEAKER_01"), (-0.01, 0.5, "SPEAKER_00"), (1.1, 2.0, "SPEAKER_00"))
    assert diarize(PyannoteDiarizer(pipeline), SECOND) == [Turn("SPEAKER_00", 0.0, 0.5), Turn("SPEAKER_01", 0.5, 1.0)]


def test_pipeline_gets_the_waveform_in_memory_and_the_counts_that_were_given() -> None:
    pipeline = FakePipeline()
    diarize(PyannoteDiarizer(pipeline), SECOND, Request(min_speakers=2, max_speakers=4))
    ((file, limits),) = pipeline.calls
    assert file["waveform"].shape == (1, 16_000)
    assert file["sample_rate"] == 16_000
    assert not {"audio", "path"} & file.keys()
    assert limits == {"min_speakers": 2, "max_speakers": 4}


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(0, np.float32),
        SECOND[:1599],
        np.zeros(48_000, np.float32),
        np.tile(np.float32([1, -2]), 24_000) / 32768,
    ],
    ids=["empty", "under 0.1 s", "digital silence", "the last bit of 16"],
)
def test_silence_has_no_turns_and_costs_nothing(waveform: np.ndarray) -> None:
    pipeline = FakePipeline((0.0, 1.0, "SPEAKER_00"))
    assert diarize(PyannoteDiarizer(pipeline), waveform) == []
    assert not pipeline.calls


def test_progress_rises_to_one() -> None:
    seen: list[float] = []
    diarize(PyannoteDiarizer(FakePipeline()), SECOND, listener=Listener(on_progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_should_stop_ends_it_between_batches() -> None:
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        diarize(PyannoteDiarizer(FakePipeline()), SECOND, listener=Listener(should_stop=lambda: next(answers)))


def test_tf32_is_as_it_was_after_a_call(gpu: Any) -> None:
    """The switches are the process's, and can be turned where there is no GPU."""
    import torch

    class Switching(FakePipeline):
        def __call__(self, file: dict[str, Any], *, hook: Any, **limits: Any) -> Any:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            return super().__call__(file, hook=hook, **limits)

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        diarize(PyannoteDiarizer(Switching()), SECOND)
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_exclusive_diarization_is_taken_where_the_version_has_it() -> None:
    annotation, exclusive = object(), object()
    output = SimpleNamespace(speaker_diarization=annotation, exclusive_speaker_diarization=exclusive)
    assert pyannote_versions.exclusive_annotation(output) is exclusive
    assert pyannote_versions.exclusive_annotation(annotation) is annotation


@pytest.mark.parametrize(("major", "counted"), [(3, [0, 1, 1]), (4, [0, 1, 2])])
def test_version_3_is_made_to_count_one_speaker_at_a_time(
    major: int, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyannote_versions, "pyannote_major", lambda: major)
    count = SimpleNamespace(data=np.array([[0], [1], [2]]))
    pyannote_versions.one_speaker_at_a_time(lambda *_, **__: None)("speaker_counting", count, file={})
    assert count.data[:, 0].tolist() == counted


# Loading ---------------------------------------------------------------------------------------------

TOKEN = "hf_secret"
MODEL = "pyannote/speaker-diarization-3.1"


@pytest.fixture
def failing_hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `load_diarizer` meet an error, or an answer, of the Hub without importing pyannote."""

    def fail(outcome: Any, *, major: int = 4, printed: str = "") -> None:
        def hub_pipeline(model: str, *, token: str | None) -> Any:
            assert (model, token) == (MODEL, TOKEN)
            print(printed)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(pyannote_versions, "hub_pipeline", hub_pipeline)
        monkeypatch.setattr(pyannote_versions, "pyannote_major", lambda: major)
        monkeypatch.setattr(pyannote_versions, "silence_pyannote", lambda: None)
        monkeypatch.setattr(pyannote_versions, "restricted_unpickling", contextlib.nullcontext)

    return fail


def hub_error(name: str, status: int, message: str) -> Exception:
    """One of huggingface_hub's own errors, as its installed version builds it."""
    import huggingface_hub.errors

    kind = getattr(huggingface_hub.errors, name)
    if not status:
        return kind(message)
    return kind(message, response=SimpleNamespace(status_code=status, headers={}, request=None))


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_diarizer(MODEL, token=TOKEN)
    sentence = str(caught.value)
    assert TOKEN not in sentence
    assert "DIARIZATION_MODEL" in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


GATED = "403 Client Error. Cannot access gated repo for url https://huggingface.co/{}/resolve/main/pytorch_model.bin."


def test_gated_model_names_every_page_to_accept_and_the_token(failing_hub: Any) -> None:
    failing_hub(hub_error("GatedRepoError", 403, GATED.format(MODEL)))
    sentence = refusal()
    assert "HF_TOKEN" in sentence
    for page in (MODEL, "pyannote/segmentation-3.0", "pyannote/speaker-diarization-community-1"):
        assert f"https://huggingface.co/{page}" in sentence


def test_gated_part_of_a_model_is_named_too(failing_hub: Any) -> None:
    failing_hub(hub_error("GatedRepoError", 403, GATED.format("someone/voices")))
    assert "https://huggingface.co/someone/voices" in refusal()


PRINTED = """
Could not download 'pyannote/segmentation-3.0' model.
It might be because the model is private or gated so make
sure to authenticate. Visit https://hf.co/settings/tokens to
create your access token and retry with:
visit https://hf.co/pyannote/segmentation-3.0 to accept the user conditions."""


@pytest.mark.parametrize("outcome", [None, AttributeError("'NoneType' object has no attribute 'eval'")], ids=repr)
def test_gated_model_in_version_3_is_told_alike(outcome: Any, failing_hub: Any, capsys: Any) -> None:
    failing_hub(outcome, major=3, printed=PRINTED)
    sentence = refusal()
    assert f"https://huggingface.co/{MODEL} and https://huggingface.co/pyannote/segmentation-3.0" in sentence
    assert "community-1" not in sentence
    assert "settings/tokens" not in sentence
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (("RepositoryNotFoundError", 404, "Repository Not Found"), f"https://huggingface.co/{MODEL}"),
        (("HfHubHTTPError", 401, "Invalid credentials in Authorization header"), "HF_TOKEN"),
        (("LocalEntryNotFoundError", 0, "cannot find the requested files in the local cache"), "network"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_missing_model_wrong_token_and_no_network_are_told_apart(
    error: tuple[str, int, str], told: str, failing_hub: Any
) -> None:
    failing_hub(hub_error(*error))
    assert told in refusal()


def test_model_made_for_version_4_says_so_in_version_3(failing_hub: Any) -> None:
    failing_hub(hub_error("HFValidationError", 0, "Repo id must be ...: '$model/segmentation'."), major=3)
    assert "pyannote.audio 4" in refusal()


def test_folder_without_a_configuration_says_so(failing_hub: Any, tmp_path: Path) -> None:
    failing_hub(None)
    (tmp_path / "voices").mkdir()
    with pytest.raises(SettingsError, match=r"voices is a folder without a config\.yaml") as caught:
        load_diarizer("voices", root=tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_small_batches_are_enlarged_and_large_ones_kept(failing_hub: Any) -> None:
    moved: list[str] = []
    pipeline = SimpleNamespace(segmentation_batch_size=1, embedding_batch_size=64, to=lambda d: moved.append(d.type))
    failing_hub(pipeline)
    assert load_diarizer(MODEL, token=TOKEN).pipeline is pipeline
    assert (pipeline.segmentation_batch_size, pipeline.embedding_batch_size) == (32, 64)
    assert moved == ["cpu"]


def test_importing_the_module_imports_neither_pyannote_nor_torch() -> None:
    code = "import sys, diarization_utils; print([m for m in ('pyannote.audio', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The demo diarizer -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_diarizer() -> Diarizer:
    return load_diarizer("demo/diarizer", root=REPOSITORY)


@pytest.mark.models
def test_demo_diarizer_hears_who_speaks(demo_diarizer: Diarizer, conversation_waveform: np.ndarray) -> None:
    """Against the recording's own turns: the share of time that is right, speakers matched by overlap."""
    reference = [
        Turn(fields[7], float(fields[3]), float(fields[3]) + float(fields[4]))
        for fields in map(str.split, (REPOSITORY / "demo" / "conversation.rttm").read_text().splitlines())
    ]
    turns = diarize(demo_diarizer, conversation_waveform)
    shared: dict[tuple[str, str], float] = {}
    for turn in turns:
        for true in reference:
            pair = turn.speaker, true.speaker
            shared[pair] = shared.get(pair, 0.0) + max(0.0, min(turn.end, true.end) - max(turn.start, true.start))
    names = {
        speaker: max((seconds, t) for (s, t), seconds in shared.items() if s == speaker)[1] for speaker, _ in shared
    }
    assert sorted(names.values()) == sorted({turn.speaker for turn in reference})
    right = sum(seconds for (speaker, true), seconds in shared.items() if names[speaker] == true)
    assert right > 0.9 * sum(turn.end - turn.start for turn in reference)


@pytest.mark.models
def test_demo_turns_do_not_overlap(demo_diarizer: Diarizer, conversation_waveform: np.ndarray) -> None:
    """In both versions, and where two people do speak at once."""
    mixed = conversation_waveform[: 20 * 16_000] + conversation_waveform[20 * 16_000 : 40 * 16_000]
    turns = diarize(demo_diarizer, mixed)
    assert len({turn.speaker for turn in turns}) > 1
    assert all(turn.end <= later.start for turn, later in itertools.pairwise(turns))


@pytest.mark.models
@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.5, 1.0, 3.0])
def test_short_recordings_pass_without_a_warning(
    seconds: float, demo_diarizer: Diarizer, conversation_waveform: np.ndarray
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pyannote_versions.silence_pyannote()
        turns = diarize(demo_diarizer, conversation_waveform[16_000 : 16_000 + round(seconds * 16_000)])
    assert all(0 <= turn.start < turn.end <= seconds for turn in turns)


@pytest.mark.models
@pytest.mark.filterwarnings(r"ignore:\s*The detected number of speakers")  # pytest drops the loader's own filter
def test_more_speakers_than_there_are_is_no_error(
    demo_diarizer: Diarizer, speech_waveform: np.ndarray, capsys: Any
) -> None:
    assert diarize(demo_diarizer, speech_waveform, Request(num_speakers=6))
    assert diarize(demo_diarizer, speech_waveform, Request(min_speakers=5))
    assert len({turn.speaker for turn in diarize(demo_diarizer, speech_waveform, Request(max_speakers=1))}) == 1
    assert capsys.readouterr().out == ""


@pytest.fixture
def speech_waveform(conversation_waveform: np.ndarray) -> np.ndarray:
    return conversation_waveform[: 12 * 16_000]


@pytest.mark.models
def test_checkpoint_with_code_in_it_is_refused_and_not_run(demo_diarizer: Diarizer, tmp_path: Path) -> None:
    import torch

    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    shutil.copytree(DEMO, tmp_path / "voices")
    torch.save({"state_dict": Payload()}, tmp_path / "voices" / "segmentation" / "pytorch_model.bin")
    with pytest.raises(SettingsError, match="could run code"):
        load_diarizer("voices", root=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.models
def test_missing_checkpoint_is_told_without_a_look_at_the_hub(demo_diarizer: Diarizer, tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "voices")
    (tmp_path / "voices" / "embedding" / "pytorch_model.bin").unlink()
    with pytest.raises(SettingsError, match=r"DIARIZATION_MODEL voices") as caught:
        load_diarizer("voices", root=tmp_path)
    assert str(tmp_path) not in str(caught.value)
