"""Hears speech in a stream, as it comes: silero's network, which goes on from where it was.

The slow twin is `SpeechDetector.probabilities`, which knows what comes next: it raises a frame by what the loudest of
the two seconds on either side lacks, this one by the two seconds before it alone.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from turnscribe.speech.detector import LOUDNESS, MOST_GAIN, NEARBY, SpeechDetector
from turnscribe.speech.silero import CONTEXT, FRAME
from turnscribe.waveform import SILENT_BELOW, Waveform


class StreamingDetector:
    """Of one stream. What is left of a frame waits for the next samples."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._network = detector.network
        self._rest = np.zeros(CONTEXT, np.float32)  # the context of the next frame, and what there is of that frame
        self._levels: deque[float] = deque(maxlen=NEARBY)
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None

    def hear(self, samples: Waveform) -> NDArray[np.float32]:
        """Probabilities of speech for the frames of `FRAME` samples that are whole now: `[frames]`."""
        samples = np.concatenate([self._rest, samples])
        count = (len(samples) - CONTEXT) // FRAME
        self._rest = samples[count * FRAME :]
        if not count:
            return np.zeros(0, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + FRAME)[::FRAME][:count]
        gains = np.array([self._gain(frame[CONTEXT:]) for frame in frames], np.float32)
        with torch.inference_mode():
            raised = torch.from_numpy(frames * gains[:, None]).to(self._network.window.device)
            walked, self._state = self._network.lstm(self._network.vectors(raised)[:, None], self._state)
            heard: NDArray[np.float32] = torch.sigmoid(self._network.out(F.relu(walked)))[:, 0, 0].cpu().numpy()
        return np.where(np.abs(frames[:, CONTEXT:]).max(axis=1) > SILENT_BELOW, heard, 0).astype(np.float32)

    def _gain(self, frame: Waveform) -> float:
        self._levels.append(float(np.sqrt(np.square(frame).mean())))
        return LOUDNESS / min(max(max(self._levels), LOUDNESS / MOST_GAIN), LOUDNESS)
