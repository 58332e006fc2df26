from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from turnscribe.interrupts import interrupt, two_step_interrupt


def test_the_first_sets_the_event_and_the_second_interrupts(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with two_step_interrupt() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "Ctrl-C again stops at once" in capfd.readouterr().err


def test_the_first_may_unwind() -> None:
    with pytest.raises(KeyboardInterrupt), two_step_interrupt(at_first=interrupt) as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.is_set()


def test_the_second_may_end_the_process() -> None:
    program = (
        "import signal\nfrom turnscribe.interrupts import *\n"
        "with two_step_interrupt(second_ends_process=True):\n"
        "    signal.raise_signal(signal.SIGINT)\n    signal.raise_signal(signal.SIGINT)\n    print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")
