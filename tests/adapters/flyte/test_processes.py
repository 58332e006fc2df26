"""Map tasks by the command their containers run (`pyflyte-map-execute`), as parallel processes on the demo models."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flytekit import map_task
from flytekit.types.file import FlyteFile
from numpy.typing import NDArray

from adapters.flyte.compare import build_recording
from adapters.flyte.processes import TaskFailed, read_output, run_map, start, write_inputs
from adapters.flyte.shards import list_shards
from adapters.flyte.workflow import transcribe_one_part, transcribe_shard
from adapters.long_recording import cut_recording
from config import parse_config
from tests.adapters.flyte.conftest import LIMIT_SECONDS, REPOSITORY, BusyStore, finished
from tests.fakes import deployed
from turnscribe.bulk.long_recordings import PartTranscript, merge
from turnscribe.bulk.manifest import from_text
from turnscribe.waveform import to_wav

pytestmark = [pytest.mark.models, pytest.mark.usefixtures("models")]
WINDOW = {"chunk_length_s": 15}


def mapped_shards(uris: list[str], output: Path, files: int) -> tuple[Any, dict[str, Any]]:
    """The map task over the recordings, and its inputs."""
    bound = {"formats": ""}
    inputs = {"shard": list_shards(uris, str(output), {}, files=files), **bound}
    return map_task(functools.partial(transcribe_shard, **bound)), inputs


def running_with(argument: str) -> list[str]:
    """The commands of this machine's processes that have `argument` in them."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            commands.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in commands if argument in command]


def end(process: Any) -> int:
    return int(process.wait(timeout=LIMIT_SECONDS))


def test_parts_by_parallel_processes_are_the_single_machines_transcript(
    conversation_waveform: NDArray[np.float32], demo_handler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARIZATION_MODEL", "demo/diarizer")
    recording = tmp_path / "day.wav"
    recording.write_bytes(to_wav(np.tile(conversation_waveform, 2)))
    pipeline = demo_handler.pipeline
    cut = cut_recording(recording.read_bytes(), WINDOW, tmp_path, part_seconds=50, deployment=deployed(pipeline))
    assert len(cut.files) == 2
    bound = {"models": ""}
    inputs = {
        "audio": [FlyteFile(str(file), remote_path=False) for file in cut.files],
        "offset": cut.offsets,
        "parameters": list(map(json.dumps, cut.parameters)),
        **bound,
    }
    messages: list[str] = []
    outputs = run_map(
        map_task(functools.partial(transcribe_one_part, **bound)),
        inputs,
        2,
        tmp_path / "map",
        at_a_time=2,
        on_message=messages.append,
    )
    parts = [PartTranscript.from_json(Path(output).read_text()) for output in outputs]
    whole = merge(parts, threshold=pipeline.settings.speaker_similarity)
    alone = pipeline.transcribe(recording.read_bytes(), parse_config(WINDOW))
    assert whole.text == alone.text
    pairs = {(ours.speaker, theirs.speaker) for ours, theirs in zip(whole.words, alone.words, strict=True)}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs}) == 3
    assert sorted(messages) == ["task 1 of 2 is done", "task 2 of 2 is done"]


def test_a_failed_attempt_may_be_retried_and_goes_on_where_it_was(
    talks: Path, busy_store: BusyStore, tmp_path: Path
) -> None:
    manifest = tmp_path / "list.jsonl"
    uris = [str(talks / "talk0.wav"), busy_store.uri]
    manifest.write_text("".join(json.dumps({"uri": uri, "size": 1000}) + "\n" for uri in uris))
    mapped, inputs = mapped_shards([str(manifest)], tmp_path / "out", 10**9)
    assert len(inputs["shard"]) == 1
    write_inputs(mapped, inputs, tmp_path / "map")

    assert end(start(mapped, 0, tmp_path / "map")) == 0  # what failed is told by error.pb alone
    with pytest.raises(TaskFailed, match=r"may do better later: .* try again later\. \(may pass\)"):
        read_output(mapped, 0, tmp_path / "map")
    answer = tmp_path / "out" / "talk0.wav.json"
    assert json.loads(answer.read_text())["text"]

    answer.write_text("by hand")  # whoever transcribed it again would replace this
    busy_store.ready = True
    assert end(start(mapped, 0, tmp_path / "map")) == 0
    entries = from_text(read_output(mapped, 0, tmp_path / "map"))
    assert {Path(entry.uri).name: entry.status for entry in entries} == {"talk0.wav": "done", "later.wav": "done"}
    assert answer.read_text() == "by hand"
    assert json.loads((tmp_path / "out" / "later.wav.json").read_text())["text"]


def test_an_error_that_stays_is_not_for_another_attempt(
    talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASR_MODEL", "demo/no-such-model")
    mapped, inputs = mapped_shards([str(talks)], tmp_path / "out", 1)
    began = time.perf_counter()
    with pytest.raises(TaskFailed, match=r"ASR_MODEL .* \(stays\)"):
        run_map(mapped, inputs, 2, tmp_path / "map", at_a_time=1)
    assert time.perf_counter() - began < LIMIT_SECONDS
    assert not (tmp_path / "map" / "1").exists()  # the second was not begun


def test_the_comparison_measures_whole_and_parts_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.flyte.compare", "--minutes", "0.8", "--no-diarize"]
    command += ["--tasks", "1", "2", "--folder", str(tmp_path / "figures")]

    def rows() -> list[str]:
        done = finished(command)
        assert done.returncode == 0, done.stdout
        return [line for line in done.stdout.splitlines() if " tasks: " in line]

    measured = rows()
    assert [line.split()[0] for line in measured] == ["1", "2"]
    assert all(line.endswith(", the same text") for line in measured)
    assert rows() == measured  # the times too: nothing was run again


def test_ctrl_c_ends_the_comparison_and_its_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.flyte.compare", "--minutes", "2", "--tasks", "1"]
    task = str(tmp_path / "figures" / "1-tasks" / "map" / "0")
    with subprocess.Popen([*command, "--folder", str(tmp_path / "figures")], cwd=REPOSITORY) as process:
        until = time.monotonic() + LIMIT_SECONDS
        while not running_with(task) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)  # its log is there before the process is
        assert running_with(task)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=LIMIT_SECONDS) == 130
    assert not running_with(str(tmp_path))
    assert not (tmp_path / "figures" / "results.json").exists()


def test_the_comparisons_recording_has_the_length_asked_for() -> None:
    speech = np.ones(16_000, np.float32)
    recording = build_recording(speech, 10.0)
    assert len(recording) == 160_000
    assert recording[:16_000].min() >= 0.5 > 0 == recording.min()
