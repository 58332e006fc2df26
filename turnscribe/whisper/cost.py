"""How much work a Whisper is, by its shape: a guess for whoever has not seen it run.

Operations are multiplications with their additions, counted as two. Of a decoder's pass only the matrices count: with
few rows, reading them is what takes time.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAMES_A_SECOND = 50  # of the encoder's output
TOKENS_A_SECOND = 4.5  # that are written for what somebody says, timestamps too: English, and about so for others


@dataclass(frozen=True)
class Cost:
    """Operations for a second of speech."""

    encoding: float
    decoding: float


def cost_of(*, width: int, frames: int, encoder_layers: int, decoder_layers: int, vocabulary: int) -> Cost:
    """Of a model with `width` channels, whose encoder makes `frames` of a window and attends to all of them.

    What the decoder makes of the audio once a window counts as encoding.

    >>> base = cost_of(width=512, frames=1500, encoder_layers=6, decoder_layers=6, vocabulary=51865)
    >>> round(base.encoding / 1e9, 1), round(base.decoding / 1e9, 1)
    (3.1, 0.4)
    """
    square = width * width
    a_frame = encoder_layers * (12 * square + 2 * frames * width) + decoder_layers * 2 * square
    a_token = decoder_layers * 14 * square + vocabulary * width
    return Cost(2.0 * FRAMES_A_SECOND * a_frame, 2.0 * TOKENS_A_SECOND * a_token)
