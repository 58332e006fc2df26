"""The tokenizer of a CTranslate2 Whisper: from `tokenizer.json`, else made of the vocabulary beside the weights.

`vocabulary.json` is a list of all tokens, `vocabulary.txt` of older converters has one a line. Tokens stand in the
order in which byte-pair encoding came to join them, so they are joined as openai-whisper's (`make_tokenizer`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.checkpoints.openai_vocabulary import (
    END,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    TIMESTAMPS,
    TRANSCRIBE,
    TRANSLATE,
    add_timestamps,
    byte_of_letters,
    make_tokenizer,
)
from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

FILES = ("tokenizer.json", "vocabulary.json", "vocabulary.txt")  # the first that is there is read
FIRST_JOINED = " t"  # by byte-pair encoding of English
NEEDED = (END, START, TRANSLATE, TRANSCRIBE, PREVIOUS, NO_TIMESTAMPS)


def load_tokenizer(folder: Path, tokens: int, name: str) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder` for a model of so many `tokens`.

    Raises `SettingsError`, in which the model is called `name`, also where tokenizer and model do not fit each other.
    """
    path = vocabulary_file(folder, name)
    try:
        tokenizer = _read(path) if path.name == FILES[0] else _remade(_listed(path))
    except Exception as error:  # `tokenizers` raises Exception itself
        raise SettingsError(f"{name} has a damaged {path.name}: copy it again.") from error
    backend = tokenizer.backend_tokenizer
    known = {token: id for token in NEEDED if (id := backend.token_to_id(token)) is not None}
    lacking = [token for token in NEEDED if token not in known]
    if lacking:
        raise SettingsError(f"{name} has a {path.name} without {lacking[0]}: copy that of a Whisper.")
    needed = max(backend.get_vocab_size(), known[NO_TIMESTAMPS] + 1 + TIMESTAMPS)
    if needed > tokens:
        raise SettingsError(
            f"{name} has {tokens} tokens and its {path.name} {needed}: copy the file that belongs to the model."
        )
    return tokenizer


def vocabulary_file(folder: Path, name: str) -> Path:
    """The file that the tokenizer is made from."""
    for file in FILES:
        if (folder / file).is_file():
            return folder / file
    raise SettingsError(f"{name} lacks {FILES[0]} and {FILES[1]}: copy the whole model.")


def _read(path: Path) -> PreTrainedTokenizerFast:
    from transformers import WhisperTokenizerFast  # type: ignore[attr-defined]

    tokenizer: PreTrainedTokenizerFast = WhisperTokenizerFast(tokenizer_file=str(path))
    if len(tokenizer.encode(FIRST_JOINED, add_special_tokens=False)) > 1:
        tokenizer = WhisperTokenizerFast(tokenizer_object=_mended(path))
    backend = tokenizer.backend_tokenizer
    start, no_timestamps = backend.token_to_id(START) or 0, backend.token_to_id(NO_TIMESTAMPS) or 0
    special = [backend.id_to_token(token) for token in range(start, no_timestamps + 1)]
    tokenizer.add_special_tokens({"additional_special_tokens": special})  # type: ignore[dict-item]
    if backend.get_vocab_size() == no_timestamps + 1:
        add_timestamps(backend)  # files of before 2023 end here
    return tokenizer


def _mended(path: Path) -> Tokenizer:
    """The first files on the Hub lack the first rule, which joins a space and a t: their merges had no heading, and
    the first line was taken for it. Text in a prompt would become tokens that the model was not trained with."""
    from tokenizers import Tokenizer

    stored = json.loads(path.read_bytes())
    vocabulary, merges = stored["model"]["vocab"], stored["model"]["merges"]
    first = ["\u0120", "t"]  # the letter of the byte 0x20
    if "".join(first) in vocabulary:
        merges.insert(0, first if merges and isinstance(merges[0], list) else " ".join(first))
    return Tokenizer.from_str(json.dumps(stored))


def _listed(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".txt":
        return text.removesuffix("\n").split("\n")
    listed = json.loads(text)
    if not (isinstance(listed, list) and all(isinstance(token, str) for token in listed)):
        raise ValueError("no list of tokens")
    return listed


def _remade(tokens: Sequence[str]) -> PreTrainedTokenizerFast:
    """Of all tokens in order: text, special tokens, timestamps."""
    end, times = tokens.index(END), tokens.index(NO_TIMESTAMPS) + 1
    of_letter = byte_of_letters()
    ranks = {bytes(of_letter[letter] for letter in token): rank for rank, token in enumerate(tokens[:end])}
    return make_tokenizer(ranks, tokens[end:times])
