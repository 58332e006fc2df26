"""Untrusted bytes in, mono float32 at 16 kHz out.

`probe` opens and measures the file before this module decodes it; `resample` takes the decoded frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from turnscribe.errors import BadAudio, BadParameters
from turnscribe.inputs.limits import (
    DEFAULT_LIMITS,
    RATES,
    Deadline,
    Limits,
    check_decoding_time,
    check_duration,
    check_size,
)
from turnscribe.inputs.probe import (
    ACCEPTED,
    Measures,
    audio_track,
    measure,
    open_container,
    packets,
    unreadable_as_bad_audio,
)
from turnscribe.inputs.resample import BLOCK_SAMPLES, Resampler
from turnscribe.waveform import SAMPLE_RATE, Waveform

if TYPE_CHECKING:
    from av import AudioFrame


@dataclass(frozen=True)
class Audio:
    """Samples at 16 kHz in [-1, 1] and one sentence for everything that was not as declared."""

    channels: NDArray[np.float32]  # [C, samples]; C is 1 unless the channels were asked for
    warnings: tuple[str, ...] = ()

    @property
    def mono(self) -> Waveform:
        """The only channel, or the mean of the split ones.  # [samples]"""
        first: Waveform = self.channels[0]
        return first if len(self.channels) == 1 else self.channels.mean(axis=0, dtype=np.float32)

    @property
    def duration(self) -> float:
        """Seconds."""
        samples: int = self.channels.shape[1]
        return samples / SAMPLE_RATE


def decode_audio(
    data: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    sampling_rate: int = SAMPLE_RATE,
    encoding: str | None = None,
    split_channels: bool = False,
) -> Audio:
    """Decode the bytes of a file, or of headerless mono PCM with `encoding="pcm_s16le"`.

    `sampling_rate` (Hz) is the rate the audio passes through before 16 kHz, and the rate of headerless PCM;
    it may cost treble and never moves a timestamp. Channels are mixed such that the same signal on all of
    them keeps its level; with `split_channels` each stays apart. Times count from the start of the file: where a
    video or a damaged file has no audio, there is silence. Damage in the middle and an early end are told in
    `warnings`. Raises `BadAudio`, or `BadParameters` for the two options.
    """
    if sampling_rate not in RATES:
        raise BadParameters(f"sampling_rate must be a whole number from {RATES[0]} to {RATES[-1]} Hz.")
    if encoding not in (None, "pcm_s16le"):
        raise BadParameters("encoding must be 'pcm_s16le', or left out for audio with a header.")
    if not data:
        raise BadAudio(f"The input is empty; send the bytes of a {ACCEPTED} file.")
    check_size(len(data), limits)
    if encoding:
        return _decode_pcm(data, limits, sampling_rate)
    return _decode_file(data, limits, sampling_rate, split_channels)


def _decode_pcm(data: bytes, limits: Limits, sampling_rate: int) -> Audio:
    import av

    if len(data) % 2:
        raise BadAudio("pcm_s16le has two bytes a sample and the input an odd number; send whole samples.")
    check_duration(len(data) / 2 / sampling_rate, limits)
    resampler = Resampler(limits, sampling_rate)
    samples = np.frombuffer(data, "<i2")[None]  # [1, samples]
    for start in range(0, samples.shape[1], BLOCK_SAMPLES):
        block = np.ascontiguousarray(samples[:, start : start + BLOCK_SAMPLES])
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = sampling_rate
        resampler.add(frame)
    return Audio(resampler.finish())


def _decode_file(data: bytes, limits: Limits, sampling_rate: int, split_channels: bool) -> Audio:
    deadline = Deadline(limits.max_decode_seconds)
    with unreadable_as_bad_audio(data):
        measures = measure(data, limits, deadline)
        resampler = Resampler(limits, sampling_rate, split_channels=split_channels, origin=measures.origin)
        damaged_packets = _decode_into(resampler, data, deadline)
        channels = resampler.finish()
    if not channels.size:
        raise BadAudio(f"No audio could be decoded from the input; send an undamaged {ACCEPTED} file.")
    decoded = channels.shape[1] / SAMPLE_RATE
    return Audio(channels, tuple(_warnings(measures, decoded, damaged_packets, resampler.missing_seconds)))


def _decode_into(resampler: Resampler, data: bytes, deadline: Deadline) -> int:
    """Decode the first audio track; the answer is the number of packets that could not be."""
    import av

    damaged = 0
    with open_container(data) as container:
        for packet in packets(container, audio_track(container)):
            check_decoding_time(deadline)
            if packet is None:
                damaged += 1
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                resampler.add(cast("AudioFrame", frame))
    return damaged


def _warnings(measures: Measures, decoded: float, damaged_packets: int, missing_seconds: float) -> list[str]:
    """A sentence for each way in which `decoded` seconds of audio are not what the file should hold."""
    warnings = []
    end = max(measures.end, decoded)
    if _falls_short(end, measures.declared):
        warnings.append(f"The file declares {measures.declared:.1f} s and ends after {end:.1f} s: it seems cut off.")
    elif measures.ends_inside_page:
        warnings.append(f"The file ends inside a page, after {end:.1f} s: it seems cut off.")
    if damaged_packets or _falls_short(decoded, measures.audio_end):
        warnings.append("Part of the audio is damaged and could not be decoded: its text is missing.")
    if missing_seconds > 0.5:
        warnings.append(f"{missing_seconds:.1f} s are missing inside the file: silence stands there.")
    if measures.audio_tracks > 1:
        warnings.append(f"The file has {measures.audio_tracks} audio tracks; only the first was used.")
    return warnings


def _falls_short(seconds: float, expected: float) -> bool:
    """By more than lossy codecs and rounded headers do."""
    return expected - seconds > max(0.5, 0.01 * expected)
