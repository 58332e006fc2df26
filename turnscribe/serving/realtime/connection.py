"""One WebSocket: what the client sends is read at once and goes to its session; a writer sends the session's events.

Nobody is slowed down by not being read: what comes is kept on disk, and is heard as soon as can be. A client that
does not read what it is sent is left after `SEND_S`; its session can be resumed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import logging
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from turnscribe.errors import TurnscribeError
from turnscribe.serving.problems import Malformed, Problem, problem_of, reason
from turnscribe.serving.realtime import protocol
from turnscribe.serving.realtime.sessions import Session, Sessions

log = logging.getLogger("turnscribe.server")

SEND_S = 20.0
IDLE_S = 600.0  # without an event of the client
LARGE = 2**18  # characters of an event that is not read in the loop's thread
LARGEST_AUDIO = 15 * 2**20  # bytes of one append
NORMAL, POLICY = 1000, 1008  # WebSocket's codes for why it is closed


class Connection:
    """Between `websocket`, which is accepted, and `session`. `sent` is how many of its events the client has."""

    def __init__(self, websocket: WebSocket, session: Session, *, sent: int) -> None:
        self._websocket, self._session, self._sent = websocket, session, sent
        session.connections += 1  # whichever was there before is dropped
        self._number = session.connections
        session.changed.set()

    async def run(self, sessions: Sessions) -> None:
        """Until the session is over or the client gone."""
        task = asyncio.current_task()
        assert task is not None
        sessions.connected(task)
        reader, writer = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if not (self._dropped or self._session.over):  # what came before the connection broke is taken
                await asyncio.wait({reader}, timeout=SEND_S)
        finally:
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            if not self._dropped:
                sessions.left(self._session)
            with contextlib.suppress(RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
                if self._websocket.application_state == WebSocketState.CONNECTED:
                    async with asyncio.timeout(SEND_S):
                        await self._websocket.close(self._code())

    @property
    def _dropped(self) -> bool:
        return self._number != self._session.connections

    def _code(self) -> int:
        return NORMAL if self._session.over or self._dropped else POLICY

    # From the client ----------------------------------------------------------------------------------

    async def _read(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while not self._dropped:
                # not `wait_for`, which may swallow that this task is cancelled
                async with asyncio.timeout(None if self._session.ended else IDLE_S):
                    message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    if message.get("code") == NORMAL:  # the client has closed it, it did not break
                        self._session.end()
                    return
                await self._take(message)

    async def _take(self, message: Any) -> None:
        cause = None
        try:
            text = message.get("text")
            if text is None:
                raise Malformed("A binary message came: send events as JSON text, audio as base64 in them.")
            event = await asyncio.to_thread(_parsed, text) if len(text) > LARGE else _parsed(text)
            cause = event.get("event_id") if isinstance(event.get("event_id"), str) else None
            await self._obey(event, cause)
        except Exception as error:
            if not isinstance(error, Problem | TurnscribeError):
                log.error("an event of a live session failed: %s", reason(error))
            self._session.add(protocol.error(problem_of(error), cause))

    async def _obey(self, event: dict[str, Any], cause: str | None) -> None:
        session = self._session
        match event.get("type"):
            case "session.update":
                await session.update(event.get("session"))
            case "input_audio_buffer.append":
                audio = event.get("audio")
                if not isinstance(audio, str):
                    raise Malformed("audio is missing: send it as base64 in input_audio_buffer.append.")
                data = await asyncio.to_thread(_decoded, audio) if len(audio) > LARGE else _decoded(audio)
                await session.append(data)
            case "input_audio_buffer.commit":
                session.commit(cause)
            case "input_audio_buffer.clear":
                session.clear()
            case "session.close":
                session.end()
            case _:
                raise Malformed(
                    "The event's type is not known: send session.update, input_audio_buffer.append, .commit or "
                    ".clear, or session.close."
                )

    # To the client ------------------------------------------------------------------------------------

    async def _write(self) -> None:
        session = self._session
        while not self._dropped:
            session.changed.clear()
            forgotten = session.told - len(session.events) - self._sent
            events = list(session.events)[max(-forgotten, 0) :]
            if forgotten > 0:
                self._sent += forgotten
                await self._send(protocol.missed(forgotten))
            for event in events:
                await self._send(event)
                self._sent += 1
            if session.over and self._sent == session.told:
                return
            if not events:
                await session.changed.wait()

    async def _send(self, event: dict[str, Any]) -> None:
        async with asyncio.timeout(SEND_S):
            await self._websocket.send_text(json.dumps(event, ensure_ascii=False))


def _parsed(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("The message is no JSON: send an event as a JSON object.") from None
    if not isinstance(event, dict):
        raise Malformed("The message is no JSON object: send an event.")
    return event


def _decoded(audio: str) -> bytes:
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("audio is no base64: send the samples' bytes as base64.") from None
    if len(data) > LARGEST_AUDIO:
        raise Malformed("An append may have 15 MiB of audio: send it in pieces.")
    return data
