"""The events of a transcription session, as OpenAI's SDKs have them (openai 3.57, npm 6.49), and ours beside them."""

from __future__ import annotations

import re
import secrets
from typing import Any

from turnscribe.formats.plain_values import known, token_logprobs
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
from turnscribe.serving.problems import Problem
from turnscribe.serving.realtime.options import SessionFields

LONGEST_ID = 200  # characters of a client's own that are told again
TRANSCRIPTION = "conversation.item.input_audio_transcription"
NOTHING = "There are under 100 ms of audio since the last utterance: append some before input_audio_buffer.commit."


def session(kind: str, id: str, fields: SessionFields, *, expires_at: int, **own: Any) -> dict[str, Any]:
    """`session.created`, `session.updated` or `session.resumed`, with the whole session; `own` is in `turnscribe`."""
    described = fields.model_dump()
    described["turnscribe"] |= own
    named = {"object": "realtime.transcription_session", "id": id, "expires_at": expires_at, **described}
    return {"type": kind, "session": named}


def error(problem: Problem, cause: str | None = None) -> dict[str, Any]:
    """The session goes on. `cause` is the client's event."""
    cause = cause and cause[:LONGEST_ID]
    told = {"type": problem.kind, "code": problem.code, "message": problem.message, "param": None, "event_id": cause}
    return {"type": "error", "error": told}


def told(event: LiveEvent) -> list[dict[str, Any]]:
    """What a client is told of it, in order."""
    match event:
        case SpeechStarted():
            return [_buffer("speech_started", item_id=event.item, audio_start_ms=round(event.at * 1000))]
        case SpeechStopped():
            return [_buffer("speech_stopped", item_id=event.item, audio_end_ms=round(event.at * 1000))]
        case Committed():
            return _committed(event)
        case Cleared():
            return [_buffer("cleared")]
        case NothingToCommit():
            problem = Problem(NOTHING)
            problem.code = "input_audio_buffer_commit_empty"
            return [error(problem, event.cause)]
        case Delta():
            delta = {"delta": event.text, "end": round(event.end, 3), "logprobs": token_logprobs(event.tokens)}
            return [_text("delta", event.item, **known(delta))]
        case Segment():
            return [_segment(event)]
        case Completed():
            usage = {"type": "duration", "seconds": round(event.seconds, 3)}
            languages = [{"code": event.language}] if event.language else None
            further = {"languages": languages, "logprobs": token_logprobs(event.tokens)}
            return [_text("completed", event.item, transcript=event.text, usage=usage, **known(further))]
        case Failed():
            failure = {"type": "server_error", "code": "transcription_failed", "message": event.reason, "param": None}
            return [_text("failed", event.item, error=failure)]
        case Behind():
            return [{"type": "turnscribe.behind", "seconds": round(event.seconds, 1)}]


def closed(job: str | None) -> dict[str, Any]:
    """The last event of a session, and the number of its job where it is kept."""
    return {"type": "session.closed", "turnscribe": {"job": job}}


def missed(events: int) -> dict[str, Any]:
    """For a client that comes back to more events than are kept: so many of the oldest are gone."""
    return {"type": "turnscribe.missed", "event_id": new_event_id(), "events": events}


def new_event_id(place: int | None = None) -> str:
    """With its `place` among the session's events, where it has one."""
    return f"event_{secrets.token_hex(10)}" + ("" if place is None else f"_{place}")


def place_of(event_id: str | None) -> int | None:
    """What `new_event_id` was told."""
    found = re.fullmatch(r"event_[0-9a-f]{20}_([0-9]{1,9})", event_id or "", re.ASCII)
    return None if found is None else int(found.group(1))


def _buffer(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"input_audio_buffer.{kind}", **fields}


def _text(kind: str, item: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"{TRANSCRIPTION}.{kind}", "item_id": item, "content_index": 0, **fields}


def _committed(event: Committed) -> list[dict[str, Any]]:
    content = [{"type": "input_audio", "transcript": None}]
    item = {"id": event.item, "object": "realtime.item", "type": "message", "role": "user", "content": content}
    placed = {"previous_item_id": event.previous}
    return [
        _buffer("committed", item_id=event.item, **placed),
        *(
            {"type": f"conversation.item.{kind}", "item": {**item, "status": status}, **placed}
            for kind, status in (("added", "in_progress"), ("done", "completed"))
        ),
    ]


def _segment(event: Segment) -> dict[str, Any]:
    words = [
        {"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)} for word in event.words
    ]
    return _text(
        "segment",
        event.item,
        id=event.id,
        text=event.text,
        start=round(event.start, 3),
        end=round(event.end, 3),
        speaker=event.speaker or "",
        words=words,
    )
