"""The live part of the page, in a headless Chromium whose microphone hears a part of the demo conversation: against a
stand-in of the server whose events a test tells, against the real server without models, and with the demo models.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from selenium.webdriver.common.keys import Keys
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.conftest import REPOSITORY
from tests.serving.live import Server, serving, until
from tests.serving.page import (
    CONTRAST,
    CONTRASTS,
    JOB,
    MODELS,
    POLICY,
    Browser,
    answer,
    chromium_in,
    done,
    uncomplaining,
)
from tests.serving.test_realtime import fake_pipeline
from turnscribe.inputs.decode import decode_audio
from turnscribe.live.container import WEBM, ContainerIntake
from turnscribe.serving.routes.page import add_page_routes
from turnscribe.serving.server import WEBSOCKETS
from turnscribe.waveform import SAMPLE_RATE, to_wav

DEMO = REPOSITORY / "demo" / "conversation.flac"
TRANSCRIPTION = "conversation.item.input_audio_transcription"
SECOND = 2 * SAMPLE_RATE  # bytes
TONE_HZ = 440

pytestmark = pytest.mark.serving


class LiveBrowser(Browser):
    """One that may have failed to open a WebSocket, which no page can keep from the console."""

    def complaints(self) -> list[str]:
        return [entry for entry in super().complaints() if "WebSocket connection to" not in entry]


class Call:
    """A WebSocket of the page: what came, and what it asked for."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket, self.query = websocket, dict(websocket.query_params)
        self.protocols = websocket.scope["subprotocols"]
        self.events: list[dict[str, Any]] = []

    @property
    def audio(self) -> bytes:
        pieces = (event["audio"] for event in tuple(self.events) if event["type"] == "input_audio_buffer.append")
        return b"".join(map(base64.b64decode, pieces))

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in tuple(self.events)]


