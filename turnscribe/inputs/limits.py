"""What one input may cost, and the sentence that refuses what costs more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from turnscribe.errors import BadAudio

RATES = range(4_000, 384_001)  # Hz, what a file or a caller may ask for
MAX_CHANNELS = 8  # 7.1
HTTPS_PORT = 443
SUMMED = 0.001  # seconds: a length that is summed up frame by frame may be that much over


@dataclass(frozen=True)
class Limits:
    """What one input may cost: seconds of audio, bytes of the file, seconds spent on decoding.

    A URL may name one of `url_ports`.
    """

    max_seconds: float = 4 * 3600
    max_bytes: int = 512 * 2**20
    max_decode_seconds: float = 300
    url_ports: tuple[int, ...] = (HTTPS_PORT,)


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Deadline:
    """A point in time `seconds` after the deadline was made."""

    seconds: float
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_end", time.monotonic() + self.seconds)

    @property
    def remaining(self) -> float:
        """Seconds, negative once the deadline has passed."""
        return self._end - time.monotonic()

    @property
    def passed(self) -> bool:
        return self.remaining <= 0


def check_size(size_bytes: int, limits: Limits) -> None:
    """`BadAudio` when an input is larger than `limits.max_bytes`."""
    if size_bytes > limits.max_bytes:
        raise BadAudio(f"The input is over {limits.max_bytes / 2**20:g} MiB; send a shorter or smaller file.")


def check_duration(seconds: float, limits: Limits) -> None:
    """`BadAudio` when audio is longer than `limits.max_seconds`."""
    if seconds > limits.max_seconds + SUMMED:
        raise BadAudio(f"The audio is longer than the {limits.max_seconds:g} s accepted; send it in parts.")


def check_rate_and_channels(rate: int, channels: int) -> None:
    """`BadAudio` for a sampling rate in Hz or a number of channels that no recording has."""
    if rate not in RATES:
        raise BadAudio(f"The audio has {rate} samples a second; {RATES[0]} to {RATES[-1]} are accepted.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise BadAudio(f"The audio has {channels} channels; 1 to {MAX_CHANNELS} are accepted.")


def check_decoding_time(deadline: Deadline) -> None:
    """`BadAudio` once `deadline` has passed."""
    if deadline.passed:
        raise BadAudio(f"Decoding took over {deadline.seconds:g} s; send the audio as wav or flac.")
