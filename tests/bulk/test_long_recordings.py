"""A long recording in parts: the same windows, the same text, one numbering of its speakers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from config import parse_config
from tests.fakes import FakePipeline, deployed
from turnscribe.asr.window_text import windows_to_decode
from turnscribe.bulk.long_recordings import (
    PartTranscript,
    judge_language,
    merge,
    opening,
    part_parameters,
    part_request,
    split,
    transcribe_part,
)
from turnscribe.errors import InferenceFailed
from turnscribe.inputs.decode import decode_audio
from turnscribe.request import Request
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.transcript import Chunk, Transcript, Turn, Word
from turnscribe.waveform import SAMPLE_RATE, to_wav

CHUNK_LENGTH_S = 15
DEPLOYMENT = deployed(FakePipeline())  # with this repository's request defaults
REQUEST = parse_config({"chunk_length_s": CHUNK_LENGTH_S})
OPTIONS = REQUEST.decoding
Find = Callable[[NDArray[np.float32]], SpeechMap | None]


def no_map(waveform: NDArray[np.float32]) -> None:
    """Windows of all that is not silent."""


def bursts(waveform: NDArray[np.float32]) -> SpeechMap:
    """Takes for speech what is loud."""
    loud = np.abs(waveform[: len(waveform) // 160 * 160].reshape(-1, 160)).max(axis=1) > 0.02
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)) / 100
    return SpeechMap.of(zip(edges[::2], edges[1::2], strict=True), len(waveform) / SAMPLE_RATE)


@pytest.fixture(scope="module")
def recording(conversation_waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Three times the demo conversation, as loud as other rooms would have it; 16 bits deep, as a file is."""
    whole = np.concatenate([conversation_waveform * loudness for loudness in (0.7, 1.0, 0.5)])
    return decode_audio(to_wav(whole)).mono


