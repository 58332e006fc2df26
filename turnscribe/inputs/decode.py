"""Untrusted bytes in, mono float32 at 16 kHz out.

`probe` opens and measures the file before this module decodes it; `resample` takes the decoded frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    Survey,
    check_track_number,
    open_container,
    packets,
    survey,
    unreadable_as_bad_audio,
)
from turnscribe.inputs.resample import BLOCK_SAMPLES, Resampler
from turnscribe.waveform import SAMPLE_RATE, SILENT_BELOW, Waveform

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream

TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # of an mp3, between the files that it was joined from


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

    @property
    def is_silent(self) -> bool:
        """Nothing but the last bits of 16-bit audio, or nothing at all, on every channel."""
        return not self.channels.size or float(max(self.channels.max(), -self.channels.min())) <= SILENT_BELOW


def _ignore(_: object) -> None:
    pass


def decode_audio(
    data: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    sampling_rate: int = SAMPLE_RATE,
    encoding: str | None = None,
    split_channels: bool = False,
    audio_track: int | None = None,
    on_duration: Callable[[float], None] = _ignore,
) -> Audio:
    """Decode the bytes of a file, or of headerless mono PCM with `encoding="pcm_s16le"`.

    `sampling_rate` (Hz) is the rate the audio passes through before 16 kHz, and the rate of headerless PCM;
    it may cost treble and never moves a timestamp. Channels are mixed such that the same signal on all of
    them keeps its level; with `split_channels` each stays apart. `audio_track` counts from 1; without it the first
    track is taken that can be decoded and is not silent. Times count from the start of the file: where a
    video or a damaged file has no audio, there is silence. Damage in the middle and an early end are told in
    `warnings`. `on_duration` gets about how many seconds there are, before they are decoded. Raises `BadAudio`,
    or `BadParameters` for the options.
    """
    if sampling_rate not in RATES:
        raise BadParameters(f"sampling_rate must be a whole number from {RATES[0]} to {RATES[-1]} Hz.")
    if encoding not in (None, "pcm_s16le"):
        raise BadParameters("encoding must be 'pcm_s16le', or left out for audio with a header.")
    if not data:
        raise BadAudio(f"The input is empty; send the bytes of a {ACCEPTED} file.")
    check_size(len(data), limits)
    if encoding:
        check_track_number(audio_track or 1, total=1)
        on_duration(len(data) / 2 / sampling_rate)
        return _decode_pcm(data, limits, sampling_rate)
    return _decode_file(data, limits, sampling_rate, split_channels, audio_track, on_duration)


def measured_seconds(
    data: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    sampling_rate: int = SAMPLE_RATE,
    encoding: str | None = None,
    audio_track: int | None = None,
) -> float:
    """How long what `decode_audio` would decode is, by its packets, at a tenth of the cost. Raises as that does."""
    if encoding:
        return len(data) / 2 / sampling_rate
    check_size(len(data), limits)
    with unreadable_as_bad_audio(data):
        return survey(data, audio_track, limits, Deadline(limits.max_decode_seconds)).tracks[0].audio_end


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


def _decode_file(
    data: bytes,
    limits: Limits,
    sampling_rate: int,
    split_channels: bool,
    audio_track: int | None,
    on_duration: Callable[[float], None],
) -> Audio:
    """The first track that can be decoded and is not silent, or the chosen one."""
    deadline = Deadline(limits.max_decode_seconds)
    taken: tuple[int, Audio] | None = None  # with the track's number
    with unreadable_as_bad_audio(data):
        found = survey(data, audio_track, limits, deadline)
        on_duration(found.tracks[0].audio_end)
        for track in found.tracks:
            resampler = Resampler(limits, sampling_rate, split_channels=split_channels, clock=track.clock)
            audio = _decode_track(data, track, resampler, deadline)
            audible = len(found.tracks) == 1 or not audio.is_silent
            if audio.channels.size and (audible or taken is None):
                taken = track.number, audio
            if taken is not None and audible:
                break
    if taken is None:
        raise BadAudio(f"No audio could be decoded from the input; send an undamaged {ACCEPTED} file.")
    number, audio = taken
    if audio_track is None and found.total > 1:
        return replace(audio, warnings=(*audio.warnings, _track_warning(found, number)))
    return audio


def _decode_track(data: bytes, track: Measures, resampler: Resampler, deadline: Deadline) -> Audio:
    damaged_packets = _decode_into(resampler, data, track.stream, deadline)
    channels = resampler.finish(track.stop)
    decoded = channels.shape[1] / SAMPLE_RATE
    return Audio(channels, tuple(_warnings(track, decoded, damaged_packets, resampler)))


def _decode_into(resampler: Resampler, data: bytes, stream: int, deadline: Deadline) -> int:
    """Decode one audio track; the answer is the number of packets that could not be."""
    import av

    damaged = 0
    with open_container(data) as container:
        for packet in packets(container, cast("AudioStream", container.streams[stream])):
            check_decoding_time(deadline)
            if packet is None:
                damaged += 1
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += not bytes(memoryview(packet)[:12]).startswith(TAGS)
                continue
            for frame in frames:
                resampler.add(cast("AudioFrame", frame))
    return damaged


def _warnings(track: Measures, decoded: float, damaged_packets: int, resampler: Resampler) -> list[str]:
    """A sentence for each way in which `decoded` seconds of audio are not what the file should hold."""
    warnings = []
    end = max(track.end, decoded)
    if _falls_short(end, track.declared):
        warnings.append(f"The file declares {track.declared:.1f} s and ends after {end:.1f} s: it seems cut off.")
    elif track.ends_inside_page:
        warnings.append(f"The file ends inside a page, after {end:.1f} s: it seems cut off.")
    if damaged_packets or _falls_short(decoded, track.audio_end):
        warnings.append("Part of the audio is damaged and could not be decoded: its text is missing.")
    if resampler.missing_seconds > 0.5:
        warnings.append(f"{resampler.missing_seconds:.1f} s are missing inside the file: silence stands there.")
    if resampler.cancelled_seconds > 0:
        warnings.append(
            f"For {resampler.cancelled_seconds:.1f} s the channels cancel each other, as where one is inverted: only "
            "the loudest was used there."
        )
    return warnings


def _track_warning(found: Survey, number: int) -> str:
    which = {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
    why = "" if number == 1 else ", since none before it has sound that can be decoded"
    marked = f" (the file marks {found.marked} as its default)" if found.marked not in (None, number) else ""
    return (
        f"The file has {found.total} audio tracks; only the {which} was used{why}: audio_track, from 1 to "
        f"{found.total}, chooses another{marked}."
    )


def _falls_short(seconds: float, expected: float) -> bool:
    """By more than lossy codecs and rounded headers do."""
    return expected - seconds > max(0.5, 0.01 * expected)
