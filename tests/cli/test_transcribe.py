from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mammoth
import pytest

from config import parse_config
from tests.fakes import FakePipeline, deployed
from turnscribe.cli.transcribe import main
from turnscribe.cli.transcription.arguments import build_environment, build_parameters, build_parser
from turnscribe.cli.transcription.outputs import listing
from turnscribe.cli.transcription.plan import plan
from turnscribe.cli.transcription.summary import Outcome, summary
from turnscribe.errors import BadAudio, BadParameters, Cancelled
from turnscribe.files import write_whole
from turnscribe.formats import FORMATS
from turnscribe.listener import Listener
from turnscribe.request import Request
from turnscribe.transcript import Chunk, Transcript, Turn

ROOT = Path(__file__).resolve().parents[2]


class Pipeline(FakePipeline):
    """Says what the file holds, in the voice of one speaker; `meanwhile` comes first."""

    def __init__(self, meanwhile: Callable[[bytes, Listener], None] | None = None) -> None:
        super().__init__(self._say)
        self.meanwhile = meanwhile

    def _say(self, audio: bytes, request: Request, listener: Listener) -> Transcript:
        listener.on_progress(0.5)
        if self.meanwhile:
            self.meanwhile(audio, listener)
        text = f" {audio.decode()}"
        chunk = Chunk(text, 0.5, 2.0, speaker="SPEAKER_00")
        warnings = ("it ends early.",) if b"short" in audio else ()
        turns = (Turn("SPEAKER_00", 0.5, 2.0),)
        return Transcript(text, (chunk,), 10.0, language="en", turns=turns, warnings=warnings)


def run(*argv: object, pipeline: Pipeline | None = None) -> int:
    """Whatever a file holds is a recording here."""
    return main([str(arg) for arg in argv], deployment=deployed(pipeline or Pipeline()), check=lambda path: None)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for models and speeds of this test's own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as own:  # what a test patches itself is put back before its folders go
        own.setenv("TURNSCRIBE_HOME", str(folder))
        yield folder


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """A folder of recordings: a.wav, b.mp3, deep/a.wav and what is none."""
    folder = tmp_path / "talks"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.wav", "b.MP3", "deep/a.wav", "notes.txt", "._a.wav"):
        (folder / name).write_bytes(name.encode())
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- The request --------------------------------------------------------------------------------------------


def parsed(*argv: str) -> argparse.Namespace:
    return build_parser("transcribe").parse_args(["a.wav", *argv])


def test_nothing_given_leaves_the_endpoints_defaults() -> None:
    assert build_parameters(parsed()) == {}
    assert build_parameters(parsed("--format", "srt", "--asr-model", "x", "--overwrite")) == {}


def test_every_option_of_a_request_gets_into_it() -> None:
    options = (
        "--assisted --language german --task translate --num-speakers 2 --min-speakers 1 --max-speakers 3"
        " --no-diarize --chunk-length-s 12.5 --batch-size 8 --timestamps word --prompt Turnscribe"
        " --channels split"
    )
    assert build_parameters(parsed(*options.split())) == {
        "assisted": True,
        "language": "german",
        "task": "translate",
        "num_speakers": 2,
        "min_speakers": 1,
        "max_speakers": 3,
        "diarize": False,
        "chunk_length_s": 12.5,
        "batch_size": 8,
        "timestamps": "word",
        "prompt": "Turnscribe",
        "channels": "split",
    }


def test_model_options_stand_for_the_endpoints_settings() -> None:
    assert build_environment(parsed()) == {}
    options = "--asr-model demo/whisper --assistant-model demo/assistant --diarization-model demo/diarizer"
    assert build_environment(parsed(*options.split())) == {
        "ASR_MODEL": "demo/whisper",
        "ASSISTANT_MODEL": "demo/assistant",
        "DIARIZATION_MODEL": "demo/diarizer",
    }
    assert build_environment(parsed("--no-diarize")) == {"DIARIZATION_MODEL": ""}


def test_the_handler_gets_the_bytes_and_the_parsed_request(talks: Path) -> None:
    pipeline = Pipeline()
    assert run(talks / "a.wav", "--language", "en", pipeline=pipeline) == 0
    assert [(audio, request) for audio, request, _ in pipeline.calls] == [
        (b"a.wav", parse_config({"language": "en"}))
    ]


# --- Which files, and where to ------------------------------------------------------------------------------


def stems(*recordings: object) -> list[str]:
    return [stem.as_posix() for stem in plan([str(recording) for recording in recordings]).values()]


