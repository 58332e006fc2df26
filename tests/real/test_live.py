"""Live sessions on real speech: what was said, in time, by whom. How late it comes is `python -m tests.real.live`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from tests.real.live import ENGLISH, Measured, Told, add, reckoned
from tests.real.recording import Recording
from turnscribe.inputs.decode import decode_audio
from turnscribe.live.commit import RULES, Rule
from turnscribe.live.events import Completed, Delta, Segment
from turnscribe.live.session import LiveOptions
from turnscribe.live.utterance import Style
from turnscribe.waveform import SAMPLE_RATE, to_wav

STEP_S = 0.05  # of the session's work: the same on every machine, or the cuts would be others
CALL = "conversation/sample"  # two women on the telephone, the first word at 6.7 s


@pytest.fixture(scope="module")
def told(real_handler: Any, real_recordings: dict[str, Recording]) -> Any:
    """What a session tells of a recording."""
    pipeline = real_handler.pipeline

    @cache
    def of(name: str, rule: Rule) -> Told:
        options = LiveOptions(Style(ENGLISH, rule), similarity=pipeline.voice_similarity)
        return reckoned(pipeline, options, decode_audio(real_recordings[name].load().audio).mono, each=STEP_S)

    return of


@pytest.mark.parametrize("rule", RULES)
def test_a_call_is_told_as_it_is_said(told: Any, rule: Rule) -> None:
    events = told(CALL, rule).events
    assert min(at for at, _ in events) > 6.0, "nobody speaks before"
    first = next(at for at, event in events if isinstance(event, Delta))
    ended = next(at for at, event in events if isinstance(event, Completed))
    assert first < ended - 1, "text comes while somebody speaks"
    segments = [event for _, event in events if isinstance(event, Segment)]
    words = [word for segment in {one.id: one for one in segments}.values() for word in segment.words]
    assert len(words) > 40
    assert all(one.start <= one.end <= other.start + 1e-6 for one, other in pairwise(words))
    assert len({segment.speaker for segment in segments if segment.speaker}) >= 2


@pytest.mark.parametrize("rule", RULES)
def test_the_words_are_about_those_of_the_whole_recording(
    told: Any, real_handler: Any, real_recordings: dict[str, Recording], rule: Rule
) -> None:
    """Within 5 points: it is 19 errors and 15 in this half of a minute. The figures are of more recordings."""
    recording = real_recordings[CALL]
    spoken = recording.load()
    measured = Measured()
    add(measured, real_handler.pipeline, recording, spoken, decode_audio(spoken.audio).mono, told(CALL, rule))
    assert measured.words > 50
    assert measured.errors <= measured.offline_errors + 0.05 * measured.words
    assert measured.wrong <= measured.offline_wrong + 0.1 * measured.spoken


def test_who_is_known_from_a_clip_has_her_name(real_handler: Any, real_recordings: dict[str, Recording]) -> None:
    """A clip of one of the two women names her, and not the other."""
    pipeline, spoken = real_handler.pipeline, real_recordings[CALL].load()
    waveform = decode_audio(spoken.audio).mono
    longest = max(spoken.turns, key=lambda turn: turn.end - turn.start)
    clip = waveform[round(longest.start * SAMPLE_RATE) :][: round(min(longest.end - longest.start, 10) * SAMPLE_RATE)]
    people = pipeline.known_voices({"Ann": to_wav(clip)})
    options = LiveOptions(Style(ENGLISH), similarity=pipeline.voice_similarity)
    told = reckoned(pipeline, replace(options, people=people), waveform, each=STEP_S)
    segments = {event.id: event for _, event in told.events if isinstance(event, Segment)}.values()
    shared = {
        True: 0.0,
        False: 0.0,
    }  # seconds of segments that are hers by name: with her turns, and with the other's
    for segment in segments:
        for turn in spoken.turns if segment.speaker == "Ann" else ():
            seconds = min(segment.end, turn.end) - max(segment.start, turn.start)
            shared[turn.speaker == longest.speaker] += max(seconds, 0.0)
    assert shared[True] > 5
    assert shared[False] < 0.3 * shared[True]
