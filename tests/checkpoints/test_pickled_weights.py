"""What is said of files that torch unpickles, by its version and by where they come from."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from tests.diarization.open_models import write_open_folder
from turnscribe.checkpoints import pickled_weights
from turnscribe.checkpoints.catalogue import NAMED, Catalogue, ModelFile, find
from turnscribe.checkpoints.hub import explain
from turnscribe.checkpoints.pickled_weights import is_of_catalogue, is_sound, pickled_of_pipeline, warn_of, warned

OLD, NEW = "2.9.1+cu126", "2.10.0+cu126"
LINE = (
    "ASR_MODEL mine: torch 2.9.1 unpickles small.pt, and its check of such files has published holes: name a model "
    "whose weights are safetensors, or install torch 2.10 or newer, unless you trust where the file comes from."
)


@pytest.fixture
def old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever torch is installed, it counts as one with holes."""
    monkeypatch.setattr(pickled_weights, "is_sound", lambda _: False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save({"dims": {}}, tmp_path / "small.pt")
    return tmp_path / "small.pt"


def catalogue_with(file: Path) -> Catalogue:
    content = file.read_bytes()
    known = ModelFile(file.name, len(content), hashlib.sha256(content).hexdigest(), ())
    return (dataclasses.replace(NAMED[0], files=(known,)),)


def test_one_line_names_the_file_the_risk_and_what_is_right(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of("ASR_MODEL mine", [file], torch=OLD)
    assert caplog.messages == [LINE]


def test_a_torch_without_published_holes_is_trusted(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of("ASR_MODEL mine", [file], torch=NEW)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("version", "sound"), [("2.5.1+cu124", False), ("2.9", False), ("2.10.0", True), ("3.0", True)]
)
def test_versions_are_numbers(version: str, sound: bool) -> None:
    assert is_sound(version) is sound


def test_nothing_is_said_of_files_that_are_none(caplog: pytest.LogCaptureFixture) -> None:
    warn_of("ASR_MODEL mine", [], torch=OLD)
    assert not caplog.messages


def test_a_file_of_the_catalogue_is_known_by_its_hash(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    catalogue = catalogue_with(file)
    warn_of("ASR_MODEL mine", [file], catalogue=catalogue, torch=OLD)
    assert not caplog.messages
    changed = bytearray(file.read_bytes())
    changed[-1] ^= 1  # of the same size
    file.write_bytes(changed)
    assert not is_of_catalogue(file, catalogue)
    warn_of("ASR_MODEL mine", [file], catalogue=catalogue, torch=OLD)
    assert caplog.messages == [LINE]


def test_a_file_that_is_not_there_is_of_no_catalogue(tmp_path: Path) -> None:
    assert not is_of_catalogue(tmp_path / "pytorch_model.bin")


def test_the_open_diarizer_of_the_catalogue_is_pickled() -> None:
    """So there is something to exempt."""
    model = find("open")
    assert model
    assert {Path(file.path).suffix for file in model.files} == {".bin", ".pt"}


# --- where files are unpickled --------------------------------------------------------------------------------


@pytest.mark.usefixtures("old_torch")
def test_own_files_of_the_open_diarizer_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from turnscribe.diarization.open_diarizer import load_open

    load_open(write_open_folder(tmp_path / "voices"))
    named = [message.partition(":")[0] for message in caplog.messages]
    assert named == ["DIARIZATION_MODEL voices"] * 2
    assert "pytorch_model.bin" in caplog.messages[0]
    assert "campplus_cn_en_common.pt" in caplog.messages[1]


@pytest.mark.usefixtures("old_torch")
@pytest.mark.models
def test_a_pyannote_pipelines_files_are_named_before_they_are_read(caplog: pytest.LogCaptureFixture) -> None:
    from tests.conftest import REPOSITORY
    from turnscribe.diarization.diarizer import load_diarizer

    load_diarizer("demo/diarizer", root=REPOSITORY)
    (message,) = [message for message in caplog.messages if "unpickles" in message]
    assert message.startswith("DIARIZATION_MODEL demo/diarizer: ")
    assert "unpickles pytorch_model.bin, and" in message


def test_a_pipelines_files_are_found(tmp_path: Path) -> None:
    for name in ("config.yaml", "segmentation/pytorch_model.bin", "old.ckpt", "plda/plda.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file in pickled_of_pipeline(tmp_path)] == ["old.ckpt", "pytorch_model.bin"]


@pytest.mark.usefixtures("old_torch")
def test_transformers_takes_safetensors_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with warned("ASR_MODEL mine", str(tmp_path)):
        assert len(caplog.messages) == 1
    (tmp_path / "model.safetensors").touch()
    with warned("ASR_MODEL mine", str(tmp_path)):
        pass
    assert len(caplog.messages) == 1


@pytest.mark.usefixtures("old_torch")
def test_of_a_model_that_is_fetched_it_is_said_afterwards(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with warned("ASR_MODEL mine", str(tmp_path)):
        (tmp_path / "pytorch_model.bin").touch()
        assert not caplog.messages
    assert len(caplog.messages) == 1


def test_where_transformers_refuses_a_bin_the_sentence_says_what_is_right() -> None:
    """transformers' own words, since 4.52, for torch before 2.6."""
    error = ValueError(
        "Due to a serious vulnerability issue in `torch.load`, even with `weights_only=True`, we now ..."
    )
    assert str(explain(error, "ASR_MODEL", "/models/mine")) == (
        "ASR_MODEL mine has its weights in a .bin file, for which transformers needs torch 2.6 or newer: install it, "
        "or name a model whose weights are safetensors."
    )
