"""Two rows of words laid side by side with the fewest errors, and the differences marked for people.

Needs no package, so that `make demo` runs with what an endpoint has installed. `measures.align` is jiwer's, for
figures; a test holds that both count the same errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Differences:
    """`pairs` of a word that was said and a word that was heard, in order; `None` where there is no such word."""

    pairs: tuple[tuple[str | None, str | None], ...]

    @property
    def substitutions(self) -> int:
        return sum(None not in (said, heard) and said != heard for said, heard in self.pairs)

    @property
    def deletions(self) -> int:
        return sum(heard is None for _, heard in self.pairs)

    @property
    def insertions(self) -> int:
        return sum(said is None for said, _ in self.pairs)

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def marked(self) -> str:
        """The words that were said, with `[-word-]` for what is missing and `{+word+}` for what was not said.

        >>> differences("oh hello there".split(), "oh yellow there you".split()).marked
        'oh [-hello-] {+yellow+} there {+you+}'
        """
        parts = []
        for equal, run in groupby(self.pairs, key=lambda pair: pair[0] == pair[1]):
            pairs = list(run)
            missing = " ".join(said for said, _ in pairs if said is not None)
            added = " ".join(heard for _, heard in pairs if heard is not None)
            if equal:
                parts.append(missing)
                continue
            parts += [f"[-{missing}-]"] if missing else []
            parts += [f"{{+{added}+}}"] if added else []
        return " ".join(parts)


def differences(said: Sequence[str], heard: Sequence[str]) -> Differences:
    """An alignment with the fewest substitutions, deletions and insertions (Levenshtein), found by a table.

    >>> differences("a b c".split(), "a c".split()).pairs
    (('a', 'a'), ('b', None), ('c', 'c'))
    """
    rows, columns = len(said), len(heard)
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]  # of the first i words said and the first j heard
    for i in range(rows + 1):
        for j in range(columns + 1):
            if i and j:
                replaced = cost[i - 1][j - 1] + (said[i - 1] != heard[j - 1])
                cost[i][j] = min(replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1)
            else:
                cost[i][j] = i + j
    pairs: list[tuple[str | None, str | None]] = []
    i, j = rows, columns
    while i or j:
        if i and j and said[i - 1] == heard[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((said[i], heard[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:  # before another word: so more words are found equal
            i -= 1
            pairs.append((said[i], None))
        elif j and cost[i][j] == cost[i][j - 1] + 1:
            j -= 1
            pairs.append((None, heard[j]))
        else:
            i, j = i - 1, j - 1
            pairs.append((said[i], heard[j]))
    return Differences(tuple(reversed(pairs)))
