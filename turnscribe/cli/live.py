"""Read what is being said: a file or a microphone, over a live session of a server.

    python -m scripts.live talk.mp3
    python -m scripts.live mic --language en --url https://speech.example.org

What is finished is printed, a line for each segment with its speaker before it. In a terminal the last line is what
is being said just now; it is rewritten until it is finished. Ctrl-C ends the session in good order, and its last text
still comes. A connection that breaks is resumed, and nothing of the audio is lost.

Exit status: 0 done, 1 the session failed, 2 wrong usage or settings, 130 the second Ctrl-C.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from turnscribe.errors import BadAudio, SettingsError, TurnscribeError
from turnscribe.files import printable
from turnscribe.inputs.decode import decode_audio
from turnscribe.inputs.limits import DEFAULT_LIMITS, check_size
from turnscribe.interrupts import two_step_interrupt
from turnscribe.waveform import SAMPLE_RATE, to_int16

URL = "http://127.0.0.1:8000"
ROUTE = "/v1/realtime"
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
KEY_VARIABLE = "TURNSCRIBE_API_KEY"
MICROPHONE = "mic"
DELAYS = ("minimal", "low", "medium", "high", "xhigh")
TEXT = "conversation.item.input_audio_transcription."  # how the types of events about a text begin

PIECE_MS = 100
PIECE_BYTES = 2 * SAMPLE_RATE * PIECE_MS // 1000
KEPT_PIECES = 6000  # of a microphone, ten minutes: what a server may have missed
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each try to resume
CLOSE = json.dumps({"type": "session.close"})
MOMENT = 0.2  # seconds, after which it is looked whether to go on waiting
NORMAL = 1000  # the server closes a session that is over
SERVER_FAILS = 500  # statuses from here on may be others soon
JOINERS = "\u200c\u200d"  # unprintable to Python, and a part of Persian and Hindi words


class SessionFailed(TurnscribeError):
    """There is no session, or no more of it."""


# --- The command --------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None, *, prog: str = "live") -> int:
    """Runs the command line, returns its exit status."""
    args = build_parser(prog).parse_args(argv)
    screen, enough = Screen(sys.stdout), threading.Event()
    try:
        server = Server(args.url, read_key(args.api_key_file))
        source: Source = (
            Microphone(args.device, enough)
            if args.source == MICROPHONE
            else Recording(read_recording(args.source, screen), fast=args.fast, enough=enough)
        )
        session = Session(server, session_fields(args), source, screen, enough)
        with two_step_interrupt(at_first=enough.set):
            session.run()
    except TurnscribeError as error:
        screen.note(f"error: {error}")
        return 2 if isinstance(error, SettingsError) else 1
    except OSError as error:  # of the output
        screen.note(f"error: {error.strerror or error}.")
        return 1
    except KeyboardInterrupt:  # while the recording is decoded, or the second one
        return 130
    finally:
        screen.close()
    return 1 if session.errors else 0


def session_fields(args: argparse.Namespace) -> dict[str, Any]:
    """What is asked of the session: what was given and nothing else, so that the server's defaults stay."""
    transcription = {name: getattr(args, name) for name in ("language", "prompt", "delay")}
    return {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": SAMPLE_RATE},
                "transcription": {name: value for name, value in transcription.items() if value is not None},
            }
        },
        "turnscribe": {name: False for name in ("speakers", "keep") if not getattr(args, name)},
    }


def read_key(file: str | None) -> str:
    """The API key, of the file or else of the environment; "" where none is given. Raises `SettingsError`."""
    place = KEY_VARIABLE if file is None else f"The file {printable(file)}"
    try:
        text = os.environ.get(KEY_VARIABLE, "") if file is None else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{place} cannot be read: name a text file that holds the API key.") from None
    key = text.strip()
    if (file is not None and not key) or not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingsError(f"{place} does not hold one API key and nothing else.")
    return key


