"""Every failure is provoked, and its advice read; the Hub is a stand-in, the machine is made up."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from tests.checkpoints import ctranslate2_files
from tests.checkpoints import openai_files as checkpoints
from tests.cli.hub_stand_in import READER, HubStandIn, online
from tests.conftest import DEMO, REPOSITORY
from tools.fake_gpu import FakeGpu
from turnscribe.cli import doctor
from turnscribe.cli.checks import packages
from turnscribe.cli.checks.access import gates
from turnscribe.cli.checks.device import check_device
from turnscribe.cli.checks.machine import Machine, check_memory
from turnscribe.cli.checks.models import Facts
from turnscribe.cli.checks.results import Result, guarded
from turnscribe.cli.doctor import main
from turnscribe.devices import Device, device_of
from turnscribe.diarization.diarizer import OPEN_EMBEDDING, OPEN_SEGMENTATION
from turnscribe.diarization.pyannote import COMMUNITY

TOKEN = "hf_reader_token"
MACHINE = Machine("cpu", "a test", memory=64e9, disk=100e9)
WHISPER = {"model_type": "whisper", "vocab_size": 51866, "num_mel_bins": 128, "decoder_layers": 32, "d_model": 1280}
PIPELINE = "pyannote/speaker-diarization-3.1"
SEGMENTATION = "pyannote/segmentation-3.0"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    """With a Whisper, its assistant and the pipelines of pyannote."""
    with online(monkeypatch) as server:
        sizes = {"model.safetensors": 3_087_000_000, "model.fp32-00001-of-00002.safetensors": 5 * 10**9}
        files = {"config.json": WHISPER}
        server.models["openai/whisper-large-v3"] = {"sizes": sizes, "files": files, "parameters": 1_543_490_560}
        distil = {"model.safetensors": 1_500_000_000}
        server.models["distil-whisper/distil-large-v3"] = {"sizes": distil, "files": files, "parameters": 756_000_000}
        for name in (PIPELINE, SEGMENTATION, "pyannote/speaker-diarization-community-1"):
            server.models[name] = {"files": {"config.yaml": {}}}
        yield server


@pytest.fixture
def examine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Result]]]:
    """`main --json` with these settings, without the imports, which take seconds; the token is never printed."""
    monkeypatch.setattr(doctor, "IMPORTS", ())
    for name in ("ASR_MODEL", "ASSISTANT_MODEL", "DIARIZATION_MODEL", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def call(
        hub: HubStandIn | None = None, machine: Machine = MACHINE, **environ: str
    ) -> tuple[int, dict[str, Result]]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        api = HfApi(endpoint=hub.url, token=environ.get("HF_TOKEN", False)) if hub else None
        status = main(["--json"], api=api, machine=machine)
        out = capsys.readouterr().out
        assert TOKEN not in out
        results = {entry["check"]: Result(**entry) for entry in json.loads(out)}
        assert status == any(result.status == "FAILED" for result in results.values())
        assert all(result.advice for result in results.values() if result.status != "ok")
        return status, results

    return call


LARGE = {"ASR_MODEL": "openai/whisper-large-v3", "HF_TOKEN": TOKEN}


@pytest.mark.slow
def test_the_demo_models_pass_without_a_network(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name, folder in DEMO.items():
        monkeypatch.setenv(name.upper(), folder)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert main([], machine=MACHINE) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert lines[-1] == f"All {len(lines) - 1} checks passed."
    assert any("import pyannote.audio" in line for line in lines)


def test_large_models_on_the_hub_pass(examine, hub: HubStandIn) -> None:
    models = {"ASSISTANT_MODEL": "distil-whisper/distil-large-v3", "DIARIZATION_MODEL": PIPELINE}
    status, results = examine(hub, Machine("cuda", "NVIDIA L4", 24e9, 100e9), **LARGE, **models)
    assert status == 0, results
    assert "3.1 GB" in results["ASR_MODEL"].detail
    assert "4.6 GB to download" in results["disk"].detail
    assert results["gate segmentation-3.0"].status == "ok"
    assert {authorization for _, path, authorization, _ in hub.requests if "resolve" in path} == {f"Bearer {TOKEN}"}


# --- Packages -------------------------------------------------------------------------------------------------


def test_an_old_python() -> None:
    assert packages.check_python((3, 10)).status == "FAILED"
    assert packages.check_python((3, 12)).status == "ok"


def test_versions_out_of_bounds_and_missing_packages_are_named() -> None:
    versions = {"torch": "2.4.0", "transformers": "4.45.0"}
    file = REPOSITORY / "requirements.txt"
    result = packages.check_versions(
        "packages", file, lambda name: versions.get(name, "99" if name == "tqdm" else None)
    )
    assert result.status == "FAILED"
    assert "torch 2.4.0 is not" in result.detail
    assert "transformers 4.45.0 is not" in result.detail
    assert "numpy is missing" in result.detail
    assert "tqdm 99" not in result.detail
    assert result.advice == "pip install -r requirements.txt"


@pytest.mark.parametrize(
    ("torch", "torchaudio", "status"),
    [
        ("2.5.1+cu124", "2.5.1", "ok"),
        ("2.13.0", "2.11.0", "ok"),
        ("2.11.0", "2.10.0", "FAILED"),
        ("2.5.1", "2.11.0", "FAILED"),
        ("2.5.1", None, "FAILED"),
    ],
)
def test_torch_and_torchaudio_are_a_pair(torch: str, torchaudio: str | None, status: str) -> None:
    result = packages.check_torch_pair(torch, torchaudio)
    assert result.status == status
    assert bool(result.advice) == (status == "FAILED")


def test_a_package_that_does_not_import() -> None:
    def load(module: str) -> None:
        raise OSError("undefined symbol:\n _ZN3c10")

    result = packages.check_import("torchaudio", load)
    assert result.status == "FAILED"
    assert "undefined symbol: _ZN3c10" in result.detail


def test_decoding_that_fails_or_breaks_is_a_failed_check() -> None:
    formats = [("flac", "flac"), ("mp3", "no-such-codec")]
    results = {result.check: result for result in packages.check_decoding(formats)}
    assert results["decode flac"].status == "ok"
    assert results["decode mp3"].status == "FAILED"
    (broken,) = guarded("decoding", lambda: packages.check_decoding(None))  # type: ignore[arg-type]
    assert (broken.check, broken.status) == ("decoding", "FAILED")


# --- Settings and folders -------------------------------------------------------------------------------------


def test_no_model_and_a_wrong_setting_say_what_would_be_right(examine) -> None:
    status, results = examine()
    assert status == 1
    assert "ASR_MODEL is not set" in results["settings"].detail
    assert "name a Whisper model" in results["settings"].advice
    assert "MAX_AUDIO_SECONDS" in examine(ASR_MODEL="demo/whisper", MAX_AUDIO_SECONDS="-1")[1]["settings"].detail


def test_a_folder_that_is_not_whole(examine, tmp_path: Path) -> None:
    whisper, diarizer = tmp_path / "whisper", tmp_path / "diarizer"
    shutil.copytree(REPOSITORY / DEMO["asr_model"], whisper)
    shutil.copytree(REPOSITORY / DEMO["diarization_model"], diarizer)
    for file in ("tokenizer.json", "vocab.json"):
        (whisper / file).unlink(missing_ok=True)
    (whisper / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    shutil.rmtree(diarizer / "embedding")
    status, results = examine(ASR_MODEL=str(whisper), DIARIZATION_MODEL=str(diarizer))
    assert status == 1
    assert "vocab.json" in results["ASR_MODEL"].detail
    assert "its weights" in results["ASR_MODEL"].detail
    assert "lacks embedding" in results["DIARIZATION_MODEL"].detail
    assert "copy the whole model" in results["ASR_MODEL"].advice


def test_a_model_of_another_kind_and_a_broken_one(examine, tmp_path: Path) -> None:
    whisper = tmp_path / "whisper"
    shutil.copytree(REPOSITORY / DEMO["asr_model"], whisper)
    (whisper / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    assert "wav2vec2" in examine(ASR_MODEL=str(whisper))[1]["ASR_MODEL"].detail
    (whisper / "model.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b"no json!")
    _, results = examine(ASR_MODEL=str(whisper))
    assert "cannot be read" in results["ASR_MODEL"].detail
    assert results["disk"].status == "ok"  # the others go on


def test_a_checkpoint_of_openai_whisper_and_one_without_its_vocabulary(examine, tmp_path: Path) -> None:
    dims = checkpoints.dimensions(checkpoints.MULTILINGUAL)
    file = checkpoints.save(tmp_path / "tiny.pt", dims, checkpoints.random_state(dims))
    _, results = examine(ASR_MODEL=str(file), ASSISTANT_MODEL="demo/assistant")
    assert "needs multilingual.tiktoken" in results["ASR_MODEL"].detail
    assert "put it beside the checkpoint" in results["ASR_MODEL"].advice
    checkpoints.write_vocabulary(tmp_path, checkpoints.MULTILINGUAL)
    _, results = examine(ASR_MODEL=str(file), ASSISTANT_MODEL="demo/assistant")
    assert (results["ASR_MODEL"].status, results["ASR_MODEL"].detail) == (
        "ok",
        "checkpoint tiny.pt of openai-whisper",
    )
    assert "ASR_MODEL 51865" in results["assistant fits"].detail
    file.write_bytes(file.read_bytes()[:1000])
    assert "not a whole file" in examine(ASR_MODEL=str(file))[1]["ASR_MODEL"].detail


def test_a_folder_of_ctranslate2_whole_and_cut_off(examine, tmp_path: Path) -> None:
    whisper = ctranslate2_files.write_whisper(tmp_path / "whisper", checkpoints.ENGLISH)
    folder = ctranslate2_files.convert(whisper, tmp_path / "small", "int8")
    _, results = examine(ASR_MODEL=str(folder), ASSISTANT_MODEL="demo/assistant")
    result = results["ASR_MODEL"]
    assert (result.status, result.detail) == ("ok", "folder small, complete, in CTranslate2's format")
    assert "ASR_MODEL 51864" in results["assistant fits"].detail
    weights = folder / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    result = examine(ASR_MODEL=str(folder))[1]["ASR_MODEL"]
    assert (result.status, "cut off" in result.detail) == ("FAILED", True)


def test_a_hub_id_of_ctranslate2(examine, hub: HubStandIn) -> None:
    sizes = {"model.bin": 3_087_000_000, "vocabulary.json": 10**6, "config.json": 2000}
    words = {"config.json": {"suppress_ids": [1], "lang_ids": None}, "vocabulary.json": ["a"] * 51866}
    hub.models["Systran/faster-whisper-large-v3"] = {"sizes": sizes, "files": words}
    names = {"ASR_MODEL": "Systran/faster-whisper-large-v3", "ASSISTANT_MODEL": "distil-whisper/distil-large-v3"}
    _, results = examine(hub, **names, HF_TOKEN=TOKEN)
    assert results["ASR_MODEL"].detail == "Systran/faster-whisper-large-v3 in CTranslate2's format, 3.1 GB"
    assert results["assistant fits"].detail == "51866 tokens and 128 mel bins, both"
    del words["vocabulary.json"], sizes["vocabulary.json"]
    assert "lacks vocabulary.json" in examine(hub, **names)[1]["ASR_MODEL"].detail


def test_an_assistant_of_another_vocabulary(examine, hub: HubStandIn) -> None:
    _, results = examine(hub, **LARGE, ASSISTANT_MODEL="demo/assistant")
    assert results["assistant fits"].status == "FAILED"
    assert "2288 tokens, ASR_MODEL 51866" in results["assistant fits"].detail


# --- The Hub --------------------------------------------------------------------------------------------------


def test_a_folder_of_the_open_diarizer(examine, tmp_path: Path) -> None:
    """It has nothing to accept, and both files count."""
    folder = tmp_path / "voices"
    for file in (OPEN_SEGMENTATION, OPEN_EMBEDDING):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_bytes(b"PK")
    models = {"ASR_MODEL": str(REPOSITORY / DEMO["asr_model"]), "DIARIZATION_MODEL": str(folder)}
    _, results = examine(**models)
    assert results["DIARIZATION_MODEL"].status == "ok"
    assert not [name for name in results if name.startswith("gate")]
    (folder / OPEN_EMBEDDING).unlink()
    _, results = examine(**models)
    assert results["DIARIZATION_MODEL"].detail == f"voices lacks {OPEN_EMBEDDING}"


def test_a_gated_model_names_the_page(examine, hub: HubStandIn) -> None:
    hub.gated |= {PIPELINE, SEGMENTATION}
    status, results = examine(hub, **LARGE, DIARIZATION_MODEL=PIPELINE)
    assert status == 1
    assert f"https://huggingface.co/{PIPELINE}" in results["DIARIZATION_MODEL"].advice
    assert f"https://huggingface.co/{SEGMENTATION}" in results["gate segmentation-3.0"].advice


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [
        (PIPELINE, "3.4.0", [SEGMENTATION]),
        (PIPELINE, "4.0.7", [SEGMENTATION, COMMUNITY]),
        (COMMUNITY, "4.0.7", []),
        (str(REPOSITORY / "demo" / "diarizer"), "4.0.7", []),
    ],
)
def test_the_gates_beside_a_pipelines_own(model: str, version: str, expected: list[str]) -> None:
    assert gates(model, version) == expected


def test_a_model_that_is_not_there(examine, hub: HubStandIn) -> None:
    _, results = examine(hub, ASR_MODEL="openai/whisper-enormous", HF_TOKEN=TOKEN)
    assert "not found on the Hub" in results["ASR_MODEL"].detail
    assert "check the name" in results["ASR_MODEL"].advice
    assert results["memory"].status == "warning"


@pytest.mark.parametrize(
    ("me", "status", "words"),
    [
        (None, "FAILED", "make a read token"),
        (READER, "ok", ""),
        ({"name": "x", "auth": {"accessToken": {"role": "write"}}}, "warning", "make a read token"),
        ({"name": "x", "auth": {"accessToken": {"role": "fineGrained"}}}, "warning", "gated repos"),
        (
            {
                "name": "x",
                "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"canReadGatedRepos": True}}},
            },
            "ok",
            "",
        ),
    ],
)
def test_the_tokens_rights(examine, hub: HubStandIn, me: dict[str, Any] | None, status: str, words: str) -> None:
    hub.me = me
    result = examine(hub, **LARGE)[1]["HF_TOKEN"]
    assert result.status == status
    assert words in result.advice


def test_no_network_fails_what_is_not_here_and_nothing_else(examine, hub: HubStandIn) -> None:
    hub.shutdown()
    hub.server_close()
    _, results = examine(hub, **LARGE, DIARIZATION_MODEL="demo/diarizer")
    assert "cannot be reached" in results["ASR_MODEL"].detail
    assert "mend the network" in results["ASR_MODEL"].advice
    assert results["DIARIZATION_MODEL"].status == "ok"
    assert results["HF_TOKEN"].status == "ok"


def test_offline_mode_is_named(examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process is offline (`conftest.py`)."""
    _, results = examine(**LARGE)
    assert "HF_HUB_OFFLINE is set" in results["ASR_MODEL"].detail


