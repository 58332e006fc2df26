"""Keywords find names in real recordings that are missed without them, and nothing is said of them elsewhere."""

from __future__ import annotations

from typing import Any

from tests.real.keywords import count, half
from tests.real.recordings import fetch

RECORDINGS = 16  # with names, and as many without any, of the half that nothing was chosen by
LEAST_OF_THE_MISSED = 1 / 3
MOST_INVENTED = 1


def test_at_least_a_third_of_the_missed_names_are_found(real_handler: Any) -> None:
    with_names, others, names = half(fetch(), tuning=False)
    plain, told = (
        count(real_handler, with_names[:RECORDINGS], names, full_windows=False, keywords=keywords)
        for keywords in (False, True)
    )
    assert plain.names == told.names >= RECORDINGS
    assert told.found - plain.found >= LEAST_OF_THE_MISSED * (plain.names - plain.found)
    assert told.errors <= plain.errors + 0.01 * plain.words
    elsewhere = count(real_handler, others[:RECORDINGS], names, full_windows=False, keywords=True)
    assert elsewhere.invented <= MOST_INVENTED
