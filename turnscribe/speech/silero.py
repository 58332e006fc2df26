"""silero's network for 16 kHz (silero-vad 6.2.3, MIT), which hears speech: a probability for each frame of 32 ms.

1. A frame is 512 samples, with the 64 before it. Its last 64 are mirrored at its end, which makes room for 4 spectra
   of 256 samples every 128.
2. Four convolutions over the 4 spectra's magnitudes make one vector of 128 numbers of them.
3. An LSTM walks from vector to vector. Its output is weighed into the probability.

The first two steps know nothing of other frames, so all frames of a block take them at once. The LSTM has to walk.
But it forgets: where it stands after `WARM_UP` frames hardly depends on where it began. So a block is cut into
stretches, each with the frames before it to warm up on, and the LSTM walks all of them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("silero_vad_16k.safetensors")
WEIGHTS_SHA256 = "904208304fecde221e23fb8f2b18b61839ca609d30813ce21b8cd1e08229d4e6"

FRAME = 512  # samples
CONTEXT = 64  # samples before a frame that belong to its input
SPECTRUM = 256  # samples under a Hann window
STEP = 128  # samples between spectra
WIDTH = 128  # of the vectors and of the LSTM
WALK = 256  # frames of a stretch: 8.2 s
WARM_UP = 128  # frames: 4 s


class Silero(nn.Module):
    """Waveforms to probabilities of speech."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, width, 3, stride=stride, padding=1)
            for channels, width, stride in ((SPECTRUM // 2 + 1, 128, 1), (128, 64, 2), (64, 64, 2), (64, WIDTH, 1))
        )
        self.lstm = nn.LSTM(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, 1)
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(SPECTRUM), persistent=False)

    def vectors(self, samples: Tensor) -> Tensor:
        """Samples `[CONTEXT + F x FRAME]` to one vector for each frame, `[F, WIDTH]`."""
        frames = F.pad(samples.unfold(0, CONTEXT + FRAME, FRAME), (0, CONTEXT), mode="reflect")  # [F, 640]
        spectra = frames.unfold(1, SPECTRUM, STEP) * self.window  # [F, 4, 256]
        x: Tensor = torch.fft.rfft(spectra).abs().transpose(1, 2)  # [F, 129, 4]
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        return x[:, :, 0]

    def walk(self, vectors: Tensor) -> Tensor:
        """Vectors `[F, N, WIDTH]` of N stretches to probabilities `[F, N]`, one frame after another."""
        heard, _ = self.lstm(vectors)
        probabilities: Tensor = torch.sigmoid(self.out(F.relu(heard)))
        return probabilities[:, :, 0]

    def walk_side_by_side(self, vectors: Tensor) -> Tensor:
        """Vectors `[F, WIDTH]` to probabilities `[F]`: as `walk` gives, as good as equal."""
        frames = len(vectors)
        if frames <= WARM_UP + WALK:
            return self.walk(vectors[:, None])[:, 0]
        starts = torch.arange(0, frames - WARM_UP, WALK, device=vectors.device)
        steps = torch.arange(WARM_UP + WALK, device=vectors.device)
        places = (steps[:, None] + starts).clamp_(max=frames - 1)  # [WARM_UP + WALK, N]
        heard = self.walk(vectors[places])
        after = heard[WARM_UP:].T.reshape(-1)[: frames - WARM_UP]
        return torch.cat([heard[:WARM_UP, 0], after])


def silero_from(state: Mapping[str, Tensor]) -> Silero:
    """The network with the weights of `silero_vad_16k.safetensors`, by their names there."""
    network = Silero()
    own = {"out.weight": state["final_conv.weight"][:, :, 0], "out.bias": state["final_conv.bias"]}
    for number in range(4):
        for kind in ("weight", "bias"):
            own[f"convolutions.{number}.{kind}"] = state[f"conv{number + 1}.{kind}"]
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own[f"lstm.{kind}_l0"] = state[f"lstm_cell.{kind}"]
    network.load_state_dict(own)
    return network.eval()
