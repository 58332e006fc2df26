"""The console command: `turnscribe COMMAND ...` hands the rest of the line to the command's own `main`.

    turnscribe transcribe talk.mp3 --format srt
    turnscribe --help

A command's module is imported when that command runs, so that `turnscribe --help` answers at once: torch alone takes
seconds.
Completion in a shell needs the package argcomplete, and `eval "$(register-python-argcomplete turnscribe)"` there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import turnscribe

COMPLETION = "_ARGCOMPLETE"  # the variable by which a shell that completes a line is known


@dataclass(frozen=True)
class Command:
    """`module` has `main(argv, *, prog) -> int` and `build_parser(prog)`; `extra` is what pip calls its packages."""

    name: str
    module: str
    help: str
    extra: str = ""

    @property
    def prog(self) -> str:
        return f"turnscribe {self.name}"

    def run(self, argv: Sequence[str]) -> int:
        try:
            module = import_module(self.module)
        except ModuleNotFoundError as error:
            if not self.extra or not error.name or error.name.startswith("turnscribe"):
                raise
            advice = f"pip install 'turnscribe[{self.extra}]'"
            print(f"error: {self.prog} needs {error.name}, which is not installed: {advice}", file=sys.stderr)
            return 2
        status: int = module.main(argv, prog=self.prog)
        return status

    def build_parser(self) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = import_module(self.module).build_parser(self.prog)
        return parser


COMMANDS = {
    command.name: command
    for command in (
        Command("transcribe", "turnscribe.cli.transcribe", "transcribe recordings: who said what"),
        Command("serve", "turnscribe.serving.server", "answer requests over HTTP, with a page for people", "server"),
        Command("live", "turnscribe.cli.live", "read what is being said, over a live session of a server", "server"),
        Command("doctor", "turnscribe.cli.doctor", "check whether these settings can be served from here"),
        Command("models", "turnscribe.cli.models", "get models ahead of their use, and see which are there"),
        Command("voices", "turnscribe.cli.voices", "keep the voices of people who are to be known by name"),
        Command("evaluate", "turnscribe.cli.evaluate", "measure transcripts against references"),
        Command("deploy", "turnscribe.cli.deploy", "manage an Inference Endpoint of a repository"),
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 2 for a wrong command line, 130 after Ctrl-C."""
    if COMPLETION in os.environ:
        _complete()
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(argv)
    try:
        return COMMANDS[args.command].run(args.arguments)
    except KeyboardInterrupt:  # while the command's module is being imported
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Knows the commands and none of their options: what follows a command is left to the command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {command.name:{width}}  {command.help}" for command in COMMANDS.values()]
    parser = argparse.ArgumentParser(
        prog="turnscribe",
        usage="turnscribe [-h] [--version] COMMAND ...",
        description="Who said what: transcripts in which every word has its speaker.",
        epilog="\n".join(["commands:", *lines, "", "`turnscribe COMMAND --help` describes a command's options."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"turnscribe {turnscribe.__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def build_full_parser() -> argparse.ArgumentParser:
    """With every command's options, for completion: it imports all the commands."""
    parser = argparse.ArgumentParser(prog="turnscribe")
    parser.add_argument("--version", action="version", version=turnscribe.__version__)
    commands = parser.add_subparsers(dest="command")
    for command in COMMANDS.values():
        try:
            parents = [command.build_parser()]
        except ModuleNotFoundError:  # the packages of an extra: the name alone is completed
            parents = []
        commands.add_parser(command.name, help=command.help, parents=parents, add_help=False)
    return parser


def _complete() -> None:
    """Answers the shell and ends the process; without argcomplete the line stays as it is."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(build_full_parser())