def read_recording(file: str, screen: Screen) -> bytes:
    """A file's sound as the server gets it. Raises `BadAudio`."""
    path, name = Path(file), printable(file)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise BadAudio("it is no file: save the recording first.")
        check_size(size, DEFAULT_LIMITS)
        audio = decode_audio(path.read_bytes())
    except BadAudio as error:
        raise BadAudio(f"{name}: {error}") from None
    except OSError as error:
        raise BadAudio(f"{name}: {error.strerror or error}.") from None
    for warning in audio.warnings:
        screen.note(f"warning: {name}: {warning}")
    return to_int16(audio.mono).astype("<i2").tobytes()


# --- What is sent -------------------------------------------------------------------------------------------


class Pieces:
    """Sound, 16-bit at 16 kHz, in numbered pieces of `PIECE_MS`; the last `most` are kept, to be sent again.

    One thread adds, others read.
    """

    def __init__(self, most: int | None = None) -> None:
        self._kept: deque[bytes] = deque(maxlen=most)
        self._count = 0
        self._complete = False
        self._changed = threading.Condition()

    def add(self, piece: bytes) -> None:
        with self._changed:
            self._kept.append(piece)
            self._count += 1
            self._changed.notify_all()

    def complete(self) -> None:
        """No more come."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def are_all_before(self, number: int) -> bool:
        """Whether there is none from `number` on, and none will be."""
        with self._changed:
            return self._complete and number >= self._count

    def since(self, number: int) -> tuple[list[bytes], int]:
        """Those from `number` on, for which it waits a moment, and the number of the next one."""
        with self._changed:
            self._changed.wait_for(lambda: self._complete or self._count > number, MOMENT)
            count = min(max(self._count - number, 0), len(self._kept))
            return [self._kept[index] for index in range(-count, 0)], self._count


class Source(Protocol):
    """Where the sound comes from; `most` of its pieces are kept, all where it is `None`."""

    most: int | None

    def play(self, pieces: Pieces) -> None:
        """Adds all pieces, as they come. Raises `TurnscribeError`."""


class Recording:
    """Plays as long as it lasts, or all at once where it is `fast`."""

    most: int | None = None

    def __init__(self, samples: bytes, *, fast: bool, enough: threading.Event) -> None:
        self._samples, self._fast, self._enough = samples, fast, enough

    def play(self, pieces: Pieces) -> None:
        due = time.monotonic()
        for start in range(0, len(self._samples), PIECE_BYTES):
            due += PIECE_MS / 1000
            if not self._fast and self._enough.wait(max(due - time.monotonic(), 0)):
                return
            pieces.add(self._samples[start : start + PIECE_BYTES])


class Microphone:
    """Heard by ffmpeg. `device` is as ffmpeg calls it; `None` is the system's own choice. Raises `SessionFailed`."""

    most: int | None = KEPT_PIECES

    def __init__(self, device: str | None, enough: threading.Event) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            raise SessionFailed("The microphone needs the program ffmpeg, which is not installed.")
        system, default, *options = _sound_system()
        self._enough, self._device = enough, device or default
        if not self._device:
            raise SessionFailed(
                "Name the microphone with --device audio=NAME; ffmpeg -list_devices true -f dshow -i dummy has names."
            )
        heard = [*options, "-f", system, "-i", self._device]
        wanted = ["-ac", "1", "-ar", str(SAMPLE_RATE), "-flush_packets", "1", "-f", "s16le", "-"]
        self._command = [program, "-nostdin", "-hide_banner", "-loglevel", "error", *heard, *wanted]

    def play(self, pieces: Pieces) -> None:
        with (
            tempfile.TemporaryFile() as errors,
            # a session of its own: Ctrl-C is ours
            subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            ) as process,
        ):
            assert process.stdout is not None
            while not self._enough.is_set() and (piece := process.stdout.read(PIECE_BYTES)):
                pieces.add(piece)
            process.terminate()
            process.wait()
            if not self._enough.is_set():
                errors.seek(0)
                lines = errors.read().decode(errors="replace").splitlines() or ["it ended"]
                why = lines[0].rpartition("] ")[2]
                raise SessionFailed(
                    f"ffmpeg cannot hear the microphone {self._device} ({why}): name another with --device."
                )


