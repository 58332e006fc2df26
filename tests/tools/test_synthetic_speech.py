"""Synthetic speech and its word times; needs the programs flite and espeak-ng."""

from __future__ import annotations

import random

import numpy as np
import pytest

from turnscribe.cli.evaluation.synthetic_speech import (
    SAMPLE_RATE,
    VOICES,
    TimedWord,
    Utterance,
    joined,
    place,
    random_dialogue,
    random_sentence,
    random_words,
    synthesize,
    vocabulary,
)

pytestmark = pytest.mark.slow

SENTENCE = "hello we wait in the new office".split()


@pytest.fixture
def synthesizers(needs_program) -> None:
    for program in ("flite", "espeak-ng"):
        needs_program(program)


def loud_share(utterance: Utterance, start: float, end: float) -> float:
    """Mean power of the stretch over that of the whole utterance."""
    part = utterance.waveform[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return float(np.mean(np.square(part)) / np.mean(np.square(utterance.waveform)))


def test_random_words_are_of_the_vocabulary() -> None:
    known = set(vocabulary())
    for seed in range(300):
        words = random_words(random.Random(seed))
        assert 1 <= len(words) <= 10
        assert set(words) <= known


@pytest.mark.parametrize("voice", VOICES)
def test_every_voice_times_its_words(voice: str, synthesizers: None) -> None:
    utterance = synthesize(SENTENCE, voice)
    assert [word.text for word in utterance.words] == SENTENCE
    starts, ends = [w.start for w in utterance.words], [w.end for w in utterance.words]
    assert starts == sorted(starts)
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert 0 <= starts[0] < 0.1
    assert utterance.duration - 0.1 < ends[-1] <= utterance.duration
    assert all(loud_share(utterance, w.start, w.end) > 0.02 for w in utterance.words)


@pytest.mark.parametrize("voice", ["slt", "en-us+m3"])
def test_speech_is_as_fast_as_asked_and_equally_loud(voice: str, synthesizers: None) -> None:
    slow, fast = synthesize(SENTENCE, voice, rate=0.85), synthesize(SENTENCE, voice, rate=1.2)
    assert slow.duration / fast.duration == pytest.approx(1.2 / 0.85, rel=0.12)
    for utterance in (slow, fast):
        assert np.sqrt(np.mean(np.square(utterance.waveform))) == pytest.approx(0.06, rel=0.01)


def test_a_dialogue_is_the_same_for_its_seed_and_no_other(synthesizers: None) -> None:
    one, again, other = (random_dialogue(seed, duration=12) for seed in (5, 5, 6))
    words = [[word for placed in dialogue.utterances for word in placed.words] for dialogue in (one, again, other)]
    assert [word.text for word in words[0]] == [word.text for word in words[1]] != [word.text for word in words[2]]
    assert [word.start for word in words[0]] == pytest.approx([word.start for word in words[1]], abs=0.05)


def test_a_dialogue_alternates_voices_without_overlap(synthesizers: None) -> None:
    dialogue = random_dialogue(7, duration=40)
    assert dialogue.duration == 40
    assert len({placed.speaker for placed in dialogue.utterances}) in (2, 3)
    ends = 0.0
    for placed in dialogue.utterances:
        assert placed.start > ends
        ends = placed.end
    assert ends < 40


def test_random_sentences_are_new_each_time(synthesizers: None) -> None:
    rng = random.Random(1)
    spoken = [random_sentence(rng, "kal16").words for _ in range(3)]
    assert spoken[0] != spoken[1] != spoken[2]


def tone(seconds: float, word: str) -> Utterance:
    samples = np.full(round(seconds * SAMPLE_RATE), 0.1, np.float32)
    return Utterance("slt", samples, (TimedWord(word, 0.0, seconds),))


def test_joined_pieces_keep_their_words_times() -> None:
    whole = joined([tone(0.5, "one"), tone(0.25, "two")], [0.1, 0.0])
    assert whole.duration == pytest.approx(0.85)
    assert [(w.text, round(w.start, 3), round(w.end, 3)) for w in whole.words] == [
        ("one", 0, 0.5),
        ("two", 0.6, 0.85),
    ]


def test_noise_is_as_far_below_the_speech_as_asked() -> None:
    dialogue = place([(tone(1.0, "one"), 1.0)], duration=3.0, noise_db=20, rng=random.Random(1))
    silent = dialogue.waveform[2 * SAMPLE_RATE :]
    assert 20 * np.log10(0.1 / np.sqrt(np.mean(np.square(silent)))) == pytest.approx(20, abs=0.3)
    assert dialogue.utterances[0].start == 1.0
