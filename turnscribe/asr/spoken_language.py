"""Which language is spoken, by what a Whisper says after its start token. What both backends do.

The language of a recording is judged by its first windows of speech, by the sum of their log-probabilities: the
loudest alone may be a greeting in another language. Where a request asks for several languages, each window has its
own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from turnscribe.request import MULTI, DecodingOptions
from turnscribe.transcript import Chunk
from turnscribe.whisper.windows import Window

if TYPE_CHECKING:
    from torch import Tensor

FIRST_WINDOWS = 4  # by which the language of a recording is judged
SURE = 0.5  # of whisper-base's guesses below that on short recordings 14 of 15 were wrong


class SpokenLanguage:
    """The language of each window of one recording."""

    def __init__(
        self,
        options: DecodingOptions,
        config: Any,
        *,
        multilingual: bool,
        windows: int,
        first_at_once: bool = False,
    ) -> None:
        """`config` is the model's generation configuration, `windows` how many a recording has.

        With `first_at_once` the first window does not wait for others: it has its own language.
        """
        self._config, self._among = config, options.languages
        self._each = multilingual and options.language == MULTI
        self._given = None if self._each else options.language
        if not multilingual:
            self._given = "en"
        self._of: dict[Window, str] = {}
        self._first_windows = min(FIRST_WINDOWS, windows)
        self._first_at_once = first_at_once
        self._judged: list[dict[str, float]] = []  # log-probabilities, of the first windows

    @property
    def windows_needed(self) -> int:
        """How many of the next windows have to be heard before one of them can be decoded."""
        if self._each or self._given or (self._first_at_once and not self._judged):
            return 1
        return max(self._first_windows - len(self._judged), 1)

    def judge(self, windows: Sequence[Window], scores: Callable[[int], Tensor]) -> None:
        """Find the language of the windows that come next, by the first of them as long as more have to be heard.

        `scores(index)` are those of the token after the start token `[V]`, in one of them.
        """
        new = {window: index for index, window in enumerate(windows) if window not in self._of}
        if self._given or not new:
            return
        if self._each:
            self._of |= {window: _likeliest([self._log_probabilities(scores(new[window]))]) for window in new}
            return
        count = min(self._first_windows - len(self._judged), self.windows_needed)
        self._judged += [self._log_probabilities(scores(index)) for index in [*new.values()][:count]]
        self._of |= dict.fromkeys(new, _likeliest(self._judged))

    def of(self, window: Window) -> str:
        """Of a window that was judged."""
        return self._given or self._of[window]

    @property
    def warnings(self) -> list[str]:
        """Where the language of the recording is uncertain."""
        if self._each or not self._judged:
            return []
        language = _likeliest(self._judged)
        totals = [sum(window[code] for window in self._judged) for code in self._judged[0]]
        highest = max(totals)
        share = 1 / sum(math.exp(total - highest) for total in totals)
        if share >= SURE:
            return []
        return [
            f"The language may be another than {language!r}, which is {share:.0%} likely: "
            "name it as language, or those it may be as languages."
        ]

    def of_text(self, chunks: Iterable[Chunk]) -> str | None:
        """The language with most words; `None` where nothing was said."""
        words: Counter[str | None] = Counter()
        for chunk in chunks:
            words[chunk.language] += max(len(chunk.words), 1)
        return words.most_common(1)[0][0] if words else None

    def _log_probabilities(self, scores: Tensor) -> dict[str, float]:
        import torch

        tokens = {name.strip("<|>"): number for name, number in self._config.lang_to_id.items()}
        codes = [code for code in tokens if not self._among or code in self._among]
        places = torch.tensor([tokens[code] for code in codes], device=scores.device)
        return dict(zip(codes, scores[places].float().log_softmax(-1).tolist(), strict=True))


def _likeliest(windows: Sequence[dict[str, float]]) -> str:
    return max(windows[0], key=lambda code: sum(window[code] for window in windows))
