"""Thousands of hostile requests at a live server with the demo models, each drawn from a seed.

    python -m scripts.hostile                       10,000 of moderate size
    python -m scripts.hostile --requests 500 --seed 7
    python -m scripts.hostile --seed 7 --first 412 --requests 1
    python -m scripts.hostile --full                with some of the largest sizes before them

Bodies, heads, forms, files and the timing of clients. Meanwhile another process asks `/health` all the time. This is
wrong: a server that ends; a `/health` that takes over half a second, without what the kernel let it wait for a core,
or is not 200; a 500 without the number of its log entry, and any other 5xx but a 503 with `Retry-After`; no answer
where one is owed; an ordinary request that is answered otherwise than before; a connection to an address of this
machine; a secret or a payload in an answer or in the log; a job that was accepted and is gone; memory that grows by
over a gibibyte.

Exit status: 0 nothing was wrong, 1 something was (one sentence each, with the seed and the request's number), 2 it
could not be run, 130 Ctrl-C (with the figures so far; the server is ended then).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import httpx

from tools.benchmarks.audio import speech
from tools.benchmarks.results import machine
from tools.hostile import files, forms, full, heads, json_bodies, timing
from tools.hostile.attack import Attack, Ground, Marks
from tools.hostile.send import Outcome, send
from tools.load_test.server import DEMO, REPOSITORY, ServerProcess, environment, exit_status
from tools.load_test.watch import Watch

GENERATORS = {  # by kind, with its share
    f"{module.__name__.rpartition('.')[2]}: {generator.__name__.replace('_', ' ')}": (generator, weight * share)
    for module, share in ((json_bodies, 1.0), (forms, 1.0), (files, 1.0), (heads, 1.0), (timing, 0.25))
    for generator, weight in module.GENERATORS.items()
}
KINDS, SHARES = list(GENERATORS), [share for _, share in GENERATORS.values()]
HEALTH_S = 0.5
BEFORE = 3  # ordinary requests of as many clients as attack later: /health beside them is what it is held against
ORDINARY_EVERY = 100  # requests
MOST_GROWTH_MIB = 1024.0
SETTLED_S = 120.0
SHOWN = 20
LOCALHOST = "127.0.0.1"


Numbered: TypeAlias = tuple[int, str, Attack]  # number, kind


class Probe(NamedTuple):
    at: float  # seconds since 1970
    seconds: float
    waited: float  # of them, for a core: others' work on this machine is not the server's fault
    status: int  # 0 where there was none

    @property
    def own(self) -> float:
        return self.seconds - self.waited


def main(argv: Sequence[str] | None = None) -> int:
    return exit_status(Siege(_parser().parse_args(argv)).run)


class Siege:
    """One run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.failures: list[str] = []
        self.statuses: dict[str, Counter[str]] = defaultdict(Counter)
        self.excused_500s: list[str] = []
        self.accepted: list[str] = []
        self.interrupted = False
        self.jobs_lost = 0
        self.usual: str | None = None  # the text of the ordinary request
        self.health_before: list[Probe] = []
        self.probes: list[Probe] = []
        self.memory_before = self.memory_max = self.spool_max = self.seconds = 0.0
        self.errors_logged: Counter[str] = Counter()
        self._under_way: dict[int, tuple[str, float]] = {}
        self._spans: list[tuple[float, float, str]] = []  # of every request: from, to (seconds since 1970), kind
        self._lock = threading.Lock()
        self._over = threading.Event()
        nonce = secrets.token_hex(8)
        self.marks = Marks(f"key-{nonce}", f"hf_token{nonce}", f"audio-{nonce}", f"field-{nonce}")

    def run(self) -> int:
        """The exit status. Raises `NotServing`, where it cannot even begin."""
        args = self.args
        args.log.parent.mkdir(parents=True, exist_ok=True)
        args.log.unlink(missing_ok=True)
        with ExitStack() as ending:
            self.folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
            secret_file = self.folder / "secret.wav"
            secret_file.write_text(self.marks.token)
            self.listener = ending.enter_context(listening())
            self.watch = ending.enter_context(Watch(0.5))
            self.server = ending.enter_context(self._server())
            self.watch.follow(self.server.process.pid)
            self._say(f"seed {args.seed}; the server writes to {args.log}")
            self.url = self.server.ready()
            self.port = urlsplit(self.url).port or 80
            self.ground = Ground(self.marks, self.listener.port, str(secret_file), files.recordings(speech(1.5)))
            try:
                self._go_through()
            except KeyboardInterrupt:
                self.interrupted = True
                self._say("stopped; the figures so far:")
            except httpx.HTTPError as error:
                self._fail(f"the server did not answer at the end: {error!r}")
            finally:
                self._over.set()
            self._end()
            return self._report()

    def _server(self) -> ServerProcess:
        models = {**DEMO, **({"DIARIZATION_MODEL": "", "ASSISTANT_MODEL": ""} if self.args.asr_only else {})}
        spool = self.folder / "spool"
        spool.mkdir()
        environ = {**environment(models), "API_KEYS": self.marks.key, "HF_TOKEN": self.marks.token}
        environ |= {"ALLOW_URL_INPUTS": "true", "TMPDIR": str(spool)}
        descriptors = full.DESCRIPTORS if self.args.full else None
        return ServerProcess(environ, folder=self.folder / "jobs", log=self.args.log, descriptors=descriptors)

    # The requests -----------------------------------------------------------------------------------

    def _go_through(self) -> None:
        with probing(self.port, self.server.process.pid, self.folder / "probes") as probes:
            self.usual = self._ordinary()
            with ThreadPoolExecutor(self.args.at_once) as pool:
                list(pool.map(lambda _: self._ordinary(), range(BEFORE * self.args.at_once)))
            self.health_before = probes()
            self.memory_before = max(sample.memory_mib for sample in self.watch.samples)
            self.began = time.time()
            try:
                if self.args.full:
                    self._besiege(full.attacks(self.ground), at_once=self.args.at_once)
                    self._besiege(full.silent_clients(), at_once=full.SILENT_CLIENTS)
                self._besiege(self._attacks(), at_once=self.args.at_once)
            finally:
                self.seconds = time.time() - self.began
                self.probes = [probe for probe in probes() if probe.at >= self.began]
        if self._is_alive():
            self._settle()

    def _besiege(self, attacks: Iterator[Numbered], *, at_once: int) -> None:
        """Until there are no more attacks, or no server."""
        threads = [threading.Thread(target=self._attack, args=(attacks,), daemon=True) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        minute = (time.time() - self.began) // 60 + 1
        while any(thread.is_alive() for thread in threads):
            if not self._is_alive():
                kinds = sorted({kind for kind, _ in self._under_way.values()})
                status = self.server.process.returncode
                numbers = sorted(self._under_way)
                self._fail(f"the server ended by itself with status {status} during {numbers} ({', '.join(kinds)})")
                self._over.set()
                return
            if time.time() - self.began >= minute * 60:
                self._say(self._progress(minute))
                minute += 1
            time.sleep(0.1)

    def _attacks(self) -> Iterator[Numbered]:
        for number in range(self.args.first, self.args.first + self.args.requests):
            chosen = random.Random(f"{self.args.seed}/{number}")
            kind = chosen.choices(KINDS, SHARES)[0]
            yield number, kind, GENERATORS[kind][0](self.ground, chosen)

    def _attack(self, attacks: Iterator[Numbered]) -> None:
        while not self._over.is_set():
            with self._lock:
                following = next(attacks, None)
            if following is None:
                return
            number, kind, attack = following
            began = time.time()
            with self._lock:
                self._under_way[number] = (kind, began)
            try:
                self._judge(number, kind, attack, send(attack, LOCALHOST, self.port))
            except OSError as error:
                if self._is_alive():
                    self._fail(f"request {number} ({kind}): no connection: {error!r}")
            except Exception as error:
                self._fail(f"request {number} ({kind}): {error!r}")
            with self._lock:
                del self._under_way[number]
                self._spans.append((began, time.time(), kind))
            if number % ORDINARY_EVERY == 0 and not self._over.is_set():
                self._ordinary()

    def _judge(self, number: int, kind: str, attack: Attack, outcome: Outcome) -> None:
        status = "late" if outcome.late else str(outcome.status or "none")
        with self._lock:
            self.statuses[kind][status] += 1
        if self._over.is_set():
            return
        text = outcome.body.decode(errors="replace")
        at = f"request {number} ({kind})"
        if (outcome.late or outcome.status is None) and attack.owed and self._is_alive():
            self._fail(f"{at} was not answered{' in time' if outcome.late else ''}")
        if outcome.status == 500 and re.search(r"\b[0-9a-f]{12}\b", text):
            with self._lock:
                self.excused_500s.append(at)
        elif outcome.status is not None and outcome.status >= 500:
            excused = outcome.status == 503 and "retry-after:" in outcome.head.lower()
            if not excused:
                self._fail(f"{at} was answered {outcome.status}: {text[:200]!r}")
        if any(secret in text or secret in outcome.head for secret in self.marks.secret):
            self._fail(f"{at} was answered with a secret or with what was sent as audio")
        if outcome.status == 202:
            with self._lock:
                self.accepted.append(json.loads(text)["id"])
                self.ground.jobs.append(self.accepted[-1])

    def _ordinary(self) -> str:
        """The text of a recording, which is always the same."""
        audio = self.ground.recordings["wav"]
        try:
            answer = self._http("POST", "/?diarize=false", content=audio, headers={"Content-Type": "audio/wav"})
            text = answer.json().get("text", answer.text) if answer.status_code == 200 else answer.text
        except httpx.HTTPError as error:
            text = repr(error)
        if self.usual is not None and text != self.usual and self._is_alive():
            self._fail(f"an ordinary request was answered {text[:100]!r}, not {self.usual[:100]!r}")
        return str(text)

    def _http(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        keyed = {"Authorization": f"Bearer {self.marks.key}", **(headers or {})}
        return httpx.request(method, self.url + path, headers=keyed, timeout=120, **options)

    # The end ----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Nothing stays under way; no job is lost; the server answers as before."""
        deadline = time.monotonic() + SETTLED_S
        names = ("requests_running", "requests_waiting", "uploads", "jobs_running", "jobs_waiting")
        left: dict[str, float] = {"requests": 1}
        while left:
            lines = self._http("GET", "/metrics").text.splitlines()
            gauges = dict(line.rsplit(" ", 1) for line in lines if line.startswith("turnscribe_"))
            left = {name: value for name in names if (value := float(gauges[f"turnscribe_{name}"]))}
            if left and time.monotonic() > deadline:
                self._fail(f"{SETTLED_S:g} s after the last request there are {left}")
                break
            time.sleep(0.2)
        for id in self.accepted:
            answer = self._http("GET", f"/v1/jobs/{id}")
            if answer.status_code != 200 or answer.json()["status"] not in ("done", "failed"):
                self.jobs_lost += 1
                self._fail(f"job {id} was accepted, and is now {answer.text[:100]!r}")
        self._ordinary()

    def _end(self) -> None:
        self.watch.follow(None)
        if self._is_alive():
            try:
                if status := self.server.end():
                    self._fail(f"the server ended with status {status} after SIGTERM")
            except subprocess.TimeoutExpired:
                self._fail("the server did not end after SIGTERM")
        written = self.args.log.read_text(errors="replace")
        for name, mark in vars(self.marks).items():
            if mark in written:
                self._fail(f"the log has the {name} in it")
        for connection in self.listener.seen:
            self._fail(f"the server connected to this machine's own address, from {connection}")
        self.errors_logged = Counter(
            match.group(1)[:80]
            for match in re.finditer(r"(?: ERROR | CRITICAL )(.*?)(?:, incident.*)?$", written, re.M)
        )
        self.memory_max = max((sample.memory_mib for sample in self.watch.samples), default=0.0)
        self.spool_max = max((sample.spool_mib for sample in self.watch.samples), default=0.0)
        if self.memory_before and self.memory_max - self.memory_before > MOST_GROWTH_MIB:
            self._fail(f"the memory grew from {self.memory_before:.0f} to {self.memory_max:.0f} MiB")
        for probe in self.probes:
            if probe.own > HEALTH_S or probe.status != 200:
                kinds = {kind for a, b, kind in self._spans if a < probe.at + probe.seconds and b > probe.at}
                during = ", ".join(sorted(kinds)) or "nothing"
                took = f"{probe.seconds:.2f} s, {probe.waited:.2f} of them waiting for a core"
                self._fail(f"/health took {took}, status {probe.status}, during {during}")

    def _report(self) -> int:
        all_statuses = sorted({status for counts in self.statuses.values() for status in counts})
        print("| kind | requests | " + " | ".join(all_statuses) + " |")
        print("|---" * (len(all_statuses) + 2) + "|")
        for kind, counts in sorted(self.statuses.items()):
            cells = [str(counts.get(status, "")) for status in all_statuses]
            print(f"| {kind} | {sum(counts.values())} | " + " | ".join(cells) + " |")
        probes = sorted(probe.seconds for probe in self.probes)
        before = [probe.seconds for probe in self.health_before]
        totals = sum(self.statuses.values(), Counter[str]())
        outcome: dict[str, Any] = {
            "seed": self.args.seed,
            "requests": totals.total(),
            "seconds": round(self.seconds),
            "by status": ", ".join(f"{number} {status}" for status, number in sorted(totals.items())),
            "500 with a number": len(self.excused_500s),
            "health: asked": len(probes),
            "health: median, s": round(probes[len(probes) // 2], 3) if probes else None,
            "health: slowest, s": round(probes[-1], 3) if probes else None,
            "health: slowest, without waiting for a core, s": round(
                max((one.own for one in self.probes), default=0), 3
            ),
            "health: slowest beside ordinary requests, s": round(max(before), 3) if before else None,
            "memory: before, max, MiB": f"{self.memory_before:.0f}, {self.memory_max:.0f}",
            "spool: max, MiB": self.spool_max,
            "descriptors: max": max((sample.descriptors for sample in self.watch.samples), default=0),
            "connections to this machine": len(self.listener.seen),
            "jobs: accepted, lost": f"{len(self.accepted)}, {self.jobs_lost}",
            "failed": len(self.failures),
        }
        print("\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in outcome.items()))
        for text, number in self.errors_logged.most_common(10):
            self._say(f"in the log {number} times: {text}")
        for at in self.excused_500s[:SHOWN]:
            self._say(f"500 with a number: {at}")
        if self.args.output:
            everything = {"outcome": outcome, "statuses": self.statuses, "failures": self.failures}
            everything |= {"errors logged": self.errors_logged, "500 with a number": self.excused_500s}
            self.args.output.parent.mkdir(parents=True, exist_ok=True)
            self.args.output.write_text(json.dumps({**everything, "about": machine()}, indent=1) + "\n")
        for sentence in self.failures[:SHOWN]:
            self._say(f"failed: {sentence}")
        if len(self.failures) > SHOWN:
            self._say(f"and {len(self.failures) - SHOWN} more")
        return 1 if self.failures else 130 if self.interrupted else 0

    def _progress(self, minute: float) -> str:
        done = sum(counts.total() for counts in self.statuses.values())
        return (
            f"minute {minute:.0f}: {done} requests, {len(self.accepted)} jobs, "
            f"{self.watch.samples[-1].memory_mib:.0f} MiB, {len(self.failures)} failed"
        )

    def _is_alive(self) -> bool:
        return self.server.process.poll() is None

    def _fail(self, sentence: str) -> None:
        with self._lock:
            self.failures.append(f"Seed {self.args.seed}: {sentence}.")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Listener:
    """A port on loopback that nobody should come to, and who came."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.port = sockets[0].getsockname()[1]
        self.seen: list[str] = []
        for listener in sockets:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            self.seen.append(str(address))
            connection.close()


@contextmanager
def listening() -> Iterator[Listener]:
    """On one port of both loopback addresses, where there are both."""
    with closing(socket.create_server((LOCALHOST, 0))) as first, ExitStack() as others:
        sockets = [first]
        if socket.has_ipv6:
            try:
                address = ("::1", first.getsockname()[1])
                sockets.append(others.enter_context(socket.create_server(address, family=socket.AF_INET6)))
            except OSError:
                pass  # this machine has no such address
        yield Listener(sockets)


@contextmanager
def probing(port: int, pid: int, output: Path) -> Iterator[Any]:
    """A function that gives all probes so far."""

    def probes() -> list[Probe]:
        lines = [line.split() for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [Probe(float(at), float(took), float(waited), int(status)) for at, took, waited, status in lines]

    command = [sys.executable, "-m", "tools.hostile.prober", str(port), str(pid)]
    with open(output, "w") as file:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=file, start_new_session=True
        )
    try:
        yield probes
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000, metavar="N", help="of them (10000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is drawn (1)")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="number of the first request (1)")
    parser.add_argument("--at-once", type=int, default=12, metavar="N", help="requests at the same time (12)")
    parser.add_argument("--full", action="store_true", help="some of the largest sizes before: 1 GB is sent")
    parser.add_argument("--asr-only", action="store_true", help="without the assistant and the diarizer")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where all figures go as JSON")
    parser.add_argument("--log", type=Path, default=Path("build/hostile/server.log"), metavar="FILE")
    return parser
