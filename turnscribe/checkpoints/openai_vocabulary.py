"""The vocabulary files of openai-whisper (`multilingual.tiktoken`, `gpt2.tiktoken`) as a transformers tokenizer.

A line is a token's bytes in base64 and its rank, the order in which byte-pair encoding came to join it; the special
tokens follow, in the order of openai/whisper `tokenizer.py`. Nothing here needs a network.
"""

from __future__ import annotations

import base64
import importlib.util
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

TIMESTAMPS = 1501  # <|0.00|> to <|30.00|>
SECONDS_PER_TIMESTAMP = 0.02
END, START, PREVIOUS = "<|endoftext|>", "<|startoftranscript|>", "<|startofprev|>"
TRANSLATE, TRANSCRIBE, START_OF_LM = "<|translate|>", "<|transcribe|>", "<|startoflm|>"
NO_SPEECH, NO_TIMESTAMPS = "<|nospeech|>", "<|notimestamps|>"
ENGLISH_ONLY, THIRD_VERSION = 51864, 51866  # sizes of vocabularies
LANGUAGES = {ENGLISH_ONLY: 99, 51865: 99, THIRD_VERSION: 100}  # how many a vocabulary has, by its size
ENGLISH_ONLY_END = 50256  # the number of `END` in English-only vocabularies, and in no other


def find_vocabulary(name: str, folder: Path) -> Path | None:
    """The vocabulary file in `folder`, else in an installed openai-whisper, which is not imported."""
    folders = [folder]
    package = importlib.util.find_spec("whisper")  # other packages have this name too
    if package is not None:
        folders += [Path(location) / "assets" for location in package.submodule_search_locations or ()]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def read_ranks(path: Path) -> dict[bytes, int]:
    """Every token's bytes and rank. Raises `SettingsError` for a file that is not a whole vocabulary."""
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    except ValueError as error:
        raise SettingsError(_incomplete(path)) from error
    bytes_are_there = all(bytes([byte]) in ranks for byte in range(256))
    if sorted(ranks.values()) != list(range(len(lines))) or not bytes_are_there:
        raise SettingsError(_incomplete(path))
    return ranks


def special_tokens(languages: int) -> list[str]:
    """The special tokens of a vocabulary with so many `languages`, in order, the timestamps left out."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES as NAMES

    codes = [f"<|{code}|>" for code in list(NAMES)[:languages]]
    return [END, START, *codes, TRANSLATE, TRANSCRIBE, START_OF_LM, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS]


def make_tokenizer(ranks: Mapping[bytes, int], special: Sequence[str]) -> PreTrainedTokenizerFast:
    """A `WhisperTokenizerFast` with the ids of openai/whisper.

    `special` are the special tokens in order, the end first; the timestamps follow them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import WhisperTokenizerFast  # type: ignore[attr-defined]

    letters = _letters()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocabulary = {spell(token): rank for token, rank in ranks.items()} | {END: len(ranks)}
    joins = [(spell(left), spell(right)) for left, right in merges(ranks)]
    backend = Tokenizer(BPE(vocabulary, joins))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    add_timestamps(backend)
    tokenizer = WhisperTokenizerFast(tokenizer_object=backend, additional_special_tokens=special[1:])
    tokenizer.set_prefix_tokens()
    made: PreTrainedTokenizerFast = tokenizer
    return made


def add_timestamps(backend: Tokenizer) -> None:
    """The timestamps as the next tokens of a vocabulary."""
    from tokenizers import AddedToken

    times = [f"<|{index * SECONDS_PER_TIMESTAMP:.2f}|>" for index in range(TIMESTAMPS)]
    backend.add_tokens([AddedToken(time, normalized=False, special=False) for time in times])


def merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """The two tokens that each longer token was joined from, in the order of joining."""
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _parts(token, ranks, rank)
            if len(parts) == 2:
                yield parts[0], parts[1]


def _parts(token: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    """The pieces in which byte-pair encoding leaves `token` if it may only join to tokens of ranks below `limit`."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        joins = [ranks.get(left + right, limit) for left, right in itertools.pairwise(parts)]
        first = min(joins)
        if first >= limit:
            break
        at = joins.index(first)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def byte_of_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for."""
    return {letter: byte for byte, letter in enumerate(_letters())}


def _letters() -> list[str]:
    """The letter for each byte in a byte-level vocabulary: the byte's own if it prints, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _incomplete(path: Path) -> str:
    return f"{path.name} is not a whole vocabulary of openai-whisper: copy it from that package's assets again."
