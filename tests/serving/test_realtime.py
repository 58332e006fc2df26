"""`/v1/realtime`: OpenAI's realtime transcription sessions, without models: a word for every 0.4 s.

Real clients are in test_clients_realtime.py.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import itertools
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.fakes import TRANSCRIPT, FakePipeline
from tests.live.fakes import WORD_S, says_time
from tests.live.test_container import recorded
from tests.serving.live import serving, until
from tests.serving.test_ending import server_in
from turnscribe.inputs.decode import decode_audio
from turnscribe.listener import Listener
from turnscribe.live.spool import Spool
from turnscribe.pipeline import Voices
from turnscribe.request import Request
from turnscribe.serving.jobs.store import JobStore
from turnscribe.serving.realtime import sessions
from turnscribe.serving.realtime.connection import LARGEST_AUDIO, Connection
from turnscribe.serving.server import LARGEST_MESSAGE
from turnscribe.transcript import Transcript, Turn
from turnscribe.waveform import SAMPLE_RATE, to_int16, to_wav

DEMO = Path(__file__).resolve().parents[2] / "demo" / "conversation.flac"
TRANSCRIPTION = "conversation.item.input_audio_transcription"
PCM16K = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}}
BY_CLIENT = {"audio": {"input": {**PCM16K["audio"]["input"], "turn_detection": None}}}


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """6 s of the demo conversation, and 2 s of silence."""
    return np.concatenate(
        [decode_audio(DEMO.read_bytes()).mono[: 6 * SAMPLE_RATE], np.zeros(2 * SAMPLE_RATE, np.float32)]
    )


def hears_time(audio: bytes, request: Request, listener: Listener) -> Transcript | None:
    """A word for every 0.4 s that are whole."""
    if request.encoding is None:  # the warm-up, and jobs
        return None
    return says_time(len(audio) / 2 / SAMPLE_RATE)


def fake_pipeline() -> FakePipeline:
    return FakePipeline(hears_time)


class Client:
    """Over a WebSocket, with all that it got."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket, self.events = websocket, list[dict[str, Any]]()

    def send(self, kind: str, **fields: Any) -> None:
        self.websocket.send(json.dumps({"type": kind, **fields}))

    def speak(self, samples: NDArray[np.float32], *, piece: float = 0.1, bytes_each: int | None = None) -> None:
        data = to_int16(samples).astype("<i2").tobytes()
        size = bytes_each or round(piece * SAMPLE_RATE) * 2
        for first in range(0, len(data), size):
            self.send("input_audio_buffer.append", audio=base64.b64encode(data[first : first + size]).decode())

    def until(self, kind: str, *, count: int = 1) -> dict[str, Any]:
        """The event of that type, once there are so many."""
        while len(self.of(kind)) < count:
            self.events.append(json.loads(self.websocket.recv(timeout=30)))
        return self.of(kind)[count - 1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"].endswith(kind)]

    def close(self) -> dict[str, Any]:
        self.send("session.close")
        return self.until("session.closed")


def address(client: httpx.Client, query: str = "?intent=transcription", *, path: str = "/v1/realtime") -> str:
    return f"{str(client.base_url).rstrip('/').replace('http', 'ws', 1)}{path}{query}"


@contextmanager
def session(
    client: httpx.Client, update: dict[str, Any] | None = None, query: str = "?intent=transcription", **options: Any
) -> Iterator[Client]:
    with connect(address(client, query), **options) as websocket:
        live = Client(websocket)
        live.until("session.created")
        if update is not None:
            live.send("session.update", session={"type": "transcription", **update})
            live.until("session.updated")
        yield live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(fake_pipeline(), tmp_path_factory.mktemp("realtime")) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "query"),
    [("/v1/realtime", "?intent=transcription"), ("/api/v1/realtime", "?model=whisper-1"), ("/v1/realtime", "")],
)
def test_an_utterance_has_its_events_in_order(
    server: httpx.Client, speech: NDArray[np.float32], path: str, query: str
) -> None:
    with connect(address(server, query, path=path)) as websocket:
        live = Client(websocket)
        live.send("session.update", session=PCM16K)
        live.speak(speech)
        completed = live.until("completed")
        kinds = [event["type"] for event in live.events if event.get("item_id") == completed["item_id"]]
        others = [kind for kind in kinds if not kind.endswith((".delta", ".segment"))]
        assert others == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            f"{TRANSCRIPTION}.completed",
        ]
        assert kinds[1] == f"{TRANSCRIPTION}.delta", "text comes while somebody speaks"
        deltas = "".join(event["delta"] for event in live.of("delta") if event["item_id"] == completed["item_id"])
        assert deltas == completed["transcript"]
        assert [event["type"] for event in live.events[:2]] == ["session.created", "session.updated"]
        assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(6, abs=1.5)}
        assert len({event["event_id"] for event in live.events}) == len(live.events)
        (segment, *_) = live.of("segment")
        assert segment["text"].startswith("w0 w1")
        assert segment["words"][0] == {"word": "w0", "start": segment["start"], "end": segment["start"] + WORD_S}
        items = [event["item"]["id"] for event in live.events if event["type"] == "conversation.item.added"]
        assert items[0] == completed["item_id"]


