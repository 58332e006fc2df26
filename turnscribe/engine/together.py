"""Requests that arrive together share passes. Their callers do the work by turns: there is no thread for it.

Every caller of `Together.decode` gets in line with its recording and goes round this loop, in its own thread, until
the recording is over:

    1. Wait until there is news of its own recording, or nobody leads.
    2. Where nobody leads and there is no news, take the lead: step the shared decoding, which decodes for all, until
       there is news of its own recording. Urgent recordings have a shared decoding of their own, whose steps come
       first: what is not urgent delays them by one step, and by one more after each `URGENT_IN_A_ROW` of theirs,
       so that it comes to its end where the urgent ones never do.
    3. Give up the lead. One of those who wait takes it over, and goes on where this one stopped.
    4. Report the news, and leave where its caller wants to stop.

So nobody works for others once it has its own, callbacks run in their caller's thread, a slow one holds up nobody,
and an interrupt ends the request of the thread that it comes to.
"""

from __future__ import annotations

import threading

import torch

from turnscribe.engine.engine import Engine
from turnscribe.engine.recordings import Participant, Recording
from turnscribe.engine.shared_decoding import SharedDecoding

URGENT_IN_A_ROW = 20  # steps, while others wait
LOOK_EVERY = 0.05  # seconds after which a waiting caller sees again whether to stop


class Together:
    """Decodes the recordings of all callers, those of the same options at once, in the order in which they came; the
    urgent ones first."""

    def __init__(self, engine: Engine) -> None:
        self._changed = threading.Condition()  # guards `_led`
        self.shared = SharedDecoding(engine, self._changed)
        self.urgent = SharedDecoding(engine, self._changed)
        self._led = False
        self._in_a_row = 0  # urgent steps, while others waited

    def decode(self, recording: Recording) -> None:
        """Until every window of `recording` is read.

        Raises `OutOfMemory`, what the recording's own methods raise, or what went wrong while it was decoded.
        """
        if not recording.pending:
            return
        participant = Participant(recording)
        try:
            self._decoding_of(participant).join(participant)
            while not self._take_part(participant):
                pass
        except BaseException as error:
            self._leave(participant, error)
            participant.error = None
            raise
        failure, participant.error = participant.error, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # it holds this frame, which would hold it

    def _take_part(self, participant: Participant) -> bool:
        """Once round the loop; whether the recording is over."""
        leads = False
        try:  # an interrupt may come between any two of these
            with self._changed:
                self._changed.wait_for(lambda: not self._led or _has_news(participant), LOOK_EVERY)  # 1
                leads = not (self._led or _has_news(participant))
                self._led = self._led or leads
            if leads:
                self._lead(participant)  # 2
        finally:
            if leads:
                self._give_up_lead()  # 3
        over = participant.over  # before the report: nothing may be left unreported
        participant.recording.report()  # 4
        if not over:
            participant.recording.stop_if_asked()
        return over

    def _lead(self, participant: Participant) -> None:
        with torch.inference_mode():
            while not _has_news(participant):
                participant.recording.stop_if_asked()
                self._step()

    def _step(self) -> None:
        others_wait = self.shared.has_work
        if self.urgent.has_work and not (others_wait and self._in_a_row >= URGENT_IN_A_ROW):
            self._in_a_row = self._in_a_row + 1 if others_wait else 0
            self.urgent.step()
        else:
            self._in_a_row = 0
            self.shared.step()

    def _give_up_lead(self) -> None:
        with self._changed:
            self._led = False
            self._tidy()
            self._changed.notify_all()

    def _leave(self, participant: Participant, error: BaseException) -> None:
        with self._changed:
            self._decoding_of(participant).end(participant, error)
            if not self._led:  # whoever leads does it before its next step
                self._tidy()

    def _tidy(self) -> None:
        self.urgent.tidy()
        self.shared.tidy()

    def _decoding_of(self, participant: Participant) -> SharedDecoding:
        return self.urgent if participant.recording.shared_options.urgent else self.shared


def _has_news(participant: Participant) -> bool:
    return participant.over or participant.recording.has_news