def noise(seconds: float, seed: int) -> NDArray[np.float32]:
    """Speech-like: bursts and pauses of random lengths."""
    rng = np.random.default_rng(seed)
    parts = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        parts.append(rng.normal(0, 0.1, int(rng.uniform(0.2, 4) * SAMPLE_RATE)))
        parts.append(rng.normal(0, 0.0005, int(rng.uniform(0.02, 0.7) * SAMPLE_RATE)))
    return np.concatenate(parts).astype(np.float32)[: int(seconds * SAMPLE_RATE)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part_seconds", [45, 100])
@pytest.mark.parametrize("find", [no_map, bursts])
def test_the_parts_hold_the_windows_of_the_whole(find: Find, seed: int, part_seconds: float) -> None:
    waveform = noise(400, seed)
    speech = find(waveform)
    parts = split(waveform, speech, OPTIONS, part_seconds=part_seconds)
    assert parts[0].start == 0
    assert parts[-1].stop == len(waveform)
    assert all(one.stop == other.start for one, other in pairwise(parts))
    assert abs(len(parts) - 400 / part_seconds) <= 1
    assert [
        window.later(part.start)
        for part in parts
        for window in windows_to_decode(waveform[part.start : part.stop], part.speech, OPTIONS)
    ] == windows_to_decode(waveform, speech, OPTIONS)


@pytest.mark.parametrize("find", [no_map, bursts])
def test_cuts_are_in_pauses(find: Find) -> None:
    waveform = noise(400, 7)
    parts = split(waveform, find(waveform), OPTIONS, part_seconds=60)
    assert len(parts) > 2
    for part in parts[1:]:
        assert np.abs(waveform[part.start - 160 : part.start + 160]).max() < 0.01


@pytest.mark.parametrize("seconds", [0, 0.01, 20])
def test_a_short_recording_is_one_part(seconds: float) -> None:
    waveform = noise(20, 1)[: int(seconds * SAMPLE_RATE)]
    parts = split(waveform, None, OPTIONS, part_seconds=600)
    assert [(part.start, part.stop) for part in parts] == ([(0, len(waveform))] if seconds else [])
    assert len(opening(waveform, None, OPTIONS)) <= len(waveform)


def test_the_opening_is_what_the_language_is_judged_by() -> None:
    waveform = noise(200, 3)
    waveform[: 40 * SAMPLE_RATE] = 0  # nobody speaks
    for speech in (None, bursts(waveform)):
        windows = windows_to_decode(waveform, speech, OPTIONS)
        assert windows[3].start > 40 * SAMPLE_RATE
        assert len(opening(waveform, speech, OPTIONS)) == windows[3].stop
    assert len(opening(waveform, SpeechMap((), 200.0), OPTIONS)) == 0


@pytest.mark.models
def test_the_text_is_that_of_one_machine_and_so_are_the_speakers(
    demo_handler: Any, recording: NDArray[np.float32]
) -> None:
    parameters = {"chunk_length_s": CHUNK_LENGTH_S}
    pipeline = demo_handler.pipeline
    request = parse_config(parameters)
    whole = pipeline.transcribe(to_wav(recording), request)
    speech = pipeline.find_speech(recording, request)
    language = judge_language(recording, speech, request.decoding, pipeline)
    parts = split(recording, speech, request.decoding, part_seconds=45)
    assert len(parts) == 3
    made = [
        transcribe_part(
            to_wav(recording[part.start : part.stop]),
            part.offset,
            json.loads(json.dumps(part_parameters(request, language, part.speech))),
            deployed(pipeline),
        )
        for part in parts
    ]
    merged = merge([PartTranscript.from_json(part.to_json()) for part in reversed(made)], threshold=0.5)
    assert merged.text == whole.text
    assert [word.text for word in merged.words] == [word.text for word in whole.words]
    for name in ("start", "end"):
        ours, theirs = ([getattr(word, name) for word in one.words] for one in (merged, whole))
        assert ours == pytest.approx(theirs, abs=0.002)
    assert (merged.language, merged.duration) == (whole.language, pytest.approx(whole.duration, abs=0.01))
    pairs = {(ours.speaker, theirs.speaker) for ours, theirs in zip(merged.words, whole.words, strict=True)}
    assert len(pairs) == len({speaker for speaker, _ in pairs}) == 3, "each speaker has one name in both"
    assert merged.speakers[0].speaker == "SPEAKER_00"


# Merging, without models ------------------------------------------------------------------------------------


def part(offset: float, **voices: list[float]) -> PartTranscript:
    """Ten seconds, in which each speaker says a word with their name in 2 s, one after the other."""
    turns, chunks = [], []
    for index, speaker in enumerate(voices):
        turns.append(Turn(speaker, 2.0 * index, 2.0 * index + 2.0))
        words = (Word(f" {speaker}", 2 * index + 0.25, 2 * index + 0.75, speaker=speaker),)
        chunks.append(Chunk(f" {speaker}", 2 * index + 0.25, 2 * index + 0.75, words, speaker))
    text = "".join(chunk.text for chunk in chunks).strip()
    return PartTranscript(offset, Transcript(text, tuple(chunks), 10.0, "en", (), tuple(turns), {"asr": 1.0}), voices)


X, Y, Z = [1.0, 0.1, 0.0], [0.0, 1.0, 0.1], [0.1, 0.0, 1.0]


def names(transcript: Transcript) -> list[str | None]:
    return [word.speaker for word in transcript.words]


def test_alike_voices_are_one_person_numbered_by_who_is_heard_first() -> None:
    merged = merge([part(10.0, A=X, B=Z), part(0.0, A=Y, B=X)], threshold=0.5)
    assert merged.text == "A B A B"
    assert names(merged) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_01", "SPEAKER_02"]
    assert [turn.speaker for turn in merged.turns] == names(merged)
    assert [turn.start for turn in merged.turns] == [0.0, 2.0, 10.0, 12.0]
    assert [chunk.start for chunk in merged.chunks] == [0.25, 2.25, 10.25, 12.25]
    assert [(spoken.speaker, spoken.text) for spoken in merged.speakers] == [
        ("SPEAKER_00", "A"),
        ("SPEAKER_01", "B A"),
        ("SPEAKER_02", "B"),
    ]
    assert (merged.duration, merged.timings) == (20.0, {"asr": 2.0})


def test_two_speakers_of_one_part_stay_two_even_where_they_sound_alike() -> None:
    merged = merge([part(0.0, A=X, B=X), part(10.0, A=X)], Request(num_speakers=1), threshold=0.5)
    assert names(merged)[:2] == ["SPEAKER_00", "SPEAKER_01"]
    assert names(merged)[2] in ("SPEAKER_00", "SPEAKER_01")


@pytest.mark.parametrize(
    ("counts", "people"),
    [({}, 3), ({"num_speakers": 2}, 2), ({"max_speakers": 2}, 2), ({"min_speakers": 4}, 4), ({"num_speakers": 4}, 4)],
)
def test_the_number_of_speakers_that_was_asked_for_wins(counts: dict[str, int], people: int) -> None:
    parts = [part(0.0, A=X, B=Y), part(10.0, A=X, B=Z)]
    assert len(set(names(merge(parts, Request(**counts), threshold=0.5)))) == people


def test_parts_without_speech_or_without_turns_lose_nothing() -> None:
    silent = PartTranscript(10.0, Transcript("", (), 10.0))
    plain = part(20.0, A=X)
    plain = replace(
        plain,
        voices={},
        transcript=replace(
            plain.transcript, turns=(), chunks=(Chunk(" later", 1.0, 2.0),), text="later", warnings=("At 3 s: odd.",)
        ),
    )
    merged = merge([part(0.0, A=X), silent, plain], threshold=0.5)
    assert (merged.text, merged.duration, merged.language) == ("A later", 30.0, "en")
    assert merged.chunks[-1] == Chunk(" later", 21.0, 22.0, speaker="SPEAKER_00")
    assert merged.warnings == ("From 20 s: At 3 s: odd.",)
    assert merge([silent], threshold=0.5).text == ""


def test_a_part_may_have_fewer_speakers_than_the_whole() -> None:
    given = part_parameters(
        parse_config({"num_speakers": 3, "prompt": "x", "sampling_rate": 8000, "odd": 1}), "de", None
    )
    assert (given["max_speakers"], given["prompt"], given["language"]) == (3, "x", "de")
    assert not {"num_speakers", "min_speakers", "sampling_rate", "odd"} & set(given)
    assert part_parameters(parse_config({"min_speakers": 2, "max_speakers": 5}), None, None)["max_speakers"] == 5
    assert part_request(given, DEPLOYMENT).ignored == ()


def test_a_part_knows_its_speech_and_nothing_of_how_it_was_found() -> None:
    given = part_parameters(parse_config({"vad_threshold": 0.3}), "de", SpeechMap.of([(1, 2.5)], 4.0))
    request = part_request(json.loads(json.dumps(given)), DEPLOYMENT)
    assert request.decoding.speech == ((1.0, 2.5),)
    assert request.without_effect == ()
    assert part_parameters(parse_config({"vad": False}), "de", None)["vad"] is False


def test_the_operators_defaults_do_not_change_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_NUM_SPEAKERS", "3")
    monkeypatch.setenv("INFERENCE_ENCODING", "pcm_s16le")
    monkeypatch.setenv("INFERENCE_SAMPLING_RATE", "8000")
    request = part_request(part_parameters(parse_config({}), None, None), DEPLOYMENT)
    assert request.speaker_counts == {"max_speakers": 3}
    assert (request.encoding, request.sampling_rate) == (None, 16_000)
    request = part_request(part_parameters(parse_config({"min_speakers": 2}), None, None), DEPLOYMENT)
    assert request.speaker_counts == {"min_speakers": 1}


def test_who_speaks_for_a_moment_is_nobody_new() -> None:
    moment = [0.4, 0.4, 0.7]  # 0.5 is the least for one person, and to Z it is less
    short = part(10.0, A=moment)
    short = replace(short, transcript=replace(short.transcript, turns=(Turn("A", 0.0, 1.9),)))
    merged = merge([part(0.0, A=X, B=Y, C=Z), short], threshold=0.95)
    assert names(merged) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02", "SPEAKER_02"]
    both = part(10.0, A=Z, B=Z)  # two of them in one part stay two
    both = replace(both, transcript=replace(both.transcript, turns=(Turn("A", 0.0, 1.0), Turn("B", 1.0, 2.0))))
    assert len(set(names(merge([part(0.0, A=Z), both], threshold=0.5))[1:])) == 2


def test_what_is_said_where_nobody_was_told_apart_is_the_nearest_speakers() -> None:
    plain = part(10.0, A=X)
    chunks = (Chunk(" yes", 1.0, 2.0, (Word(" yes", 1.0, 2.0),)),)
    plain = replace(plain, voices={}, transcript=replace(plain.transcript, turns=(), chunks=chunks, text="yes"))
    merged = merge([part(0.0, A=X, B=Y), plain, part(20.0, A=X)], threshold=0.5)
    assert merged.text == "A B yes A"
    assert names(merged) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_01", "SPEAKER_00"]
    assert "yes" in " ".join(spoken.text for spoken in merged.speakers)


@pytest.mark.models
def test_a_device_that_fails_while_voices_are_heard_may_be_tried_again(
    demo_handler: Any, recording: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: s3cret")

    monkeypatch.setattr("turnscribe.bulk.long_recordings.embed", fail)
    with pytest.raises(InferenceFailed, match="try again"):
        transcribe_part(to_wav(recording[: 12 * SAMPLE_RATE]), 0.0, {}, deployed(demo_handler.pipeline))


def test_a_wav_of_decoded_audio_loses_nothing(recording: NDArray[np.float32]) -> None:
    assert np.array_equal(decode_audio(to_wav(recording)).mono, recording)
    assert len(decode_audio(to_wav(np.array([1.5, -1.5], np.float32))).mono) == 2
