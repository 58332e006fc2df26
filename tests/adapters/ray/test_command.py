"""What can be told without a cluster: the command line, what a cluster is asked for, and when none is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.ray import figures
from adapters.ray.cluster import build_actor, build_environment, build_init
from adapters.ray.command import build_entries, main, parse_arguments
from adapters.ray.passes import ALL, LOST_BUNDLES, Pool, entries_of, transcribe_all
from adapters.ray.report import Report
from adapters.ray.worker import BROKEN, BundleWorker, Watched
from adapters.repository import REPOSITORY as DEPLOYMENT
from tests.conftest import REPOSITORY
from tests.fakes import FakePipeline
from turnscribe.bulk.manifest import REPORT, Entry, from_text, to_text
from turnscribe.errors import (
    BadAudio,
    BadParameters,
    InferenceFailed,
    ModelUnavailable,
    OutOfMemory,
    SettingsError,
)


def arguments(*argv: str):
    return parse_arguments(["in", "--output", "out", *argv])


def test_without_an_address_a_cluster_of_this_machine_is_made() -> None:
    init = build_init(arguments("--temp-dir", "/tmp/short", "--object-store-memory", "200000000", "--cpus", "2"))
    assert init["_temp_dir"] == "/tmp/short"
    assert init["object_store_memory"] == 200_000_000
    assert init["num_cpus"] == 2
    assert init["include_dashboard"] is False
    assert init["address"] == "local"  # and not the cluster that RAY_ADDRESS names
    assert "runtime_env" not in init


def test_a_cluster_elsewhere_gets_the_code_and_nothing_that_is_large_or_secret() -> None:
    init = build_init(arguments("--address", "auto"))
    assert init["address"] == "auto"
    assert init["runtime_env"]["working_dir"] == str(REPOSITORY)
    assert {".git", ".venv*", "build", "tests", "**/.env*", "**/*-token.txt"} <= set(init["runtime_env"]["excludes"])
    assert "env_vars" not in init["runtime_env"]
    assert "runtime_env" not in build_init(arguments("--address", "auto", "--no-upload"))


def test_workers_take_over_the_models_the_defaults_and_what_is_named_and_nothing_else() -> None:
    shell = {
        "ASR_MODEL": "demo/whisper",
        "HF_TOKEN": "secret",
        "INFERENCE_LANGUAGE": "en",
        "KEY": "k",
        "PATH": "/bin",
    }
    given = build_environment(shell, ["KEY"])
    assert {name: value.get_secret_value() for name, value in given.items()} == {
        name: shell[name] for name in ("ASR_MODEL", "HF_TOKEN", "INFERENCE_LANGUAGE", "KEY")
    }
    assert "secret" not in repr(Pool(1, {}, given))
    with pytest.raises(SettingsError, match="OTHER is not set"):
        build_environment(shell, ["OTHER"])


@pytest.mark.parametrize(
    ("resources", "argv", "expected"),
    [
        ({"CPU": 16.0, "GPU": 4.0}, (), (4, {"num_cpus": 1, "num_gpus": 1})),
        ({"CPU": 16.0, "GPU": 4.0}, ("--gpus-per-actor", "0.5"), (8, {"num_cpus": 1, "num_gpus": 0.5})),
        ({"CPU": 16.0, "GPU": 4.0}, ("--gpus-per-actor", "0"), (16, {"num_cpus": 1, "num_gpus": 0})),
        ({"CPU": 7.0}, ("--cpus-per-actor", "2"), (3, {"num_cpus": 2, "num_gpus": 0})),
        ({"CPU": 1.0}, ("--actors", "5", "--gpus-per-actor", "1"), (5, {"num_cpus": 1, "num_gpus": 1})),
    ],
)
def test_there_is_an_actor_for_each_gpu_or_share_of_the_processors(resources, argv, expected) -> None:
    assert build_actor(arguments(*argv), resources) == expected


def test_an_actor_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(SettingsError, match="has 1 CPU and an actor takes 2"):
        build_actor(arguments("--cpus-per-actor", "2"), {"CPU": 1.0})


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--address", "ray://head:10001"), "run this on the cluster"),
        (("--address", "auto", "--temp-dir", "/tmp/x"), "those of `ray start`"),
        (("--parameters", "en"), "must be a JSON object"),
        (("--parameters", '["en"]'), "must be a JSON object"),
        (("--actors", "0"), "at least 1"),
        (("--cpus-per-actor", "0"), "above 0"),
        (("--format", "doc"), "invalid choice"),
    ],
)
def test_wrong_options_say_what_would_be_right(argv, said, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        arguments(*argv)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_a_manifests_own_parameters_come_before_the_jobs(tmp_path: Path) -> None:
    lines = [{"uri": "s3://b/a.wav", "parameters": {"language": "de"}}, {"uri": "s3://b/b.wav"}]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    entries = build_entries([str(tmp_path / "list.jsonl")], "out", {"language": "en", "task": "translate"})
    assert [entry.parameters["language"] for entry in entries] == ["de", "en"]
    assert {entry.parameters["task"] for entry in entries} == {"translate"}
    with pytest.raises(BadParameters, match="task"):
        build_entries([str(tmp_path / "list.jsonl")], "out", {"task": "sing"})


ENTRY = Entry("/a.wav", "/out/a.wav")
DONE = replace(ENTRY, status="done")


class Device:
    """What a device makes of one entry after another: the entry, done, or an error to raise."""

    def __init__(self, *outcomes: Entry | Exception) -> None:
        self.outcomes = iter(outcomes)

    def __call__(self, entry: Entry) -> Entry:
        outcome = next(self.outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


BAD, SHORT, FAILED = BadAudio("not audio"), OutOfMemory("too little"), InferenceFailed("see the log")


@pytest.mark.parametrize(
    ("outcomes", "ends_at"),
    [
        ((FAILED, FAILED, FAILED, DONE), BROKEN),
        ((FAILED, BAD, FAILED, SHORT, FAILED), 5),  # files of which it cannot be told
        ((FAILED, FAILED, DONE, FAILED, FAILED), None),
        ((BAD, BAD, BAD, SHORT, SHORT, SHORT), None),
    ],
)
def test_a_worker_ends_when_only_failures_follow_one_another(
    outcomes: tuple[Entry | Exception, ...], ends_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr("os._exit", end)
    watched = Watched(Device(*outcomes))
    for number, outcome in enumerate(outcomes, start=1):
        if number == ends_at:
            with pytest.raises(SystemExit) as ended:
                watched(ENTRY)
            assert ended.value.code == 1
            return
        if isinstance(outcome, Exception):
            with pytest.raises(type(outcome)):
                watched(ENTRY)
        else:
            assert watched(ENTRY) == outcome
    assert ends_at is None


BUSY = ModelUnavailable("ASR_MODEL a/b could not be fetched, the Hub answered 503: try again later.")
GATED = SettingsError("ASR_MODEL a/b is gated.")
BUNDLE = {"bundle": to_text([ENTRY, Entry("/b.wav", "/out/b.wav")])}


def rows_of(monkeypatch: pytest.MonkeyPatch, *loads: Exception | None) -> list[list[dict]]:
    """Of one worker for a bundle after the other, when loading its models goes like that."""
    waiting = iter(loads)

    def load_pipeline() -> FakePipeline:
        if error := next(waiting):
            raise error
        return FakePipeline()

    def transcribe_bundle(entries: list[Entry], transcribe: object) -> list[Entry]:
        return [replace(entry, status="done") for entry in entries]

    monkeypatch.setattr(DEPLOYMENT, "pipeline", load_pipeline)
    monkeypatch.setattr("turnscribe.bulk.entries.transcribe_bundle", transcribe_bundle)
    monkeypatch.setattr("adapters.ray.worker.AGAIN_SECONDS", 0)
    worker = BundleWorker({}, ())
    return [worker(BUNDLE) for _ in loads]


def test_a_worker_asks_again_for_models_that_may_come_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = rows_of(monkeypatch, BUSY, BUSY, None)
    assert first == second == [{"entry": "", "refused": str(BUSY), "may_pass": True}]
    assert [from_text(row["entry"])[0].uri for row in third] == ["/a.wav", "/b.wav"]
    assert {row["refused"] for row in third} == {""}


def test_a_busy_hub_ends_a_job_only_where_no_worker_has_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    (busy,), done = rows_of(monkeypatch, BUSY, None)
    ((gated,),) = rows_of(monkeypatch, GATED)
    assert len(list(entries_of([busy, *done, busy, busy, busy], may_wait=2))) == 2
    with pytest.raises(ModelUnavailable, match="the Hub answered 503: try again later"):
        list(entries_of([busy, busy, *done], may_wait=2))
    with pytest.raises(SettingsError, match="is gated") as caught:
        list(entries_of([*done, gated], may_wait=2))
    assert type(caught.value) is SettingsError


def test_only_the_first_pass_ends_a_job_of_many_lost_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passes = []

    def all_die(made, pool, *, may_lose):
        passes.append((len(made), may_lose))
        return iter(())

    monkeypatch.setattr("adapters.ray.passes.one_pass", all_die)
    entries = [Entry(f"/{index}.wav", str(tmp_path / f"{index}.wav"), size=1) for index in range(80)]
    ended = list(transcribe_all(entries, Pool(2, {}, {}, files=2), output=str(tmp_path), on_message=print))
    assert passes == [(40, LOST_BUNDLES + 4 + 4), (80, ALL), (80, ALL)]
    assert {entry.status for entry in ended} == {"failed"}
    assert len(ended) == 80


def test_a_format_that_is_missing_beside_its_answer_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(b"-")
    (tmp_path / "b.wav").write_bytes(b"-")
    for name in ("a.wav.json", "b.wav.json", "b.wav.srt"):
        (tmp_path / name).write_text("{}")
    left_to_do = []
    monkeypatch.setattr("adapters.ray.command._transcribe", lambda left, *_: left_to_do.extend(left))
    given = [str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--output", str(tmp_path)]
    assert main(given) == 0
    assert left_to_do == []
    assert main([*given, "--format", "srt"]) == 0
    assert [entry.uri for entry in left_to_do] == [str(tmp_path / "a.wav")]


@pytest.fixture
def done_before(tmp_path: Path) -> list[Entry]:
    """In `out`: monday's recording with its answer, and one that failed, both in the report."""
    done = Entry(
        str(tmp_path / "monday" / "a.wav"), str(tmp_path / "out" / "a.wav"), status="done", duration=9, seconds=2
    )
    failed = Entry(str(tmp_path / "monday" / "b.wav"), str(tmp_path / "out" / "b.wav"), status="failed", error="why")
    for folder in ("monday", "tuesday", "out"):
        (tmp_path / folder).mkdir()
    (tmp_path / "monday" / "a.wav").write_bytes(b"-")
    (tmp_path / "out" / "a.wav.json").write_text("{}")
    (tmp_path / "out" / REPORT).write_text(to_text([done, failed]))
    return [done, failed]


