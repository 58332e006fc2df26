"""What can be told without a cluster: the command line, what a cluster is asked for, and when none is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bulk.manifest import REPORT, Entry
from scripts.ray.__main__ import build_entries, main, parse_arguments
from scripts.ray.cluster import build_actor, build_environment, build_init
from scripts.ray.passes import Pool
from scripts.ray.report import Report
from scripts.ray.worker import packed, unpacked
from tests.conftest import REPOSITORY
from turnscribe.errors import BadParameters, SettingsError


def arguments(*argv: str):
    return parse_arguments(["in", "--output", "out", *argv])


def test_without_an_address_a_cluster_of_this_machine_is_made() -> None:
    init = build_init(arguments("--temp-dir", "/tmp/short", "--object-store-memory", "200000000", "--cpus", "2"))
    assert init["_temp_dir"] == "/tmp/short"
    assert init["object_store_memory"] == 200_000_000
    assert init["num_cpus"] == 2
    assert init["include_dashboard"] is False
    assert "address" not in init
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


def test_entries_travel_whole() -> None:
    entries = [Entry("s3://b/ä.wav", "out/ä.wav", {"language": "en"}, 7, "failed", "why", 1.5, 2.0), Entry("/b.wav")]
    assert unpacked(packed(entries)) == entries


def test_where_everything_is_there_ray_is_not_even_imported(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"-")
    (tmp_path / "out" / "a.wav.json").write_text("{}")
    argv = [str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    program = f"import sys; from scripts.ray.__main__ import main; print(main({argv!r}), 'ray' in sys.modules)"
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
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
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
    assert done.returncode in (1, 2), done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "status" not in json.loads((tmp_path / "out" / REPORT).read_text())