# --- Memory and disk ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("memory", "status"), [(3e9, "FAILED"), (12e9, "warning"), (24e9, "ok")])
def test_memory_is_held_against_what_the_models_need(memory: float, status: str) -> None:
    facts = {"ASR_MODEL": Facts(Result("ASR_MODEL", "ok", ""), WHISPER, 1_543_490_560)}
    result = check_memory(facts, Machine("cuda", "NVIDIA", memory, 0), 2)
    assert result.status == status, result
    assert bool(result.advice) == (status != "ok")


def test_on_a_gpu_a_number_has_two_bytes(examine, hub: HubStandIn, gpu: Device) -> None:
    needed = []
    for kind in (gpu.kind, "cpu"):
        _, results = examine(hub, Machine(kind, gpu.name, 64e9, 100e9), **LARGE)
        needed.append(float(re.search(r"about ([\d.]+) GB", results["memory"].detail)[1]))
    assert needed[0] < 0.6 * needed[1]


def test_a_gpu_is_tried(gpu: Device) -> None:
    result = check_device(gpu)
    assert (result.status, result.detail) == ("ok", f"{gpu.name}: float16, CUDA graphs")


@pytest.mark.parametrize(
    ("fails", "status", "said"),
    [("replay", "warning", "No CUDA graphs, since"), ("sticky", "FAILED", "set TURNSCRIBE_CUDA_GRAPHS=0")],
)
def test_a_gpu_that_fails_is_told(fails: str, status: str, said: str) -> None:
    result = check_device(FakeGpu(fails=fails))
    assert result.status == status
    assert said in f"{result.detail} {result.advice}"


