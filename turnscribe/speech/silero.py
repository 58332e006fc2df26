"""silero's network for 16 kHz (silero-vad 6.2.3, MIT), which hears speech: a probability for each frame of 32 ms.

1. A frame is 512 samples, with the 64 before it. Its last 64 are mirrored at its end, which makes room for 4 spectra
   of 256 samples every 128.
2. Four convolutions over the 4 spectra's magnitudes make one vector of 128 numbers of them.
3. An LSTM walks from vector to vector. Its output is weighed into the probability.

The first two steps know nothing of other frames, so all frames of a block take them at once. The LSTM has to walk.
But it forgets: after `WARM_UP` frames it hardly matters where it began. So it walks pieces of `WALK` frames side by
side, each with the frames before it to warm up on. What is heard therefore depends on the seconds around it alone.

The weights are those of its file `silero_vad_16k.safetensors`. Its `silero_vad.jit` and `.onnx` hold another training
of the same network, which hears less: at one threshold it lost 9.1 to 10.4 s of 105 s of actors' voices where these
lose 7.1 to 8.5, and heard speech in 2.6 s of 40 minutes of music, noise and tones where these hear it in 0.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("silero_vad_16k.safetensors")
WEIGHTS_SHA256 = "c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1"

FRAME = 512  # samples
CONTEXT = 64  # samples before a frame that belong to its input
SPECTRUM = 256  # samples under a Hann window
STEP = 128  # samples between spectra
STRIDES = (1, 2, 2, 1)  # of the convolutions over three times each: of 4 times 1 is left
WIDTH = 128  # of the vectors and of the LSTM
WALK = 256  # frames of a piece: 8.2 s
WARM_UP = 256  # frames before a piece
AT_ONCE = 2_048  # frames that pass the convolutions together on a CPU: what they take stays near its caches


class Silero(nn.Module):
    """Waveforms to probabilities of speech."""

    def __init__(self) -> None:
        super().__init__()
        channels = (SPECTRUM // 2 + 1, 128, 64, 64, WIDTH)
        self.convolutions = nn.ModuleList(nn.Linear(3 * before, after) for before, after in pairwise(channels))
        self.lstm = nn.LSTM(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, 1)
        self.at_once: int | None = AT_ONCE  # frames in a pass; all of them where that is `None`
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(SPECTRUM), persistent=False)

    def vectors(self, frames: Tensor) -> Tensor:
        """Frames `[F, CONTEXT + FRAME]` to a vector for each, `[F, WIDTH]`."""
        at_once = self.at_once or max(1, len(frames))
        return torch.cat([self._vectors(some) for some in frames.split(at_once)])

    def _vectors(self, frames: Tensor) -> Tensor:
        spectra = F.pad(frames, (0, CONTEXT), mode="reflect").unfold(1, SPECTRUM, STEP) * self.window  # [F, 4, 256]
        x: Tensor = torch.fft.rfft(spectra).abs()  # [F, T, C]: 4 times, 129 channels
        for layer, stride in zip(self.convolutions, STRIDES, strict=True):
            # Three times after another, with silence before the first and after the last, are one row of numbers.
            channels = x.shape[2]
            x = F.relu(layer(F.pad(x, (0, 0, 1, 1)).flatten(1).unfold(1, 3 * channels, stride * channels)))
        return x[:, 0]

    def walk(self, vectors: Tensor) -> Tensor:
        """Vectors `[T, N, WIDTH]` of N pieces to probabilities `[T, N]`, one frame after another."""
        heard, _ = self.lstm(vectors)
        probabilities: Tensor = torch.sigmoid(self.out(F.relu(heard)))
        return probabilities[:, :, 0]

    def walk_side_by_side(self, vectors: Tensor) -> Tensor:
        """Vectors `[F, WIDTH]` to probabilities `[F]`, as `walk` gives them but for what it remembers for longer."""
        count = len(vectors)
        if count <= WARM_UP + WALK:
            return self.walk(vectors[:, None])[:, 0]
        starts = torch.arange(0, count - WARM_UP, WALK, device=vectors.device)
        steps = torch.arange(WARM_UP + WALK, device=vectors.device)
        heard = self.walk(vectors[(steps[:, None] + starts).clamp_(max=count - 1)])  # [WARM_UP + WALK, N]
        return torch.cat([heard[:WARM_UP, 0], heard[WARM_UP:].T.reshape(-1)[: count - WARM_UP]])


def silero_from(state: Mapping[str, Tensor]) -> Silero:
    """The network with the weights of `silero_vad_16k.safetensors`, by their names there.

    The spectra are a convolution there, `stft_conv.weight`: the transform under a Hann window, to 1e-7.
    """
    network = Silero()
    own = {"out.weight": state["final_conv.weight"][:, :, 0], "out.bias": state["final_conv.bias"]}
    for number in range(len(STRIDES)):
        weight = state[f"conv{number + 1}.weight"]  # [channels after, channels before, 3 times]
        own[f"convolutions.{number}.weight"] = weight.transpose(1, 2).flatten(1)
        own[f"convolutions.{number}.bias"] = state[f"conv{number + 1}.bias"]
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        own[f"lstm.{kind}_l0"] = state[f"lstm_cell.{kind}"]
    network.load_state_dict(own)
    return network.eval()
