"""Programs that take their turns: each in a process of its own, which loads its models once and is asked for files.

A program reads paths of files from its standard input, a line each, and prints a line "answer {...}" for each, with
what it `took` in seconds.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turnscribe.threads import environment_before

# Any checkout's handler, since it uses what has been the handler's from the beginning; its last argument is the
# parameters. `python -c HANDLER '{"diarize": false}'`
HANDLER = """
import json, sys, time
from pathlib import Path
from handler import EndpointHandler
handler, parameters = EndpointHandler("."), json.loads(sys.argv[1])
for line in sys.stdin:
    audio = Path(line.strip()).read_bytes()
    began = time.perf_counter()
    answer = handler({"inputs": audio, "parameters": parameters})
    print("answer", json.dumps({"took": time.perf_counter() - began, "text": answer["text"]}), flush=True)
"""


class Program:
    """One that runs and waits for paths; `name` says which it is where it ends."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self.process = name, process

    def ask(self, path: Path) -> dict[str, Any]:
        """Its answer for a file. Raises `RuntimeError` if it has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: then it says nothing either
            print(path, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                answer: dict[str, Any] = json.loads(line.removeprefix("answer "))
                return answer
        raise RuntimeError(f"{self.name} ended: its error is above.")


@contextmanager
def running(name: str, command: Sequence[str], folder: Path, **environment: str) -> Iterator[Program]:
    """The program of a command, run in a folder, with variables beside those of this process."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment_before(), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Program(name, process)
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def handler(checkout: Path, parameters: Mapping[str, Any]) -> list[str]:
    """The command of a checkout's handler, to be run in its folder."""
    assert (checkout / "handler.py").is_file()
    return [sys.executable, "-c", HANDLER, json.dumps(parameters)]


def in_turn(programs: Sequence[Program], path: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """The answers of each for a file, once a round and in this order; a round before them gets them warm."""
    answers: dict[str, list[dict[str, Any]]] = {program.name: [] for program in programs}
    for number in range(rounds + 1):
        for program in programs:
            answer = program.ask(path)
            if number:
                answers[program.name].append(answer)
                print(f"{path.name}, round {number}: {program.name} {answer['took']:.2f} s", file=sys.stderr)
    return answers