def test_a_folder_keeps_its_structure_and_gives_only_recordings(talks: Path) -> None:
    assert stems(talks) == ["a", "b", "deep/a"]


def test_a_pattern_finds_files_and_each_recording_comes_once(talks: Path) -> None:
    assert stems(talks / "*.wav") == ["a"]
    assert stems(talks / "a.wav", talks / "*.wav", talks) == ["a", "b", "deep/a"]


def test_outputs_of_one_name_are_told_apart(talks: Path) -> None:
    for name in ("a.mp3", "A.ogg", "a.mp3.wav"):
        (talks / name).touch()
    found = stems(talks / "a.wav", talks / "a.mp3", talks / "A.ogg", talks / "b.MP3")
    assert found == ["a.wav", "a.mp3", "A.ogg", "b"]
    twins = [*stems(talks / "a.wav", talks / "deep" / "a.wav")]
    assert twins == [Path(*talks.parts[1:], name).as_posix() for name in ("a.wav", "deep/a.wav")]
    every = stems(talks, talks / "deep" / "a.wav")
    assert len({stem.casefold() for stem in every}) == len(every) == 6


def test_a_stem_with_dots_keeps_them(tmp_path: Path, talks: Path) -> None:
    (talks / "talk.v1.wav").write_bytes(b"x")
    assert run(talks / "talk.v1.wav", "--output-dir", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["talk.v1.txt"]


# --- What is written ----------------------------------------------------------------------------------------


def test_a_batch_is_written_and_summed_up(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(talks)
    out = tmp_path / "out"
    assert run(".", "--format", "srt", "--output-dir", out) == 0
    assert files(out) == ["a.srt", "b.srt", "deep/a.srt"]
    assert (out / "deep/a.srt").read_text() == "1\n00:00:00,500 --> 00:00:02,000\nSPEAKER_00: deep/a.wav\n"
    printed = capsys.readouterr()
    assert printed.out == ""
    header, *lines = printed.err.splitlines()
    assert header.split() == ["file", "duration", "speed", "speakers", "status"]
    assert [line.split()[0] for line in lines] == ["a.wav", "b.MP3", "deep/a.wav"]
    assert all(line.split()[1::2] == ["00:00:10", "1"] and line.endswith("done") for line in lines)


@pytest.mark.parametrize("name", [*FORMATS, "answer"])
def test_every_format_can_be_written_side_by_side(talks: Path, tmp_path: Path, name: str) -> None:
    assert run(talks / "a.wav", "--format", name, "--output-dir", tmp_path / "out") == 0
    (written,) = files(tmp_path / "out")
    suffix = {
        "text": "a.txt",
        "verbose_json": "a.verbose.json",
        "diarized_json": "a.diarized.json",
        "answer": "a.answer.json",
        "textgrid": "a.TextGrid",
    }
    assert written == suffix.get(name, f"a.{name}")
    content = (tmp_path / "out" / written).read_bytes()
    if name == "docx":
        assert "a.wav" in mammoth.extract_raw_text(io.BytesIO(content)).value
        return
    text = content.decode()
    if written.endswith(".json"):
        assert json.loads(text)["text"] == " a.wav"
    assert name != "rttm" or text.startswith("SPEAKER a 1 0.500 1.500")
    assert name != "answer" or json.loads(text)["chunks"][0]["timestamp"] == [0.5, 2.0]


def test_several_formats_in_one_run_and_only_what_is_missing(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    asked = (talks / "a.wav", "--format", "srt, vtt,answer,srt", "--output-dir", out)
    assert run(*asked) == 0
    assert files(out) == ["a.answer.json", "a.srt", "a.vtt"]
    (out / "a.vtt").write_text("mended by hand")
    (out / "a.srt").unlink()
    assert run(*asked) == 0
    assert (out / "a.srt").read_text().startswith("1\n00:00:00,500")
    assert (out / "a.vtt").read_text() == "mended by hand"
    capsys.readouterr()
    assert run(*asked) == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith("exists")


def test_what_exists_is_left_alone_so_a_batch_goes_on(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("mine")
    pipeline = Pipeline()
    assert run(talks, "--output-dir", out, pipeline=pipeline) == 0
    assert (out / "a.txt").read_text() == "mine"
    assert pipeline.recordings == [b"b.MP3", b"deep/a.wav"]
    assert capsys.readouterr().err.splitlines()[1].split()[1:] == ["-", "-", "-", "exists"]
    assert run(talks, "--output-dir", out, "--overwrite", pipeline=pipeline) == 0
    assert (out / "a.txt").read_text() == "SPEAKER_00: a.wav\n"


def test_an_output_that_appears_meanwhile_is_left_alone(talks: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "out" / "a.txt"

    def behave(audio: bytes, listener: Listener) -> None:
        theirs.parent.mkdir()
        theirs.write_text("theirs")

    assert run(talks / "a.wav", "--output-dir", tmp_path / "out", pipeline=Pipeline(behave)) == 0
    assert theirs.read_text() == "theirs"
    assert files(tmp_path / "out") == ["a.txt"]


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    odd = tmp_path / "a.txt"
    odd.write_bytes(b"audio, really")
    assert run(odd, "--output-dir", tmp_path, "--overwrite") == 1
    assert odd.read_bytes() == b"audio, really"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("before")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a.txt", "after")
    assert files(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_printed_to_a_pipe_it_is_the_format_alone(talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(talks / "a.wav", "--quiet") == 0
    assert run(talks / "a.wav", "--quiet", "--format", "json") == 0
    printed = capsys.readouterr()
    assert printed.out == 'SPEAKER_00: a.wav\n{\n  "text": " a.wav"\n}\n'
    assert printed.err == ""


def test_several_recordings_printed_have_headings(talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(talks / "a.wav", talks / "b.MP3", "--quiet") == 0
    first, second = talks / "a.wav", talks / "b.MP3"
    assert capsys.readouterr().out == f"== {first}\nSPEAKER_00: a.wav\n== {second}\nSPEAKER_00: b.MP3\n"


def test_the_listing_for_a_terminal_has_times_and_speakers() -> None:
    transcript = Pipeline().transcribe(b"hi\nyou", parse_config())
    assert listing(transcript) == "00:00:00.500 - 00:00:02.000  SPEAKER_00: hi you\n"


# --- What goes wrong ----------------------------------------------------------------------------------------


def test_a_file_that_fails_is_one_sentence_and_the_others_are_done(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def behave(audio: bytes, listener: Listener) -> None:
        if audio == b"a.wav":
            raise BadAudio("The input is not audio; send a wav, mp3 or similar.")
        if audio == b"b.MP3":
            raise RuntimeError("a shape is wrong")

    missing, empty, nothing = tmp_path / "gone.wav", tmp_path / "empty", tmp_path / "*.nix"
    empty.mkdir()
    out = tmp_path / "out"
    assert run(talks, missing, empty, nothing, "--output-dir", out, pipeline=Pipeline(behave)) == 1
    assert files(out) == ["deep/a.txt"]
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert errors == [
        f"error: {missing}: No such file or directory ({missing}).",
        f"error: {empty}: there is no audio or video in this folder.",
        f"error: {nothing}: No such file or directory ({nothing}).",
        f"error: {talks / 'a.wav'}: The input is not audio; send a wav, mp3 or similar.",
        f"error: {talks / 'b.MP3'}: RuntimeError: a shape is wrong",
    ]


def test_what_cannot_be_read_is_named_and_never_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "talks"
    closed = folder / "closed"
    closed.mkdir(parents=True)
    os.mkfifo(folder / "pipe.wav")
    (folder / "nowhere.wav").symlink_to(tmp_path / "gone.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "circle").symlink_to(folder)
    with open(folder / "sparse.wav", "wb") as sparse:
        sparse.truncate(12 * 2**30)
    (folder / "a.wav").write_bytes(b"a.wav")
    scandir = os.scandir

    def listed(path: str | Path | int) -> Any:
        if not isinstance(path, int) and Path(path) == closed:  # a folder that is being removed is a number
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr(os, "listdir", listed)
    assert run(folder, folder / "pipe.wav", "/dev/zero", "--output-dir", tmp_path / "out") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert files(tmp_path / "out") == ["a.txt"]
    assert errors == [
        f"error: {closed}: Permission denied ({closed}).",
        f"error: {folder / 'loop.wav'}: Too many levels of symbolic links ({folder / 'loop.wav'}).",
        f"error: {folder / 'nowhere.wav'}: No such file or directory ({folder / 'nowhere.wav'}).",
        f"error: {folder / 'sparse.wav'}: The input is over 512 MiB; send a shorter or smaller file.",
        f"error: {folder / 'pipe.wav'}: it is no file but a pipe or a device: save the recording first.",
        "error: /dev/zero: it is no file but a pipe or a device: save the recording first.",
    ]


def test_a_name_gives_a_terminal_no_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b]0;title\x07\x1b[2J.wav"
    (tmp_path / name).write_bytes(b"short")
    assert run(tmp_path / name, tmp_path / f"gone{name}", "--output-dir", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "a\\x1b]0;title\\x07\\x1b[2J.wav" in printed.err


def test_on_a_full_disk_nothing_is_transcribed(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(audio: bytes, listener: Listener) -> None:
        raise AssertionError("transcribed")

    monkeypatch.setattr("turnscribe.files.free_bytes", lambda folder: 1000)
    assert run(talks, "--output-dir", tmp_path / "out", pipeline=Pipeline(never)) == 1
    assert f"the disk of {tmp_path / 'out'} is full: make room and start again." in capsys.readouterr().err


def test_warnings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(b"short")
    assert run(tmp_path / "a.wav") == 0
    assert f"warning: {tmp_path / 'a.wav'}: it ends early.\n" in capsys.readouterr().err


def test_wrong_usage_is_2_before_any_model_is_loaded(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in ([], ["a.wav", "--format", "pdf"], ["a.wav", "--num-speakers", "two"]):
        with pytest.raises(SystemExit) as stopped:
            main(argv)
        assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        run(talks, "--format", "srt")
    assert stopped.value.code == 2
    assert "needs --output-dir" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        run(talks / "a.wav", "--format", "srt,vtt")
    assert stopped.value.code == 2
    assert "several formats need --output-dir" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(talks / "a.wav", "--format", "srt,pdf", "--output-dir", tmp_path)
    assert "'pdf' is no format: give some of json, verbose_json," in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(talks / "a.wav", "--format", "docx")
    assert "docx is no text to be printed: it needs --output-dir." in capsys.readouterr().err


def test_a_format_whose_library_is_missing_is_refused_before_any_model_is_loaded(
    talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(SystemExit):
        main([str(talks / "a.wav"), "--format", "srt,docx", "--output-dir", str(tmp_path)])
    assert "python-docx is not installed here: pip install python-docx" in capsys.readouterr().err


def test_subtitles_keep_to_the_limits_of_the_options(talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--max-line-width", "16", "--max-line-count", "3", "--max-cue-duration-s", "5")
    assert run(talks / "a.wav", "--format", "srt", *options) == 0
    assert capsys.readouterr().out == "1\n00:00:00,500 --> 00:00:02,000\nSPEAKER_00:\na.wav\n"

    def refuse(parameters: dict[str, Any]) -> None:
        raise BadParameters("language is 'klingon'; it must be a code such as en.")

    assert main([str(talks / "a.wav")], deployment=deployed(Pipeline(), refuse)) == 2
    assert capsys.readouterr().err == "error: language is 'klingon'; it must be a code such as en.\n"


# --- Ctrl-C -------------------------------------------------------------------------------------------------


def test_ctrl_c_asks_the_handler_to_stop(talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def behave(audio: bytes, listener: Listener) -> None:
        if audio == b"b.MP3":
            os.kill(os.getpid(), signal.SIGINT)
            deadline = time.monotonic() + 5
            while not listener.should_stop():
                assert time.monotonic() < deadline
            raise Cancelled("Stopped.")

    before = signal.getsignal(signal.SIGINT)
    assert run(talks, "--output-dir", tmp_path / "out", pipeline=Pipeline(behave)) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert files(tmp_path / "out") == ["a.txt"]
    statuses = [line.split()[-1] for line in capsys.readouterr().err.splitlines()[-3:]]
    assert statuses == ["done", "stopped", "stopped"]


def test_a_second_ctrl_c_interrupts_a_handler_that_does_not_listen(talks: Path, tmp_path: Path) -> None:
    def behave(audio: bytes, listener: Listener) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        raise AssertionError("was not interrupted")

    assert run(talks, "--output-dir", tmp_path / "out", pipeline=Pipeline(behave)) == 130
    assert not (tmp_path / "out").exists()


# --- As a program -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [["-m", "scripts.transcribe"], ["scripts/transcribe.py"]])
def test_it_runs_as_a_module_and_as_a_file(how: list[str]) -> None:
    done = subprocess.run([sys.executable, *how, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--assistant-model" in done.stdout


def test_speed_is_times_real_time() -> None:
    outcome = Outcome(Path("a.wav"), "done", transcript=Transcript("", (), 3600.0), seconds=36.0)
    assert summary([outcome]).splitlines()[1].split() == ["a.wav", "01:00:00", "100.0x", "-", "done"]