def test_where_the_client_commits_deltas_come_before(server: httpx.Client, speech: NDArray[np.float32]) -> None:
    with session(server, BY_CLIENT) as live:
        live.speak(speech)
        live.until("delta")
        assert not live.of("committed")
        live.send("input_audio_buffer.commit")
        completed = live.until("completed")
        assert completed["usage"]["seconds"] == pytest.approx(8.0, abs=0.05)
        live.send("input_audio_buffer.commit", event_id="mine")
        error = live.until("error")["error"]
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        live.speak(speech)
        live.send("input_audio_buffer.commit")
        assert live.until("committed", count=2)["previous_item_id"] == completed["item_id"]


def test_odd_numbers_of_bytes_at_a_time(server: httpx.Client, speech: NDArray[np.float32]) -> None:
    texts = []
    for size in (37, 1601, 4096):
        with session(server, BY_CLIENT) as live:
            live.speak(speech[: 3 * SAMPLE_RATE], bytes_each=size)
            live.send("input_audio_buffer.commit")
            texts.append(live.until("completed")["transcript"])
    assert len(set(texts)) == 1
    assert texts[0]


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ("no JSON", "The message is no JSON"),
        ('["a", "list"]', "The message is no JSON object"),
        (b"\x00\x01", "A binary message came"),
        ({"type": "response.create"}, "The event's type is not known"),
        ({"type": "input_audio_buffer.append"}, "audio is missing"),
        ({"type": "input_audio_buffer.append", "audio": "!!!"}, "audio is no base64"),
        ({"type": "session.update"}, "session is missing"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type is not transcription"),
        (
            {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8}}}}},
            "session.audio.input.format",
        ),
        (
            {"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "xx-no"}}}}},
            "language",
        ),
    ],
)
def test_what_is_wrong_gets_a_sentence_and_the_session_goes_on(
    server: httpx.Client, event: Any, sentence: str
) -> None:
    with session(server) as live:
        live.websocket.send(event if isinstance(event, str | bytes) else json.dumps({"event_id": "e1", **event}))
        error = live.until("error")["error"]
        assert error["type"] == "invalid_request_error"
        assert sentence in error["message"]
        assert error["event_id"] == ("e1" if isinstance(event, dict) else None)
        live.send("input_audio_buffer.clear")
        live.until("cleared")


def test_an_update_changes_what_it_names(server: httpx.Client) -> None:
    with session(server, {"audio": {"input": {"transcription": {"language": "en", "model": "whisper-1"}}}}) as live:
        first = live.until("session.updated")["session"]["audio"]["input"]
        assert first["format"] == {"type": "audio/pcm", "rate": 24000}
        assert first["transcription"]["language"] == "en"
        assert first["turn_detection"]["silence_duration_ms"] == 500
        changes = {
            "turn_detection": {"type": "semantic_vad", "eagerness": "high"},
            "noise_reduction": {"type": "near_field"},
        }
        live.send("session.update", session={"audio": {"input": changes}})
        second = live.until("session.updated", count=2)["session"]
        assert second["audio"]["input"]["transcription"]["language"] == "en"
        assert second["audio"]["input"]["turn_detection"]["eagerness"] == "high"
        assert second["turnscribe"]["warnings"] == [
            "noise_reduction has no effect: the models hear the audio as it is."
        ]
        live.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        assert live.until("session.updated", count=3)["session"]["audio"]["input"]["turn_detection"] is None


