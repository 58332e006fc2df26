"""How many tokens to draft in the next round. Knows shares and costs, no model.

With a share p of drafted tokens accepted, a round of k yields (1 - p^(k+1)) / (1 - p) tokens on average (Leviathan
et al. 2023, equation 1). Only p is learned while decoding: costs are worked out from the shapes of the two decoders,
so the same recording is decoded in the same rounds on a busy machine as on an idle one.
"""

from __future__ import annotations

from turnscribe.engine.batch import LONGEST_DRAFT
from turnscribe.engine.model import Decoder

ROWS_FOR_FREE = {"cpu": 24, "cuda": 200}  # tokens in one pass that double what it costs to read the weights
EXPECTED = 0.7  # of drafts accepted, before any was seen
PRIOR = 20  # proposals that the expectation counts for
MEMORY = 400  # proposals after which what was seen before counts for half


class DraftLength:
    """The best k for what was accepted so far."""

    def __init__(self, decoder: Decoder, draft: Decoder, *, frames: int) -> None:
        self._cost = _read(draft, frames), _read(decoder, frames)
        self._free = ROWS_FOR_FREE.get(decoder.weights.embedding.device.type, 24)
        self._proposed, self._accepted = float(PRIOR), EXPECTED * PRIOR

    def saw(self, proposed: int, accepted: int) -> None:
        """A round's outcome, summed over its rows."""
        fade = 0.5 ** (proposed / MEMORY)
        self._proposed = self._proposed * fade + proposed
        self._accepted = self._accepted * fade + accepted

    @property
    def share(self) -> float:
        """Of proposals, those that were accepted."""
        return self._accepted / self._proposed

    def best(self, rows: int) -> int:
        """How many tokens to draft, 1 to `LONGEST_DRAFT`, for each of `rows` rows."""
        # proposals after the first wrong one are never accepted, so the share seen is below each one's chance
        chance = min(self.share ** (1 / 2), 0.98)
        (draft_fixed, draft_row), (main_fixed, main_row) = self._cost

        def tokens_for_cost(count: int) -> float:
            tokens = (1 - chance ** (count + 1)) / (1 - chance)
            drafting = count * (draft_fixed * (1 + rows / self._free) + rows * draft_row)
            verifying = main_fixed * (1 + rows * (count + 1) / self._free) + rows * main_row
            return tokens / (drafting + verifying)

        return max(range(1, LONGEST_DRAFT + 1), key=tokens_for_cost)


def _read(decoder: Decoder, frames: int) -> tuple[float, float]:
    """Numbers read in one pass: weights, once, and keys and values of the audio, for every row."""
    vocabulary, width = decoder.weights.embedding.shape
    return decoder.layers * 14 * width**2 + vocabulary * width, decoder.layers * 2 * frames * width
