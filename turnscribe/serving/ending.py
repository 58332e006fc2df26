"""An ordered stop: jobs go back into the queue at once, what is being answered has a bounded time, and devices end
last."""

from __future__ import annotations

import asyncio
import time

from turnscribe.serving.jobs.runner import JobRunner
from turnscribe.serving.realtime.sessions import Sessions
from turnscribe.serving.service import Service

RESERVE = 0.1  # of the time, for what is stopped to notice it
SHARE_OF_SESSIONS = 0.5  # of the time for answers
MOST_FOR_TRACES_S = 2.0  # for the last spans: a receiver that is down is no reason to wait


class Ending:
    """Of a server that has `seconds` to end, from `begin` on."""

    def __init__(self, service: Service, runner: JobRunner, sessions: Sessions, seconds: float) -> None:
        self._service, self._runner, self._sessions, self._seconds = service, runner, sessions, seconds
        self._until: float | None = None
        self.in_order = True  # false where the models have not let go of a request or a job

    def begin(self) -> None:
        """The server is told to end. Running jobs are queued again: whatever comes, none of them is lost."""
        if self._until is None:
            self._until = time.monotonic() + self._seconds
            self._runner.stop()

    async def end_sessions(self) -> None:
        """Live sessions hear what they have, are told that they are over, and are kept; in half of the time."""
        if not await self._sessions.end(SHARE_OF_SESSIONS * self.seconds_for_answers):
            self.in_order = False

    @property
    def seconds_for_answers(self) -> float:
        """How long connections may still take."""
        return max(self._seconds_left - RESERVE * self._seconds, 0.0)

    async def finish(self) -> None:
        """Wait for the models, as long as there is time."""
        self.begin()
        await self.end_sessions()
        requests = await asyncio.to_thread(self._service.close, self._seconds_left)
        jobs = await asyncio.to_thread(self._runner.join, self._seconds_left)
        self.in_order = self.in_order and requests and jobs
        await asyncio.to_thread(self._service.loader.end)
        await asyncio.to_thread(self._service.tracing.end, min(self._seconds_left, MOST_FOR_TRACES_S))

    @property
    def _seconds_left(self) -> float:
        assert self._until is not None
        return max(self._until - time.monotonic(), 0.0)