def test_on_a_processor_there_is_nothing_to_try() -> None:
    assert check_device(device_of("cpu")).status == "ok"


def test_a_gpu_that_torch_cannot_use_is_told() -> None:
    facts = {"ASR_MODEL": Facts(Result("ASR_MODEL", "ok", ""), WHISPER, 10**9)}
    result = check_memory(facts, Machine("cpu", "x", 64e9, 0, idle_gpu=True), 4)
    assert "driver" in result.advice


def test_a_full_disk(examine, hub: HubStandIn) -> None:
    _, results = examine(hub, Machine("cpu", "a test", 64e9, 1e9), **LARGE)
    assert "HF_HOME" in results["disk"].advice


# --- Named models ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_named_model_that_is_missing_is_told_with_its_command(examine, hub: HubStandIn, home: Path) -> None:
    status, results = examine(hub, ASR_MODEL="whisper-base", DIARIZATION_MODEL="open")
    assert status == 0
    assert results["ASR_MODEL"].status == results["DIARIZATION_MODEL"].status == "warning"
    assert "whisper-base is not on this machine, 0.1 GB; it is fetched at the start" in results["ASR_MODEL"].detail
    assert results["ASR_MODEL"].advice == "run turnscribe models get whisper-base"
    assert results["DIARIZATION_MODEL"].advice == "run turnscribe models get open-diarizer"
    assert "0.2 GB to download" in results["disk"].detail
    assert hub.requests == []  # a name is no Hub id, and the open diarizer has no gate
    assert not home.exists()


def test_offline_a_named_model_that_is_missing_is_a_failure(examine, home: Path) -> None:
    status, results = examine(ASR_MODEL="whisper-base")
    assert status == 1
    assert "HF_HUB_OFFLINE is set" in results["ASR_MODEL"].detail
    assert results["ASR_MODEL"].advice == "run turnscribe models get whisper-base"


def test_a_named_model_of_the_other_kind_is_a_failure(examine, home: Path) -> None:
    _, results = examine(ASR_MODEL="open", DIARIZATION_MODEL="whisper-tiny.en")
    assert (results["ASR_MODEL"].status, results["ASR_MODEL"].detail) == ("FAILED", "open-diarizer is a diarizer")
    assert results["DIARIZATION_MODEL"].advice == "name a diarizer"


def test_where_a_diarizer_is_gated_the_one_without_an_account_is_named_first(examine, hub: HubStandIn) -> None:
    hub.gated |= {PIPELINE, SEGMENTATION}
    _, results = examine(hub, **LARGE, DIARIZATION_MODEL=PIPELINE)
    for check in ("DIARIZATION_MODEL", "gate segmentation-3.0"):
        assert results[check].advice.startswith("no account needed: DIARIZATION_MODEL=open; or accept ")
