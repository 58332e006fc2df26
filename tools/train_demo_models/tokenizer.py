"""The demo Whisper's tokenizer: Whisper's real special tokens over a small byte-level BPE.

Every word of the vocabulary is one token: the merges only ever lengthen a word's beginning by one letter
(" h", " he", " hel", ...), so no merge competes with another. Any other text falls back to bytes.
Save it under transformers 4.51.3 or older: a tokenizer saved by 5.x does not load there.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from turnscribe.cli.evaluation.synthetic_speech import vocabulary

SECONDS_PER_TIMESTAMP = 0.02
TIMESTAMPS = 1501  # <|0.00|> to <|30.00|>


def text_tokens() -> tuple[list[str], list[tuple[str, str]]]:
    """The vocabulary (256 bytes, then beginnings of words) and the merges that build it."""
    tokens, merges = list(_byte_letters()), []
    known = set(tokens)
    for word in vocabulary():
        beginning = "\u0120"  # the byte-level letter for a space
        for letter in word:
            if beginning + letter not in known:
                merges.append((beginning, letter))
                tokens.append(beginning + letter)
                known.add(beginning + letter)
            beginning += letter
    return tokens, merges


def special_tokens() -> list[str]:
    """Whisper's special tokens in their order, without the timestamps that follow them."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    languages = [f"<|{code}|>" for code in list(LANGUAGES)[:99]]
    return [
        *("<|endoftext|>", "<|startoftranscript|>"),
        *languages,
        *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"),
        "<|notimestamps|>",
    ]


class TokenIds:
    """Ids by name, as the saved tokenizer numbers them."""

    def __init__(self) -> None:
        text, _ = text_tokens()
        special = special_tokens()
        self.by_name = {name: index for index, name in enumerate([*text, *special])}
        self.words = {word: self.by_name["\u0120" + word] for word in vocabulary()}
        self.end = self.by_name["<|endoftext|>"]
        self.start = self.by_name["<|startoftranscript|>"]
        self.english = self.by_name["<|en|>"]
        self.transcribe = self.by_name["<|transcribe|>"]
        self.translate = self.by_name["<|translate|>"]
        self.previous = self.by_name["<|startofprev|>"]
        self.no_speech = self.by_name["<|nospeech|>"]
        self.no_timestamps = self.by_name["<|notimestamps|>"]
        self.first_timestamp = len(self.by_name)
        self.size = self.first_timestamp + TIMESTAMPS


def save_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken
    from transformers import WhisperTokenizer
    from transformers.models.whisper.tokenization_whisper_fast import WhisperTokenizerFast

    tokens, merges = text_tokens()
    with tempfile.TemporaryDirectory() as scratch:
        vocabulary_file, merges_file = Path(scratch, "vocab.json"), Path(scratch, "merges.txt")
        numbered = {token: index for index, token in enumerate([*tokens, "<|endoftext|>"])}
        vocabulary_file.write_text(json.dumps(numbered), encoding="utf-8")
        merges_file.write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n", encoding="utf-8")
        slow = WhisperTokenizer(str(vocabulary_file), str(merges_file))
        slow.add_special_tokens({"additional_special_tokens": special_tokens()[1:]})
        slow.add_tokens(
            [
                AddedToken(f"<|{index * SECONDS_PER_TIMESTAMP:.2f}|>", special=False, normalized=False)
                for index in range(TIMESTAMPS)
            ]
        )
        slow.save_pretrained(folder)
        fast = WhisperTokenizerFast.from_pretrained(folder, trust_remote_code=False)
    fast.save_pretrained(folder)
    _check(fast)


def _check(tokenizer) -> None:  # type: ignore[no-untyped-def]
    ids = TokenIds()
    assert len(tokenizer) == ids.size, (len(tokenizer), ids.size)
    for word, token in ids.words.items():
        assert tokenizer.encode(" " + word, add_special_tokens=False) == [token], word
    for name, token in ids.by_name.items():
        assert tokenizer.convert_tokens_to_ids(name) == token, name
    assert tokenizer.convert_tokens_to_ids("<|30.00|>") == ids.size - 1
    assert tokenizer.all_special_ids[-1] + 1 == ids.first_timestamp


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for every byte, in the order of its vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
