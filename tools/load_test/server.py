"""`python -m server` as a process of its own, on a free port of this machine."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from turnscribe.threads import environment_before

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = {"ASR_MODEL": "demo/whisper", "ASSISTANT_MODEL": "demo/assistant", "DIARIZATION_MODEL": "demo/diarizer"}
START_SECONDS = 900.0  # real models are large
END_SECONDS = 60.0


class NotServing(Exception):
    """The server ended, or did not become ready; one sentence."""


def exit_status(run: Callable[[], int]) -> int:
    """Of a command whose `run` raises `NotServing` where it cannot go on, or gets a Ctrl-C."""
    try:
        return run()
    except NotServing as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        return 130


class ServerProcess:
    """Started with `with`; its output goes to the file `log`, `folder` keeps its jobs.

    `environ` is the whole environment of the process, but for where it listens; `descriptors` is how many files and
    sockets it may have open, where that is not this process's own limit; `repository` is the checkout it runs from.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        folder: Path,
        log: Path,
        descriptors: int | None = None,
        repository: Path = REPOSITORY,
    ) -> None:
        self.log, self._repository = log, repository
        self._command = [sys.executable, "-m", "server"]
        if descriptors is not None:
            self._command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *self._command]
        self._environ = {**environ, "HOST": "127.0.0.1", "PORT": "0", "JOBS_FOLDER": str(folder)}

    def __enter__(self) -> ServerProcess:
        with open(self.log, "ab") as output:
            self._begins = output.tell()
            try:
                with deferred_signals():
                    self.process = subprocess.Popen(
                        self._command,
                        cwd=self._repository,
                        env=self._environ,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,  # a Ctrl-C is for whoever started it, who ends it then
                    )
            except (KeyboardInterrupt, SystemExit):  # deferred until there was a process to end
                self.end()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ready(self) -> str:
        """Its URL, once the models are loaded. Raises `NotServing`."""
        url, deadline = None, time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise NotServing(f"The server ended with status {self.process.returncode}: {self._last_line()}")
            url = url or self._url()
            if url and _is_healthy(url):
                return url
            time.sleep(0.1)
        raise NotServing(f"The server was not ready after {START_SECONDS:g} s: see {self.log}.")

    def signal_end(self) -> None:
        """Ask it to end; it finishes what is running first."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As if the machine had lost its power, but for what the kernel has of its files."""
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = END_SECONDS) -> int:
        """Its exit status; killed where it does not end."""
        self.signal_end()
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.kill()

    def output(self) -> str:
        """What this process has written."""
        with open(self.log, "rb") as log:
            log.seek(self._begins)
            return log.read().decode(errors="replace")

    def _url(self) -> str | None:
        match = re.search(r"running on (http://[\d.]+:\d+)", self.output())
        return match.group(1) if match else None

    def _last_line(self) -> str:
        return (self.output().strip().splitlines() or ["it said nothing."])[-1]


def environment(models: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process, with these models and without keys, which the requests would need."""
    return {**{name: value for name, value in environment_before().items() if name != "API_KEYS"}, **models}


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM have their effect at the end of the block: a process that just starts in it is not lost."""
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for arrival in arrived:
        signal.raise_signal(arrival)


def _is_healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
