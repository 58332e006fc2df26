"""A recording that grows on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from turnscribe.inputs.decode import decode_audio
from turnscribe.live.spool import Spool, recovered
from turnscribe.waveform import SAMPLE_RATE, to_wav


def test_what_was_appended_is_read_and_is_a_wav_file_in_the_end(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, SAMPLE_RATE).astype(np.float32)
    path = tmp_path / "spool"
    spool = Spool(path)
    for part in np.array_split(samples, 7):
        spool.append(part)
    kept = decode_audio(to_wav(samples)).mono
    assert spool.samples == len(samples)
    assert np.array_equal(spool.read(1000, 9000), kept[1000:9000])
    with spool.wav() as opened:
        file = opened.read()
    spool.close()
    assert not path.exists()
    assert file == to_wav(samples)
    assert np.array_equal(decode_audio(file).mono, kept)


def test_a_closed_spool_takes_and_gives_nothing(tmp_path: Path) -> None:
    """Its descriptor may be another file's by then."""
    spool = Spool(tmp_path / "spool")
    spool.close(keep=True)
    with pytest.raises(ValueError, match="closed"):
        spool.append(np.zeros(10, np.float32))
    with pytest.raises(ValueError, match="closed"):
        spool.read(0, 1)
    assert (tmp_path / "spool").stat().st_size == 44


def test_what_a_process_left_behind_is_a_whole_file(tmp_path: Path) -> None:
    samples = np.random.default_rng(2).uniform(-1, 1, 5000).astype(np.float32)
    path = tmp_path / "spool"
    spool = Spool(path)
    spool.append(samples)
    spool.close(keep=True)  # as where the process ends
    with open(path, "ab") as file:
        file.write(b"x")  # in the middle of a sample
    found = recovered(path)
    assert found is not None
    with found:
        assert found.read() == to_wav(samples)
    Spool(tmp_path / "empty").close(keep=True)
    assert recovered(tmp_path / "empty") is None