def _sound_system() -> tuple[str, ...]:
    """What ffmpeg calls it, its device where none is named, and options for it."""
    if sys.platform == "darwin":
        return "avfoundation", ":default"
    if sys.platform == "win32":
        return "dshow", ""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if os.environ.get("PULSE_SERVER") or (runtime and Path(runtime, "pulse", "native").exists()):
        return "pulse", "default", "-fragment_size", "9600"  # 50 ms; older ffmpegs wait for 2 s otherwise
    return "alsa", "default"


# --- The session --------------------------------------------------------------------------------------------


class Server:
    """Where live sessions are; `url` is the server's own address. Raises `SettingsError`."""

    def __init__(self, url: str, key: str) -> None:
        try:
            parts = urlsplit(url)
            if parts.scheme not in SCHEMES or not parts.hostname or parts.port == 0:
                raise ValueError
        except ValueError:
            raise SettingsError(f"--url must be the address of a server, such as {URL}.") from None
        self.place = printable(parts.netloc.rpartition("@")[2])
        self._url = urlunsplit((SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/") + ROUTE, "", ""))
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def connect(self, **query: str) -> AbstractContextManager[ClientConnection]:
        """A connection, closed at the end of the block. Raises `WebSocketException`, `OSError` and `EOFError`."""
        url = f"{self._url}?{urlencode(query)}" if query else self._url
        return connect(url, additional_headers=self._headers, compression=None)

    def explain(self, error: Exception) -> str:
        """Why `connect` failed, in a sentence."""
        if not isinstance(error, InvalidStatus):
            return f"{self.place} cannot be reached: {getattr(error, 'strerror', None) or error}."
        status = error.response.status_code
        if status == 401:
            return f"The API key is missing or wrong: give it in {KEY_VARIABLE}, or in a file with --api-key-file."
        return _message(error.response.body) or f"{self.place} refused the session, with status {status}."


class Session:
    """One session with a server, over as many connections as it takes. What goes wrong in it is in `errors`."""

    def __init__(
        self, server: Server, fields: dict[str, Any], source: Source, screen: Screen, enough: threading.Event
    ) -> None:
        self.errors: list[str] = []
        self._server, self._fields, self._source, self._screen = server, fields, source, screen
        self._enough = enough  # no more is to be sent
        self._pieces = Pieces(source.most)
        self._playing = False
        self._id = self._after = ""  # of the session, and of the last event that came
        self._received_ms: int | None = None  # what the server has of the audio, as it says when it is connected
        self._agreed = self._over = False  # `session.updated` came; there is no more of the session
        self._tries = 0  # to resume, since an event came
        self._transcript = Transcript(screen)

    def run(self) -> None:
        """Until all that was said is told. Raises `SessionFailed`."""
        while not self._over:
            with ExitStack() as stack:
                connection = self._resumed(stack) if self._id else self._begun(stack)
                try:
                    self._follow(connection)
                except ConnectionClosed as closed:
                    self._consider(closed)
                except KeyboardInterrupt:  # the other end is not waited for
                    with suppress(OSError):
                        connection.socket.shutdown(socket.SHUT_RDWR)
                    raise

    def _begun(self, stack: ExitStack) -> ClientConnection:
        try:
            return stack.enter_context(self._server.connect())
        except (WebSocketException, OSError, EOFError) as error:
            raise SessionFailed(self._server.explain(error)) from None

    def _resumed(self, stack: ExitStack) -> ClientConnection:
        self._screen.note("note: the connection broke; it is made again.")
        why = "it broke each time."
        while self._tries < len(PAUSES):
            time.sleep(PAUSES[self._tries])
            self._tries += 1
            try:
                return stack.enter_context(self._server.connect(session_id=self._id, after=self._after))
            except (WebSocketException, OSError, EOFError) as error:
                why = self._server.explain(error)
                if isinstance(error, InvalidStatus) and error.response.status_code < SERVER_FAILS:
                    break
        raise SessionFailed(f"The connection broke and could not be made again: {why}")

    def _consider(self, closed: ConnectionClosed) -> None:
        """Whether a connection is worth another one. Raises `SessionFailed`."""
        if not self._id:
            raise SessionFailed("The connection broke before the session began.")
        if closed.rcvd is not None and closed.rcvd.code == NORMAL:
            if not self.errors:
                raise SessionFailed("The server ended the session before all was told.")
            self._over = True

    def _follow(self, connection: ClientConnection) -> None:
        """What comes over one connection, until the session is over. Raises `ConnectionClosed`."""
        self._received_ms, sending = None, False
        while not self._over:
            try:
                self._take(json.loads(connection.recv(timeout=MOMENT)), connection)
            except TimeoutError:
                continue
            except (ValueError, LookupError, TypeError, AttributeError):
                raise SessionFailed(f"{self._server.place} sends what is no event of a live session.") from None
            if self._agreed and self._received_ms is not None and not sending:
                sending = True
                self._send_from(-(-self._received_ms // PIECE_MS), connection)

    def _take(self, event: dict[str, Any], connection: ClientConnection) -> None:
        """One event."""
        kind = event["type"].removeprefix(TEXT)
        match kind:
            case "session.created" | "session.resumed":
                self._id = event["session"]["id"]
                self._received_ms = int(event["session"]["turnscribe"]["received_ms"])
                if not self._agreed:
                    connection.send(json.dumps({"type": "session.update", "session": self._fields}))
            case "session.updated":
                self._agreed = True
                for warning in event["session"]["turnscribe"]["warnings"]:
                    self._screen.note(f"warning: {warning}")
            case "delta" | "segment" | "completed" | "failed":
                self._transcript.take(kind, event)
                if kind == "failed":
                    self._note_error(event["error"]["message"])
            case "error":
                self._note_error(event["error"]["message"])
                self._enough.set()  # what was sent is still heard
                if not self._agreed:
                    connection.send(CLOSE)
            case "turnscribe.behind":
                self._screen.note(f"note: the server is {event['seconds']} s behind.")
            case "session.closed":
                self._over = True
                if (job := event["turnscribe"]["job"]) is not None:
                    self._screen.note(f"note: the session is kept as the job {job}.")
        self._after = event["event_id"]
        if kind != "session.resumed":
            self._tries = 0

    def _note_error(self, message: str) -> None:
        if message not in self.errors:
            self.errors.append(message)
            self._screen.note(f"error: {message}")

    def _send_from(self, number: int, connection: ClientConnection) -> None:
        threading.Thread(target=self._send, args=(number, connection), daemon=True).start()
        if not self._playing:
            self._playing = True
            threading.Thread(target=self._play, daemon=True).start()

    # In threads of their own --------------------------------------------------------------------------

    def _play(self) -> None:
        try:
            self._source.play(self._pieces)
        except (TurnscribeError, OSError) as error:
            self._note_error(str(error))
        finally:
            self._pieces.complete()

    def _send(self, number: int, connection: ClientConnection) -> None:
        """The pieces from `number` on, and the end; a connection that breaks is for `run` to see."""
        with suppress(ConnectionClosed, OSError):
            while not (self._enough.is_set() or self._pieces.are_all_before(number)):
                pieces, number = self._pieces.since(number)
                for piece in pieces:
                    if self._enough.is_set():
                        break
                    audio = base64.b64encode(piece).decode()
                    connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            connection.send(CLOSE)


def _message(body: bytes | bytearray | None) -> str | None:
    """What an answer with OpenAI's shape of an error says."""
    try:
        return str(json.loads(body or b"")["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return None


# --- What is shown ------------------------------------------------------------------------------------------


class Transcript:
    """Events about texts, to lines on a screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._item, self._text = "", ""  # the utterance that is not finished
        self._speakers: dict[str, str] = {}  # of each segment
        self._renamed: set[tuple[str, str]] = set()

    def take(self, kind: str, event: dict[str, Any]) -> None:
        match kind:
            case "delta":
                item = event["item_id"]
                self._text = (self._text if item == self._item else "") + event["delta"]
                self._item = item
                self._screen.show(self._text)
            case "segment":
                self._take_segment(event)
            case "completed" | "failed":
                self._drop(event["item_id"])

    def _drop(self, item: str) -> None:
        """Its unfinished text is shown no longer."""
        if item == self._item:
            self._item, self._text = "", ""
            self._screen.show("")

    def _take_segment(self, event: dict[str, Any]) -> None:
        id, speaker = event["id"], event["speaker"]
        before = self._speakers.get(id)
        self._speakers[id] = speaker
        if before is None:
            self._drop(event["item_id"])
            self._screen.line(speaker, event["text"])
        elif before != speaker and (before, speaker) not in self._renamed:
            self._renamed.add((before, speaker))
            self._screen.note(f"note: {before} is {speaker}.")


class Screen:
    """Finished lines on `out`, notes on stderr, and where `out` is a terminal, a last line that is rewritten."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._is_terminal = out, out.isatty()
        self._last = ""
        self._lock = threading.Lock()

    def line(self, *columns: str) -> None:
        with self._lock:
            self._erase()
            print("  ".join(filter(None, map(shown, columns))), file=self._out, flush=True)
            self._write_last()

    def note(self, text: str) -> None:
        with self._lock:
            self._erase()
            print(shown(text), file=sys.stderr, flush=True)
            self._write_last()

    def show(self, text: str) -> None:
        """As the last line, in place of what it was."""
        if self._is_terminal:
            with self._lock:
                self._erase()
                self._last = shown(text)
                self._write_last()

    def close(self) -> None:
        """A last line stays where it is."""
        with self._lock:
            if self._last:
                print(file=self._out, flush=True)
                self._last = ""

    def _erase(self) -> None:
        if self._last:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _write_last(self) -> None:
        if self._last:
            self._out.write(tail(self._last, shutil.get_terminal_size().columns - 1))
            self._out.flush()


def shown(text: str) -> str:
    """In one line, without what a terminal would take for an order."""
    return "".join(letter if letter in JOINERS else printable(letter) for letter in " ".join(text.split()))


def tail(text: str, columns: int) -> str:
    """As much of its end as a terminal's line holds.

    >>> tail("what was said", 8), tail("録音する", 5)
    ('was said', 'する')
    """
    width = 0
    for index in reversed(range(len(text))):
        letter = text[index]
        wide = unicodedata.east_asian_width(letter) in "WF"
        width += 0 if unicodedata.combining(letter) else 2 if wide else 1
        if width > columns:
            return text[index + 1 :]
    return text


# --- The command line ---------------------------------------------------------------------------------------


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Read what is being said: a live session of a server.")
    add = parser.add_argument
    add("source", metavar="FILE|mic", help="a recording, which is sent as if it were live, or the microphone")
    add("--url", default=URL, help=f"the server's address; default: {URL}")
    add("--api-key-file", metavar="FILE", help=f"the server's API key; default: {KEY_VARIABLE}")
    add("--fast", action="store_true", help="send a recording as quickly as the server takes it")
    add("--device", metavar="NAME", help="the microphone as ffmpeg calls it; default: the system's own choice")
    session = parser.add_argument_group("session").add_argument
    session("--language", help="code or English name; default: detected")
    session("--prompt", help="words to expect: names, spelling")
    session("--delay", choices=DELAYS, help="how soon text comes; later is more certain; default: medium")
    session("--no-speakers", dest="speakers", action="store_false", help="do not tell speakers apart")
    session("--no-keep", dest="keep", action="store_false", help="do not keep the session as a job")
    return parser
