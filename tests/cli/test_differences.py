"""Words laid side by side: the same number of errors as jiwer's alignment has, and no word lost."""

from __future__ import annotations

import jiwer
from hypothesis import given
from hypothesis import strategies as st

from turnscribe.cli.evaluation.differences import differences

WORDS = st.lists(st.sampled_from("yes no well hello you know".split()), max_size=12)


@given(WORDS.filter(bool), WORDS)
def test_there_are_as_few_errors_as_jiwer_finds(said: list[str], heard: list[str]) -> None:
    found = differences(said, heard)
    theirs = jiwer.process_words(" ".join(said), " ".join(heard))
    assert found.errors == theirs.substitutions + theirs.deletions + theirs.insertions


@given(WORDS, WORDS)
def test_every_word_is_there_once_and_in_order(said: list[str], heard: list[str]) -> None:
    pairs = differences(said, heard).pairs
    assert [word for word, _ in pairs if word is not None] == said
    assert [word for _, word in pairs if word is not None] == heard


def test_neighbouring_differences_are_marked_together() -> None:
    marked = differences("well I did not know".split(), "well you did know that".split()).marked
    assert marked == "well [-I-] {+you+} did [-not-] know {+that+}"
