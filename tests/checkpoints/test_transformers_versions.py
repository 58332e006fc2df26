from __future__ import annotations

from pathlib import Path

import pytest

from turnscribe.checkpoints.transformers_versions import dtype_argument


@pytest.mark.parametrize(
    ("version", "keyword"),
    [
        ("4.46.0", "torch_dtype"),
        ("4.51.3", "torch_dtype"),
        ("4.55.4", "torch_dtype"),
        ("4.56.0", "dtype"),
        ("4.56.0.dev0", "dtype"),
        ("4.57.1", "dtype"),
        ("5.0.0rc1", "dtype"),
        ("5.23.0", "dtype"),
        ("10.2", "dtype"),
    ],
)
def test_the_keyword_is_the_versions_own(monkeypatch: pytest.MonkeyPatch, version: str, keyword: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda package: {"transformers": version}[package])
    assert dtype_argument("float16") == {keyword: "float16"}


@pytest.mark.filterwarnings("error:.*torch_dtype.*")
def test_the_installed_transformers_understands_the_keyword(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, BertConfig, BertModel

    config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    BertModel(config).save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16):
        assert AutoModel.from_pretrained(tmp_path, **dtype_argument(dtype)).dtype == dtype