def test_the_format_stays_once_there_is_audio(server: httpx.Client, speech: NDArray[np.float32]) -> None:
    with session(server, PCM16K) as live:
        live.speak(speech[:1600])
        live.send("session.update", session={"audio": {"input": {"format": {"type": "audio/pcmu"}}}})
        assert "cannot change" in live.until("error")["error"]["message"]


# Who may ----------------------------------------------------------------------------------------------


def test_a_key_is_needed_and_may_come_as_browsers_can_send_it(tmp_path: Path) -> None:
    with serving(fake_pipeline(), tmp_path, settings={"api_keys": "secret"}) as client:
        client.headers["Authorization"] = "Bearer secret"
        for options in (
            {},
            {"additional_headers": {"Authorization": "Bearer wrong"}},
            {"subprotocols": ["realtime"]},
        ):
            with pytest.raises(InvalidStatus) as refused, connect(address(client), **options):
                pass
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
        for options in (
            {"additional_headers": {"Authorization": "Bearer secret"}},
            {"additional_headers": {"X-API-Key": "secret"}},
            {"subprotocols": ["realtime", "openai-insecure-api-key.secret"], "origin": "https://elsewhere.example"},
        ):
            with session(client, **options) as live:
                assert live.websocket.subprotocol == ("realtime" if "subprotocols" in options else None)


def test_pages_of_other_origins_are_refused_where_there_is_no_key(server: httpx.Client) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(address(server), origin="https://elsewhere.example"):
        pass
    assert refused.value.response.status_code == 403
    with session(server, origin=str(server.base_url).rstrip("/")):
        pass


def test_there_are_no_more_sessions_than_there_may_be(tmp_path: Path) -> None:
    with serving(fake_pipeline(), tmp_path, settings={"max_live_sessions": 1}) as client:
        with session(client) as live:
            with pytest.raises(InvalidStatus) as refused, connect(address(client)):
                pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "30"
            live.close()
        until(lambda: "turnscribe_live_sessions 0.0" in client.get("/metrics").text)
        with session(client):
            pass