def test_what_earlier_runs_did_stays_in_the_report(
    done_before: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tuesday" / "c.wav").write_bytes(b"-")
    out = str(tmp_path / "out")

    def transcribe(left, args, environment, report) -> None:
        for entry in left:
            report.ended(replace(entry, status="done", duration=60))

    monkeypatch.setattr("adapters.ray.command._transcribe", transcribe)
    assert main([str(tmp_path / "tuesday"), "--output", out]) == 0  # what failed before is not this run's
    assert "1 done (1.0 minutes of audio), 0 there already, 0 failed" in capsys.readouterr().err
    entries = from_text((tmp_path / "out" / REPORT).read_text())
    assert entries[1:] == done_before
    assert [Path(entry.uri).name for entry in entries] == ["c.wav", "a.wav", "b.wav"]
    assert main([str(tmp_path / "monday" / "a.wav"), "--output", out]) == 0
    first = from_text((tmp_path / "out" / REPORT).read_text())[0]
    assert (first.status, first.duration, first.seconds) == ("exists", 9, 2)


def test_the_answer_of_another_recording_is_not_taken_for_its_own(
    done_before: list[Entry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tuesday" / "a.wav").write_bytes(b"-")
    assert main([str(tmp_path / "tuesday"), "--output", str(tmp_path / "out")]) == 2
    assert "a.wav holds the answer of" in capsys.readouterr().err
    assert from_text((tmp_path / "out" / REPORT).read_text()) == done_before


def test_where_everything_is_there_ray_is_not_even_imported(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"-")
    (tmp_path / "out" / "a.wav.json").write_text("{}")
    argv = [str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    program = f"import sys; from adapters.ray.command import main; print(main({argv!r}), 'ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
    assert "0 done (0.0 minutes of audio), 1 there already" in done.stderr
    assert json.loads((tmp_path / "out" / REPORT).read_text())["status"] == "exists"


def test_inputs_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--output", str(tmp_path / "out")]) == 2
    assert "none is not there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_model_the_workers_say_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"-")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.ray", str(tmp_path / "a.wav"), "--output", str(tmp_path / "out")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RAY_ADDRESS": "127.0.0.1:9"},  # nobody is there
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "error: ASR_MODEL is not set" in done.stderr
    assert "status" not in json.loads((tmp_path / "out" / REPORT).read_text())


def test_a_report_is_there_from_the_start_and_whatever_happens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [Entry("/a.wav", "/out/a.wav"), Entry("/b.wav", "/out/b.wav")]

    def statuses() -> list[str | None]:
        return [json.loads(line).get("status") for line in (tmp_path / REPORT).read_text().splitlines()]

    with pytest.raises(KeyboardInterrupt), Report(entries, str(tmp_path)) as report:  # noqa: PT012
        assert statuses() == [None, None]
        report.ended(Entry("/b.wav", "/out/b.wav", status="failed", error="why"))
        raise KeyboardInterrupt
    assert statuses() == [None, "failed"]
    assert report.failed
    assert capsys.readouterr().err.splitlines() == [
        "failed: /b.wav: why",
        "1 of 2: 0 done (0.0 minutes of audio), 0 there already, 1 failed",
    ]


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1", "auto"])
def test_a_cluster_that_is_not_there_is_named_and_the_report_written(address: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"-")
    given = [str(tmp_path / "a.wav"), "--output", str(tmp_path / "out"), "--address", address]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.ray", *given],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RAY_TMPDIR": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "status" not in json.loads((tmp_path / "out" / REPORT).read_text())


def test_figures_are_of_the_files_and_models_they_are_printed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[tuple[int, int, str]] = []  # files, bytes of each, by what

    def measure(files: Path, output: Path, way: str) -> dict[str, float]:
        sizes = [file.stat().st_size for file in files.glob("*.wav")]
        measured.append((len(sizes), *set(sizes), way))
        return {"total": sum(sizes) / 32_000, "first": 1, "load": 0}  # as fast as the audio

    def rows(*argv: str) -> list[list[str]]:
        measured.clear()
        given = ["--folder", str(tmp_path), "--long", "2", "--long-seconds", "1.5", *argv]
        assert figures.main(given) == 0
        return [line.split("|")[1:5] for line in capsys.readouterr().out.splitlines()[2:]]

    monkeypatch.setattr(figures, "_measure", measure)
    monkeypatch.setenv("ASR_MODEL", "demo/whisper")
    first = rows("--short", "3", "--short-seconds", "0.5")
    assert [row[0].strip() for row in first] == ["3 of 0.5 s"] * 4 + ["2 of 1.5 s"] * 4 + ["3 of 0.5 s"]
    assert len(measured) == len(first)
    assert rows("--short", "3", "--short-seconds", "0.5") == first
    assert measured == []  # they are kept

    longer = rows("--short", "3", "--short-seconds", "1")
    assert measured == [(3, 44 + 32_000, way) for way in ("plain", "1", "2", "4", "restarted")]
    assert {(row[0].strip(), row[3].strip()) for row in longer} == {("3 of 1 s", "1x"), ("2 of 1.5 s", "1x")}
    rows("--short", "2", "--short-seconds", "1")
    assert measured[0] == (2, 44 + 32_000, "plain")
    monkeypatch.setenv("ASR_MODEL", "demo/assistant")
    rows("--short", "3", "--short-seconds", "1")
    assert len(measured) == 9


def test_figures_without_a_model_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_MODEL", raising=False)
    assert figures.main(["--folder", str(tmp_path)]) == 2
