from __future__ import annotations

import pytest

from turnscribe.bulk.pace import Pace


def test_others_take_as_long_for_their_size() -> None:
    pace = Pace()
    assert pace.seconds(100) is None
    assert pace.seconds() == 0.0
    pace.add(100, 10.0)
    pace.add(300, 10.0)
    assert pace.seconds(200, 400) == pytest.approx(30.0)


def test_a_file_of_unknown_size_counts_as_one_of_the_mean() -> None:
    pace = Pace()
    pace.add(100, 10.0)
    pace.add(0, 10.0)
    assert pace.seconds(0) == pytest.approx(10.0)
