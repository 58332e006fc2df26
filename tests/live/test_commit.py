"""Which words stay."""

from __future__ import annotations

from tests.live.fakes import said
from turnscribe.live.commit import RULES, AlignAtt, LocalAgreement


def test_alignatt_commits_what_ended_before_the_margin_but_never_the_last_word() -> None:
    words = said("one two three four")  # the last ends at 1.6
    rule = AlignAtt(margin=0.5)
    assert rule.stable(words, 1.7) == 3
    assert rule.stable(words, 1.6) == 2
    assert rule.stable(words, 9.0) == 3
    assert rule.stable([], 9.0) == 0


def test_agreement_commits_what_two_passes_say_but_for_case_and_punctuation() -> None:
    rule = LocalAgreement()
    assert rule.stable(said("one two tea"), 1.2) == 0
    assert rule.stable(said("One, two three for"), 1.6) == 2
    assert rule.stable(said("three four five", 0.8), 2.0) == 1, "what was committed is not compared again"
    assert rule.stable(said("four", 1.2), 2.0) == 0, "the last word waits"
    assert rule.stable(said("four five", 1.2), 2.4) == 1


def test_every_rule_has_a_name() -> None:
    assert {name: type(rule()) for name, rule in RULES.items()} == {
        "alignatt": AlignAtt,
        "local_agreement": LocalAgreement,
    }
