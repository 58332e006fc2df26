"""What transformers leaves to its callers when it decodes with an assistant: counting, and one forgotten rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from turnscribe.transcript import Speculation


@dataclass
class Tally:
    """Forward passes of main decoder and assistant, for `Speculation`."""

    main: int = 0
    assistant: int = 0
    generated: int = 0

    def speculation(self) -> Speculation:
        """Each pass of the main model yields one token of its own beside those it accepts."""
        return Speculation(self.assistant, max(min(self.generated - self.main, self.assistant), 0))


@contextmanager
def counted(model: Any, assistant: Any, tally: Tally) -> Iterator[None]:
    """Counts the forward passes of both decoders while the context lasts."""

    def count_main(*_: Any) -> None:
        tally.main += 1

    def count_assistant(*_: Any) -> None:
        tally.assistant += 1

    handles = [model.get_decoder().register_forward_hook(count_main)]
    if assistant is not None:
        handles.append(assistant.get_decoder().register_forward_hook(count_assistant))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def begin_suppression(model: Any) -> list[Any]:
    """`begin_suppress_tokens` as our own processor: `generate` drops them when an assistant is given."""
    from transformers.generation.logits_process import SuppressTokensAtBeginLogitsProcessor

    suppressed = model.generation_config.begin_suppress_tokens
    if not suppressed:
        return []
    # generate sets the true position with `set_begin_index`
    return [SuppressTokensAtBeginLogitsProcessor(suppressed, begin_index=0, device=str(model.device))]
