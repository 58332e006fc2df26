"""The generation configuration of a Whisper, which a checkpoint of openai-whisper lacks.

It equals that of the converted checkpoints on the Hub: the ids of the special tokens, the tokens that are never
decoded, and the attention heads that tell when a word was said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from turnscribe.checkpoints.openai_vocabulary import (
    END,
    ENGLISH_ONLY_END,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    START_OF_LM,
    THIRD_VERSION,
    TRANSCRIBE,
    TRANSLATE,
)

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase, WhisperConfig

LATEST_FIRST_TIMESTAMP = 50  # in steps of 0.02 s: text begins in a window's first second

# What people write and do not say: openai/whisper never decodes it.
UNSPOKEN_SYMBOLS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *"<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split(),
)
MUSIC_SYMBOLS = "♩♪♫♬♭♮♯"  # their first tokens are enough: no word begins with one
UNSPOKEN_WORD_STARTS = (" -", " '")  # inside a word both are spoken

# The attention heads that look at the audio of the token they predict: by a model's name and its numbers of decoder
# layers and heads, the heads of each layer. `_ALIGNMENT_HEADS` of openai-whisper 20250625, unpacked.
ALIGNMENT_HEADS: dict[tuple[str, int, int], dict[int, tuple[int, ...]]] = {
    ("tiny.en", 4, 6): {1: (0,), 2: (0, 5), 3: (0, 1, 2, 3, 4)},
    ("tiny", 4, 6): {2: (2,), 3: (0, 2, 3, 4, 5)},
    ("base.en", 6, 8): {3: (3,), 4: (7,), 5: (1, 5, 7)},
    ("base", 6, 8): {3: (1,), 4: (2, 3, 7), 5: (1, 2, 4, 6)},
    ("small.en", 12, 12): {
        6: (6,),
        7: (0, 3, 8),
        8: (2, 5, 7),
        9: (0, 4, 8, 10),
        10: (0, 1, 2, 3, 6, 11),
        11: (2, 4),
    },
    ("small", 12, 12): {5: (3, 9), 8: (0, 4, 7, 8), 9: (0, 7, 9), 10: (5,)},
    ("medium.en", 24, 16): {
        11: (4,),
        14: (1, 12, 14),
        15: (4,),
        16: (0, 4, 9),
        17: (12, 14),
        18: (7, 10, 15),
        20: (0, 3, 9, 14),
        21: (12,),
    },
    ("medium", 24, 16): {13: (15,), 15: (4, 15), 16: (1,), 20: (0,), 23: (4,)},
    ("large-v1", 32, 20): {9: (19,), 11: (2, 4, 17), 22: (7, 11, 17), 23: (2, 15)},
    ("large-v2", 32, 20): {
        10: (12,),
        13: (17,),
        16: (11, 12, 13),
        17: (15, 16),
        18: (4, 11, 19),
        19: (11,),
        21: (2, 3),
        22: (3, 9, 12),
        23: (5, 7, 13),
        25: (5,),
        26: (1, 12),
        27: (15,),
    },
    ("large-v3", 32, 20): {
        7: (0,),
        10: (17,),
        12: (18,),
        13: (12,),
        16: (1,),
        17: (14,),
        19: (11,),
        21: (4,),
        24: (1,),
        25: (6,),
    },
    ("large-v3-turbo", 4, 20): {2: (4, 11), 3: (3, 6, 11, 14)},
    ("turbo", 4, 20): {2: (4, 11), 3: (3, 6, 11, 14)},
}

OF_THIRD_VERSION = ("large-v3", "large-v3-turbo", "turbo")


def generation_config(config: WhisperConfig, tokenizer: PreTrainedTokenizerBase, name: str) -> GenerationConfig:
    """The generation configuration of the Whisper with this `config`; `name` is as for `known_heads`."""
    from transformers import GenerationConfig

    end, start, previous, no_timestamps = _token_ids(tokenizer, (END, START, PREVIOUS, NO_TIMESTAMPS))
    transcribe, translate = _token_ids(tokenizer, (TRANSCRIBE, TRANSLATE))
    languages = range(start + 1, translate)
    multilingual = end != ENGLISH_ONLY_END and len(languages) > 0
    values: dict[str, Any] = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "prev_sot_token_id": previous,
        "no_timestamps_token_id": no_timestamps,
        "max_length": config.max_target_positions,
        "max_initial_timestamp_index": LATEST_FIRST_TIMESTAMP,
        "return_timestamps": False,
        "suppress_tokens": suppressed_tokens(tokenizer),
        "begin_suppress_tokens": [*tokenizer.encode(" ", add_special_tokens=False), end],
        "is_multilingual": multilingual,
    }
    heads = known_heads(config, name, multilingual=multilingual)
    if heads is not None:
        values["alignment_heads"] = heads
    if multilingual:
        values["task_to_id"] = {"transcribe": transcribe, "translate": translate}
        values["lang_to_id"] = dict(zip(tokenizer.convert_ids_to_tokens(list(languages)), languages, strict=True))
    return GenerationConfig(**values)  # type: ignore[no-untyped-call]


def known_heads(config: WhisperConfig, name: str, *, multilingual: bool) -> list[list[int]] | None:
    """The alignment heads, pairs of layer and head, of the released model of this name, or of this shape.

    A fine-tune keeps the heads of what it was made from. Where several models have the shape (large, before its third
    version), `None`: `alignment.alignment_heads` takes the upper half then, as openai/whisper does.
    """
    shape = (config.decoder_layers, config.decoder_attention_heads)
    third = config.vocab_size == THIRD_VERSION
    alike = [
        heads
        for (released, *its_shape), heads in ALIGNMENT_HEADS.items()
        if (*its_shape,) == shape
        and released.endswith(".en") != multilingual
        and (released in OF_THIRD_VERSION) == third
    ]
    heads = ALIGNMENT_HEADS.get((name, *shape)) or (
        alike[0] if alike and alike.count(alike[0]) == len(alike) else None
    )
    return None if heads is None else [[layer, head] for layer, own in heads.items() for head in own]


def released_name(title: str) -> str:
    """`Systran/faster-whisper-large-v3` -> `large-v3`"""
    last = title.rpartition("/")[2].lower()
    return re.sub(r"^(faster-)?(whisper-)?|[-_](ct2|ctranslate2)\b.*$", "", last)


def suppressed_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that are never decoded, by the rule of openai/whisper `tokenizer.py` and `decoding.py`."""

    def encoded(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    unspoken = {encoded(text)[0] for text in UNSPOKEN_WORD_STARTS}
    for text in (*UNSPOKEN_SYMBOLS, *MUSIC_SYMBOLS):
        for tokens in (encoded(text), encoded(" " + text)):
            if len(tokens) == 1 or text in MUSIC_SYMBOLS:
                unspoken.add(tokens[0])
    special = _token_ids(tokenizer, (TRANSCRIBE, TRANSLATE, START, PREVIOUS, START_OF_LM, NO_TIMESTAMPS))
    no_speech = special.pop() - 1  # older vocabularies have another name for it
    return sorted(unspoken | {*special, no_speech})


def _token_ids(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> list[int]:
    return cast("list[int]", tokenizer.convert_tokens_to_ids(list(tokens)))
