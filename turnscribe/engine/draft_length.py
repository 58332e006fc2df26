"""How many tokens to draft in the next round.

Where each drafted token is right with probability p, a round of k yields (1 - p^(k+1)) / (1 - p) tokens on average
(Leviathan et al. 2023, equation 1). Only p is learned while decoding: costs are worked out from the shapes of the two
decoders, so the same recording is decoded in the same rounds on a busy machine as on an idle one.
"""

from __future__ import annotations

from turnscribe.engine.draft import LONGEST_DRAFT
from turnscribe.engine.model import Decoder

ROWS_FOR_FREE = {"cpu": 24, "cuda": 200}  # tokens in one pass that double what it costs to read the weights
EXPECTED = 0.8  # p, before anything was judged
PRIOR = 20  # judged proposals that the expectation counts for
MEMORY = 400  # judged proposals after which what was judged before counts for half
HIGHEST = 0.98  # p for the choice of k, however well it goes


class DraftLength:
    """The best k for what was accepted so far."""

    def __init__(self, decoder: Decoder, draft: Decoder | None, *, frames: int, kind: str | None = None) -> None:
        """Without a draft's decoder proposals cost nothing. `kind` is that of the device, by default of the one that
        the decoder's weights are on."""
        self._cost = (0.0, 0.0) if draft is None else _cost(draft, frames), _cost(decoder, frames)
        self._free = ROWS_FOR_FREE.get(kind or decoder.weights.embedding.device.type, 24)
        self._judged, self._accepted = float(PRIOR), EXPECTED * PRIOR

    def record(self, accepted: int, refused: int) -> None:
        """Learn from a round, summed over its rows. After a row's first refused proposal none is judged."""
        fade = 0.5 ** ((accepted + refused) / MEMORY)
        self._judged = self._judged * fade + accepted + refused
        self._accepted = self._accepted * fade + accepted

    @property
    def chance(self) -> float:
        """That a drafted token is right: of those judged, the share that were."""
        return self._accepted / self._judged

    def best(self, rows: int) -> int:
        """How many tokens to draft, 1 to `LONGEST_DRAFT`, for each of `rows` rows."""
        chance = min(self.chance, HIGHEST)
        (draft_fixed, draft_row), (main_fixed, main_row) = self._cost

        def tokens_for_cost(count: int) -> float:
            tokens = (1 - chance ** (count + 1)) / (1 - chance)
            drafting = count * (draft_fixed * (1 + rows / self._free) + rows * draft_row)
            verifying = main_fixed * (1 + rows * (count + 1) / self._free) + rows * main_row
            return tokens / (drafting + verifying)

        return max(range(1, LONGEST_DRAFT + 1), key=tokens_for_cost)


def _cost(decoder: Decoder, frames: int) -> tuple[float, float]:
    """Bytes read from memory in one pass: the weights, once, and the keys and values of the audio, for each row."""
    weights = decoder.weights
    vocabulary, width = weights.embedding.shape
    layers = decoder.layers * 14 * width**2 * weights.layers[0].fc1.bytes_each
    scores = vocabulary * width * weights.vocabulary.bytes_each
    return layers + scores, decoder.layers * 2 * frames * width * weights.audio_type.itemsize
