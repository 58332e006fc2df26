"""Finds where somebody speaks in a waveform: a probability for each frame, then stretches, then their edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnscribe.devices import Device, device_of
from turnscribe.listener import SILENT, Listener
from turnscribe.speech.speech_map import SpeechMap
from turnscribe.speech.stretches import stretches
from turnscribe.threads import follow_load
from turnscribe.waveform import SAMPLE_RATE, SILENT_BELOW, Waveform

if TYPE_CHECKING:
    from torch import Tensor

    from turnscribe.speech.silero import Silero

BLOCK = 8_192  # frames that the network hears in one go: 262 s
NEARBY = 64  # frames on either side of one that say how loud it is there: 2 s
LOUDNESS = 10 ** (-24 / 20)  # what the loudest frame nearby is raised to, as a root mean square
MOST_GAIN = 10 ** (50 / 20)


class SpeechDetector:
    """silero's network, loaded. Several threads may use it at once."""

    def __init__(self, network: Silero) -> None:
        self.network = network

    def find(
        self,
        waveform: Waveform,
        *,
        threshold: float = 0.5,
        min_speech_duration_ms: float = 60,
        listener: Listener = SILENT,
    ) -> SpeechMap:
        """The waveform's speech map. `threshold` is a probability; what is shorter than the duration is no speech.

        Raises `Cancelled` once the listener says stop.
        """
        probabilities = self.probabilities(waveform, listener)
        found = stretches(waveform, probabilities, threshold=threshold, shortest=min_speech_duration_ms / 1000)
        return SpeechMap(found, len(waveform) / SAMPLE_RATE)

    def probabilities(self, waveform: Waveform, listener: Listener = SILENT) -> NDArray[np.float32]:
        """Of speech, for each frame of 512 samples; the last may lack some. What is silent has 0.

        The network hears less in what is quiet: of single words whose loudest samples were at -50 dB it heard one in
        two. So each frame is raised by what the loudest frame nearby lacks. Quiet speech is then heard as well as
        any, and noise of any level is still no speech. None is lowered: speech beside a cough would not be heard.
        """
        import torch

        from turnscribe.speech.silero import FRAME, WARM_UP

        frames = -(-len(waveform) // FRAME)
        found = np.zeros(frames, np.float32)
        for first in range(0, frames, BLOCK):
            listener.stop_if_asked()
            follow_load()
            last = min(first + BLOCK, frames)
            if np.abs(waveform[first * FRAME : last * FRAME]).max() > SILENT_BELOW:
                begin = max(0, first - WARM_UP)
                with torch.inference_mode():
                    block = self._frames(waveform, begin, last)
                    heard = self.network.walk_side_by_side(self.network.vectors(block))[first - begin :]
                found[first:last] = heard.float().cpu().numpy()
            listener.on_progress(last / frames)
        return found

    def _frames(self, waveform: Waveform, first: int, last: int) -> Tensor:
        """Those from `first` to before `last`, each with its context, at one loudness: `[F, CONTEXT + FRAME]`."""
        import torch
        import torch.nn.functional as F

        from turnscribe.speech.silero import CONTEXT, FRAME

        start, end = (first - NEARBY) * FRAME - CONTEXT, (last + NEARBY) * FRAME
        there = waveform[max(0, start) : end]
        missing = max(0, -start)
        padded = np.pad(there, (missing, end - start - missing - len(there)))
        samples = torch.from_numpy(padded).to(self.network.window.device)
        levels = samples[CONTEXT:].view(-1, FRAME).square().mean(dim=1).sqrt()  # [F + 2 NEARBY]
        loudest = F.max_pool1d(levels[None], 2 * NEARBY + 1, stride=1)[0]  # [F]
        gain = (LOUDNESS / loudest.clamp(LOUDNESS / MOST_GAIN, LOUDNESS))[:, None]
        near = samples[NEARBY * FRAME : len(samples) - NEARBY * FRAME]
        return near.unfold(0, CONTEXT + FRAME, FRAME) * gain


def load_speech_detector(device: str | Device = "cpu") -> SpeechDetector:
    """The detector on `device`, in float32: it is small. Its weights come with the package."""
    from safetensors.torch import load_file

    from turnscribe.speech.silero import WEIGHTS, silero_from

    runs_on = device_of(device)
    network = silero_from(load_file(WEIGHTS)).to(runs_on.torch_device)
    if runs_on.kind == "cuda":
        network.at_once = None
    return SpeechDetector(network)
