"""`turnscribe live` against a server in a thread that says what each test has it say: no model runs."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.conftest import REPOSITORY
from turnscribe.cli import live
from turnscribe.cli.live import PIECE_BYTES, Pieces, main, shown, tail
from turnscribe.waveform import SAMPLE_RATE, to_int16, to_wav

KEY = "a-key-of-these-tests"
TEXT = "conversation.item.input_audio_transcription"
SECONDS = 0.55  # of the recording: five pieces and a half
LONG_SECONDS = 60


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.audio = b""
        self.updates: list[dict[str, Any]] = []
        self._events = 0

    def say(self, kind: str, **fields: Any) -> None:
        self._events += 1
        event = {"event_id": f"event_{self._events}", "type": kind, **fields}
        self.connection.send(json.dumps(event))

    def hear(self) -> str:
        """The type of the next event."""
        event = json.loads(self.connection.recv(timeout=20))
        if event["type"] == "input_audio_buffer.append":
            self.audio += base64.b64decode(event["audio"], validate=True)
        elif event["type"] == "session.update":
            self.updates.append(event["session"])
        return event["type"]

    def hear_until(self, kind: str) -> None:
        while self.hear() != kind:
            pass

    def hear_audio(self, count: int) -> None:
        """So many bytes in all."""
        while len(self.audio) < count:
            self.hear()

    def greet(self, kind: str = "session.created", received_ms: int = 0) -> None:
        self.say(kind, session={"id": "sess_1", "turnscribe": {"received_ms": received_ms}})

    def agree(self, *warnings: str) -> None:
        self.greet()
        assert self.hear() == "session.update"
        self.say("session.updated", session={"turnscribe": {"warnings": warnings}})

    def delta(self, item: str, text: str) -> None:
        self.say(f"{TEXT}.delta", item_id=item, content_index=0, delta=text)

    def segment(self, item: str, text: str, speaker: str = "SPEAKER_00", id: str = "") -> None:
        self.say(f"{TEXT}.segment", item_id=item, id=id or f"seg_{text}", text=text, speaker=speaker)

    def completed(self, item: str, text: str = "") -> None:
        self.say(f"{TEXT}.completed", item_id=item, transcript=text)

    def close(self, job: str | None = "job_1") -> None:
        self.say("session.closed", turnscribe={"job": job})

    def break_off(self) -> None:
        """Where all is read that came: else the client might lose what was said last."""
        self.connection.socket.shutdown(socket.SHUT_RDWR)


Turn = Callable[[Peer], None]


@dataclass
class Scripted:
    """A server; `turns` are its connections, one after the other: what is said over each, or how it is refused."""

    turns: list[Turn | tuple[int, str]]
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        turn = self._turn
        return connection.respond(HTTPStatus(turn[0]), turn[1]) if isinstance(turn, tuple) else None

    def serve(self, connection: ServerConnection) -> None:
        turn, peer = self._turn, Peer(connection)
        assert callable(turn)
        self.peers.append(peer)
        try:
            turn(peer)
        except BaseException as failure:
            self.failures.append(failure)

    @property
    def _turn(self) -> Turn | tuple[int, str]:
        return self.turns[min(len(self.requests), len(self.turns)) - 1]


@contextmanager
def scripted(*turns: Turn | tuple[int, str]) -> Iterator[Scripted]:
    """The last turn is that of all later connections too."""
    script = Scripted(list(turns))
    with serve(script.serve, "127.0.0.1", 0, process_request=script.answer) as server:
        script.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join(20)
    assert not script.failures, script.failures


def refusal(status: int, message: str) -> tuple[int, str]:
    return status, json.dumps({"error": {"message": message, "type": "x", "param": None, "code": "y"}})


def conversation(peer: Peer) -> None:
    """Two people, an utterance each."""
    peer.agree()
    peer.hear_until("session.close")
    peer.delta("item_1", "Good")
    peer.delta("item_1", " morning")
    peer.segment("item_1", "Good morning.")
    peer.completed("item_1", "Good morning.")
    peer.delta("item_2", "Good evening")
    peer.segment("item_2", "Good evening.", "SPEAKER_01")
    peer.segment("item_2", "Or not?", "")
    peer.completed("item_2", "Good evening. Or not?")
    peer.close()


LINES = "SPEAKER_00  Good morning.\nSPEAKER_01  Good evening.\nOr not?\n"


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(7).uniform(-0.1, 0.1, round(SECONDS * SAMPLE_RATE)).astype(np.float32)


@pytest.fixture
def sound(samples: np.ndarray) -> bytes:
    """What of the recording is sent."""
    return to_int16(samples).astype("<i2").tobytes()


@pytest.fixture
def recording(samples: np.ndarray, tmp_path: Path) -> Path:
    file = tmp_path / "talk.wav"
    file.write_bytes(to_wav(samples))
    return file


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    file = tmp_path / "long.wav"
    file.write_bytes(to_wav(np.zeros(LONG_SECONDS * SAMPLE_RATE, np.float32)))
    return file


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSES", (0.0,) * len(live.PAUSES))
    for name in ("TURNSCRIBE_API_KEY", "PULSE_SERVER", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def run(script: Scripted, *argv: object, fast: bool = True) -> int:
    return main([*map(str, argv), "--url", script.url, *(["--fast"] if fast else [])])


# --- What is shown ------------------------------------------------------------------------------------------


def test_a_pipe_gets_the_finished_segments_and_stderr_the_jobs_number(
    recording: Path, sound: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted(conversation) as script:
        assert run(script, recording) == 0
    printed = capsys.readouterr()
    assert printed.out == LINES
    assert printed.err == "note: the session is kept as the job job_1.\n"
    (peer,) = script.peers
    assert peer.audio == sound
    audio = {"input": {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {}}}
    assert peer.updates == [{"type": "transcription", "audio": audio, "turnscribe": {}}]
    (request,) = script.requests
    assert request.path == "/v1/realtime"
    assert "Authorization" not in request.headers


def states(written: str) -> list[str]:
    """The terminal's last line, each time that it has changed, and all lines in the end."""
    lines, seen = [""], []
    for part in re.split(r"(\r\x1b\[K|\n)", written):
        if part == "\n":
            lines.append("")
        elif part == "\r\x1b[K":
            lines[-1] = ""
        else:
            lines[-1] += part
        if lines[-1] and (not seen or seen[-1] != lines[-1]):
            seen.append(lines[-1])
    return [*seen, "\n".join(lines)]


