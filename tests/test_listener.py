from __future__ import annotations

import pytest

from turnscribe.errors import Cancelled
from turnscribe.listener import SILENT, Listener


def test_a_silent_listener_hears_everything_and_never_stops() -> None:
    SILENT.on_progress(0.5)
    SILENT.on_chunks(())
    SILENT.stop_if_asked()


def test_stop_is_raised_once_it_is_asked_for() -> None:
    answers = iter([False, True])
    listener = Listener(should_stop=lambda: next(answers))
    listener.stop_if_asked()
    with pytest.raises(Cancelled):
        listener.stop_if_asked()
