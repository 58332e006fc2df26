"""What the page's tests look with: a headless Chromium, and a stand-in of the server that renders as it does."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import REPOSITORY
from turnscribe.serving.problems import problem_of, problem_response
from turnscribe.serving.routes.page import offered_formats
from turnscribe.serving.routes.render import rendered

PAGE = REPOSITORY / "turnscribe" / "serving" / "page"
POLICY = "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
CONTRAST = 4.5  # WCAG 2.2 AA, 1.4.3
CONTRASTS = """
const parse = (colour) => {
  const n = colour.match(/[\\d.]+/g).map(Number);
  const [r, g, b] = colour.startsWith('color(srgb') ? n.map((share) => share * 255) : n;
  return [r, g, b, n[3] ?? 1];
};
const ground = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parse(getComputedStyle(each).backgroundColor);
    if (colour[3] === 1) return colour;
  }
  return [255, 255, 255, 1];
};
const luminance = ([r, g, b]) => {
  const linear = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};
const found = [];
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!(own || element.matches('input:not([type=checkbox])')) || !element.checkVisibility()) continue;
  if (element.matches(':disabled, option')) continue;
  const [one, other] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  found.push([ratio, element.tagName + '.' + element.className + ' ' + element.textContent.slice(0, 20)]);
}
return found;
"""

JOB = "job_1"
MODELS = {
    "object": "list",
    "data": [
        {
            "id": "whisper",
            "object": "model",
            "turnscribe": {
                "diarization": True,
                "assistant": True,
                "languages": ["en", "de", "xx"],
                "multilingual": True,
            },
        }
    ],
}
SAID = [
    ("SPEAKER_01", "hello team please listen"),
    ("SPEAKER_00", "hello i have one question"),
    ("SPEAKER_01", "we send the report on friday"),
    ("SPEAKER_02", "sorry my train was not early"),
]


def answer(said: list[tuple[str | None, str]] = SAID, *, step: float = 0.5) -> dict[str, Any]:
    """A server's answer in which every word takes `step` seconds, the gap after it included."""
    words: list[dict[str, Any]] = []
    speakers = []
    for speaker, text in said:
        first = len(words)
        for word in text.split():
            start = len(words) * step
            timed = {"word": f" {word}", "start": start, "end": start + step * 0.9, "probability": 0.9}
            words.append(timed | ({"speaker": speaker} if speaker else {}))
        if speaker:
            speakers.append(
                {"speaker": speaker, "text": text, "timestamp": [words[first]["start"], words[-1]["end"]]}
            )
    return {
        "text": " ".join(text for _, text in said),
        "chunks": [],
        "speakers": speakers,
        "words": words,
        "language": "en",
        "duration": len(words) * step,
        "timings": {"total": 1.5},
    }


def done(result: dict[str, Any]) -> dict[str, Any]:
    return {"id": JOB, "status": "done", "progress": 1.0, "expires_at": time.time() + 3600, "result": result}


def refusal(message: str, status: int, **headers: str) -> tuple[int, dict[str, str], Any]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return status, headers, {"error": error}


class StandIn(ThreadingHTTPServer):
    """The server, canned: `states` are told one after the other, the last for good."""

    daemon_threads = True
    prefix = ""  # of a proxy: what is not below it is not there

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Routes)
        self.key = ""
        self.takes_uploads = threading.Event()
        self.takes_uploads.set()
        self.models: Any = MODELS
        self.formats = offered_formats()
        self.states: list[Any] = [{"id": JOB, "status": "running", "progress": 0.4}, done(answer())]
        self.refusals: list[tuple[int, dict[str, str], Any]] = []  # of the next uploads
        self.orders: list[dict[str, Any]] = []  # to render
        self.jobs: dict[str, list[Any]] = {}  # as `states`; that of x.wav is job_x
        self.requests: list[tuple[str, str]] = []
        self.uploads: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{self.prefix}/ui"

    def field(self, name: str) -> str | None:
        """A form field of the last upload."""
        found = re.search(rb'name="%s"\r\n\r\n(.*?)\r\n' % name.encode(), self.uploads[-1])
        return found[1].decode() if found else None


