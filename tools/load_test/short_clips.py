"""Many short clips through the server, from this checkout and from another in turn: clips a second, and their ratio.

    python -m scripts.short_clips                                        1,000 clips, the demo model
    python -m scripts.short_clips --folder clips/ --asr-model whisper-base --beside ../before

Each checkout's server is started, warmed up, sent all clips over a bounded number of connections, and ended; then it
is the other one's turn. Settings come from the environment, and are the same for both. Without a folder, the clips
are cut from the demo conversation, 1 to 8 s each, the same ones at every run. Nothing else should run on the machine.

Exit status: 0 done, 1 a request was refused, 2 it could not be run, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from tools.benchmarks.audio import speech
from tools.load_test.server import DEMO, REPOSITORY, NotServing, ServerProcess, environment, exit_status
from turnscribe.inputs.decode import measured_seconds
from turnscribe.inputs.suffixes import is_recording
from turnscribe.waveform import SAMPLE_RATE, to_wav

SHORTEST_S, LONGEST_S = 1.0, 8.0
SEED = 11
TIMEOUT_S = 600.0
MODELS = ("asr_model", "assistant_model", "diarization_model")


@dataclass(frozen=True)
class Round:
    """One server's turn: the seconds for all clips, and the text of each; a status where one was refused."""

    seconds: float
    texts: list[str]
    refused: list[int]


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    return exit_status(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """All rounds. Raises `NotServing`."""
    clips = clips_in(args.folder, args.clips) if args.folder else cut_clips(args.clips)
    audio_s = sum(measured_seconds(clip) for clip in clips)
    checkouts = {"this checkout": REPOSITORY} | ({"the other": args.beside.absolute()} if args.beside else {})
    rounds: dict[str, list[Round]] = {name: [] for name in checkouts}
    for number in range(args.rounds):
        for name, checkout in checkouts.items():
            rounds[name].append(one_round(checkout, clips, args))
            seconds = rounds[name][-1].seconds
            print(f"round {number + 1}, {name}: {len(clips) / seconds:.2f} clips/s", file=sys.stderr, flush=True)
    print(f"{len(clips)} clips, {audio_s:.0f} s of audio, {args.at_once} at once\n")
    print("| | s | clips a second | seconds of audio a second | refused |\n|---|---|---|---|---|")
    for name, turns in rounds.items():
        seconds = statistics.median(turn.seconds for turn in turns)
        refused = sum(len(turn.refused) for turn in turns)
        print(f"| {name} | {seconds:.1f} | {len(clips) / seconds:.2f} | {audio_s / seconds:.1f} | {refused} |")
    if args.beside:
        ours, theirs = rounds.values()
        times = statistics.median(turn.seconds for turn in theirs) / statistics.median(turn.seconds for turn in ours)
        same = sum(a == b for a, b in zip(ours[0].texts, theirs[0].texts, strict=True))
        print(f"\nThis checkout is {times:.2f} times as fast; {same} of {len(clips)} texts are the same.")
    return 1 if any(turn.refused for turns in rounds.values() for turn in turns) else 0


def one_round(checkout: Path, clips: Sequence[bytes], args: argparse.Namespace) -> Round:
    """A checkout's server from its start to its end. Raises `NotServing`."""
    given = {name.upper(): getattr(args, name) or "" for name in MODELS}
    models = given if given["ASR_MODEL"] else {**DEMO, "ASSISTANT_MODEL": "", "DIARIZATION_MODEL": ""}
    with tempfile.TemporaryDirectory(prefix="short_clips-") as folder:
        jobs, log = Path(folder) / "jobs", Path(folder) / "log"
        with ServerProcess(environment(models), folder=jobs, log=log, repository=checkout) as server:
            url = server.ready()
            send(url, clips[: args.at_once], args.parameters, args.at_once)  # what is made late, is now
            began = time.perf_counter()
            answers = send(url, clips, args.parameters, args.at_once)
            seconds = time.perf_counter() - began
    return Round(seconds, [text for _, text in answers], [status for status, _ in answers if status != 200])


def send(url: str, clips: Sequence[bytes], parameters: dict[str, str], at_once: int) -> list[tuple[int, str]]:
    """Each clip's status and text, `at_once` requests at a time."""
    address = urlsplit(url)
    path = f"/?{urlencode(parameters)}"

    def ask(clip: bytes) -> tuple[int, str]:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, clip, {"Content-Type": "application/octet-stream"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content)["text"] if answer.status == 200 else ""
        except OSError as error:
            raise NotServing(f"The server did not answer: {error}.") from error
        finally:
            connection.close()

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(ask, clips))


def cut_clips(count: int) -> list[bytes]:
    """So many wav files, cut from the demo conversation."""
    rng = random.Random(SEED)
    conversation = speech(40.0)
    clips = []
    for _ in range(count):
        samples = round(rng.uniform(SHORTEST_S, LONGEST_S) * SAMPLE_RATE)
        start = rng.randrange(len(conversation) - samples)
        clips.append(to_wav(conversation[start : start + samples]))
    return clips


def clips_in(folder: Path, count: int) -> list[bytes]:
    """So many of the recordings in a folder that are neither shorter nor longer; some of them again where it has
    fewer. Raises `NotServing`."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_recording(path.name):
            content = path.read_bytes()
            if SHORTEST_S <= measured_seconds(content) <= LONGEST_S:
                found.append(content)
    if not found:
        raise NotServing(f"{folder} has no recording of {SHORTEST_S:g} to {LONGEST_S:g} s: name another folder.")
    random.Random(SEED).shuffle(found)
    return [found[index % len(found)] for index in range(count)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="short_clips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout, to take turns with")
    parser.add_argument("--folder", type=Path, help="of recordings; those of 1 to 8 s are sent")
    for name in MODELS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="MODEL", help="of both servers")
    parser.add_argument("--clips", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--at-once", type=int, default=16, metavar="N", help="requests (default: 16)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="turns of each (default: 1)")
    parser.add_argument(
        "--parameters", type=json.loads, default={}, metavar="JSON", help='such as {"language": "en"}'
    )
    return parser
