"""What the generation configuration of a Whisper in transformers' format leaves out, as those of fine-tunes often do.

It is read off the tokenizer and the vocabulary, by the rules of `openai_generation.py`; what the configuration does
say stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from turnscribe.checkpoints.openai_generation import generation_config, known_heads, released_name
from turnscribe.checkpoints.openai_vocabulary import (
    END,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    START_OF_LM,
    TIMESTAMPS,
    TRANSCRIBE,
    TRANSLATE,
)
from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase, WhisperConfig, WhisperForConditionalGeneration

NEEDED = (END, START, TRANSLATE, TRANSCRIBE, START_OF_LM, PREVIOUS, NO_TIMESTAMPS)
IDS = ("eos_token_id", "pad_token_id", "decoder_start_token_id")  # older files have lists of one
TOKENS = (*IDS, "prev_sot_token_id", "no_timestamps_token_id", "suppress_tokens", "begin_suppress_tokens")
LANGUAGES = ("lang_to_id", "task_to_id")  # of multilingual models alone
FILLED = (*TOKENS, *LANGUAGES, "is_multilingual", "max_length", "max_initial_timestamp_index")


def fill_gaps(
    model: WhisperForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, *, variable: str, title: str
) -> None:
    """Completes the generation configuration of a loaded model; `title` is what it is called.

    Raises `SettingsError` where the tokenizer lacks what is to be read off it, or where the configuration has tokens
    that the model has not; it names `variable`.
    """
    name = f"{variable} {title}"
    config: Any = model.generation_config
    _tidy(config)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    english = getattr(config, "is_multilingual", None) is False
    wanted = [key for key in FILLED if not (english and key in LANGUAGES)]
    if any(getattr(config, key, None) is None for key in wanted):
        _check_vocabulary(vocabulary, model.config, name)
        _complete(config, generation_config(model.config, tokenizer, ""), wanted)
    _check(config, vocabulary, model.config, name)
    if _outside(getattr(config, "alignment_heads", None) or (), model.config):
        config.alignment_heads = None  # those of the model that this one was distilled from
    if not getattr(config, "alignment_heads", None):
        config.alignment_heads = known_heads(model.config, released_name(title), multilingual=config.is_multilingual)
    # transformers would make one of the model's configuration again, and the backends read that for the end
    config._from_model_config = False
    model.config.eos_token_id = config.eos_token_id


def _tidy(config: Any) -> None:
    """One number where a list has one, and nothing where the class's default stands for nothing."""
    from transformers import GenerationConfig

    for key in IDS:
        value = getattr(config, key, None)
        if isinstance(value, list | tuple):
            setattr(config, key, value[0] if value else None)
    if getattr(config, "forced_decoder_ids", None) is not None:  # language and task say the same
        config.forced_decoder_ids = None
    if config.max_length == GenerationConfig().max_length:  # type: ignore[no-untyped-call]  # 20 in older versions
        config.max_length = None


def _complete(config: Any, rules: GenerationConfig, keys: Iterable[str]) -> None:
    for key in keys:
        if getattr(config, key, None) is None:
            setattr(config, key, getattr(rules, key, None))
    if not getattr(config, "lang_to_id", None):
        config.is_multilingual = False  # whatever it says
    if config.is_multilingual:
        config.task_to_id = {**(getattr(rules, "task_to_id", None) or {}), **config.task_to_id}


def _check_vocabulary(vocabulary: Mapping[str, int], config: WhisperConfig, name: str) -> None:
    """Whether what is missing can be read off the tokenizer."""
    lacking = [token for token in NEEDED if token not in vocabulary]
    if lacking:
        raise SettingsError(
            f"{name} has neither a whole generation_config.json nor a tokenizer with {lacking[0]}: copy the files of "
            "the model that it was made from."
        )
    needed = vocabulary[NO_TIMESTAMPS] + 1 + TIMESTAMPS
    if needed > config.vocab_size:
        raise SettingsError(
            f"{name} has {config.vocab_size} tokens and its tokenizer {needed}: copy the one that belongs to it."
        )


def _check(config: Any, vocabulary: Mapping[str, int], model: WhisperConfig, name: str) -> None:
    """Whether the tokens are the model's. Another model's give text that means nothing."""
    ids: list[Any] = []
    for key in (*TOKENS, *LANGUAGES):
        value = getattr(config, key, None)
        ids += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    known = all(type(id) is int and 0 <= id < model.vocab_size for id in ids if id is not None)
    theirs = vocabulary.get(NO_TIMESTAMPS, config.no_timestamps_token_id)
    if not known or theirs != config.no_timestamps_token_id:
        raise SettingsError(
            f"{name} has a generation_config.json with tokens of another model: copy the file that belongs to it, or "
            "leave it out."
        )


def _outside(heads: Iterable[Any], config: WhisperConfig) -> bool:
    """Whether heads are named that the decoder does not have."""
    return any(
        not (0 <= layer < config.decoder_layers and 0 <= head < config.decoder_attention_heads)
        for layer, head in heads
    )