def test_a_session_is_as_long_as_it_may_be(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    with (
        serving(fake_pipeline(), tmp_path, settings={"max_live_seconds": 7}) as client,
        session(client, BY_CLIENT) as live,
    ):
        live.speak(speech[: round(7.1 * SAMPLE_RATE)])  # one piece too many: it ends by itself then
        assert "which is all it may have" in live.until("error")["error"]["message"]
        assert live.until("session.closed")["turnscribe"]["job"]
        assert live.of("completed")[0]["usage"]["seconds"] == pytest.approx(7.0, abs=0.1)


def test_the_log_and_the_metrics_know_it_and_hold_nothing_of_it(
    server: httpx.Client, speech: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with session(server, BY_CLIENT, query="?intent=transcription&secret=1234") as live:
        live.speak(speech)
        live.close()
    until(lambda: any("/v1/realtime 101" in record.getMessage() for record in caplog.records))
    assert not any("1234" in record.getMessage() or "w0" in record.getMessage() for record in caplog.records)
    assert 'turnscribe_requests_total{outcome="ok",route="/v1/realtime"}' in server.get("/metrics").text


# What becomes of it -----------------------------------------------------------------------------------


def test_a_broken_connection_is_taken_up_again_without_loss(
    server: httpx.Client, speech: NDArray[np.float32]
) -> None:
    with session(server, BY_CLIENT) as live:
        live.speak(speech[: 4 * SAMPLE_RATE])
        live.until("delta")
        id, latest = live.events[0]["session"]["id"], live.events[-1]["event_id"]
        before = list(live.events)
        live.websocket.socket.close()  # without a word
    with connect(address(server, f"?session_id={id}&after={latest}")) as websocket:
        again = Client(websocket)
        resumed = again.until("session.resumed")["session"]
        assert resumed["id"] == id
        received = round(resumed["turnscribe"]["received_ms"] * SAMPLE_RATE / 1000)
        again.speak(speech[received:])
        again.send("input_audio_buffer.commit")
        completed = again.until("completed")
        assert completed["usage"]["seconds"] == pytest.approx(8.0, abs=0.05)
        assert again.of("session.resumed")[0]["event_id"] == latest, "it can come back after this one, too"
        told = [event["event_id"] for event in itertools.chain(before, again.events[1:])]
        assert len(told) == len(set(told)), "no event twice"
        deltas = "".join(event["delta"] for event in (*before, *again.events) if event["type"].endswith(".delta"))
        assert deltas == completed["transcript"]
        again.close()
        job = again.of("session.closed")[0]["turnscribe"]["job"]
    with connect(address(server, f"?session_id={id}")) as websocket:  # once more, after it is over
        assert Client(websocket).until("session.closed")["turnscribe"]["job"] == job
    with pytest.raises(InvalidStatus) as refused, connect(address(server, "?session_id=sess_of_nobody")):
        pass
    assert refused.value.response.status_code == 404


def test_the_session_is_kept_as_a_job(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    pipeline = fake_pipeline()
    with serving(pipeline, tmp_path) as client:
        with session(
            client, {**PCM16K, "audio": {"input": {**PCM16K["audio"]["input"], "transcription": {"language": "en"}}}}
        ) as live:
            live.speak(speech)
            job = live.close()["turnscribe"]["job"]
            with pytest.raises(ConnectionClosed) as closed:
                live.websocket.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1000
        until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
        kept = decode_audio(pipeline.recordings[-1]).mono
        assert np.array_equal(kept, decode_audio(to_wav(speech)).mono)
        assert pipeline.calls[-1].request.decoding.language == "en"
        with session(client, {**PCM16K, "turnscribe": {"keep": False}}) as live:
            live.speak(speech)
            assert live.close()["turnscribe"]["job"] is None


class TellsApart(FakePipeline):
    """Of each part: one speaker for its first 1.6 s, then another, with voices of their own."""

    voice_similarity = 0.5

    def known_voices(self, clips: dict[str, bytes]) -> dict[str, NDArray[np.float32]]:
        assert all(clip == b"a voice" for clip in clips.values())
        in_folder = {"Zoe": np.array([0, 1], np.float32)} if self.settings.voices_folder else {}
        return in_folder | dict.fromkeys(clips, np.array([1, 0], np.float32))

    def voices(self, waveform: NDArray[np.float32]) -> Voices:
        end = len(waveform) / SAMPLE_RATE
        turns = (Turn("A", 0.0, 1.6), Turn("B", 1.6, end))
        embeddings = {"A": np.array([1, 0], np.float32), "B": np.array([0, 1], np.float32)}
        return Voices(turns, embeddings, {"A": 1.6, "B": end - 1.6})


def test_the_jobs_speakers_have_the_names_that_were_told_live(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    with serving(TellsApart(hears_time), tmp_path) as client:
        with session(client, PCM16K) as live:
            live.speak(speech)
            job = live.close()["turnscribe"]["job"]
        first, *_, last = sorted(live.of("segment"), key=lambda segment: segment["start"])
        assert (first["speaker"], last["speaker"]) == ("SPEAKER_01", "SPEAKER_00"), "whoever spoke longer came first"
        until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
        speakers = client.get(f"/v1/jobs/{job}/result").json()["speakers"]
        assert [speaker.speaker for speaker in TRANSCRIPT.speakers] == ["SPEAKER_00", "SPEAKER_01"]
        assert [speaker["speaker"] for speaker in speakers] == ["SPEAKER_01", "SPEAKER_00"]


def test_known_speakers_have_their_names_and_their_clips_are_told_to_nobody(
    tmp_path: Path, speech: NDArray[np.float32]
) -> None:
    clip = f"data:audio/wav;base64,{base64.b64encode(b'a voice').decode()}"
    own = {"known_speaker_names": ["Ann"], "known_speaker_references": [clip]}
    with serving(TellsApart(hears_time), tmp_path) as client, session(client, {**PCM16K, "turnscribe": own}) as live:
        live.send("session.update", session={"turnscribe": {"max_speakers": 4}})
        updated = live.until("session.updated", count=2)["session"]["turnscribe"]
        assert (updated["known_speaker_names"], updated["max_speakers"]) == (["Ann"], 4)
        live.send("session.update", session={"turnscribe": {"known_speaker_names": ["Ann", "Bo"]}})
        assert "send one reference for each name" in live.until("error")["error"]["message"]
        live.speak(speech)
        job = live.close()["turnscribe"]["job"]
        speakers = [segment["speaker"] for segment in sorted(live.of("segment"), key=lambda one: one["start"])]
        assert (speakers[0], speakers[-1]) == ("Ann", "SPEAKER_00")
        assert clip not in json.dumps(live.events)
        until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
        kept = client.get(f"/v1/jobs/{job}/result").json()["speakers"]
        assert [speaker["speaker"] for speaker in kept] == ["Ann", "SPEAKER_00"]


@pytest.mark.parametrize("with_a_clip", [False, True])
def test_people_in_the_operators_folder_have_their_names(
    tmp_path: Path, speech: NDArray[np.float32], with_a_clip: bool
) -> None:
    clip = f"data:audio/wav;base64,{base64.b64encode(b'a voice').decode()}"
    own = {"known_speaker_names": ["Ann"], "known_speaker_references": [clip]} if with_a_clip else {}
    pipeline = TellsApart(hears_time, voices_folder=tmp_path / "voices")
    with serving(pipeline, tmp_path) as client, session(client, {**PCM16K, "turnscribe": own}) as live:
        live.speak(speech)
        live.close()
        speakers = [segment["speaker"] for segment in sorted(live.of("segment"), key=lambda one: one["start"])]
        assert (speakers[0], speakers[-1]) == ("Ann" if with_a_clip else "SPEAKER_00", "Zoe")


def test_a_client_that_missed_more_than_is_kept_is_told_how_much(
    tmp_path: Path, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "KEPT_EVENTS", 3)
    with serving(fake_pipeline(), tmp_path) as client:
        with connect(address(client)) as websocket:
            live = Client(websocket)
            created = live.until("session.created")
            live.send("session.update", session=PCM16K)
            live.until("session.updated")
            for count in range(1, 10):
                live.send("nonsense")
                live.until("error", count=count)
            websocket.socket.close()
        id, latest = created["session"]["id"], live.of("session.updated")[0]["event_id"]
        with connect(address(client, f"?session_id={id}&after={latest}")) as websocket:
            again = Client(websocket)
            again.close()
        kinds = [event["type"] for event in again.events]
        assert kinds == ["session.resumed", "turnscribe.missed", "error", "error", "error", "session.closed"]
        assert again.events[1]["events"] == 6, "of the nine that came after the update"


@pytest.mark.parametrize("keep", [True, False])
def test_a_stop_of_the_server_tells_the_last_text(tmp_path: Path, speech: NDArray[np.float32], keep: bool) -> None:
    with (
        server_in(tmp_path, fake_pipeline()) as (_, url, end),
        httpx.Client(base_url=url) as client,
        session(client, {**PCM16K, "turnscribe": {"keep": keep}}) as live,
    ):
        live.speak(speech[: 5 * SAMPLE_RATE])
        live.until("speech_started")
        end()
        closed = live.until("session.closed")
        assert live.of("completed")
        assert (closed["turnscribe"]["job"] is not None) == keep


def test_an_odd_byte_before_a_break_shifts_nothing(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    pipeline = fake_pipeline()
    data = to_int16(speech).astype("<i2").tobytes()

    def append(live: Client, part: bytes) -> None:
        live.send("input_audio_buffer.append", audio=base64.b64encode(part).decode())

    with serving(pipeline, tmp_path) as client:
        with session(client, BY_CLIENT) as live:
            id, broken = live.events[0]["session"]["id"], 32_001
            append(live, data[:broken])
            live.send("session.update", session={})
            live.until("session.updated", count=2)
            live.websocket.socket.close()
        with connect(address(client, f"?session_id={id}")) as websocket:
            again = Client(websocket)
            received = again.until("session.resumed")["session"]["turnscribe"]["received_ms"]
            append(again, data[received * 32 :])
            again.close()
        until(lambda: pipeline.recordings and pipeline.recordings[-1][:4] == b"RIFF")
        assert np.array_equal(decode_audio(pipeline.recordings[-1]).mono, decode_audio(to_wav(speech)).mono)


def test_pieces_that_a_browser_records_are_heard_and_taken_up_again(
    tmp_path: Path, speech: NDArray[np.float32]
) -> None:
    """48 kHz Opus in webm, as MediaRecorder gives it; a connection breaks in the middle of it."""
    data = recorded("webm", np.repeat(speech, 3))
    webm = {"audio": {"input": {"format": {"type": "audio/webm"}}}}

    def send(live: Client, part: bytes) -> None:
        for start in range(0, len(part), 3000):
            live.send("input_audio_buffer.append", audio=base64.b64encode(part[start : start + 3000]).decode())

    pipeline = fake_pipeline()
    with serving(pipeline, tmp_path) as client:
        with session(client, webm) as live:
            id = live.events[0]["session"]["id"]
            send(live, data[: len(data) // 2])
            live.until("delta")
            live.websocket.socket.close()
        with connect(address(client, f"?session_id={id}")) as websocket:
            again = Client(websocket)
            resumed = again.until("session.resumed")["session"]["turnscribe"]
            assert 0 < resumed["received_bytes"] <= len(data) // 2
            assert 0 < resumed["received_ms"] <= 5000
            send(again, data[resumed["received_bytes"] :])
            job = again.close()["turnscribe"]["job"]
        until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
    kept = decode_audio(pipeline.recordings[-1]).mono
    assert len(kept) == pytest.approx(len(speech), abs=SAMPLE_RATE // 50)
    assert np.corrcoef(kept[1000 : 5 * SAMPLE_RATE], speech[1000 : 5 * SAMPLE_RATE])[0, 1] > 0.9


def test_what_is_no_webm_gets_a_sentence_and_the_session_goes_on(server: httpx.Client) -> None:
    with session(server, {"audio": {"input": {"format": {"type": "audio/webm"}}}}) as live:
        live.send("input_audio_buffer.append", audio=base64.b64encode(bytes(9000)).decode(), event_id="mine")
        error = live.until("error")["error"]
        assert error["event_id"] == "mine"
        assert error["message"].startswith("The audio cannot be read as webm with Opus: send the pieces of one file")
        assert live.close()["turnscribe"]["job"] is None


def test_a_disk_that_is_full_at_the_end_leaves_the_audio_for_the_next_server(
    tmp_path: Path, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(fake_pipeline(), tmp_path) as client:
        with session(client, PCM16K) as live:
            live.speak(speech)
            monkeypatch.setattr(JobStore, "add", full)
            assert live.close()["turnscribe"]["job"] is None
            assert "disk is full" in live.of("error")[0]["error"]["message"]
        assert "turnscribe_live_sessions 0.0" in client.get("/metrics").text
        assert list((tmp_path / "jobs").glob("*.live"))


def test_what_a_client_calls_its_events_is_told_again_in_part_only(server: httpx.Client) -> None:
    with session(server) as live:
        live.send("nothing", event_id="x" * 10_000)
        assert live.until("error")["error"]["event_id"] == "x" * 200
        live.send("session.update", session={"secret-of-mine": 1})
        message = live.until("error", count=2)["error"]["message"]
        assert message == "session has a field that is not known."


def test_what_a_killed_server_had_heard_is_kept_by_the_next(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    left = Spool(jobs / "sess_1.live")
    left.append(speech)
    (jobs / "sess_1.live.json").write_text('{"language": "de"}')
    Spool(jobs / "sess_2.live").close(keep=True)  # nothing was said in it
    unwanted = Spool(jobs / "sess_3.live")
    unwanted.append(speech)
    for spool in (left, unwanted):
        spool.close(keep=True)
    (jobs / "sess_3.live.json").write_text("null")  # it was not to be kept
    pipeline = fake_pipeline()
    with serving(pipeline, tmp_path):
        until(lambda: pipeline.calls)
    assert not list(jobs.glob("*.live*"))
    (call,) = pipeline.calls
    assert call.request.decoding.language == "de"
    assert np.array_equal(decode_audio(call.audio).mono, decode_audio(to_wav(speech)).mono)


def test_the_names_that_a_killed_server_had_told_are_the_jobs(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    jobs = tmp_path / "jobs"
    with serving(TellsApart(hears_time), tmp_path) as client, session(client, PCM16K) as live:
        live.speak(speech)
        live.until("completed")
        id = live.events[0]["session"]["id"]
        files = {path.name: path.read_bytes() for path in jobs.glob(f"{id}.live*")}  # as a kill leaves them
    assert set(files) == {f"{id}.live", f"{id}.live.json", f"{id}.live.told"}
    assert not list(jobs.glob("*.live*")), "a session that is over leaves nothing"
    later = tmp_path / "later" / "jobs"
    later.mkdir(parents=True)
    for name, content in files.items():
        (later / name).write_bytes(content + (b'["seg_1", "SPEAKER_' if name.endswith("told") else b""))
    with serving(TellsApart(hears_time), tmp_path / "later") as client:
        with closing(sqlite3.connect(later / "jobs.sqlite3")) as database:
            ((job,),) = database.execute("SELECT id FROM jobs").fetchall()
        until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
        speakers = client.get(f"/v1/jobs/{job}/result").json()["speakers"]
    assert [speaker["speaker"] for speaker in speakers] == ["SPEAKER_01", "SPEAKER_00"]


def test_a_client_that_says_nothing_is_left_and_can_come_back(
    server: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnscribe.serving.realtime.connection.IDLE_S", 0.3)
    with session(server) as live:
        id = live.events[0]["session"]["id"]
        with pytest.raises(ConnectionClosed) as closed:
            live.until("session.closed")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    monkeypatch.setattr("turnscribe.serving.realtime.connection.IDLE_S", 60)
    with connect(address(server, f"?session_id={id}")) as websocket:
        Client(websocket).close()


def test_a_large_event_is_taken_and_one_too_large_ends_the_connection_and_not_the_session(tmp_path: Path) -> None:
    largest = np.zeros(LARGEST_AUDIO // 2, "<i2").tobytes()
    with (
        server_in(tmp_path, fake_pipeline()) as (_, url, _),
        httpx.Client(base_url=url) as client,
        session(client, {**BY_CLIENT, "turnscribe": {"keep": False}}, max_size=None) as live,
    ):
        id = live.events[0]["session"]["id"]
        live.send("input_audio_buffer.append", audio=base64.b64encode(largest).decode())
        live.send("input_audio_buffer.append", audio=base64.b64encode(largest + bytes(2)).decode())
        assert "15 MiB" in live.until("error")["error"]["message"]

        # The head of a text that is a byte too long. It is refused by that: behind a text that is still on its way
        # the answer might not be read.
        live.websocket.socket.sendall(b"\x81\xff" + (LARGEST_MESSAGE + 1).to_bytes(8, "big") + bytes(4))
        with pytest.raises(ConnectionClosed) as closed:
            live.until("session.closed")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        with connect(address(client, f"?session_id={id}")) as websocket:
            again = Client(websocket)
            resumed = again.until("session.resumed")["session"]["turnscribe"]
            assert resumed["received_ms"] == len(largest) // 2 * 1000 // SAMPLE_RATE
            again.close()


def test_a_client_that_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its session is there for it when it comes back."""
    monkeypatch.setattr("turnscribe.serving.realtime.connection.SEND_S", 0.05)

    class Deaf:
        application_state = None

        async def receive(self) -> None:
            await asyncio.sleep(60)

        async def send_text(self, text: str) -> None:
            await asyncio.sleep(60)

    class Told:
        over, told, events, connections, ended = False, 1, ({"event_id": "e"},), 0, False
        changed = asyncio.Event()

    class Left:
        def __init__(self) -> None:
            self.sessions: list[Any] = []

        def connected(self, task: Any) -> None:
            pass

        def left(self, session: Any) -> None:
            self.sessions.append(session)

    left, told = Left(), Told()
    asyncio.run(asyncio.wait_for(Connection(Deaf(), told, sent=0).run(left), 5))  # type: ignore[arg-type]
    assert left.sessions == [told]
