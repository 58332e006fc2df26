"""`/v1/realtime`, also below `/api`: OpenAI's realtime transcription sessions over a WebSocket."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.websockets import WebSocket

from turnscribe.serving.caller import caller_of
from turnscribe.serving.problems import Forbidden, Problem, problem_response
from turnscribe.serving.realtime.connection import Connection
from turnscribe.serving.realtime.protocol import closed, new_event_id, place_of
from turnscribe.serving.realtime.sessions import Session, Sessions

SUBPROTOCOL = "realtime"


def add_realtime_routes(app: FastAPI, sessions: Sessions) -> None:
    async def realtime(websocket: WebSocket) -> None:
        """A new session, or with `session_id` one whose connection broke, after the event `after`."""
        id, session, job = websocket.query_params.get("session_id"), None, None
        try:
            _check_origin(websocket, has_keys=bool(sessions.service.settings.keys))
            session = await sessions.begin(caller_of(websocket.scope)) if id is None else sessions.find(id)
            if session is None and id is not None:
                job = sessions.job_of(id)
        except Problem as problem:
            await websocket.send_denial_response(problem_response(problem, websocket.url.path))
            return
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        if session is None:
            await websocket.send_json({"event_id": new_event_id(), **closed(job)})
            await websocket.close()
        elif id is None:
            session.add(session.described("session.created"))
            await Connection(websocket, session, sent=0).run(sessions)
        else:
            after = websocket.query_params.get("after")
            sent = _sent(session, after)
            connection = Connection(websocket, session, sent=sent)
            # Not among its events, since how much has come is true of this connection alone. Its id is that of the
            # last event that the client has, so that it can come back after this one, too.
            known = sent > session.told - len(session.events)
            await websocket.send_json({"event_id": after if known else new_event_id(), **await session.go_on()})
            await connection.run(sessions)

    for prefix in ("/v1", "/api/v1"):
        app.websocket(f"{prefix}/realtime")(realtime)


def _sent(session: Session, after: str | None) -> int:
    """How many of its events the client has: all up to `after`, though that one may be kept no more."""
    first = session.told - len(session.events)
    place = place_of(after)
    if (
        place is None
        or place >= session.told
        or (place >= first and session.events[place - first]["event_id"] != after)
    ):
        return 0
    return place + 1


def _check_origin(websocket: WebSocket, *, has_keys: bool) -> None:
    """Browsers let any page open a WebSocket to any host. One that has a key may; else it is this server's own.

    Raises `Forbidden`.
    """
    origin = websocket.headers.get("origin")
    if has_keys or origin is None or urlsplit(origin).netloc == websocket.headers.get("host"):
        return
    raise Forbidden("A page of another origin asked: set API_KEYS, and send one, to let it.")
