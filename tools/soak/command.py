"""The server for an hour: mixed requests, clients that leave, deleted jobs, restarts and kills, drawn from a seed.

    python -m scripts.soak                          an hour with the demo models
    python -m scripts.soak --minutes 10 --seed 7

Every answer is compared with the one to the same request alone. Every job that was accepted has to be done once, with
the right transcript, or to be deleted by its client. The server's memory, threads and descriptors are sampled; in
the last two fifths of the time it is neither restarted nor killed, so that growth shows. A line a minute says how
far it is, and a table comes at the end; `--output` gets all figures as JSON.

Exit status: 0 nothing failed, 1 something did (one sentence each, with the seed and the step), 2 it could not be
run, 130 Ctrl-C (with the figures so far; the server is ended then).
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tools.benchmarks.results import machine
from tools.load_test.server import DEMO, NotServing, environment, exit_status
from tools.load_test.watch import Watch, growth
from tools.soak.alone import Material, ask_alone
from tools.soak.figures import Figures, about_process, as_json, of_states, table
from tools.soak.ledger import ACCEPTED, Ledger
from tools.soak.lives import Lives
from tools.soak.steps import Client, Ended, Failed, work

DISTURBED = 0.6  # of the time: the rest is one life, in which growth would show
MINUTES_A_DISTURBANCE = 4.0  # of each kind
SETTLED_S = 60.0  # after which nothing may be running or waiting
SHOWN = 20  # failures
ASR_ONLY = {**dict.fromkeys(DEMO, ""), "ASR_MODEL": DEMO["ASR_MODEL"]}


def main(argv: Sequence[str] | None = None) -> int:
    return exit_status(Soak(_parser().parse_args(argv)).run)


class Soak:
    """One run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.figures, self.ledger = Figures(), Ledger()
        self.interrupted = self.settled = False
        self.mixed_from = float("inf")  # seconds of the watch
        self._over = threading.Event()

    def run(self) -> int:
        """The exit status. Raises `NotServing`, where it cannot even begin."""
        args = self.args
        args.log.parent.mkdir(parents=True, exist_ok=True)
        args.log.unlink(missing_ok=True)
        with ExitStack() as ending:
            folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
            self.jobs = folder / "jobs"
            self.watch = ending.enter_context(Watch())
            environ = environment(ASR_ONLY if args.asr_only else DEMO)
            lives = Lives(environ, self.jobs, args.log, self.watch, self.figures.fail)
            self.lives = ending.enter_context(lives)
            self._say(f"seed {args.seed}; the server writes to {args.log}")
            self.lives.start()
            try:
                self._go_through()
            except KeyboardInterrupt:
                self.interrupted = True
                self._say("stopped; the figures so far:")
            except (NotServing, httpx.HTTPError) as error:
                self.figures.fail(f"Seed {args.seed}: {error}")
            finally:
                self._over.set()
            self._end()
            return self._report()

    def _go_through(self) -> None:
        args = self.args
        material = Material.make(clips=args.clips, all_models=not args.asr_only)
        began = time.monotonic()
        alone = ask_alone(self.lives.url(), material, wait=_wait_for_job, between=self.lives.check)
        self._say(f"{len(alone)} answers alone in {time.monotonic() - began:.0f} s")
        self.mixed_from = self.watch.seconds
        seconds = args.minutes * 60
        until = time.monotonic() + seconds
        clients = [Client(self.lives, material, alone, self.ledger, self.figures) for _ in range(args.clients)]
        threads = [
            threading.Thread(
                target=work,
                args=(number, client, args.seed, lambda: self._over.is_set() or time.monotonic() >= until),
                daemon=True,
            )
            for number, client in enumerate(clients, 1)
        ]
        for thread in threads:
            thread.start()
        self._disturb_and_say(until - seconds, seconds)
        for thread in threads:
            thread.join()
        self._settle(Client(self.lives, material, alone, self.ledger, self.figures))

    def _disturb_and_say(self, began: float, seconds: float) -> None:
        """Until the time is over. Raises `NotServing` where the server ended by itself or does not come again."""
        due = disturbances(self.args.seed, seconds, restarts=self.args.restarts, kills=self.args.kills)
        minute = 1
        while (passed := time.monotonic() - began) < seconds:
            self.lives.check()
            if due and due[0][0] <= passed:
                _, killed = due.pop(0)
                self.lives.kill() if killed else self.lives.restart()
            if passed >= minute * 60:
                self._say(self._progress(minute))
                minute = int(passed // 60) + 1
            time.sleep(0.2)
        for _, killed in due:  # restarts took longer than they were given
            self.lives.kill() if killed else self.lives.restart()

    def _progress(self, minute: int) -> str:
        last = self.watch.samples[-1]
        jobs = self.ledger.counts()
        return (
            f"minute {minute} of {self.args.minutes:g}: {self.figures.requests} requests, "
            f"{sum(jobs.values())} jobs ({jobs[ACCEPTED]} under way), {self.lives.restarts} restarts, "
            f"{self.lives.kills} kills, {last.memory_mib:.0f} MiB, {last.descriptors} descriptors, "
            f"{len(self.figures.failures)} failed"
        )

    def _settle(self, client: Client) -> None:
        """Every job ends, and nothing is left of requests whose clients have left."""
        for entry in self.ledger.entries():
            if entry.state == ACCEPTED:
                try:
                    client.finish(entry)
                except (Failed, Ended, httpx.HTTPError) as error:
                    self.figures.fail(f"Seed {self.args.seed}, at the end: {error}")
        deadline = time.monotonic() + SETTLED_S
        while left := _under_way(self.lives.url()):
            if time.monotonic() > deadline:
                self.figures.fail(f"Seed {self.args.seed}: {SETTLED_S:g} s after the last request there are {left}.")
                break
            time.sleep(0.2)
        client.close()
        self.settled = True

    def _end(self) -> None:
        """The last stop, in order; then what lies on the disk and in the log is looked at."""
        self.lives.give_up()
        try:
            if self.interrupted:
                self.lives.stop()
            else:
                self.lives.end(killed=False)
        except NotServing as error:
            sentence = f"Seed {self.args.seed}: {error}"
            if sentence not in self.figures.failures:
                self.figures.fail(sentence)
        self.wrong_jobs = self.ledger.check_folder(self.jobs) if self.settled else []
        mixed = [sample for sample in self.watch.samples if sample.second >= self.mixed_from]
        for sentence in self.wrong_jobs + growth(mixed):
            self.figures.fail(f"Seed {self.args.seed}: {sentence}")
        written = self.args.log.read_text(errors="replace")
        for line, times in Counter(re.findall(r" ((?:ERROR|CRITICAL) .*)", written)).items():
            self.figures.fail(f"Seed {self.args.seed}: the server's log has {times} times {line[:200]!r}.")

    def _report(self) -> int:
        states, failures = self.ledger.counts(), self.figures.failures
        outcome: dict[str, Any] = {
            "seed": self.args.seed,
            "minutes": self.args.minutes,
            "restarts": self.lives.restarts,
            "kills": self.lives.kills,
            "slowest stop, s": round(self.lives.slowest_end_s, 1),
            "requests cut off by those": self.figures.interrupted,
            **{f"jobs {name}": number for name, number in of_states(states, len(self.wrong_jobs)).items()},
            "failed": len(failures),
        }
        held = about_process(self.watch.samples)
        print(table(self.figures.rows(), outcome, held))
        if self.args.output:
            everything = {"outcome": outcome, "requests": self.figures.rows(), "process": held, "failures": failures}
            self.args.output.parent.mkdir(parents=True, exist_ok=True)
            samples = as_json(self.watch.samples)
            self.args.output.write_text(json.dumps({**everything, "about": machine(), "samples": samples}) + "\n")
        for sentence in failures[:SHOWN]:
            print(f"failed: {sentence}", file=sys.stderr)
        if len(failures) > SHOWN:
            print(f"and {len(failures) - SHOWN} more", file=sys.stderr)
        return 1 if failures else 130 if self.interrupted else 0

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def disturbances(seed: int, seconds: float, *, restarts: int | None, kills: int | None) -> list[tuple[float, bool]]:
    """When the server is told to end, or killed (`True`): seconds after the beginning, in order.

    Without numbers of them, one of each in so many minutes.
    """
    usual = max(round(seconds / 60 / MINUTES_A_DISTURBANCE), 1)
    wanted = [False] * (usual if restarts is None else restarts) + [True] * (usual if kills is None else kills)
    chosen = random.Random(seed)
    chosen.shuffle(wanted)
    room = seconds * DISTURBED / max(len(wanted), 1)  # each somewhere in a stretch of its own
    return [((number + 0.2 + 0.6 * chosen.random()) * room, killed) for number, killed in enumerate(wanted)]


def _wait_for_job(url: str) -> None:
    while (status := httpx.get(url).raise_for_status().json()["status"]) in ("queued", "running"):
        time.sleep(0.05)
    if status != "done":
        raise NotServing(f"A job that was alone {status}.")


def _under_way(url: str) -> dict[str, float]:
    """Requests and jobs that run or wait."""
    lines = httpx.get(f"{url}/metrics").raise_for_status().text.splitlines()
    gauges = dict(line.rsplit(" ", 1) for line in lines if line.startswith("turnscribe_"))
    names = ("requests_running", "requests_waiting", "uploads", "jobs_running", "jobs_waiting")
    return {name: value for name in names if (value := float(gauges[f"turnscribe_{name}"]))}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, metavar="M", help="of requests (60)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is drawn (1)")
    parser.add_argument("--clients", type=int, default=4, metavar="N", help="that ask at the same time (4)")
    parser.add_argument("--restarts", type=int, metavar="N", help="by SIGTERM (one in four minutes)")
    parser.add_argument("--kills", type=int, metavar="N", help="by SIGKILL (one in four minutes)")
    parser.add_argument("--clips", type=int, default=5, choices=range(1, 6), metavar="N", help="short recordings (5)")
    parser.add_argument("--asr-only", action="store_true", help="without the assistant and the diarizer")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where all figures go as JSON")
    parser.add_argument(
        "--log", type=Path, default=Path("build/soak/server.log"), metavar="FILE", help="the server's"
    )
    return parser
