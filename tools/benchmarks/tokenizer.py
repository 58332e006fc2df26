"""A synthetic tokenizer with Whisper's number of entries and its special tokens: 50,257 of text."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.benchmarks.shapes import WhisperShape

TEXT_TOKENS = 50_257
TIMESTAMPS = 1_501  # <|0.00|> to <|30.00|>
WORDS = range(256, TEXT_TOKENS - 1)  # the other tokens of text: single bytes, and an empty one
SPACE = 220  # the byte-level letter for a space, which comes last of GPT-2's first 221


def special_tokens(shape: WhisperShape) -> list[str]:
    """Whisper's special tokens in their order, without the timestamps that follow them."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return [
        *("<|endoftext|>", "<|startoftranscript|>"),
        *(f"<|{code}|>" for code in list(LANGUAGES)[: shape.languages]),
        *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"),
        "<|notimestamps|>",
    ]


def _text_tokens() -> tuple[list[str], list[tuple[str, str]]]:
    """The 256 bytes, 50,000 words with the space before them, and the merges that build them letter by letter.

    Every beginning of a word is a word, so no merge competes with another. The last is the empty token that Whisper's
    multilingual vocabulary ends with, and by which CTranslate2 knows it from 4.7 on.
    """
    from tools.train_demo_models.tokenizer import _byte_letters

    tokens: list[str] = list(_byte_letters())
    merges: list[tuple[str, str]] = []
    beginnings = [tokens[SPACE]]
    for letters in itertools.cycle(("bcdfghjklmnpqrstvwxyz", "aeiou")):
        longer = []
        for beginning, letter in itertools.product(beginnings, letters):
            if len(tokens) == WORDS.stop:
                return [*tokens, ""], merges
            merges.append((beginning, letter))
            longer.append(beginning + letter)
            tokens.append(beginning + letter)
        beginnings = longer
    raise AssertionError  # the cycle has no end


def _added_tokens(shape: WhisperShape) -> Iterator[tuple[int, dict[str, Any]]]:
    """Specials, then timestamps, which the real tokenizers do not call special."""
    names = special_tokens(shape)
    times = [f"<|{index * 0.02:.2f}|>" for index in range(TIMESTAMPS)]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    for index, name in enumerate([*names, *times]):
        yield TEXT_TOKENS + index, {"content": name, **plain, "special": index < len(names)}


def write_tokenizer(shape: WhisperShape, folder: Path) -> None:
    tokens, merges = _text_tokens()
    added, end = dict(_added_tokens(shape)), "<|endoftext|>"
    vocabulary = {token: index for index, token in enumerate([*tokens, end])}
    fixed = {"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": end}
    specials = fixed | {"additional_special_tokens": special_tokens(shape)[1:]}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": ""}
    model |= {"end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    whole: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "post_processor": None,
    }
    whole |= {"pre_tokenizer": byte_level, "decoder": byte_level}
    whole |= {"added_tokens": [{"id": index, **token} for index, token in added.items()]}
    write_json(folder / "tokenizer.json", whole | {"model": model | {"vocab": vocabulary, "merges": merges}})
    write_json(folder / "vocab.json", vocabulary)
    write_json(folder / "added_tokens.json", {token["content"]: index for index, token in added.items()})
    write_json(folder / "special_tokens_map.json", specials)
    config: dict[str, Any] = {"add_prefix_space": False, "clean_up_tokenization_spaces": False, "errors": "replace"}
    config |= {"tokenizer_class": "WhisperTokenizer", "model_max_length": 448, "added_tokens_decoder": added}
    write_json(folder / "tokenizer_config.json", config | specials)
    lines = ["#version: 0.2", *map(" ".join, merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")


def write_json(file: Path, contents: Any) -> None:
    """Text as it is, not escaped."""
    file.write_text(json.dumps(contents, indent=1, ensure_ascii=False), encoding="utf-8")