class StandIn:
    """The server, canned: the test tells the events of its WebSockets."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refuses = False
        self.received_ms = 0  # of a session that is taken up again
        self.refused_update: str | None = None
        self.loses_update = False  # the first one
        self.result = done(answer())
        self._ids = itertools.count(1)
        self._app = FastAPI()
        add_page_routes(self._app, cast(Any, None))  # the page's own routes ask the service for nothing
        self._app.get("/v1/models")(lambda: MODELS)
        self._app.get(f"/v1/jobs/{JOB}")(lambda: JSONResponse(self.result))
        self._app.websocket("/v1/realtime")(self._realtime)
        self._app.middleware("http")(_strictly)
        self._loop = asyncio.new_event_loop()
        config = uvicorn.Config(self._app, port=0, ws=WEBSOCKETS, log_config=None, lifespan="off")
        self._server = Server(config)
        self._thread = threading.Thread(
            target=lambda: self._loop.run_until_complete(self._server.serve()), daemon=True
        )

    def __enter__(self) -> StandIn:
        self._thread.start()
        until(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/ui"

    def tell(self, kind: str, **fields: Any) -> str:
        """An event to the latest call; its id."""
        event = {"type": kind, "event_id": f"event_{next(self._ids)}", **fields}
        self._now(self.calls[-1].websocket.send_json(event))
        return event["event_id"]

    def delta(self, item: str, text: str, end: float = 0.4) -> None:
        self.tell(f"{TRANSCRIPTION}.delta", item_id=item, content_index=0, delta=text, end=end)

    def segment(self, id: str, item: str, text: str, speaker: str, *, start: float = 0.0, end: float = 0.5) -> None:
        told = {"id": id, "text": text, "start": start, "end": end, "speaker": speaker, "words": []}
        self.tell(f"{TRANSCRIPTION}.segment", item_id=item, content_index=0, **told)

    def completed(self, item: str, text: str, language: str = "en") -> None:
        usage = {"type": "duration", "seconds": 1.0}
        told = {"transcript": text, "usage": usage, "languages": [{"code": language}]}
        self.tell(f"{TRANSCRIPTION}.completed", item_id=item, content_index=0, **told)

    def closed(self, job: str | None = JOB) -> None:
        self.tell("session.closed", turnscribe={"job": job})

    def hang_up(self) -> None:
        self._now(self.calls[-1].websocket.close(1012))

    def wait(self, seconds: float, *, call: int = 0) -> None:
        """Until so many seconds of audio came with that call."""
        until(lambda: len(self.calls) > call and len(self.calls[call].audio) >= seconds * SECOND, 20)

    def stopped(self, *, call: int = 0) -> None:
        """Until the page has closed the session with that call."""
        until(lambda: len(self.calls) > call and self.calls[call].kinds[-1:] == ["session.close"], 30)

    def _now(self, step: Any) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(10)

    async def _realtime(self, websocket: WebSocket) -> None:
        if self.refuses:
            return await websocket.close()
        await websocket.accept(subprotocol="realtime")
        call = Call(websocket)
        kind = "resumed" if "session_id" in call.query else "created"
        session = {"id": "sess_1", "turnscribe": {"received_ms": self.received_ms}}
        self.calls.append(call)
        await websocket.send_json({"type": f"session.{kind}", "event_id": f"event_{kind}", "session": session})
        try:
            while True:
                event = await websocket.receive_json()
                call.events.append(event)
                if event["type"] == "session.update" and self.loses_update:
                    self.loses_update = False
                    return await websocket.close(1012)
                if event["type"] == "session.update":
                    await websocket.send_json(self._updated())
        except (WebSocketDisconnect, RuntimeError):
            return None

    def _updated(self) -> dict[str, Any]:
        if self.refused_update:
            return {"type": "error", "event_id": "event_update", "error": {"message": self.refused_update}}
        return {"type": "session.updated", "event_id": "event_update", "session": {"id": "sess_1"}}


async def _strictly(request: Any, call_next: Callable[[Any], Any]) -> Any:
    """Stricter than the server: no string may become markup or script."""
    response = await call_next(request)
    if request.url.path.startswith("/ui"):
        response.headers["Content-Security-Policy"] = f"{POLICY}; require-trusted-types-for 'script'"
    return response


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s of the demo conversation and 2 s of silence, which the microphone hears over and over."""
    file = tmp_path_factory.mktemp("talk") / "talk.wav"
    speech = decode_audio(DEMO.read_bytes()).mono[: 12 * SAMPLE_RATE]
    file.write_bytes(to_wav(np.concatenate([speech, np.zeros(2 * SAMPLE_RATE, np.float32)])))
    return file


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s at 44.1 kHz."""
    file = tmp_path_factory.mktemp("tone") / "tone.wav"
    samples = 0.25 * np.sin(2 * np.pi * TONE_HZ / 44_100 * np.arange(3 * 44_100))
    file.write_bytes(to_wav(samples.astype(np.float32), sample_rate=44_100))
    return file


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, talk: Path) -> Iterator[Callable[[str, str], LiveBrowser]]:
    heard = f"--use-file-for-fake-audio-capture={talk}"
    with chromium_in(tmp_path_factory.mktemp("chromium"), LiveBrowser, heard) as start:
        yield start


@pytest.fixture
def browser(
    chromium: Callable[[str, str], LiveBrowser], needs_program: Callable[[str], str]
) -> Iterator[LiveBrowser]:
    with uncomplaining(chromium(needs_program("chromium"), needs_program("chromedriver"))) as found:
        yield found


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in


def listen(browser: Browser, server: StandIn) -> None:
    """Until the server hears the microphone."""
    browser.open(server.url)
    browser("#listen").click()
    server.wait(0.2)


def lines(browser: Browser) -> list[tuple[str, str]]:
    """The names that are shown, "" where none is, and what was said."""
    return [
        (turn.find_element("css selector", ".name").text, turn.find_element("css selector", ".said").text)
        for turn in browser.all("#live-log .turn")
    ]


# --- What is sent ---------------------------------------------------------------------------------------------


def test_the_microphone_is_sent_as_it_is_heard_until_stop(browser: LiveBrowser, server: StandIn) -> None:
    browser.open(server.url)
    browser.until(lambda: browser("#language").is_displayed())
    browser.js("document.getElementById('language').value = 'de'")
    browser("#speakers").send_keys("3")
    began = time.monotonic()
    browser("#listen").click()
    server.wait(3)
    assert time.monotonic() - began > 2.5, "no sooner than it was said"
    (call,) = server.calls
    assert call.protocols == ["realtime"]
    assert call.query == {"intent": "transcription"}
    heard = {
        "format": {"type": "audio/pcm", "rate": 16000},
        "transcription": {"language": "de"},
        "turn_detection": {"type": "server_vad"},
    }
    session = {"type": "transcription", "audio": {"input": heard}, "turnscribe": {"max_speakers": 3}}
    assert call.events[0] == {"type": "session.update", "session": session}
    assert set(call.kinds[1:]) == {"input_audio_buffer.append"}
    assert {len(base64.b64decode(event["audio"])) for event in tuple(call.events)[1:]} == {SECOND // 10}
    assert np.abs(samples_of(call)).max() > 0.02, "somebody speaks"
    assert browser.text("#live-state").startswith("Listening, 0:0")
    assert browser.text("#live-name") == "Microphone"

    browser("#live-stop").click()
    server.stopped()
    assert browser.text("#live-state") == "Finishing …"
    server.closed()
    browser.shown("#result")
    assert browser.js("return location.hash") == f"#job={JOB}"
    assert browser.text("#transcript .said") == "hello team please listen"
    browser.until(lambda: browser("#play").is_enabled())  # it was recorded here too
    browser.until(lambda: browser.kept("recordings") == 1)
    browser.driver.refresh()
    browser.shown("#result")
    browser.until(lambda: browser("#play").is_enabled())  # and kept
    assert browser.text("#result-title").startswith("recording-")


def test_a_file_is_played_in_in_real_time_and_whole(browser: LiveBrowser, server: StandIn, tone: Path) -> None:
    browser.open(server.url)
    assert not browser("#play-in").is_enabled()
    browser("#file").send_keys(str(tone))
    began = time.monotonic()
    browser("#play-in").click()
    server.stopped()
    assert time.monotonic() - began > 2.8
    sent = samples_of(server.calls[0])
    assert len(sent) / SAMPLE_RATE == pytest.approx(3.0, abs=0.35)
    middle = sent[SAMPLE_RATE : 2 * SAMPLE_RATE]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == TONE_HZ
    assert np.abs(middle).max() == pytest.approx(0.25, abs=0.01)
    assert np.delete(spectrum, range(TONE_HZ - 2, TONE_HZ + 3)).max() < spectrum.max() / 300
    server.closed()
    browser.shown("#result")
    assert browser.text("#result-title") == "tone.wav"


RECORDED = """
const [seconds, done] = arguments;
const plain = { autoGainControl: false, echoCancellation: false, noiseSuppression: false };
navigator.mediaDevices.getUserMedia({ audio: plain }).then((stream) => {
  const recorder = new MediaRecorder(stream, { mimeType: "audio/webm;codecs=opus" });
  const pieces = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data.arrayBuffer());
  recorder.onstop = async () => {
    stream.getTracks().forEach((track) => track.stop());
    done((await Promise.all(pieces)).map((piece) => [...new Uint8Array(piece)]));
  };
  recorder.start(200);
  setTimeout(() => recorder.stop(), 1000 * seconds);
});
"""


def test_what_a_browsers_recorder_gives_is_heard_piece_by_piece(browser: LiveBrowser, server: StandIn) -> None:
    """Programs of others send that as audio/webm; the page has samples."""
    browser.open(server.url)
    browser.driver.set_script_timeout(30)
    pieces = [bytes(piece) for piece in browser.driver.execute_async_script(RECORDED, 4)]
    assert len(pieces) > 10
    intake = ContainerIntake(WEBM)
    heard = [intake.take(piece) for piece in pieces]
    half = sum(map(len, heard[: len(heard) // 2])) / SAMPLE_RATE
    assert half == pytest.approx(2.0, abs=0.8)
    samples = np.concatenate([*heard, intake.end()])
    assert len(samples) / SAMPLE_RATE == pytest.approx(4.0, abs=0.6)
    assert np.abs(samples).max() > 0.02, "somebody speaks"


RESAMPLED = """
const [address, from, to, samples, sizes, done] = arguments;
import(address).then(({ Resampler }) => {
  const resampler = new Resampler(from, to);
  const made = [];
  for (let first = 0, turn = 0; first < samples.length; first += sizes[turn++ % sizes.length]) {
    made.push(...resampler.take(Float32Array.from(samples.slice(first, first + sizes[turn % sizes.length]))));
  }
  done(made);
});
"""


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_samples_keep_what_16_khz_can_carry_in_blocks_of_any_size(
    browser: LiveBrowser, server: StandIn, rate: int
) -> None:
    browser.open(server.url)

    def resampled(hertz: float, sizes: list[int]) -> NDArray[np.float64]:
        samples = np.sin(2 * np.pi * hertz / rate * np.arange(rate // 4))
        address = f"{server.url}/resampler.js"
        return np.array(
            browser.driver.execute_async_script(RESAMPLED, address, rate, 16_000, samples.tolist(), sizes)
        )

    low = resampled(1000, [rate])
    assert len(low) == pytest.approx(4000, abs=60)
    assert low[200:3800] == pytest.approx(np.sin(2 * np.pi * 1000 / 16_000 * np.arange(200, 3800)), abs=2e-3)
    assert resampled(1000, [1, 7, 1024, 128]) == pytest.approx(low, abs=1e-6)
    if rate > 20_000:
        assert np.abs(resampled(9500, [1024])[200:3800]).max() < 2e-3, "what 16 kHz cannot carry"


# --- What is shown --------------------------------------------------------------------------------------------


def test_text_grows_and_gets_its_speakers(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    assert browser("#live-waiting").is_displayed()
    server.tell("input_audio_buffer.speech_started", item_id="a", audio_start_ms=100)
    server.delta("a", "Hello")
    server.delta("a", " tea")
    browser.until(lambda: browser.text("#live-unfinished") == "Hello tea")
    assert not browser("#live-waiting").is_displayed()
    assert not browser.all("#live-log .turn")
    muted, ink = (
        browser.js(f"return getComputedStyle(document.querySelector('{each}')).color")
        for each in ("#live-unfinished .said", "#live-title")
    )
    assert muted != ink

    server.segment("s1", "a", "Hello team.", "SPEAKER_00")
    server.segment("s2", "a", "Please listen.", "SPEAKER_00")
    server.completed("a", "Hello team. Please listen.")
    server.segment("s3", "b", "Why?", "SPEAKER_01")
    server.completed("b", "Why?")
    browser.until(lambda: len(browser.all("#live-log .turn")) == 3)
    assert lines(browser) == [("SPEAKER_00", "Hello team."), ("", "Please listen."), ("SPEAKER_01", "Why?")]
    assert browser.text("#live-unfinished") == ""
    assert [colour(browser, number) for number in (0, 2)] == ["rgb(36, 87, 197)", "rgb(165, 71, 11)"]
    assert browser("#live-log").get_attribute("lang") == "en"

    server.segment("s2", "a", "Please listen.", "SPEAKER_01")  # it turns out to be another
    browser.until(lambda: lines(browser)[1] == ("SPEAKER_01", "Please listen."))
    assert lines(browser)[2] == ("", "Why?")
    assert colour(browser, 1) == "rgb(165, 71, 11)"


def test_the_completed_text_is_what_counts(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    server.segment("s1", "a", "Hello", "SPEAKER_00")
    server.segment("s2", "a", "tea", "SPEAKER_00")
    server.completed("a", "Hello team.")
    server.delta("b", "Mm")
    server.completed("b", "")
    server.tell("input_audio_buffer.speech_started", item_id="c", audio_start_ms=61_000)
    server.completed("c", "Nobody knows who.")
    server.delta("d", "half a")
    failure = {"message": "The model ran out of memory.", "code": "transcription_failed"}
    server.tell(f"{TRANSCRIPTION}.failed", item_id="d", content_index=0, error=failure)
    browser.until(lambda: len(browser.all("#live-log .turn")) == 3)
    assert lines(browser) == [("SPEAKER_00", "Hello team."), ("", "Nobody knows who."), ("", "half a")]
    assert browser.all("#live-log .time")[1].text == "1:01"
    assert browser.text("#live-unfinished") == ""
    assert browser.text("#live-note") == "A part has no text: The model ran out of memory."


def test_the_first_part_of_a_long_utterance_is_finished_before_the_rest(
    browser: LiveBrowser, server: StandIn
) -> None:
    listen(browser, server)
    server.delta("a", "One two", end=1.0)
    server.delta("a", " three", end=1.6)
    server.segment("s1", "a", "One two.", "SPEAKER_00", end=1.1)
    browser.until(lambda: lines(browser) == [("SPEAKER_00", "One two.")])
    assert browser.text("#live-unfinished").strip() == "three"
    server.segment("s2", "a", "Three.", "SPEAKER_00", start=1.1, end=1.7)
    server.completed("a", "One two. Three.")
    browser.until(lambda: not browser.text("#live-unfinished"))


def test_the_delay_of_the_text_and_a_server_that_is_behind(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    server.tell("turnscribe.behind", seconds=6.2)
    browser.until(lambda: browser("#live-note").is_displayed())
    assert browser.text("#live-note") == "The server is 6 seconds behind: text comes later."
    assert browser.text("#status") == browser.text("#live-note")
    server.wait(2)
    server.segment("s1", "a", "Hello.", "SPEAKER_00", start=0.2, end=1.0)
    browser.until(lambda: browser.text("#live-delay"))
    delay = float(browser.text("#live-delay").removeprefix("Text ").removesuffix(" s after speech"))
    assert 1.0 <= delay < 3.0
    assert not browser("#live-note").is_displayed()


def test_a_screen_reader_hears_what_is_finished_and_once(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    log = browser("#live-log")
    assert [log.get_attribute(name) for name in ("role", "aria-live", "aria-relevant")] == [
        "log",
        "polite",
        "additions",
    ]
    browser.js(
        "window.added = []; new MutationObserver((changes) => { for (const change of changes)"
        " for (const node of change.addedNodes) window.added.push(node.textContent); })"
        ".observe(arguments[0], { childList: true, subtree: true })",
        log,
    )
    for text in ("Hel", "lo", " team."):
        server.delta("a", text)
    server.segment("s1", "a", "Hello team.", "SPEAKER_00")
    server.completed("a", "Hello team.")
    server.segment("s1", "a", "Hello team.", "SPEAKER_03")
    server.delta("b", "Why")
    browser.until(lambda: lines(browser) == [("SPEAKER_03", "Hello team.")])
    browser.until(lambda: browser.text("#live-unfinished") == "Why")
    assert browser.js("return window.added") == ["SPEAKER_00 0:00Hello team."]


def test_the_live_part_works_by_keyboard(browser: LiveBrowser, server: StandIn) -> None:
    browser.open(server.url)
    browser.js("document.getElementById('record').focus()")
    browser.press(Keys.TAB)
    assert browser.js("return document.activeElement.id") == "listen"
    browser.press(Keys.ENTER)
    server.wait(0.2)
    assert browser.focused() == "Live"
    browser.press(Keys.TAB)
    assert browser.focused() == "Stop"
    browser.press(Keys.SPACE)
    server.stopped()
    server.closed()
    browser.shown("#result")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_live_text_has_enough_contrast(browser: LiveBrowser, server: StandIn, scheme: str) -> None:
    browser.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    listen(browser, server)
    texts = browser.js(CONTRASTS)
    for number in range(9):
        server.segment(f"s{number}", f"i{number}", f"word{number}", f"SPEAKER_{number:02d}")
    server.delta("last", "half a sentence")
    server.tell("turnscribe.behind", seconds=60)
    browser.until(lambda: browser("#live-note").is_displayed())
    texts += browser.js(CONTRASTS)
    assert len(texts) > 40
    assert [name for ratio, name in texts if ratio < CONTRAST] == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_of_it_is_cut_off_at_the_side(browser: LiveBrowser, server: StandIn, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    try:
        browser.open(server.url)
        assert browser.js(wide) == 0
        browser("#listen").click()
        server.wait(0.2)
        for number in range(40):
            server.segment(f"s{number}", "a", "So many words were said. " * 5, f"SPEAKER_{number % 3:02d}")
        server.delta("b", "and more")
        browser.until(lambda: browser.text("#live-unfinished") == "and more")
        assert browser.js(wide) == 0
        browser.until(lambda: browser.js("return scrollY + innerHeight >= document.documentElement.scrollHeight - 2"))
        top, bottom = browser.js(
            "const box = document.getElementById('live-stop').getBoundingClientRect(); return [box.top, box.bottom]"
        )
        assert top >= 0, "Stop stays in sight"
        assert bottom <= 800
        browser.js("scrollTo(0, 0)")
        server.delta("b", " and more")
        browser.until(lambda: browser.text("#live-unfinished") == "and more and more")
        assert browser.js("return scrollY") == 0, "whoever reads elsewhere stays there"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_axe_finds_nothing_live(browser: LiveBrowser, server: StandIn, axe: Callable[[Browser], None]) -> None:
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    try:
        listen(browser, server)
        server.segment("s1", "a", "Hello team.", "SPEAKER_00")
        server.delta("b", "half a sentence")
        server.tell("turnscribe.behind", seconds=6)
        browser.until(lambda: browser("#live-note").is_displayed())
        axe(browser)
    finally:
        browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})


def test_hostile_live_text_is_shown_as_text(browser: LiveBrowser, server: StandIn) -> None:
    hostile = "<img/src=x/onerror=document.title='owned'>"
    listen(browser, server)
    server.segment("s1", "a", hostile, hostile)
    server.delta("b", hostile)
    browser.until(lambda: browser.text("#live-unfinished") == hostile)
    assert lines(browser) == [(hostile, hostile)]
    assert not browser.all("main img")


# --- What can go wrong ----------------------------------------------------------------------------------------


def test_a_broken_connection_is_taken_up_again_and_nothing_is_lost(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    server.delta("a", "Hel")
    server.wait(1.5)
    server.received_ms = 500
    browser.until(lambda: browser.text("#live-unfinished") == "Hel")
    latest = server.tell("turnscribe.behind", seconds=6)
    server.hang_up()
    browser.until(lambda: "Nothing is lost: trying again, 1 of 5." in browser.text("#live-note"))
    server.wait(2.5, call=1)
    first, second = server.calls
    assert second.query == {"session_id": "sess_1", "after": latest}
    assert "session.update" not in second.kinds
    again = first.audio[SECOND // 2 :]
    assert len(again) >= SECOND
    assert second.audio[: len(again)] == again, "what the server did not get, and then what was heard meanwhile"
    server.delta("a", "lo")
    browser.until(lambda: browser.text("#live-unfinished") == "Hello")
    assert not browser("#live-note").is_displayed()
    browser("#live-stop").click()
    server.stopped(call=1)
    server.closed()
    browser.shown("#result")


def test_a_connection_that_breaks_before_the_server_knows_the_settings(browser: LiveBrowser, server: StandIn) -> None:
    server.loses_update = True
    browser.open(server.url)
    browser("#listen").click()
    server.wait(1.5, call=1)
    first, second = server.calls
    assert not first.audio
    assert second.query == {"session_id": "sess_1", "after": "event_created"}
    assert second.events[0] == first.events[0], "the settings"


def test_after_five_tries_the_recording_is_there_to_be_sent(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    browser.js("const wait = setTimeout; window.setTimeout = (step, pause) => wait(step, pause / 20)")
    server.refuses = True
    server.hang_up()
    assert "could not be taken up again" in browser.error()
    browser.until(lambda: browser("#send").is_enabled())
    assert browser.text("#chosen").startswith("recording-")
    assert browser.js("return location.hash") == ""


def test_a_refused_session_says_so(browser: LiveBrowser, server: StandIn) -> None:
    server.refuses = True
    browser.open(server.url)
    browser("#listen").click()
    assert browser.error().startswith("The server did not begin a live session")
    assert browser("#listen").is_displayed()
    assert not browser("#send").is_enabled()


def test_refused_settings_say_so(browser: LiveBrowser, server: StandIn) -> None:
    server.refused_update = "The language is not known."
    browser.open(server.url)
    browser("#listen").click()
    assert browser.error() == "The language is not known."
    assert not server.calls[0].audio


def test_an_error_ends_the_session_and_keeps_what_was_heard(browser: LiveBrowser, server: StandIn) -> None:
    server.result = done(answer(step=0.05))
    listen(browser, server)
    server.tell("error", error={"message": "The session has 7 s of audio, which is all it may have."})
    server.stopped()
    server.closed()
    browser.shown("#result")
    assert browser.error() == "The session has 7 s of audio, which is all it may have."


def test_a_session_without_audio_has_no_transcript(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    browser("#live-stop").click()
    server.stopped()
    server.closed(None)
    assert browser.error() == "Nothing was heard, so there is no transcript."


def test_new_transcript_ends_the_session(browser: LiveBrowser, server: StandIn) -> None:
    listen(browser, server)
    browser("#anew").click()
    server.stopped()
    assert browser("#listen").is_displayed()
    assert browser.js("return location.hash") == ""


@pytest.mark.parametrize(
    ("name", "sentence"), [("NotFoundError", "No microphone was found."), ("NotAllowedError", "did not allow")]
)
def test_without_a_microphone_it_says_so(browser: LiveBrowser, server: StandIn, name: str, sentence: str) -> None:
    browser.open(server.url)
    browser.js(f"navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{name}'))")
    browser("#listen").click()
    assert sentence in browser.error()
    assert not server.calls


def test_a_file_that_cannot_be_played_says_so(browser: LiveBrowser, server: StandIn, tmp_path: Path) -> None:
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"no audio")
    browser.open(server.url)
    browser("#file").send_keys(str(noise))
    browser("#play-in").click()
    assert browser.error() == "This browser cannot play that file. Transcribe it instead."
    assert browser("#send").is_enabled()


# --- With the real server -------------------------------------------------------------------------------------


def test_text_appears_before_stop_and_a_transcript_after(browser: LiveBrowser, tmp_path: Path) -> None:
    with serving(fake_pipeline(), tmp_path) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/ui")
        browser("#listen").click()
        browser.until(lambda: "w0 w1" in browser.text("#live-unfinished") + browser.text("#live-log"), 30)
        assert browser("#live-stop").is_enabled()
        browser("#live-stop").click()
        browser.shown("#result", 60)
        assert "hello there" in browser.text("#transcript")
        browser.until(lambda: browser("#play").is_enabled())


def test_the_key_goes_with_it(browser: LiveBrowser, tmp_path: Path) -> None:
    with serving(fake_pipeline(), tmp_path, settings={"api_keys": "secret"}) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/ui")
        browser.shown("#key-form")
        browser("#key").send_keys("secret", Keys.ENTER)
        browser.until(lambda: not browser("#key-form").is_displayed())
        browser("#listen").click()
        browser.until(lambda: browser.text("#live-state").startswith("Listening"))
        browser("#live-stop").click()
        browser.shown("#result", 60)


def test_a_reload_ends_the_session_and_leads_to_its_transcript(browser: LiveBrowser, tmp_path: Path) -> None:
    with serving(fake_pipeline(), tmp_path) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/ui")
        browser("#listen").click()
        browser.until(lambda: browser.text("#live-unfinished") + browser.text("#live-log"), 30)
        assert browser.js("return location.hash").startswith("#live=sess_")
        browser.driver.refresh()
        browser.shown("#result", 60)
        assert browser.js("return location.hash").startswith("#job=")
        browser.driver.get("about:blank")
        browser.driver.get(f"{str(client.base_url).rstrip('/')}/ui#live=sess_gone")
        assert browser.error() == "The live session of this address is over, or cannot be reached."


@pytest.mark.models
def test_a_conversation_from_the_microphone(browser: LiveBrowser, demo_handler: Any, tmp_path: Path) -> None:
    with serving(demo_handler.pipeline, tmp_path) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/ui")
        browser("#listen").click()
        browser.until(lambda: browser.text("#live-log"), 60)
        assert browser("#live-stop").is_enabled()
        browser("#live-stop").click()
        browser.shown("#result", 120)
        assert len(browser.all("#transcript .word")) > 3
        browser.until(lambda: browser("#play").is_enabled())


@pytest.mark.models
def test_a_conversation_played_in(browser: LiveBrowser, demo_handler: Any, talk: Path, tmp_path: Path) -> None:
    with serving(demo_handler.pipeline, tmp_path) as client:
        browser.open(f"{str(client.base_url).rstrip('/')}/ui")
        browser("#file").send_keys(str(talk))
        browser("#play-in").click()
        browser.until(lambda: browser.text("#live-unfinished") + browser.text("#live-log"), 30)
        assert browser("#live-stop").is_enabled()
        browser.shown("#result", 120)  # at the end of the file
        assert browser.text("#result-title") == talk.name
        assert browser.all("#transcript .name")
        browser.until(lambda: browser("#play").is_enabled())


def samples_of(call: Call) -> NDArray[np.float64]:
    return np.frombuffer(call.audio, "<i2") / 32768


def colour(browser: Browser, number: int) -> str:
    """Of the bar beside a turn."""
    said = browser.all("#live-log .said")[number]
    return browser.js("return getComputedStyle(arguments[0]).borderInlineStartColor", said)
