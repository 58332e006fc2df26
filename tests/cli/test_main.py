"""The console command: which command gets the line, what comes back, and that asking for help costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import turnscribe
from tests.conftest import REPOSITORY
from turnscribe.cli import main as console
from turnscribe.cli.main import COMMANDS, main

HEAVY = ("torch", "transformers", "numpy", "pydantic", "pyannote.audio", "fastapi", "av", "tqdm")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], str]]:
    """Every command is a stand-in, which notes its module, its line and its name, and returns 7."""
    seen: list[tuple[str, list[str], str]] = []

    def stand_in(module: str) -> SimpleNamespace:
        def run(argv: Sequence[str], *, prog: str) -> int:
            seen.append((module, list(argv), prog))
            return 7

        return SimpleNamespace(main=run)

    monkeypatch.setattr(console, "import_module", stand_in)
    return seen


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gets_the_rest_of_the_line_and_its_status_is_ours(
    name: str, calls: list[tuple[str, list[str], str]]
) -> None:
    line = ["--help", "a.wav", "--version", "--", "-x"]
    assert main([name, *line]) == 7
    assert calls == [(COMMANDS[name].module, line, f"turnscribe {name}")]


def test_a_command_without_options_gets_an_empty_line(calls: list[tuple[str, list[str], str]]) -> None:
    assert main(["serve"]) == 7
    assert calls == [("turnscribe.serving.server", [], "turnscribe serve")]


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    listed = capsys.readouterr().err
    for command in COMMANDS.values():
        assert f"{command.name} " in listed
        assert command.help in listed


@pytest.mark.parametrize("line", [["dance"], ["--quiet", "transcribe"]])
def test_what_is_no_command_is_refused_with_the_commands_that_are(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(line)
    assert refused.value.code == 2
    assert "usage: turnscribe" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_usage_has_the_name_that_was_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: turnscribe {name} [-h]")


def test_a_wrong_option_of_a_command_is_refused_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["deploy", "fly"])
    assert refused.value.code == 2
    assert "usage: turnscribe deploy" in capsys.readouterr().err


def test_ctrl_c_while_a_command_is_imported_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(module: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "import_module", interrupted)
    assert main(["doctor"]) == 130


def test_the_server_without_its_packages_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(module: str) -> None:
        raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")

    monkeypatch.setattr(console, "import_module", missing)
    assert main(["serve"]) == 2
    error = capsys.readouterr().err
    assert "fastapi" in error
    assert "pip install 'turnscribe[server]'" in error


def test_a_module_of_our_own_that_is_missing_is_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(console, "import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        main(["serve"])


@pytest.mark.parametrize(
    "line", [["--help"], ["--version"], ["dance"], []], ids=lambda line: " ".join(line) or "empty"
)
def test_an_answer_about_the_commands_imports_nothing_heavy_and_comes_at_once(line: list[str]) -> None:
    code = f"""
import sys
sys.argv[:] = {["turnscribe", *line]!r}
from turnscribe.cli.main import main
try:
    main()
except SystemExit:
    pass
import json
json.dump([name for name in {HEAVY!r} if name in sys.modules], sys.stdout)
"""
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    after = os.times()
    seconds = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    assert json.loads(done.stdout[done.stdout.rindex("[") :]) == []
    assert seconds < 0.3  # of computing, which a busy machine does not stretch


def test_a_command_that_runs_no_model_does_not_import_torch() -> None:
    code = """
import sys
from turnscribe.cli.main import COMMANDS
for name in ("transcribe", "doctor", "models", "evaluate", "deploy"):
    COMMANDS[name].build_parser()
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "turnscribe", "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"turnscribe {turnscribe.__version__}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("turnscribe tr", {"transcribe"}),
        ("turnscribe d", {"doctor", "deploy"}),
        ("turnscribe transcribe --asr", {"--asr-model", "--asr-backend", "--asr-dtype"}),
        ("turnscribe deploy cr", {"create"}),
        ("turnscribe models wh", {"where"}),
    ],
)
def test_a_shell_completes_commands_and_their_options(line: str, expected: set[str], tmp_path: Path) -> None:
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    variables = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, "-c", "from turnscribe.cli.main import main; main()"]
    subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **variables}, timeout=60, check=True)
    assert {word.strip() for word in answer.read_text().split("\n")} == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_module_has_what_the_console_command_calls(name: str) -> None:
    module = import_module(COMMANDS[name].module)
    assert callable(module.main)
    assert module.build_parser(prog="x").prog == "x"
