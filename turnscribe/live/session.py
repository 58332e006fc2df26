"""One session: samples and orders go in at any time, `work` does what is due, and events come out in order.

`work` does one thing and says whether it did any:

    1. Where an utterance is far behind what was listened to, hear it.
    2. Listen to what has come, a second at most: an utterance begins, or ends and gets its final text.
    3. Where the audio before an order is listened to, obey it.
    4. In a pause, hear the utterance's final text already; else, a step after the last pass, hear it again.

So a pass waits for nothing but the pass before it. Under load the next pass takes all that has come meanwhile: steps
get longer, and nothing is left out.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from turnscribe.diarization.merge import assign_speakers
from turnscribe.errors import TurnscribeError
from turnscribe.live.ear import Ear
from turnscribe.live.endpoints import Endpointer, Endpointing
from turnscribe.live.events import (
    Behind,
    Cleared,
    Committed,
    Completed,
    Delta,
    Failed,
    LiveEvent,
    NothingToCommit,
    Segment,
    SpeechStarted,
    SpeechStopped,
)
from turnscribe.live.speakers import Speakers
from turnscribe.live.spool import Spool
from turnscribe.live.utterance import Settled, Style, Utterance
from turnscribe.pipeline import Voices
from turnscribe.transcript import Turn
from turnscribe.waveform import SAMPLE_RATE, Waveform

LISTENED_AT_ONCE = SAMPLE_RATE
UNHEARD = 5.0  # seconds of an utterance that are listened to and not heard, at most
SEEMS_OVER = 0.3  # seconds of silence after which the final text is heard already
BREAK = 1.0  # seconds of silence after which, where the client commits, the text so far is settled
BEHIND = 3.0  # seconds, from which on it is said, and each time that it has doubled
SHORTEST_ITEM = 0.1  # seconds that the client may commit

Kind: TypeAlias = Literal["commit", "clear", "end", "change"]


@dataclass(frozen=True)
class LiveOptions:
    """How a session hears. Without `endpointing` the client says where an utterance ends."""

    style: Style
    endpointing: Endpointing | None = field(default_factory=Endpointing)
    step: float = 1.0  # seconds from one pass over an utterance to the next
    speakers: bool = True
    similarity: float = 0.55
    most_speakers: int | None = None
    people: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # embeddings `[D]` of known voices


@dataclass(frozen=True)
class Order:
    """Of the client: to be obeyed where it stands in the audio, before the sample `place`."""

    kind: Kind
    place: int
    cause: str | None = None  # the client's event
    options: LiveOptions | None = None


class HearsSpeech(Protocol):
    """What a `StreamingDetector` is."""

    def hear(self, samples: Waveform) -> NDArray[np.float32]: ...


class LiveSession:
    """`append` and the orders may be called in any one thread, `work` in another; `emit` is called in that of `work`.

    The audio is in `spool`, which is whoever's made it.
    """

    def __init__(
        self,
        ear: Ear,
        detector: HearsSpeech,
        options: LiveOptions,
        emit: Callable[[LiveEvent], None],
        *,
        spool: Spool,
    ) -> None:
        self.spool, self.options = spool, options
        self.over = False  # after the order to end
        self._ear, self._detector, self._emit = ear, detector, emit
        self._orders: deque[Order] = deque()
        self._listened = 0
        self._endpointer = Endpointer()
        self._utterance: Utterance | None = None
        self._item = _new_id("item")  # of the utterance that is open, or the next one
        self._item_start = 0  # the end of the item before it
        self._previous: str | None = None
        self._paused = False  # where the client commits: the open utterance is settled, and nobody speaks
        self._prepared_at = -1  # the end of the speech that the final text was heard of already
        self._speakers = Speakers(options.similarity, options.most_speakers)
        self._speakers.know(options.people)
        self._told: dict[str, Segment] = {}
        self._prepared_voices: tuple[int, int, Voices] | None = None  # from where to where, and who speaks there
        self._behind = BEHIND

    # Of the client ------------------------------------------------------------------------------------

    def append(self, samples: Waveform) -> None:
        """Further audio. Raises `OSError` where it cannot be kept."""
        self.spool.append(samples)

    def commit(self, cause: str | None = None) -> None:
        """The utterance is over here."""
        self._orders.append(Order("commit", self.spool.samples, cause))

    def clear(self) -> None:
        """What came since the last utterance is not wanted."""
        self._orders.append(Order("clear", self.spool.samples))

    def change(self, options: LiveOptions) -> None:
        """From here on."""
        self._orders.append(Order("change", self.spool.samples, options=options))

    def end(self) -> None:
        """No more comes: an utterance that is open is over."""
        self._orders.append(Order("end", self.spool.samples))

    # What is done -------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Orders that are not obeyed yet."""
        return len(self._orders)

    @property
    def told(self) -> list[Turn]:
        """Who speaks when, as far as it was told. Once the session is over."""
        return [
            Turn(segment.speaker, segment.start, segment.end)
            for segment in tuple(self._told.values())  # a step that was given up may still be under way
            if segment.speaker is not None
        ]

    @property
    def seconds_behind(self) -> float:
        """Audio that came and was not listened to yet."""
        return (self.spool.samples - self._listened) / SAMPLE_RATE

    def work(self) -> bool:
        """See above. What goes wrong with an utterance ends that one alone."""
        utterance = self._utterance
        speaking = self._endpointer.began is not None
        if utterance is not None and speaking and self._listened - utterance.heard >= UNHEARD * SAMPLE_RATE:
            self._update(utterance)  # 1
            return True
        there = self.spool.samples  # before the order: what comes after it is not heard before it
        order = self._orders[0] if self._orders else None
        if self._listen(there if order is None else order.place):  # 2
            return True
        if order is not None:
            self._orders.popleft()
            self._obey(order)  # 3
            return True
        return utterance is not None and self._hear(utterance)  # 4

    def _listen(self, until: int) -> bool:
        stop = min(until, self._listened + LISTENED_AT_ONCE)
        if stop <= self._listened:
            return False
        probabilities = self._detector.hear(self.spool.read(self._listened, stop))
        self._listened = stop
        endpointing = self.options.endpointing or Endpointing()
        for probability in probabilities:
            self._endpointer.hear(float(probability), endpointing.threshold)
            self._follow(endpointing)
        self._say_behind()
        return True

    def _follow(self, endpointing: Endpointing) -> None:
        """What the last frame changes."""
        ears, utterance = self._endpointer, self._utterance
        if ears.began is None:
            return
        start = max(ears.began - round(endpointing.padding_s * SAMPLE_RATE), self._item_start)
        if utterance is None:
            self._utterance = self._begun(start)
            if self.options.endpointing is not None:
                self._emit(SpeechStarted(self._item, start / SAMPLE_RATE))
        elif self._paused:
            utterance.go_on(max(start, utterance.settled))
            self._paused = False
        elif self.options.endpointing is None:
            if ears.silence >= BREAK:
                if (stop := self._after_speech(endpointing)) > utterance.settled:
                    self._settle(utterance, stop)
                self._paused = utterance.failure is None  # else it is heard again with what comes
                ears.end()
        elif ears.silence >= self._patience(endpointing, utterance):
            stop = self._after_speech(endpointing)
            self._emit(SpeechStopped(self._item, stop / SAMPLE_RATE))
            self._commit(stop)

    def _begun(self, start: int) -> Utterance:
        return Utterance(self._item, start, spool=self.spool, ear=self._ear, style=self.options.style)

    def _patience(self, endpointing: Endpointing, utterance: Utterance) -> float:
        """Seconds of silence that end the utterance."""
        if endpointing.semantic and utterance.ends_sentence and self._prepared_at == self._endpointer.latest:
            return min(endpointing.sentence_silence_s, endpointing.silence_s)
        return endpointing.silence_s

    def _after_speech(self, endpointing: Endpointing) -> int:
        padded = self._endpointer.latest + round(endpointing.padding_s * SAMPLE_RATE)
        return min(padded, self._endpointer.place)

    def _hear(self, utterance: Utterance) -> bool:
        ears = self._endpointer
        if ears.began is None:
            return False
        if ears.silence >= SEEMS_OVER:
            if self._prepared_at == ears.latest:
                return False
            self._prepared_at = ears.latest
            self._tried(utterance, lambda: self._prepare(utterance))
            return True
        if self._listened - utterance.heard < self.options.step * SAMPLE_RATE:
            return False
        self._update(utterance)
        return True

    def _update(self, utterance: Utterance) -> None:
        stop = self._listened
        self._tried(utterance, lambda: self._show(utterance, utterance.update(stop)))
        utterance.heard = stop  # whatever came of it: the next pass is a step later

    def _prepare(self, utterance: Utterance) -> None:
        start, stop = utterance.settled, self._after_speech(self.options.endpointing or Endpointing())
        if stop > start:
            utterance.prepare(stop)
            self._prepared_voices = (start, stop, self._voices(start, stop))

    def _settle(self, utterance: Utterance, stop: int) -> None:
        spoken_until = self._endpointer.latest
        self._tried(utterance, lambda: self._show(utterance, utterance.settle(stop, spoken_until)))

    def _show(self, utterance: Utterance, text: str) -> None:
        if text:
            self._emit(Delta(utterance.id, text, utterance.shown_until, utterance.take_shown_tokens()))
        for settled in utterance.take_settled():
            self._tell_segments(utterance, settled)

    def _tried(self, utterance: Utterance, step: Callable[[], None]) -> None:
        """What goes wrong is told where the utterance ends, unless the next pass goes well."""
        utterance.failure = None
        try:
            step()
        except TurnscribeError as error:
            utterance.failure = str(error)

    # Orders -------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        match order.kind:
            case "commit":
                if order.place - self._item_start < SHORTEST_ITEM * SAMPLE_RATE:
                    self._emit(NothingToCommit(order.cause))
                else:
                    self._commit(order.place)
            case "clear":
                if self._utterance is not None:  # what was told of it is not to be told on
                    self._item = _new_id("item")
                self._utterance, self._item_start, self._paused = None, order.place, False
                self._endpointer.end()
                self._emit(Cleared())
            case "change":
                assert order.options is not None
                self.options = order.options
                self._speakers.limit(order.options.similarity, order.options.most_speakers)
                self._speakers.know(order.options.people)
            case "end":
                if self._utterance is not None:
                    self._commit(order.place)
                self.over = True

    def _commit(self, stop: int) -> None:
        """The open utterance is over, and everything before `stop` belongs to it."""
        utterance = self._utterance or self._begun(stop)
        item, start = self._item, self._item_start
        self._emit(Committed(item, self._previous))
        if stop > utterance.settled and not self._paused:
            self._settle(utterance, stop)
        if utterance.failure is not None:
            self._emit(Failed(item, utterance.failure))
        else:
            begin = start if self.options.endpointing is None else utterance.start
            seconds = (stop - begin) / SAMPLE_RATE
            self._emit(Completed(item, utterance.text, seconds, utterance.language, utterance.tokens))
        self._previous, self._item, self._item_start = item, _new_id("item"), stop
        self._utterance, self._paused = None, False
        self._endpointer.end()

    def _tell_segments(self, utterance: Utterance, settled: Settled) -> None:
        for chunk in assign_speakers(settled.chunks, self._turns(settled)):
            segment = Segment(
                _new_id("seg"), utterance.id, chunk.text.strip(), chunk.start, chunk.end, chunk.speaker, chunk.words
            )
            if chunk.speaker is not None:
                self._speakers.told(segment.id, chunk.speaker)
                self._told[segment.id] = segment
            self._emit(segment)
        for id, speaker in self._speakers.corrections().items():
            self._told[id] = replace(self._told[id], speaker=speaker)
            self._emit(self._told[id])

    def _voices(self, start: int, stop: int) -> Voices:
        """Who speaks there; nobody where nobody is told apart, or cannot be: the text is there all the same."""
        if not self.options.speakers:
            return Voices()
        try:
            return self._ear.voices(self.spool.read(start, stop))
        except TurnscribeError:
            return Voices()

    def _turns(self, settled: Settled) -> list[Turn]:
        """Who speaks when in it, by the session's names, on its clock; nobody where nobody is told apart."""
        prepared, self._prepared_voices = self._prepared_voices, None
        if not self.options.speakers or not settled.chunks:
            return []
        if prepared is not None and prepared[0] == settled.start and self._endpointer.latest <= prepared[1]:
            voices = prepared[2]
        else:
            voices = self._voices(settled.start, settled.stop)
        names, start = self._speakers.names(voices.embeddings, voices.seconds), settled.start / SAMPLE_RATE
        return [
            Turn(names[turn.speaker], turn.start + start, turn.end + start)
            for turn in voices.turns
            if turn.speaker in names
        ]

    def _say_behind(self) -> None:
        behind = self.seconds_behind
        if behind >= self._behind:
            self._behind = 2 * behind
            self._emit(Behind(behind))
        elif behind < BEHIND / 2:
            self._behind = BEHIND


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(10)}"