def test_a_terminal_gets_the_unfinished_text_on_its_last_line(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with scripted(conversation) as script:
        assert run(script, recording) == 0
    assert states(capsys.readouterr().out) == [
        "Good",
        "Good morning",
        "SPEAKER_00  Good morning.",
        "Good evening",
        "SPEAKER_01  Good evening.",
        "Or not?",
        LINES,
    ]


def test_an_unfinished_text_that_is_longer_than_a_line_shows_its_end(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.delta("item_1", "so many words that")
        peer.delta("item_1", " no line holds them all")
        peer.break_off()

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    with scripted(talk, refusal(404, "There is no such session.")) as script:
        assert run(script, recording) == 1
    # what was not finished stays to be read
    assert states(capsys.readouterr().out) == ["so many words that", "line holds them all", "line holds them all\n"]


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [("abc", 3, "abc"), ("abc", 2, "bc"), ("録音する", 5, "する"), ("e\u0301a", 2, "e\u0301a"), ("", 5, "")],
)
def test_the_end_of_a_text_fills_a_line_and_no_more(text: str, columns: int, expected: str) -> None:
    assert tail(text, columns) == expected


def test_a_text_gives_a_terminal_no_orders(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.segment("item_1", "a\x1b[2Jb\nc", "SPEAKER\x1b]0;title\x07")
        peer.close("\x1b[2J")

    with scripted(talk) as script:
        assert run(script, recording) == 0
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER\\x1b]0;title\\x07  a\\x1b[2Jb c\n"
    assert "\x1b" not in printed.err


def test_a_persian_words_joiner_stays_in_it() -> None:
    assert shown("می\u200cخواهم\u202e") == "می\u200cخواهم\\u202e"


def test_a_speaker_who_turns_out_to_be_another_is_told_once(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        for text in ("One.", "Two."):
            peer.segment("item_1", text, "SPEAKER_01")
        for text in ("One.", "Two."):
            peer.segment("item_1", text, "SPEAKER_00")
        peer.close(None)

    with scripted(talk) as script:
        assert run(script, recording) == 0
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER_01  One.\nSPEAKER_01  Two.\n"
    assert printed.err == "note: SPEAKER_01 is SPEAKER_00.\n"


def test_warnings_and_a_server_that_is_behind_are_told(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def talk(peer: Peer) -> None:
        peer.agree("noise_reduction has no effect.")
        peer.say("turnscribe.behind", seconds=3.5)
        peer.hear_until("session.close")
        peer.close(None)

    with scripted(talk) as script:
        assert run(script, recording) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: noise_reduction has no effect.",
        "note: the server is 3.5 s behind.",
    ]


# --- What is asked for --------------------------------------------------------------------------------------


def test_every_option_reaches_the_session(recording: Path) -> None:
    options = "--language de --prompt Turnscribe --delay low --no-speakers --no-keep".split()
    with scripted(conversation) as script:
        assert run(script, recording, *options) == 0
    (update,) = script.peers[0].updates
    assert update["audio"]["input"]["transcription"] == {"language": "de", "prompt": "Turnscribe", "delay": "low"}
    assert update["turnscribe"] == {"speakers": False, "keep": False}


def test_the_key_comes_from_a_file_or_the_environment_and_is_never_printed(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    with scripted(conversation) as script:
        assert run(script, recording, "--api-key-file", file) == 0
        monkeypatch.setenv("TURNSCRIBE_API_KEY", KEY)
        assert run(script, recording) == 0
        script.turns = [refusal(401, "The API key is missing or wrong.")]
        assert run(script, recording) == 1
    assert [request.headers["Authorization"] for request in script.requests] == [f"Bearer {KEY}"] * 3
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err


def test_a_recording_is_sent_as_long_as_it_lasts_unless_it_is_fast(recording: Path, long_recording: Path) -> None:
    with scripted(conversation) as script:
        began = time.monotonic()
        assert run(script, recording, fast=False) == 0
        assert time.monotonic() - began >= SECONDS
        began = time.monotonic()
        assert run(script, long_recording, fast=True) == 0
        assert time.monotonic() - began < LONG_SECONDS / 2


@pytest.mark.parametrize(
    ("base", "path"),
    [("", "/v1/realtime"), ("/", "/v1/realtime"), ("/speech/", "/speech/v1/realtime")],
)
def test_the_route_is_below_the_servers_address(recording: Path, base: str, path: str) -> None:
    with scripted(conversation) as script:
        assert main([str(recording), "--fast", "--url", script.url + base]) == 0
    assert script.requests[0].path == path


# --- A connection that breaks -------------------------------------------------------------------------------


def test_a_broken_connection_is_resumed_where_the_server_lost_it(
    recording: Path, sound: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    def first(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.delta("item_1", "Good")
        peer.break_off()

    def second(peer: Peer) -> None:
        peer.segment("item_1", "Good morning.")  # what was said meanwhile comes before
        peer.greet("session.resumed", received_ms=200)
        peer.hear_until("session.close")
        peer.segment("item_2", "Good evening.")
        peer.close()

    with scripted(first, second) as script:
        assert run(script, recording) == 0
    begun, resumed = script.peers
    assert resumed.audio == sound[2 * PIECE_BYTES :]
    assert resumed.updates == []
    assert begun.audio == sound
    # the last event that the client has is the third: created, updated, delta
    assert script.requests[1].path == "/v1/realtime?session_id=sess_1&after=event_3"
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER_00  Good morning.\nSPEAKER_00  Good evening.\n"
    assert printed.err.splitlines()[0] == "note: the connection broke; it is made again."


def test_a_last_piece_that_is_no_whole_one_is_not_sent_again(recording: Path, sound: bytes) -> None:
    def first(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.break_off()

    def second(peer: Peer) -> None:
        peer.greet("session.resumed", received_ms=round(SECONDS * 1000))
        peer.hear_until("session.close")
        peer.close()

    with scripted(first, second) as script:
        assert run(script, recording) == 0
    assert [len(peer.audio) for peer in script.peers] == [len(sound), 0]


def test_a_connection_that_breaks_before_the_session_is_agreed_on_asks_again(recording: Path, sound: bytes) -> None:
    def first(peer: Peer) -> None:
        peer.greet()
        peer.hear()
        peer.break_off()

    def second(peer: Peer) -> None:
        peer.greet("session.resumed")
        assert peer.hear() == "session.update"
        peer.say("session.updated", session={"turnscribe": {"warnings": []}})
        peer.hear_until("session.close")
        peer.close()

    with scripted(first, second) as script:
        assert run(script, recording) == 0
    assert script.peers[1].audio == sound


def test_it_gives_up_after_five_tries(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def first(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.break_off()

    with scripted(first, refusal(503, "The server is ending: try again soon.")) as script:
        assert run(script, recording) == 1
    assert len(script.requests) == 1 + 5
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: The connection broke and could not be made again: The server is ending: try again soon."
    )


def test_the_tries_count_anew_once_something_came(recording: Path) -> None:
    def breaks(peer: Peer) -> None:
        if len(script.peers) == 1:
            peer.agree()
        else:
            peer.greet("session.resumed")
        peer.hear_until("session.close")
        peer.delta("item_1", "a")
        if len(script.peers) < 8:
            peer.break_off()
        else:
            peer.close()

    with scripted(breaks) as script:
        assert run(script, recording) == 0


def test_a_connection_that_breaks_each_time_is_given_up(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def breaks(peer: Peer) -> None:
        if len(script.peers) == 1:
            peer.agree()
        else:
            peer.greet("session.resumed")
        peer.hear_until("session.close")
        peer.break_off()

    with scripted(breaks) as script:
        assert run(script, recording) == 1
    assert len(script.peers) == 1 + 5
    assert capsys.readouterr().err.endswith("could not be made again: it broke each time.\n")


def test_a_session_that_is_over_is_not_asked_for_again(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def first(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.break_off()

    with scripted(first, refusal(404, "There is no such session: it never was, or is over.")) as script:
        assert run(script, recording) == 1
    assert len(script.requests) == 2
    assert "There is no such session" in capsys.readouterr().err


def test_of_a_microphone_only_the_latest_pieces_are_kept() -> None:
    pieces = Pieces(most=3)
    for number in range(5):
        pieces.add(bytes([number]))
    assert pieces.since(0) == ([b"\2", b"\3", b"\4"], 5)
    assert pieces.since(4) == ([b"\4"], 5)
    assert pieces.since(5) == ([], 5)
    assert not pieces.are_all_before(5)
    pieces.complete()
    assert pieces.are_all_before(5)
    assert not pieces.are_all_before(4)


# --- What goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turn", "sentence"),
    [
        (
            refusal(401, "The API key is missing or wrong: send it as Authorization: Bearer KEY."),
            "The API key is missing or wrong: give it in TURNSCRIBE_API_KEY, or in a file with --api-key-file.",
        ),
        (refusal(503, "There are 8 live sessions."), "There are 8 live sessions."),
        (refusal(403, "No\x1b[2J."), "No\\x1b[2J."),
        ((404, "<html>"), "127.0.0.1:PORT refused the session, with status 404."),
        ((502, "[]"), "127.0.0.1:PORT refused the session, with status 502."),
    ],
)
def test_a_refusal_is_one_sentence(
    recording: Path, capsys: pytest.CaptureFixture[str], turn: tuple[int, str], sentence: str
) -> None:
    with scripted(turn) as script:
        assert run(script, recording) == 1
    assert len(script.requests) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.sub(r":\d+ ", ":PORT ", printed.err) == f"error: {sentence}\n"


def test_a_server_that_is_not_there_is_named(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert main([str(recording), "--url", f"http://me:{KEY}@127.0.0.1:{port}"]) == 1
    error = capsys.readouterr().err
    assert error == f"error: 127.0.0.1:{port} cannot be reached: Connection refused.\n"


def test_settings_that_the_server_refuses_end_the_session(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(peer: Peer) -> None:
        peer.greet()
        assert peer.hear() == "session.update"
        peer.say("error", error={"message": "language is 'klingon'; it must be a code such as en."})
        assert peer.hear() == "session.close"
        peer.close(None)

    with scripted(talk) as script:
        assert run(script, recording, "--language", "klingon") == 1
    assert capsys.readouterr().err == "error: language is 'klingon'; it must be a code such as en.\n"


def test_after_an_error_no_more_is_sent_and_the_last_text_still_comes(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_audio(PIECE_BYTES)
        for _ in range(2):
            peer.say("error", error={"message": "The session has 3600 s of audio."})
        peer.hear_until("session.close")
        peer.segment("item_1", "Good morning.")
        peer.close()

    with scripted(talk) as script:
        assert run(script, recording, fast=False) == 1
    assert len(script.peers[0].audio) < SECONDS * 2 * SAMPLE_RATE
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER_00  Good morning.\n"
    assert printed.err.count("error: The session has 3600 s of audio.\n") == 1


def test_an_utterance_without_a_text_is_an_error_and_the_others_come(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.delta("item_1", "Good")
        peer.say(f"{TEXT}.failed", item_id="item_1", error={"message": "The device ran out of memory."})
        peer.segment("item_2", "Good evening.")
        peer.close()

    with scripted(talk) as script:
        assert run(script, recording) == 1
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER_00  Good evening.\n"
    assert "error: The device ran out of memory.\n" in printed.err


def test_a_session_that_the_server_ends_early_failed(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_until("session.close")
        peer.connection.close(1000)

    def failing(peer: Peer) -> None:
        peer.agree()
        peer.say("error", error={"message": "The session failed; what it told stays true."})
        peer.connection.close(1000)

    with scripted(talk, failing) as script:
        assert run(script, recording) == 1
        assert run(script, recording) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: The server ended the session before all was told.",
        "error: The session failed; what it told stays true.",
    ]


@pytest.mark.parametrize("message", ["hello", "[]", "{}", '{"type": "session.created", "event_id": "1"}'])
def test_what_is_no_live_session_is_refused(
    recording: Path, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    def talk(peer: Peer) -> None:
        peer.connection.send(message)
        with pytest.raises(ConnectionClosed):
            peer.connection.recv(timeout=20)

    with scripted(talk) as script:
        assert run(script, recording) == 1
    assert capsys.readouterr().err.endswith(" sends what is no event of a live session.\n")


def test_a_file_that_is_no_recording_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, pipe = tmp_path / "notes.wav", tmp_path / "pipe.wav"
    text.write_text("no sound")
    os.mkfifo(pipe)
    for file in (text, pipe, tmp_path, tmp_path / "gone\x1b[2J.wav"):
        assert main([str(file)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    assert errors[0].startswith(f"error: {text}: ")
    assert errors[1:] == [
        f"error: {pipe}: it is no file: save the recording first.",
        f"error: {tmp_path}: it is no file: save the recording first.",
        f"error: {tmp_path}/gone\\x1b[2J.wav: No such file or directory.",
    ]


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://here", "http://", "http://here:port", "http://here:99999", "http://[here"]
)
def test_what_is_no_servers_address_is_wrong_usage(
    recording: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert main([str(recording), "--url", url]) == 2
    assert capsys.readouterr().err.startswith("error: --url must be the address of a server")


def test_a_file_without_one_key_is_wrong_usage(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (b"", b"two keys", b"\xff", b"kl\xc3\xbcgel", b"a\nb"):
        (tmp_path / "key").write_bytes(content)
        assert main([str(recording), "--api-key-file", str(tmp_path / "key")]) == 2
    assert main([str(recording), "--api-key-file", str(tmp_path / "gone")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 6
    assert all("key" in error for error in errors)
    assert "two keys" not in "".join(errors)


def test_a_wrong_command_line_is_2() -> None:
    for argv in ([], ["a.wav", "--delay", "never"], ["a.wav", "b.wav"]):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2


# --- Ctrl-C -------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_the_session_and_waits_for_the_last_text(
    long_recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_audio(PIECE_BYTES)
        os.kill(os.getpid(), signal.SIGINT)
        peer.hear_until("session.close")
        peer.segment("item_1", "Good morning.")
        peer.close()

    before = signal.getsignal(signal.SIGINT)
    with scripted(talk) as script:
        began = time.monotonic()
        assert run(script, long_recording, fast=False) == 0
        assert time.monotonic() - began < 30
    assert signal.getsignal(signal.SIGINT) is before
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER_00  Good morning.\n"
    assert "job_1" in printed.err


def test_a_second_ctrl_c_leaves_at_once(long_recording: Path) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_audio(PIECE_BYTES)
        os.kill(os.getpid(), signal.SIGINT)
        peer.hear_until("session.close")
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(ConnectionClosed):  # it says nothing, and the client does not wait
            peer.connection.recv(timeout=20)

    with scripted(talk) as script:
        began = time.monotonic()
        assert run(script, long_recording, fast=False) == 130
        assert time.monotonic() - began < 10


# --- The microphone -----------------------------------------------------------------------------------------


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a stand-in on the path that notes its arguments and runs some lines of shell."""

    def put(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program, arguments = folder / "ffmpeg", tmp_path / "arguments"
        program.write_text(f'#!/bin/sh\necho "$@" > {arguments}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return arguments

    return put


def test_a_microphone_is_heard_until_ctrl_c(
    ffmpeg: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_audio(2 * PIECE_BYTES)
        os.kill(os.getpid(), signal.SIGINT)
        peer.hear_until("session.close")
        peer.segment("item_1", "Good morning.")
        peer.close()

    arguments = ffmpeg(f"head -c {2 * PIECE_BYTES} /dev/zero\nwhile sleep 0.05; do head -c 1600 /dev/zero; done")
    with scripted(talk) as script:
        assert run(script, "mic") == 0
    assert "-f alsa -i default -ac 1 -ar 16000" in arguments.read_text()
    printed = capsys.readouterr()
    assert printed.out == "SPEAKER_00  Good morning.\n"
    assert "error" not in printed.err


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "-f alsa -i default"),
        ("linux", {"PULSE_SERVER": "here"}, "-fragment_size 9600 -f pulse -i default"),
        ("darwin", {}, "-f avfoundation -i :default"),
    ],
)
def test_the_platform_says_how_a_microphone_is_heard(
    ffmpeg: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    variables: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments = ffmpeg("exit 1")
    with scripted(_hears_all) as script:
        assert run(script, "mic") == 1
    assert expected in arguments.read_text()


def _hears_all(peer: Peer) -> None:
    peer.agree()
    peer.hear_until("session.close")
    peer.close(None)


def test_a_microphone_that_is_not_there_is_one_sentence(
    ffmpeg: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    ffmpeg('echo "[alsa @ 0x1] cannot open audio device (No such file)" >&2; echo "Error opening input" >&2; exit 1')
    with scripted(_hears_all) as script:
        assert run(script, "mic", "--device", "hw:9") == 1
    assert capsys.readouterr().err == (
        "error: ffmpeg cannot hear the microphone hw:9 (cannot open audio device (No such file)): "
        "name another with --device.\n"
    )


def test_a_microphone_without_ffmpeg_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["mic"]) == 1
    assert capsys.readouterr().err == ("error: The microphone needs the program ffmpeg, which is not installed.\n")


# --- As a program -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [["-m", "scripts.live"], ["scripts/live.py"], ["-m", "turnscribe", "live"]])
def test_it_runs_as_a_module_and_as_a_file(how: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *how, "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "FILE|mic" in done.stdout


def test_a_program_that_is_interrupted_ends_in_good_order(long_recording: Path) -> None:
    def talk(peer: Peer) -> None:
        peer.agree()
        peer.hear_audio(PIECE_BYTES)
        process.send_signal(signal.SIGINT)
        peer.hear_until("session.close")
        peer.segment("item_1", "Good morning.")
        peer.close()

    with scripted(talk) as script:
        command = [sys.executable, "-m", "scripts.live", str(long_recording), "--url", script.url]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed == "SPEAKER_00  Good morning.\n"
    assert "Traceback" not in errors
