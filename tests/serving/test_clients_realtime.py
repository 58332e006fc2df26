"""Clients of realtime sessions as people have them, against `python -m server` with the demo models: the OpenAI SDK,
k6, and a WebSocket as older clients and browsers open it.
"""

from __future__ import annotations

import base64
import difflib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from config import parse_config
from tests.manual import block
from tests.serving import test_clients
from tests.serving.test_clients import KEY, Run, Server
from turnscribe.waveform import SAMPLE_RATE, to_int16, to_wav

server, ask, pytestmark = test_clients.server, test_clients.ask, test_clients.pytestmark

RATE = 24_000
SECONDS = 12
BUFFER, ITEM = "input_audio_buffer", "conversation.item"
TRANSCRIPTION = f"{ITEM}.input_audio_transcription"
CLASSES = {
    "session.created": "SessionCreatedEvent",
    "session.updated": "SessionUpdatedEvent",
    f"{BUFFER}.speech_started": "InputAudioBufferSpeechStartedEvent",
    f"{BUFFER}.speech_stopped": "InputAudioBufferSpeechStoppedEvent",
    f"{BUFFER}.committed": "InputAudioBufferCommittedEvent",
    f"{BUFFER}.cleared": "InputAudioBufferClearedEvent",
    f"{ITEM}.added": "ConversationItemAdded",
    f"{ITEM}.done": "ConversationItemDone",
    f"{TRANSCRIPTION}.delta": "ConversationItemInputAudioTranscriptionDeltaEvent",
    f"{TRANSCRIPTION}.segment": "ConversationItemInputAudioTranscriptionSegment",
    f"{TRANSCRIPTION}.completed": "ConversationItemInputAudioTranscriptionCompletedEvent",
    "error": "RealtimeErrorEvent",
    "turnscribe.behind": None,
}

Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sound(conversation_waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first 12 s of the conversation, at 24 kHz."""
    frame = av.AudioFrame.from_ndarray(conversation_waveform[None, : SECONDS * SAMPLE_RATE], "flt", "mono")
    frame.sample_rate = SAMPLE_RATE
    resampler = av.AudioResampler("flt", "mono", RATE)
    return np.concatenate([part.to_ndarray()[0] for one in (frame, None) for part in resampler.resample(one)])


@pytest.fixture(scope="module")
def openai(ask: Run, sound: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Events]:
    file: Path = tmp_path_factory.mktemp("audio") / "speech.wav"
    file.write_bytes(to_wav(sound, sample_rate=RATE))
    return ask("realtime_openai", file)


@pytest.fixture(scope="module", params=["sync", "async"])
def events(openai: dict[str, Events], request: pytest.FixtureRequest) -> Events:
    return openai[request.param]


def of(events: Events, kind: str) -> Events:
    return [event for event in events if event["type"] == kind]


def item_of(event: dict[str, Any]) -> str | None:
    return event["item"]["id"] if "item" in event else event.get("item_id")


def similarity(text: str, other: str) -> float:
    """Of two texts' words, from 0 to 1."""
    return difflib.SequenceMatcher(None, text.lower().split(), other.lower().split(), autojunk=False).ratio()


# The OpenAI SDK --------------------------------------------------------------------------------------


def test_the_manuals_python(server: Server, sound: NDArray[np.float32], tmp_path: Path) -> None:
    file = tmp_path / "speech.pcm"
    file.write_bytes(to_int16(sound).astype("<i2").tobytes())
    prelude = f"SERVER_URL, API_KEY = {server.url!r}, {KEY!r}\nPCM = open({str(file)!r}, 'rb').read()\n"
    printed = test_clients.checked(
        [test_clients.interpreter("realtime_openai"), "-c", prelude + block("python", "client.realtime.connect")]
    )
    assert "the customer" in printed
    assert "SPEAKER_00" in printed


def test_every_event_is_of_its_own_class_and_has_its_own_number(events: Events) -> None:
    assert {event["type"]: event.get("class") for event in events}.items() <= CLASSES.items()
    assert max(Counter(event["event_id"] for event in events).values()) == 1
    assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
    assert events[1]["session"]["audio"]["input"]["transcription"]["language"] == "en"


def test_an_utterance_that_the_server_finds_is_told_in_order(openai: dict[str, Events]) -> None:
    events = openai["sync"]
    items = [event["item_id"] for event in of(events, f"{BUFFER}.speech_started")]
    assert len(items) > 1
    for item in items:
        told = [event["type"] for event in events if item_of(event) == item]
        assert [kind for kind in told if not kind.endswith((".delta", ".segment"))] == [
            f"{BUFFER}.speech_started",
            f"{BUFFER}.speech_stopped",
            f"{BUFFER}.committed",
            f"{ITEM}.added",
            f"{ITEM}.done",
            f"{TRANSCRIPTION}.completed",
        ]
        assert f"{TRANSCRIPTION}.delta" in told
        assert told[-2] == f"{TRANSCRIPTION}.segment"
    for started, stopped in zip(
        of(events, f"{BUFFER}.speech_started"), of(events, f"{BUFFER}.speech_stopped"), strict=True
    ):
        assert started["audio_start_ms"] < stopped["audio_end_ms"]


def test_an_utterance_that_the_client_ends_is_told_in_order(openai: dict[str, Events]) -> None:
    events = openai["async"]
    assert not of(events, f"{BUFFER}.speech_started")
    items = [event["item_id"] for event in of(events, f"{BUFFER}.committed")]
    assert len(items) == 2
    for item in items:
        told = [event["type"] for event in events if item_of(event) == item]
        assert f"{TRANSCRIPTION}.segment" in told
        assert [kind for kind in told if not kind.endswith((".delta", ".segment"))] == [
            f"{BUFFER}.committed",
            f"{ITEM}.added",
            f"{ITEM}.done",
            f"{TRANSCRIPTION}.completed",
        ]


def test_every_item_names_the_one_before_it(events: Events) -> None:
    committed = of(events, f"{BUFFER}.committed")
    items = [event["item_id"] for event in committed]
    assert [event.get("previous_item_id") for event in committed] == [None, *items[:-1]]
    for kind in ("added", "done"):
        told = of(events, f"{ITEM}.{kind}")
        assert [event["item"]["id"] for event in told] == items
        assert [event.get("previous_item_id") for event in told] == [None, *items[:-1]]


def test_every_item_is_completed_once_with_the_seconds_it_lasted(events: Events) -> None:
    completed = of(events, f"{TRANSCRIPTION}.completed")
    assert [event["item_id"] for event in completed] == [
        event["item_id"] for event in of(events, f"{BUFFER}.committed")
    ]
    for event in completed:
        assert event["content_index"] == 0
        assert event["usage"]["type"] == "duration"
        assert 0.3 < event["usage"]["seconds"] <= SECONDS + 2
        segments = [one for one in of(events, f"{TRANSCRIPTION}.segment") if one["item_id"] == event["item_id"]]
        assert " ".join(one["text"] for one in segments) == event["transcript"]
        assert all(one["start"] < one["end"] <= SECONDS + 2 for one in segments)


def test_tokens_come_with_their_probabilities(events: Events) -> None:
    """The client's sessions ask for them."""
    for kind, text in (("delta", "delta"), ("completed", "transcript")):
        for event in of(events, f"{TRANSCRIPTION}.{kind}"):
            said = "".join(one["token"] for one in event["logprobs"])
            assert said.split() == event[text].split()
            assert all(one["logprob"] <= 0 for one in event["logprobs"])


def test_what_the_client_commits_lasts_as_long_as_it_sent(openai: dict[str, Events]) -> None:
    seconds = [event["usage"]["seconds"] for event in of(openai["async"], f"{TRANSCRIPTION}.completed")]
    assert seconds == pytest.approx([SECONDS / 2] * 2, abs=0.1)


def test_deltas_add_to_what_was_said_and_never_say_it_again(events: Events) -> None:
    for completed in of(events, f"{TRANSCRIPTION}.completed"):
        deltas = [
            event["delta"]
            for event in of(events, f"{TRANSCRIPTION}.delta")
            if event["item_id"] == completed["item_id"]
        ]
        assert all(deltas)
        for index in range(2, len(deltas)):
            assert not deltas[index].strip().startswith("".join(deltas[:index]).strip())
        assert similarity("".join(deltas), completed["transcript"]) > 0.6


def test_the_session_says_what_a_request_of_the_same_recording_does(
    events: Events, demo_handler: Any, speech: bytes
) -> None:
    text = demo_handler.pipeline.transcribe(speech, parse_config({"diarize": False, "language": "en"})).text
    live = " ".join(event["transcript"] for event in of(events, f"{TRANSCRIPTION}.completed"))
    assert similarity(live, text) > 0.8


def test_an_event_that_is_wrong_is_named_and_the_session_goes_on(openai: dict[str, Events]) -> None:
    wrong, too_early = (event["error"] for event in of(openai["async"], "error"))
    assert (wrong["type"], wrong["event_id"]) == ("invalid_request_error", "wrong")
    assert "session.turnscribe.rule" in wrong["message"]
    assert (too_early["code"], too_early["event_id"]) == ("input_audio_buffer_commit_empty", "too_early")


# k6 --------------------------------------------------------------------------------------------------


def test_two_users_of_a_load_tester_each_get_what_was_said(
    ask: Run, sound: NDArray[np.float32], speech: bytes, demo_handler: Any, tmp_path: Path
) -> None:
    file = tmp_path / "speech.wav"
    file.write_bytes(to_wav(sound, sample_rate=RATE))
    text = demo_handler.pipeline.transcribe(speech, parse_config({"diarize": False, "language": "en"})).text
    users = ask("realtime_k6", file)
    assert [user["status"] for user in users] == [101, 101]
    for user in users:
        events = user["events"]
        assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
        assert events[-1]["type"] == "session.closed"
        assert of(events, f"{TRANSCRIPTION}.delta")
        live = " ".join(event["transcript"] for event in of(events, f"{TRANSCRIPTION}.completed"))
        assert similarity(live, text) > 0.8


# A WebSocket -----------------------------------------------------------------------------------------

BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("path", "headers", "subprotocols"),
    [
        ("/v1/realtime?intent=transcription", BEARER | {"OpenAI-Beta": "realtime=v1"}, None),
        ("/v1/realtime?model=whisper-1", BEARER, None),
        ("/v1/realtime?model=whisper-1", {}, ["realtime", f"openai-insecure-api-key.{KEY}"]),
        ("/api/v1/realtime", {"X-Api-Key": KEY}, None),
    ],
    ids=["beta", "model", "subprotocol", "api"],
)
def test_older_clients_and_browsers_are_let_in(
    server: Server,
    sound: NDArray[np.float32],
    path: str,
    headers: dict[str, str],
    subprotocols: list[Any] | None,
) -> None:
    url = server.url.replace("http", "ws") + path
    own = {"speakers": False, "keep": False}
    audio = to_wav(sound[: 3 * RATE], sample_rate=RATE)[44:]
    with connect(url, additional_headers=headers, subprotocols=subprotocols) as websocket:
        assert websocket.subprotocol == ("realtime" if subprotocols else None)

        def say(kind: str, **fields: Any) -> None:
            websocket.send(json.dumps({"type": kind, **fields}))

        say("session.update", session={"audio": {"input": {"turn_detection": None}}, "turnscribe": own})
        say(f"{BUFFER}.append", audio=base64.b64encode(audio).decode())
        say(f"{BUFFER}.commit")
        say("session.close")
        events = [json.loads(message) for message in websocket]
    assert [event["type"] for event in events[:2]] == ["session.created", "session.updated"]
    (completed,) = of(events, f"{TRANSCRIPTION}.completed")
    assert completed["transcript"]
    assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(3, abs=0.1)}
    assert events[-1]["type"] == "session.closed"
    assert events[-1]["turnscribe"] == {"job": None}


@pytest.mark.parametrize(
    ("headers", "subprotocols"),
    [
        ({}, None),
        ({"Authorization": "Bearer wrong"}, None),
        ({}, ["realtime"]),
        ({}, ["realtime", "openai-insecure-api-key.wrong"]),
    ],
)
def test_a_client_without_a_key_is_refused_with_the_whole_answer(
    server: Server, headers: dict[str, str], subprotocols: list[Any] | None
) -> None:
    url = server.url.replace("http", "ws") + "/v1/realtime"
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(url, additional_headers=headers, subprotocols=subprotocols),
    ):
        pass
    response = refused.value.response
    assert response.status_code == 401
    assert json.loads(response.body or b"")["error"]["code"] == "invalid_api_key"