class _Routes(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        path = self.path.removeprefix(self.server.prefix).partition("?")[0]
        if not self.path.startswith(self.server.prefix):
            return self._send(404, {}, b"")
        if path == "/ui/formats.json":
            return self._json(200, {}, self.server.formats)
        if path.startswith("/ui"):
            file = PAGE / (path.removeprefix("/ui").strip("/") or "index.html")
            # Stricter than the server: no string may become markup or script.
            policy = f"{POLICY}; require-trusted-types-for 'script'"
            headers = {"Content-Type": TYPES[file.suffix], "Content-Security-Policy": policy}
            return self._send(200, headers | {"X-Content-Type-Options": "nosniff"}, file.read_bytes())
        if not self._allowed():
            return None
        if path == "/v1/models":
            return self._json(200, {}, self.server.models)
        if path == f"/v1/jobs/{JOB}":
            states = self.server.states
            return self._json(*_with_status(states.pop(0) if len(states) > 1 else states[0]))
        if (states := self.server.jobs.get(path.removeprefix("/v1/jobs/"))) is not None:
            return self._json(*_with_status(states.pop(0) if len(states) > 1 else states[0]))
        return self._json(*refusal("There is no such job: it was removed, or never there.", 404))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path.startswith(self.server.prefix)
        if not self._allowed():
            return
        if self.path.endswith("/v1/render"):
            return self._render(body)
        if not self.server.takes_uploads.wait(20):
            return
        self.server.uploads.append(body)
        if self.server.refusals:
            self._json(*self.server.refusals.pop(0))
        else:
            named = re.search(rb'filename="(\w+)', body)
            id = f"job_{named[1].decode()}" if named and self.server.jobs else JOB
            self._json(202, {}, {"id": id, "status": "queued", "progress": 0.0})

    def _render(self, body: bytes) -> None:
        self.server.orders.append(json.loads(body))
        try:
            response = rendered(body)
        except Exception as error:
            response = problem_response(problem_of(error), "/v1/render")
        self._send(response.status_code, {"Content-Type": response.headers["content-type"]}, bytes(response.body))

    def do_DELETE(self) -> None:
        if self._allowed():
            self._send(204, {}, b"")

    def _allowed(self) -> bool:
        self.server.requests.append((self.command, self.path))
        key = self.server.key
        if key and self.headers["Authorization"] != f"Bearer {key}":
            self._json(*refusal("This server needs an API key.", 401))
            return False
        return True

    def _json(self, status: int, headers: dict[str, str], body: Any) -> None:
        self._send(status, {"Content-Type": "application/json"} | headers, json.dumps(body).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _with_status(state: Any) -> tuple[int, dict[str, str], Any]:
    return state if isinstance(state, tuple) else (200, {}, state)


class Browser:
    """A Chromium with one tab, and what the tests look at in it."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def open(self, url: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(url)
        self.until(lambda: self("#error") and self.js("return document.body.dataset.view"))

    def __call__(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return self.js("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def until(self, met: Callable[[], Any], seconds: float = 20) -> Any:
        return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: met())

    def shown(self, selector: str, seconds: float = 20) -> WebElement:
        self.until(lambda: self(selector).is_displayed(), seconds)
        return self(selector)

    def error(self) -> str:
        return self.shown("#error").text

    def upload(self, file: Path, seconds: float = 20) -> None:
        """Sends a file and waits for its transcript."""
        self("#file").send_keys(str(file))
        self("#send").click()
        self.shown("#result", seconds)
        self.until(lambda: self("#play").is_enabled())

    def word(self, text: str) -> WebElement:
        return self.driver.find_element(By.XPATH, f"//span[contains(@class, 'word')][text()='{text}']")

    @property
    def now(self) -> float:
        return self.js("return document.getElementById('audio').currentTime")

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        return self.js("return document.activeElement.textContent")

    def save(self, format: str) -> None:
        self("#download-menu summary").click()
        self(f"[data-format='{format}']").click()

    def downloaded(self, format: str) -> str:
        self.save(format)
        (file,) = self.until(lambda: list(self.downloads.glob(f"*.{format}")))
        content = file.read_text()
        file.unlink()
        return content

    def module(self, path: str, script: str, *given: Any) -> Any:
        """What `script` returns; in it `module` is a module of the page, and `given` are the arguments."""
        return self.driver.execute_async_script(
            f"const [path, given, done] = arguments; const run = (module, given) => {{ {script} }};"
            "import(new URL(path, new URL('ui/', location.href)))"
            ".then((module) => done(run(module, given)), (error) => done(String(error)))",
            path,
            list(given),
        )

    def kept(self, store: str) -> int:
        """How many entries a store of the browser's database has."""
        return self.driver.execute_async_script(
            "const [store, done] = arguments; const open = indexedDB.open('turnscribe'); open.onsuccess = () => {"
            " const count = open.result.transaction(store).objectStore(store).count();"
            " count.onsuccess = () => { open.result.close(); done(count.result); }; }",
            store,
        )

    def prefer(self, **features: str) -> None:
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def complaints(self) -> list[str]:
        """What the console has of broken rules and uncaught errors since the last call."""
        entries = [entry["message"] for entry in self.driver.get_log("browser")]
        return [entry for entry in entries if "Failed to load resource" not in entry and "ERR_" not in entry]


BrowserT = TypeVar("BrowserT", bound=Browser)


@contextmanager
def chromium_in(folder: Path, kind: type[BrowserT], *flags: str) -> Iterator[Callable[[str, str], BrowserT]]:
    """Starts it once, with these flags beside its own; ends it."""
    started: list[webdriver.Chrome] = []

    def start(program: str, controller: str) -> BrowserT:
        if not started:
            options = Options()
            options.binary_location = program
            for flag in (
                "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage "
                "--disable-background-networking --disable-component-update --disable-sync --window-size=1280,900 "
                "--autoplay-policy=no-user-gesture-required --use-fake-device-for-media-stream "
                "--use-fake-ui-for-media-stream --mute-audio"
            ).split():
                options.add_argument(flag)
            for flag in (*flags, f"--user-data-dir={folder / 'profile'}"):
                options.add_argument(flag)
            options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            started.append(webdriver.Chrome(options, Service(controller)))
        return kind(started[0], folder / "downloads")

    yield start
    for driver in started:
        driver.quit()


@contextmanager
def uncomplaining(found: BrowserT) -> Iterator[BrowserT]:
    """With light colours; in the end nothing may have been blocked or thrown."""
    found.prefer(prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    found.complaints()
    yield found
    complaints = found.complaints()
    found.driver.get("about:blank")
    assert not complaints, complaints
