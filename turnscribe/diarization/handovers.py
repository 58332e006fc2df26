"""Where in a recording's words one speaker hands over to another: the cheapest of all ways to share them out.

Two things cost. A word that goes to one speaker, while another speaks in more of it, costs the seconds between them.
A handover costs `HANDOVER` seconds, less at a pause, at the end of a sentence and between chunks: within a running
sentence a turn has to hold so much, while an answer between two sentences may be short. Viterbi's algorithm finds the
cheapest way for a recording as a whole, in time that grows with its words and speakers.

The figures were chosen on conversations that no table reports: other levels of Fish Fillets, prompts and captions in
turn, voices of flite and espeak-ng; with the open diarizer's turns, and with true ones that were moved, cut and
confused.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from turnscribe.diarization.speeches import Speech
from turnscribe.transcript import Word

HANDOVER = 0.6  # seconds; one within a sentence, where no pause is
PAUSE = 0.03  # seconds between two words that halve it
SENTENCE = 0.1  # what is left of it after a sentence,
CLAUSE = 0.5  # after a part of one,
CHUNK = 0.5  # and between two chunks
LEAST = 0.02  # seconds; any handover
DISTANCE = 0.3  # what a second between a word and a speaker's nearest turn counts for,
FAR = 1.0  # up to so many

# In the scripts that Whisper writes.
SENTENCE_ENDS = tuple(".?!…。？！｡؟۔।॥։።፧။។᙮‽⁇⁈⁉")
CLAUSE_ENDS = tuple(",;:、，；：،؛፣፤፥–—")
CLOSING = "\"'”’»›)]}」』】》〉 "


def handed_over(costs: NDArray[np.float64], handovers: Sequence[float]) -> list[int]:
    """Each word's speaker, as a column of `costs` `[word, speaker]`, in seconds; of equals, the first speaker.

    `handovers[i]` is what a handover between the words `i` and `i + 1` costs.
    """
    if not len(costs):
        return []
    rows = costs.tolist()
    totals = rows[0]
    came: list[list[int]] = []
    for row, handover in zip(rows[1:], handovers, strict=True):
        best = min(range(len(totals)), key=totals.__getitem__)
        limit = totals[best] + handover
        came.append([best if total > limit else speaker for speaker, total in enumerate(totals)])
        totals = [min(total, limit) + cost for total, cost in zip(totals, row, strict=True)]
    path = [min(range(len(totals)), key=totals.__getitem__)]
    for before in reversed(came):
        path.append(before[path[-1]])
    return path[::-1]


def word_costs(words: Sequence[Word], speeches: Sequence[Speech]) -> NDArray[np.float64]:
    """`[word, speaker]`, in seconds: how much more of a word another speaks in, or how much nearer to it.

    Seconds count less in a word that is only partly spoken in: its times are not to be trusted.
    """
    starts = np.array([word.start for word in words])
    ends = np.array([max(word.start, word.end) for word in words])
    seconds = np.stack([_spoken(speech, starts, ends) for speech in speeches], axis=1)  # [word, speaker]
    distances = np.stack([_distances(speech, starts, ends) for speech in speeches], axis=1)
    lengths = np.maximum(ends - starts, 1e-3)[:, None]
    seconds *= np.minimum(seconds.sum(axis=1, keepdims=True) / lengths, 1.0)
    seconds -= DISTANCE * np.minimum(distances - distances.min(axis=1, keepdims=True), FAR)
    return np.asarray(np.round(seconds.max(axis=1, keepdims=True) - seconds, 6))  # what is equal is equal


def handover_costs(words: Sequence[Word], firsts: Sequence[bool]) -> list[float]:
    """Between each two neighbours, in seconds; `firsts` says which words begin a chunk."""
    costs = []
    for (before, after), first in zip(pairwise(words), firsts[1:], strict=True):
        cost = HANDOVER * 0.5 ** (max(after.start - before.end, 0.0) / PAUSE)
        text = before.text.rstrip(CLOSING)
        if text.endswith(SENTENCE_ENDS):
            cost *= SENTENCE
        elif text.endswith(CLAUSE_ENDS):
            cost *= CLAUSE
        costs.append(max(cost * CHUNK if first else cost, LEAST))
    return costs


def _spoken(speech: Speech, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds of each stretch in which a speaker speaks."""
    edges = np.ravel(np.column_stack([speech.starts, speech.ends]))
    before = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2 == 0))])
    return np.asarray(np.interp(ends, edges, before) - np.interp(starts, edges, before))


def _distances(speech: Speech, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds from each stretch to the nearest that a speaker speaks in; 0 where they touch."""
    after = np.searchsorted(speech.starts, ends, side="right")
    following = np.array([*speech.starts, np.inf])[after] - ends
    previous = starts - np.array([-np.inf, *speech.ends])[after]
    return np.asarray(np.maximum(np.minimum(following, previous), 0.0))
