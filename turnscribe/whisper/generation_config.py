"""What every backend reads off a Whisper's generation configuration and its tokenizer. Runs no model."""

from __future__ import annotations

from typing import Any

from turnscribe.whisper.constants import LONGEST_PROMPT


def is_multilingual(config: Any) -> bool:
    """False for English-only models, which know neither `translate` nor other languages."""
    return bool(getattr(config, "is_multilingual", False))


def languages(config: Any) -> frozenset[str]:
    """The codes of the languages a model can be asked for."""
    named = getattr(config, "lang_to_id", None) or {}
    return frozenset(name.strip("<|>") for name in named) if is_multilingual(config) else frozenset({"en"})


def prompt_tokens(tokenizer: Any, prompt: str | None) -> tuple[list[int], list[str]]:
    """The tokens of earlier text after Whisper's marker for it, and warnings; none without a prompt."""
    if not prompt:
        return [], []
    # Whisper marks earlier text with <|startofprev|>, which get_prompt_ids puts first.
    ids = [int(token) for token in tokenizer.get_prompt_ids(prompt, return_tensors="np")]
    if len(ids) <= LONGEST_PROMPT + 1:
        return ids, []
    warning = f"prompt was longer than {LONGEST_PROMPT} tokens: only its end was used."
    return ids[:1] + ids[-LONGEST_PROMPT:], [warning]
