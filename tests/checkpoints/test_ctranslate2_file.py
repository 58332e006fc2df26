"""Damaged, foreign and lying files: each is one sentence, and none is believed."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checkpoints.ctranslate2_files import write_model_file
from turnscribe.checkpoints.ctranslate2_file import ModelFile, open_model_file
from turnscribe.errors import SettingsError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
VARIABLES = {
    "decoder/embeddings/weight": np.array([[1, -2, 3], [127, 0, -127]], np.int8),
    "decoder/embeddings/weight_scale": np.array([2, 0.5], np.float32),
    "decoder/layer/weight": np.array([[1024], [-512]], np.int16),
    "decoder/layer/weight_scale": np.array(2, np.float32),
    "encoder/half": WEIGHT.astype(np.float16),
    "encoder/num_heads": np.array(4, np.int16),
    "encoder/weight": WEIGHT,
}
ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


def read(path: Path) -> ModelFile:
    return open_model_file(path, "ASR_MODEL small", kind="WhisperSpec", revision=3)


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        read(path)
    message = str(refused.value)
    assert message.startswith("ASR_MODEL small ")
    assert message.endswith(".")
    assert message.count(": ") == 1  # what was wrong, what would be right
    assert str(path.parent) not in message
    return message


def test_every_type_is_read_and_what_is_quantized_divided_by_its_scale(tmp_path: Path) -> None:
    file = read(write_model_file(tmp_path / "model.bin", VARIABLES, ALIASES))
    rows = torch.tensor([[0.5, -1, 1.5], [254, 0, -254]])
    for name in ("decoder/embeddings/weight", "decoder/projection/weight"):
        assert torch.equal(file.tensor(name), rows)
    assert torch.equal(file.tensor("decoder/layer/weight"), torch.tensor([[512.0], [-256.0]]))
    assert torch.equal(file.tensor("encoder/half"), torch.from_numpy(WEIGHT).half())
    assert torch.equal(file.tensor("encoder/weight"), torch.from_numpy(WEIGHT))
    assert file.number("encoder/num_heads") == 4


def test_a_tensor_outlives_its_file(tmp_path: Path) -> None:
    path = write_model_file(tmp_path / "model.bin", VARIABLES, ALIASES)
    tensor = read(path).tensor("encoder/weight")
    path.write_bytes(b"")
    assert torch.equal(tensor, torch.from_numpy(WEIGHT))


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write_model_file(tmp_path / "model.bin", VARIABLES, ALIASES).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "model.bin").write_bytes(whole[:length])
        refusal(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes(whole + b"\0")
    assert "damaged" in refusal(tmp_path / "model.bin")


@pytest.mark.property
@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_values_only(tmp_path_factory: Any, place: int, byte: int) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.bin"
    whole = bytearray(write_model_file(path, VARIABLES, ALIASES).read_bytes())
    whole[place % len(whole)] = byte
    path.write_bytes(whole)
    try:
        file = read(path)
    except SettingsError:
        refusal(path)
    else:
        assert sum(variable.size for variable in file.variables.values()) < 2 * len(whole)


@pytest.mark.parametrize(
    "contents",
    [b"", b"<html>not found</html>", b"PK\x03\x04" + b"\0" * 200, b"\x80\x02ctorch\n", bytes(500), b"\xff" * 500],
)
def test_another_kind_of_file_is_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(contents)
    assert re.search("is not CTranslate2's|an empty model.bin", refusal(tmp_path / "model.bin"))


def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:d01c\nsize 145217532\n"
    (tmp_path / "model.bin").write_bytes(pointer)
    assert "git lfs pull" in refusal(tmp_path / "model.bin")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "lacks model.bin" in refusal(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 7}, r"later version \(7, revision 3\)"),
        ({"revision": 4}, r"later version \(6, revision 4\)"),
        ({"version": 5}, "of version 5, and only 6 is read"),
        ({"kind": "TransformerSpec"}, "holds a TransformerSpec"),
        ({"types": {"encoder/half": 6}}, r"type that is not known \(6\)"),
        ({"types": {"encoder/half": 0}}, "damaged"),
        ({"sizes": {"encoder/weight": 2**32 - 1}}, "damaged"),
        ({"sizes": {"encoder/weight": 20}}, "damaged"),
        ({"shapes": {"encoder/weight": (2**32 - 1,) * 4}}, "damaged"),
        ({"shapes": {"encoder/weight": (2**16,) * 255}}, "damaged"),
        ({"shapes": {"encoder/weight": (0, 3)}, "sizes": {"encoder/weight": 0}}, "damaged"),
    ],
)
def test_what_is_newer_or_lies_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    message = refusal(write_model_file(tmp_path / "model.bin", VARIABLES, ALIASES, **changed))
    assert re.search(words, message)


def test_a_count_of_billions_of_variables_ends_with_the_file(tmp_path: Path) -> None:
    whole = bytearray(write_model_file(tmp_path / "model.bin", VARIABLES, ALIASES).read_bytes())
    count = struct.pack("<I", len(VARIABLES))
    place = whole.index(count, len("WhisperSpec"))
    whole[place : place + 4] = b"\xff" * 4
    (tmp_path / "model.bin").write_bytes(whole)
    refusal(tmp_path / "model.bin")


@pytest.mark.parametrize("aliases", [{"a": "nowhere"}, {"encoder/weight": "encoder/half"}])
def test_an_alias_of_nothing_and_one_that_hides_a_variable_are_refused(
    tmp_path: Path, aliases: dict[str, str]
) -> None:
    assert "damaged" in refusal(write_model_file(tmp_path / "model.bin", VARIABLES, aliases))


def test_a_part_of_the_rows_is_that_part_of_the_whole(tmp_path: Path) -> None:
    file = read(write_model_file(tmp_path / "model.bin", VARIABLES, ALIASES))
    for name in ("decoder/embeddings/weight", "decoder/layer/weight"):
        whole = file.tensor(name)
        assert torch.equal(torch.cat([file.tensor(name, part, 2) for part in range(2)]), whole)
