"""Finds where somebody speaks in a waveform: probabilities, frame by frame, then stretches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnscribe.listener import SILENT, Listener
from turnscribe.speech.speech_map import SpeechMap, Stretch
from turnscribe.waveform import SAMPLE_RATE, Waveform, is_silent

if TYPE_CHECKING:
    from turnscribe.speech.silero import Silero

BLOCK = 8_192  # frames that the network hears in one pass: 262 s
HYSTERESIS = 0.15  # speech begins at the threshold and ends that far below it
SHORTEST_SILENCE = 4  # frames: 0.128 s


class SpeechDetector:
    """silero's network, loaded. Several threads may use it at once."""

    def __init__(self, network: Silero) -> None:
        self.network = network

    def find(
        self,
        waveform: Waveform,
        *,
        threshold: float = 0.5,
        min_speech_duration_ms: float = 100,
        listener: Listener = SILENT,
    ) -> SpeechMap:
        """The waveform's speech map. `threshold` is a probability; what is shorter than the duration is no speech.

        Raises `Cancelled` once the listener says stop.
        """
        from turnscribe.speech.silero import FRAME

        duration = len(waveform) / SAMPLE_RATE
        probabilities = self.probabilities(waveform, listener)
        shortest = max(1, round(min_speech_duration_ms / 1000 * SAMPLE_RATE / FRAME))
        frames = _runs(probabilities, threshold, shortest)
        second = SAMPLE_RATE / FRAME
        stretches = (Stretch(start / second, min(end / second, duration)) for start, end in frames)
        return SpeechMap(tuple(stretches), duration)

    def probabilities(self, waveform: Waveform, listener: Listener = SILENT) -> NDArray[np.float32]:
        """Of speech, for each frame of 512 samples; the last frame may be a part of one."""
        import torch

        from turnscribe.speech.silero import CONTEXT, FRAME, WARM_UP

        frames = -(-len(waveform) // FRAME)
        found = np.zeros(frames, np.float32)
        device = next(self.network.parameters()).device
        for first in range(0, frames, BLOCK):
            listener.stop_if_asked()
            last = min(first + BLOCK, frames)
            begin = max(0, first - WARM_UP)
            if is_silent(waveform[first * FRAME : last * FRAME]):
                continue
            samples = waveform[max(0, begin * FRAME - CONTEXT) : last * FRAME]
            missing = CONTEXT + (last - begin) * FRAME - len(samples)
            before = CONTEXT if begin == 0 else 0
            with torch.inference_mode():
                block = torch.from_numpy(np.pad(samples, (before, missing - before))).to(device)
                heard = self.network.walk_side_by_side(self.network.vectors(block))
                found[first:last] = heard[first - begin :].cpu().numpy()
            listener.on_progress(last / frames)
        return found


def load_speech_detector(device: str = "cpu") -> SpeechDetector:
    """The detector on `device`, in float32: it is small. Its weights come with the package."""
    from safetensors.torch import load_file

    from turnscribe.speech.silero import WEIGHTS, silero_from

    return SpeechDetector(silero_from(load_file(WEIGHTS)).to(device))


def _runs(probabilities: NDArray[np.float32], threshold: float, shortest: int) -> list[tuple[int, int]]:
    """Runs of frames, first and past the last: they begin at `threshold` and end where it stays lower."""
    low = max(threshold - HYSTERESIS, threshold / 10)
    runs: list[tuple[int, int]] = []
    for start, end in _where(probabilities >= low):
        if probabilities[start:end].max() < threshold:
            continue
        start += int(np.argmax(probabilities[start:end] >= threshold))
        if runs and start - runs[-1][1] < SHORTEST_SILENCE:
            start = runs.pop()[0]
        runs.append((start, end))
    return [(start, end) for start, end in runs if end - start >= shortest]


def _where(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs of true values."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
