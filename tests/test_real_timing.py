"""How times are measured on real recordings, on small made-up ones; no package is fetched and no model is loaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.real.document import with_tables
from tests.real.peers import openai_names
from tests.real.recording import Recording, Spoken
from tests.real.scoring import Heard
from tests.real.sounds import MADE, tones
from tests.real.timing import quantiles, timing, told_twice
from turnscribe.cli.evaluation.references import SpokenWord
from turnscribe.transcript import SpeakerText
from turnscribe.waveform import SAMPLE_RATE

ONE = SpeakerText("", "Press one.", 6.0, 7.0)
TWO = SpeakerText("", "Press two.", 15.0, 16.0)


def recording(kind: str, spoken: Spoken) -> Recording:
    return Recording(f"{kind}/a", kind, "en", lambda: spoken)


def heard(*words: tuple[str, float, float]) -> Heard:
    text = " ".join(word for word, _, _ in words)
    return Heard(text, "en", 1.0, 20.0, words=tuple(SpokenWord(word, (start, end)) for word, start, end in words))


def measured(kind: str, spoken: Spoken, told: Heard):
    return timing(recording(kind, spoken), spoken, told)


def test_the_first_and_the_last_word_of_each_stretch_are_held_against_its_sound() -> None:
    told = heard(("Press", 5.9, 6.3), ("one.", 6.3, 7.2), ("Press", 15.0, 15.5), ("two.", 15.5, 15.9))
    found = measured("pause", Spoken(b"", "Press one. Press two.", (ONE, TWO)), told)
    assert found.starts == pytest.approx((-0.1, 0.0))
    assert found.ends == pytest.approx((0.2, -0.1))
    assert (found.outside, found.missed) == (0, 0)


def test_a_word_that_lasts_over_a_pause_lies_outside_and_ends_late() -> None:
    told = heard(("Press", 0.0, 6.2), ("one.", 6.2, 14.5), ("Press", 14.5, 15.5), ("two.", 15.5, 16.0))
    found = measured("pause", Spoken(b"", "Press one. Press two.", (ONE, TWO)), told)
    assert found.starts == pytest.approx((-6.0, -0.5))
    assert found.ends == pytest.approx((7.5, 0.0))
    assert found.outside == 2


def test_a_stretch_without_a_word_is_missed_and_not_measured() -> None:
    found = measured("pause", Spoken(b"", "Press one. Press two.", (ONE, TWO)), heard(("Press", 6.0, 6.4)))
    assert len(found.starts) == 1
    assert found.missed == 1


def test_turns_are_measured_where_their_first_or_last_word_was_recognised() -> None:
    told = heard(("press", 6.2, 6.5), ("nine", 6.5, 7.0), ("press", 15.0, 15.3), ("two", 15.3, 16.4))
    found = measured("dialogue", Spoken(b"", "Press one. Press two.", (ONE, TWO)), told)
    assert found.boundaries == pytest.approx((0.2, 0.0, 0.4))


def test_each_word_is_measured_where_its_times_are_known() -> None:
    known = (SpokenWord("it's", (0.0, 0.5)), SpokenWord("late", (0.5, 1.0)))
    found = measured(
        "synthetic", Spoken(b"", "it's late", words=known), heard(("It's", 0.1, 0.5), ("late.", 0.7, 1.0))
    )
    assert found.boundaries == pytest.approx((0.1, 0.0, 0.2, 0.0))


def test_a_program_without_times_of_words_is_not_measured() -> None:
    spoken = Spoken(b"", "Press one.", (ONE,))
    assert measured("onset", spoken, Heard("Press one.", "en", 1.0, 8.0)).starts == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("we met in chicago last year", 0),
        ("we met in chicago last year we met in chicago last year", 6),
        ("we met uh well in chicago last year", 0),
    ],
)
def test_a_text_that_is_told_twice_counts_with_all_its_words(text: str, count: int) -> None:
    spoken = Spoken(b"", "We met in Chicago last year.")
    assert told_twice(recording("conversation", spoken), spoken, Heard(text, "en", 1.0, 8.0)) == count


def test_quantiles_are_of_sizes() -> None:
    assert quantiles((-0.3, 0.1, 0.2)) == pytest.approx({"median": 0.2, "ninety": 0.28, "worst": 0.3})


def test_tables_are_written_into_their_places_alone() -> None:
    page = "Text.\n<!-- table: a -->\nold\n<!-- end -->\nMore.\n<!-- table: b -->\nkept\n<!-- end -->\n"
    made = with_tables(page, {"a": "| new |"})
    assert made == page.replace("\nold\n", "\n\n| new |\n\n")
    assert with_tables(made, {"a": "| new |"}) == made


def test_a_cadence_switches_a_tone() -> None:
    sound = tones((440, 480), (2, 4), seconds=12)
    loud = [bool(np.abs(sound[second * SAMPLE_RATE :][:SAMPLE_RATE]).max() > 0) for second in range(12)]
    assert loud == [True, True, False, False, False, False] * 2


def test_made_sounds_are_the_same_each_time_and_within_full_scale() -> None:
    for made in (make for of_kind in MADE.values() for make in of_kind.values()):
        sound = made()
        assert sound.dtype == np.float32
        assert np.abs(sound).max() <= 1
        np.testing.assert_array_equal(sound, made())


def test_weights_have_openai_whispers_names() -> None:
    pytest.importorskip("transformers")
    from transformers import WhisperConfig, WhisperModel

    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 60000}
    ours = WhisperModel(WhisperConfig(**sizes, encoder_attention_heads=1, decoder_attention_heads=1)).state_dict()
    names = openai_names(ours)
    assert len(names) == len(ours)
    assert {
        "encoder.positional_embedding",
        "encoder.ln_post.weight",
        "decoder.ln.bias",
        "decoder.token_embedding.weight",
    } <= names.keys()
    assert {
        f"decoder.blocks.0.{part}.weight" for part in ("attn.query", "cross_attn_ln", "mlp.2", "mlp_ln")
    } <= names.keys()
    assert all(isinstance(tensor, torch.Tensor) for tensor in names.values())
