"""The text of one utterance while it grows: passes over its latest seconds, words that stay, and the text in the end.

An utterance is heard twice. Unfinished, by passes over a buffer: what is committed begins the text of the next pass,
and where the buffer gets long it is cut behind committed words. Finished, whole, as a recording would be: its last
pass knows what came after every word. What it says is the text; what was committed is what could be said before.

    start            anchor                buffer                    heard
      |  final chunks  |  committed, cut    |  committed, kept |  new  |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from turnscribe.errors import TurnscribeError
from turnscribe.live.commit import RULES, Rule, plain
from turnscribe.live.ear import Ear, Known
from turnscribe.live.spool import Spool
from turnscribe.request import Request
from turnscribe.transcript import Chunk, Token, Transcript, Word, tokens_of
from turnscribe.waveform import SAMPLE_RATE

LONGEST_BUFFER = 6.5  # seconds; with a step more a window of it is still one that is encoded short
MOST_BUFFER = 15.0  # seconds, where there are no words to cut it behind
SETTLED = 6.0  # seconds of cut text, after which it gets its final pass
EARLIER = 200  # characters of text before the buffer that a pass is told
ENDS_SENTENCE = (".", "?", "!", "…", "。", "？", "！", "।", "؟")
PAUSE = 0.15  # seconds between two words, at which a buffer is cut rather than elsewhere
SAME_WORD = 0.4  # seconds after what was shown, in which its last word may be heard again
MOST_REPEATED = 5  # words


@dataclass(frozen=True)
class Style:
    """How utterances are heard: what is asked for, and which words stay."""

    request: Request
    rule: Rule = "alignatt"


@dataclass(frozen=True)
class Settled:
    """Final text, and the samples that it is of."""

    start: int
    stop: int
    chunks: tuple[Chunk, ...]


class Utterance:
    """Places are samples of the spool, times seconds of it."""

    def __init__(self, id: str, start: int, *, spool: Spool, ear: Ear, style: Style) -> None:
        self.id, self.start, self.heard = id, start, start
        self.final: list[Chunk] = []
        self.language = style.request.decoding.language
        self.ends_sentence = False  # what was heard last
        self.failure: str | None = None  # what went wrong with the latest pass, in a sentence
        self._spool, self._ear, self._style = spool, ear, style
        self._anchor = self._buffer = start
        self._cut: list[Word] = []
        self._kept: list[Word] = []
        self._unfinished: list[Word] = []  # what the last pass said after them
        self._rule = RULES[style.rule]()
        self._shown_until = 0.0  # the end of the last word that was shown
        self._shown: list[str] = []  # the last words, in plain
        self._shown_tokens: list[Token] = []
        self._untold: list[Settled] = []
        self._paused_before = False  # nobody spoke right before what comes next
        self._prepared: tuple[int, int, Transcript] | None = None  # from where to where, and what was heard

    @property
    def text(self) -> str:
        """Of what is final."""
        return "".join(chunk.text for chunk in self.final).strip()

    @property
    def shown_until(self) -> float:
        """The end of the last word that was shown."""
        return self._shown_until

    def take_settled(self) -> list[Settled]:
        """What is final since this was asked the last time."""
        settled, self._untold = self._untold, []
        return settled

    def take_shown_tokens(self) -> tuple[Token, ...]:
        """Those of what was shown since this was asked the last time."""
        tokens, self._shown_tokens = tuple(self._shown_tokens), []
        return tokens

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Of what is final."""
        return tuple(tokens_of(word for chunk in self.final for word in chunk.words))

    @property
    def settled(self) -> int:
        """Up to which the text is final."""
        return self._anchor

    def update(self, stop: int) -> str:
        """Hear what there is up to `stop`: the text that is further committed, "" where there is none."""
        prefix, guess = _joined(self._kept), _joined(self._unfinished)
        transcript = self._hear(self._buffer, stop, earlier=self._cut_text, prefix=prefix, guess=guess, final=False)
        self.heard = stop
        self.ends_sentence = transcript.text.endswith(ENDS_SENTENCE)
        further = self._beyond(transcript.words)
        count = self._rule.stable(further, stop / SAMPLE_RATE)
        self._kept += further[:count]
        self._unfinished = further[count:]
        if count and self.language is None:
            self.language = transcript.language  # what follows a text is in its language
        shown = self._show(further[:count])
        if self._kept:
            try:
                self._cut_buffer(stop)
            except TurnscribeError as error:  # what is committed is shown all the same
                self.failure = str(error)
        elif stop - self._buffer > MOST_BUFFER * SAMPLE_RATE:  # nothing in there wants to stay
            shown += self.settle(stop, stop)
        return shown

    def prepare(self, stop: int) -> None:
        """Hear the final text already: the utterance seems to be over."""
        transcript = self._hear_whole(stop)
        self.heard = stop
        self.ends_sentence = transcript.text.endswith(ENDS_SENTENCE)
        self._prepared = (self._anchor, stop, transcript)

    def settle(self, stop: int, spoken_until: int) -> str:
        """The text up to `stop` is final: what of it was not shown yet. Nobody spoke after `spoken_until`."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == self._anchor and spoken_until <= prepared[1] <= stop:
            transcript = prepared[2]
        else:
            transcript = self._hear_whole(stop)
        self._finish(transcript, stop)
        self._kept, self._unfinished, self._rule = [], [], RULES[self._style.rule]()
        words = [word for word in transcript.words if (word.start + word.end) / 2 > self._shown_until]
        return self._show(self._unrepeated(words, since=self._shown_until))

    def go_on(self, start: int) -> None:
        """After a pause, from `start` on, where everything before it is settled."""
        self._anchor = self._buffer = self.heard = start
        self._paused_before = True
        self._shown = self._shown and [""]  # nothing is heard again behind a pause; a space goes before what follows

    # ------------------------------------------------------------------------------------------------

    @property
    def _final_text(self) -> str:
        return self.text[-EARLIER:]

    @property
    def _cut_text(self) -> str:
        return f"{self.text}{_joined(self._cut)}"[-EARLIER:]

    def _hear_whole(self, stop: int) -> Transcript:
        """What is not final yet, from its beginning, whatever was committed of it."""
        guess = _joined([*self._cut, *self._kept, *self._unfinished])
        return self._hear(self._anchor, stop, earlier=self._final_text, prefix="", guess=guess, final=True)

    def _hear(self, start: int, stop: int, *, earlier: str, prefix: str, guess: str, final: bool) -> Transcript:
        request = self._style.request
        given = " ".join(filter(None, [request.decoding.prompt, earlier.strip()]))
        samples = self._spool.read(start, stop)
        transcript = self._ear.hear(samples, request, Known(self.language, given, prefix, guess, final))
        return _later(transcript, start / SAMPLE_RATE)

    def _show(self, words: Sequence[Word]) -> str:
        if not words:
            return ""
        text = _joined(words) if self._shown else _joined(words).lstrip()
        self._shown = [*self._shown, *(plain(word.text) for word in words)][-MOST_REPEATED:]
        self._shown_until = max(self._shown_until, words[-1].end)
        self._shown_tokens += tokens_of(words)
        return text

    def _beyond(self, words: Sequence[Word]) -> list[Word]:
        """The words after those that are kept."""
        kept, said = _joined(self._kept), ""
        if not kept:
            return self._unrepeated(words, since=self._buffer / SAMPLE_RATE)
        for index, word in enumerate(words):
            said += word.text
            if len(said) >= len(kept):
                if not said.startswith(kept):
                    break
                rest = said[len(kept) :]
                return [*([_end_of(word, rest)] if rest else []), *words[index + 1 :]]
        return [word for word in words if (word.start + word.end) / 2 > self._kept[-1].end]

    def _unrepeated(self, words: Sequence[Word], *, since: float) -> list[Word]:
        """Without the last words that were shown, where a pass that begins behind them hears them again."""
        return list(words[_repeated(words, self._shown, since) :])

    def _without_final(self, chunks: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        """Without the last words that are final, where a pass that begins behind them hears them again."""
        if not (chunks and self.final) or self._paused_before:
            return chunks
        final = [plain(word.text) for word in self.final[-1].words[-MOST_REPEATED:]]
        words = chunks[0].words[_repeated(chunks[0].words, final, self._anchor / SAMPLE_RATE) :]
        if len(words) == len(chunks[0].words):
            return chunks
        first = [replace(chunks[0], text=_joined(words), start=words[0].start, words=words)] if words else []
        return (*first, *chunks[1:])

    def _cut_buffer(self, stop: int) -> None:
        if stop - self._buffer <= LONGEST_BUFFER * SAMPLE_RATE:
            return
        following = [*self._kept[1:], *self._unfinished[:1]]
        starts = [word.start for word in following] + [self._kept[-1].end] * (len(self._kept) - len(following))
        places = range(len(self._kept) // 2, len(self._kept))
        good = [
            index
            for index in places
            if self._kept[index].text.endswith(ENDS_SENTENCE) or starts[index] - self._kept[index].end > PAUSE
        ]
        last = (good or [len(self._kept) - 1])[-1]
        self._buffer = round((self._kept[last].end + max(starts[last], self._kept[last].end)) / 2 * SAMPLE_RATE)
        self._cut += self._kept[: last + 1]
        self._kept, self._rule = self._kept[last + 1 :], RULES[self._style.rule]()
        if self._buffer - self._anchor > SETTLED * SAMPLE_RATE:
            # heard with what comes after, or the last word would be cut short
            transcript = self._hear_whole(stop)
            self._finish(_before(transcript, self._buffer / SAMPLE_RATE), self._buffer)

    def _finish(self, transcript: Transcript, stop: int) -> None:
        chunks = self._without_final(transcript.chunks)
        self.final += chunks
        self._untold.append(Settled(self._anchor, stop, chunks))
        self.language = self.language or transcript.language
        self._anchor, self._cut, self._paused_before = stop, [], False
        self._buffer = max(self._buffer, stop)
        self.heard = max(self.heard, stop)


def _joined(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words)


def _end_of(word: Word, text: str) -> Word:
    """A word that is `text`, with which the other ends, and has the tokens that begin in it."""
    left, tokens = len(text), []
    for token in reversed(word.tokens):
        if left <= 0:
            break
        tokens.append(token)
        left -= len(token.text)
    return replace(word, text=text, tokens=tuple(reversed(tokens)))


def _repeated(words: Sequence[Word], before: Sequence[str], since: float) -> int:
    """How many of the words are the last of those `before`, in plain, heard again from `since` on."""
    for count in range(min(len(words), len(before)), 0, -1):
        again = [plain(word.text) for word in words[:count]] == list(before[-count:])
        if again and words[count - 1].end - since < SAME_WORD * count:
            return count
    return 0


def _before(transcript: Transcript, time: float) -> Transcript:
    """The words whose middle comes before a time, and the chunks that have any."""
    chunks = []
    for chunk in transcript.chunks:
        words = tuple(word for word in chunk.words if (word.start + word.end) / 2 < time)
        if words:
            chunks.append(replace(chunk, text=_joined(words), end=min(words[-1].end, time), words=words))
    return replace(transcript, chunks=tuple(chunks))


def _later(transcript: Transcript, seconds: float) -> Transcript:
    """On the clock of a recording that began so much earlier."""
    chunks = tuple(
        replace(
            chunk,
            start=chunk.start + seconds,
            end=chunk.end + seconds,
            words=tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in chunk.words),
        )
        for chunk in transcript.chunks
    )
    return replace(transcript, chunks=chunks)
