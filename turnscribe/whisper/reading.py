"""From one window's tokens to chunks and words on the window's own clock. What every ASR backend does after decoding.

No text token is left out, and each is in one chunk.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnscribe.transcript import Chunk, Token, Word
from turnscribe.whisper.alignment import TokenAlignment
from turnscribe.whisper.constants import SECONDS_PER_FRAME
from turnscribe.whisper.segments import LEAST_TO_LIMIT, Segment, read_segments, split_words, token_texts
from turnscribe.whisper.windows import Window

WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}  # openai/whisper splits these by character


@dataclass(frozen=True)
class DecodedWindow:
    """One window's tokens, without the initial ones and the end, and what is known of them."""

    window: Window
    tokens: list[int]
    logprobs: NDArray[np.float64] | None = None  # [N]
    alignment: TokenAlignment | None = None  # where words were asked for
    no_speech: float | None = None
    temperature: float | None = None
    reached_limit: bool = False  # of tokens: there may be more to say
    with_tokens: bool = False  # in its words


@dataclass(frozen=True)
class Reader:
    """Reads the tokens of one tokenizer."""

    tokenizer: Any
    end_token: int
    first_timestamp: int

    def text(self, ids: list[int]) -> str:
        """The text of tokens, without special ones, as it is written: with the space before it."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def said(self, tokens: list[int]) -> str:
        """The text of all text tokens of a window."""
        return self.text([token for token in tokens if token < self.end_token])

    def read(self, decoded: DecodedWindow, language: str | None) -> tuple[list[Chunk], float | None]:
        """The window's chunks, and where decoding has to go on, all in seconds of the window."""
        tokens = decoded.tokens
        segments, rest = read_segments(
            tokens,
            end_token=self.end_token,
            first_timestamp=self.first_timestamp,
            duration=decoded.window.duration,
            reached_limit=decoded.reached_limit,
        )
        made = []
        for segment in segments:
            text = self.text([tokens[position] for position in segment.positions])
            if text.strip():
                chunk = Chunk(
                    text,
                    segment.start,
                    segment.end,
                    compression_ratio=compression_ratio(text),
                    no_speech_prob=decoded.no_speech,
                    temperature=decoded.temperature,
                )
                made.append(self._detailed(chunk, segment, decoded, language))
        if decoded.reached_limit and rest is None:  # there is no timestamp to go on from
            said = max((word.end for chunk in made for word in chunk.words if word.end > word.start), default=0.0)
            rest = said if said >= LEAST_TO_LIMIT else None
        return made, rest

    def closed_at(self, tokens: Sequence[int]) -> float | None:
        """When the last text ends, in seconds of the window, by the one timestamp behind it; `None` without one."""
        if len(tokens) < 2 or tokens[-2] >= self.first_timestamp or tokens[-1] < self.first_timestamp:
            return None
        return (tokens[-1] - self.first_timestamp) * SECONDS_PER_FRAME

    def words(self, decoded: DecodedWindow, language: str | None) -> tuple[Word, ...]:
        """All words of a window that is aligned, in seconds of the window."""
        return tuple(word for chunk in self.read(decoded, language)[0] for word in chunk.words)

    def _detailed(self, chunk: Chunk, segment: Segment, decoded: DecodedWindow, language: str | None) -> Chunk:
        positions = list(segment.positions)
        if decoded.logprobs is not None:
            chunk = replace(chunk, avg_logprob=float(decoded.logprobs[positions].mean()))
        if decoded.alignment is None:
            return chunk
        return replace(chunk, words=self._words(positions, decoded, decoded.alignment, language))

    def _words(
        self, positions: list[int], decoded: DecodedWindow, alignment: TokenAlignment, language: str | None
    ) -> tuple[Word, ...]:
        pieces = token_texts([decoded.tokens[position] for position in positions], self.text)
        limit = decoded.window.duration
        words = []
        for first, stop in split_words(pieces, spaces=language not in WITHOUT_SPACES):
            part = positions[first:stop]
            start = min(float(alignment.starts[part[0]]), limit)
            end = min(max(float(alignment.ends[part[-1]]), start), limit)
            probability: float | None = None
            tokens: tuple[Token, ...] = ()
            if decoded.logprobs is not None:
                probability = math.exp(float(decoded.logprobs[part].mean()))
                if decoded.with_tokens:
                    each = zip(pieces[first:stop], decoded.logprobs[part].tolist(), strict=True)
                    tokens = tuple(Token(*one) for one in each)
            words.append(Word("".join(pieces[first:stop]), start, end, probability, tokens=tokens))
        return tuple(words)


def compression_ratio(text: str) -> float:
    """How much shorter zlib makes the text: what repeats itself compresses well."""
    encoded = text.strip().encode()
    return len(encoded) / len(zlib.compress(encoded))
