"""`turnscribe models`: list, get, where, remove, of named models and of Hub ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from tests.checkpoints.index_stand_in import CATALOGUE, CONTENTS, REPOSITORY_ID, contents
from tests.cli.hub_stand_in import HubStandIn, online
from tests.manual import block
from turnscribe.checkpoints.catalogue import NAMED
from turnscribe.checkpoints.hub_cache import needed_files
from turnscribe.cli.models import main

WHISPER = {
    "config.json": b"{}",
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "model.fp32-00001-of-00002.safetensors": b"copy",
    "model.safetensors.index.fp32.json": b"copy",
    "pytorch_model.bin": b"copy",
    "flax_model.msgpack": b"copy",
    "onnx/encoder_model.onnx": b"copy",
    "README.md": b"text",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TURNSCRIBE_HOME", str(tmp_path / "home"))
    cache = str(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", cache, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    with online(monkeypatch) as server:
        server.models[REPOSITORY_ID] = {"bytes": CONTENTS}
        server.models["acme/whisper"] = {"bytes": WHISPER}
        yield server


def run(*arguments: str, hub: HubStandIn | None = None) -> int:
    return main(arguments, catalogue=CATALOGUE, api=HfApi(endpoint=hub.url) if hub else None)


def test_a_named_model_is_got_found_listed_and_removed(
    home: Path, hub: HubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("get", "small", hub=hub) == 0
    printed = capsys.readouterr()
    folder = home / "models" / "tiny"
    assert printed.out == f"{folder}\n"
    assert "from the Hub" in printed.err
    assert "\r" not in printed.err  # no bar where there is no terminal
    assert contents(folder) == CONTENTS
    assert run("where", "tiny") == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert run("list", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["there"], listed["folder"]) == ("tiny", True, str(folder))
    assert (listed["licence"], listed["size"]) == ("MIT", sum(map(len, CONTENTS.values())))
    assert "acme/tiny" in listed["source"]
    assert run("remove", "tiny") == 0
    assert capsys.readouterr().out == "tiny: 0.0 MB freed\n"
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["tiny", "0", "MB", "no"]


def test_a_hub_id_is_got_with_just_the_files_that_loading_takes(
    hub: HubStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("get", "acme/whisper", hub=hub) == 0
    folder = Path(capsys.readouterr().out.strip())
    wanted = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(file.name for file in folder.iterdir()) == wanted
    assert run("where", "acme/whisper", hub=hub) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:4] == ["acme/whisper", "0", "MB", "yes"]
    assert run("remove", "acme/whisper") == 0
    assert "acme/whisper: " in capsys.readouterr().out
    assert run("where", "acme/whisper", hub=hub) == 1


def test_a_pipeline_brings_the_models_it_names(hub: HubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    config = b"pipeline:\n  params:\n    segmentation: acme/part\n    embedding: $model/embedding\n"
    hub.models["acme/pipeline"] = {"bytes": {"config.yaml": config, "embedding/pytorch_model.bin": b"weights"}}
    hub.models["acme/part"] = {"bytes": {"config.yaml": b"model:", "pytorch_model.bin": b"weights"}}
    assert run("get", "acme/pipeline", hub=hub) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert set(contents(folder)) == {"config.yaml", "embedding/pytorch_model.bin"}
    assert run("where", "acme/part", hub=hub) == 0


@pytest.mark.parametrize(
    ("present", "needed"),
    [
        (["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"], 3),
        (["config.json", "model.bin", "tokenizer.json", "vocabulary.json", "vocabulary.txt"], 5),  # CTranslate2
        (["config.json", "pytorch_model.bin", "tf_model.h5", "rust_model.ot"], 2),
        (["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], 3),
    ],
)
def test_one_copy_of_the_weights_is_enough(present: list[str], needed: int) -> None:
    assert needed_files(present) == present[:needed]


def test_a_gated_model_is_told_where_its_terms_are(hub: HubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hub.gated.add("acme/whisper")
    assert run("get", "acme/whisper", hub=hub) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: acme/whisper is gated: accept its terms at https://huggingface.co/acme/whisper")


def test_one_that_fails_does_not_keep_the_others_away(hub: HubStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("get", "acme/unheard-of", "tiny", hub=hub) == 1
    printed = capsys.readouterr()
    assert printed.out.endswith("models/tiny\n")
    assert "error: acme/unheard-of was not found on the Hub" in printed.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["where", "tiny"], "tiny is not on this machine: `turnscribe models get tiny` fetches it."),
        (["where", "acme/whisper"], "acme/whisper is not on this machine"),
        (["where", "none"], "none is neither a named model nor a Hub id"),
        (["get", "none"], "none is neither a named model nor a Hub id"),
        (["get", "acme/whisper"], "acme/whisper is not on this machine and the Hub cannot be reached"),
        (["remove", "tiny"], "tiny is not on this machine: there is nothing to remove."),
        (["remove", "acme/whisper"], "acme/whisper is not on this machine: there is nothing to remove."),
        (["get", "/srv/secret/model"], "model is neither a named model nor a Hub id"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline, as `conftest.py` sets it."""
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "/srv" not in error


def test_of_several_models_one_that_is_missing_shows_in_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert run("where", "mine", "mine") == 0
    assert run("where", "tiny", "mine") == 1


def test_a_folder_is_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    assert run("where", "mine") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine'}\n"


def test_the_manuals_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With files of the right sizes: what is there is not fetched."""
    for model in NAMED:
        for file in model.files:
            path = home / "models" / model.name / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as opened:
                opened.truncate(file.size)
    for line in block("sh", "scripts.models get").splitlines():
        program, option, module, *arguments = line.split()
        assert (Path(program).name, option, module) == ("python", "-m", "scripts.models")
        assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    folder = home / "models"
    assert printed.out.splitlines()[-3:] == [
        str(folder / name) for name in ("whisper-base", "open-diarizer", "open-diarizer")
    ]


def test_a_wrong_command_line_is_one() -> None:
    with pytest.raises(SystemExit) as caught:
        run("get")
    assert caught.value.code == 2
