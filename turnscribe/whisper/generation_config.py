"""What every backend reads off a Whisper's generation configuration and its tokenizer. Runs no model."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from turnscribe.whisper.constants import LONGEST_PROMPT

PREVIOUS = "<|startofprev|>"
WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")  # between words


def is_multilingual(config: Any) -> bool:
    """False for English-only models, which know neither `translate` nor other languages."""
    return bool(getattr(config, "is_multilingual", False))


def languages(config: Any) -> frozenset[str]:
    """The codes of the languages a model can be asked for."""
    named = getattr(config, "lang_to_id", None) or {}
    return frozenset(name.strip("<|>") for name in named) if is_multilingual(config) else frozenset({"en"})


def prompt_tokens(tokenizer: Any, prompt: str | None, keywords: Sequence[str] = ()) -> tuple[list[int], list[str]]:
    """The tokens of earlier text after Whisper's marker for it, and warnings; none without a prompt.

    As many of the keywords as there is room for come before the prompt, whose end stays next to what is said.
    """
    ids, warnings = _prompt_tokens(tokenizer, prompt) if prompt else ([], [])
    if not keywords:
        return ids, warnings
    tokens_of = text_encoder(tokenizer)
    lengths = itertools.accumulate(len(tokens_of(f" {keyword},")) for keyword in keywords)
    count = bisect.bisect_right(list(lengths), LONGEST_PROMPT - len(ids[1:]))
    if not count:
        return ids, warnings
    marker, told = ids[:1] or [int(tokenizer.convert_tokens_to_ids(PREVIOUS))], ids[1:]
    return [*marker, *tokens_of(f" {', '.join(keywords[:count])}."), *told], warnings


def _prompt_tokens(tokenizer: Any, prompt: str) -> tuple[list[int], list[str]]:
    # Whisper marks earlier text with <|startofprev|>, which get_prompt_ids puts first.
    try:
        ids = [int(token) for token in tokenizer.get_prompt_ids(prompt, return_tensors="np")]
    except ValueError:  # a special token is spelled in it
        ids = [tokenizer.convert_tokens_to_ids(PREVIOUS), *text_tokens(tokenizer, f" {prompt.strip()}")]
    if len(ids) <= LONGEST_PROMPT + 1:
        return ids, []
    warning = f"prompt was longer than {LONGEST_PROMPT} tokens: only its end was used."
    return ids[:1] + ids[-LONGEST_PROMPT:], [warning]


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of text in which special tokens are spelled (`<|endoftext|>`, `<|0.00|>`), as of any other text."""
    return text_encoder(tokenizer)(text)


def text_encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """`text_tokens` of one tokenizer, for many texts: to find its special tokens takes longer than to encode one."""
    spelled = re.compile("|".join(map(re.escape, sorted(tokenizer.get_added_vocab(), key=len, reverse=True))))

    def encode(text: str) -> list[int]:
        cuts = [0, *(found.start() + 1 for found in spelled.finditer(text)), len(text)]  # after a first character
        pieces = [text[first:stop] for first, stop in itertools.pairwise(cuts)]
        return [int(token) for piece in pieces for token in tokenizer.encode(piece, add_special_tokens=False)]

    return encode


def keyword_tokens(tokenizer: Any, keywords: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The tokens of each keyword as it stands in a text, and as it begins a sentence."""
    written = {way: None for keyword in keywords for way in (keyword, keyword[:1].upper() + keyword[1:])}
    spaced = (way if WITHOUT_SPACES.match(way) else f" {way}" for way in written)
    if not written:
        return ()
    tokens_of = text_encoder(tokenizer)
    return tuple(dict.fromkeys(tuple(tokens_of(way)) for way in spaced))


def token_limit(config: Any, initial: int, positions: int) -> int:
    """The length, initial tokens and all, at which transformers ends a row of this generation configuration."""
    new_tokens = getattr(config, "max_new_tokens", None)
    if new_tokens is not None:
        return min(initial + int(new_tokens), positions)
    longest = getattr(config, "max_length", None) or positions
    return min(int(longest) + min(initial, positions // 2 - 1), positions)
