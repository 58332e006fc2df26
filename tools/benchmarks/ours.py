"""Turnscribe's own engine, as a `peers.Peer`: what `load_asr` gives, and a count of what it decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.benchmarks.peers import BATCH_SIZE, REQUEST, Work
from turnscribe.transcript import Chunk
from turnscribe.whisper.reading import DecodedWindow, Reader


class Engine:
    """The engine with its defaults, but for thresholds: random text meets none of them."""

    def __init__(
        self,
        name: str = "turnscribe",
        *,
        batch_size: int = BATCH_SIZE,
        word_times: bool = False,
        assisted: bool = False,
        draft_length: int | None = None,
        dtype: str = "auto",
    ) -> None:
        """`draft_length` is a fixed number of tokens to draft; `None` lets the engine choose."""
        self.name = name
        self._options = {"batch_size": batch_size, "word_times": word_times, "assisted": assisted}
        self._draft_length, self._dtype = draft_length, dtype
        self._asr: Any = None
        self._rows: list[tuple[int, ...]] = []

    def available(self) -> str | None:
        return None

    def load(self, folder: Path, *, assistant: Path | None = None, device: str = "cpu") -> None:
        from turnscribe.asr.engine_backend import EngineAsr
        from turnscribe.asr.registry import load_asr
        from turnscribe.engine import engine

        draft = str(assistant) if assistant is not None and self._options["assisted"] else None
        loaded = load_asr(str(folder), assistant=draft, device=device, dtype=self._dtype)  # type: ignore[arg-type]
        assert isinstance(loaded, EngineAsr)
        reader = loaded.reader
        counting = CountingReader(reader.tokenizer, reader.end_token, reader.first_timestamp, self._rows)
        self._asr = EngineAsr(engine.Engine(loaded.models, draft_length=self._draft_length), reader=counting)

    def __call__(self, waveform: NDArray[np.float32]) -> Work:
        from turnscribe.request import DecodingOptions

        options = DecodingOptions(
            **REQUEST,  # type: ignore[arg-type]
            **self._options,  # type: ignore[arg-type]
            compression_ratio_threshold=None,
            logprob_threshold=None,
            no_speech_threshold=None,
        )
        self._rows.clear()
        self.speculation = self._asr.transcribe(waveform, options).speculation
        return Work(tuple(self._rows))


@dataclass(frozen=True)
class CountingReader(Reader):
    """Notes the tokens of each window in `rows`. Every row ends at its limit, and nothing is decoded after it."""

    rows: list[tuple[int, ...]]

    def read(self, decoded: DecodedWindow, language: str | None) -> tuple[list[Chunk], float | None]:
        self.rows.append(tuple(decoded.tokens))
        return super().read(decoded, language)[0], None


ENGINES: dict[str, dict[str, Any]] = {
    "turnscribe": {},
    "turnscribe words": {"word_times": True},
    "turnscribe assisted": {"assisted": True},
    "turnscribe bfloat16": {"dtype": "bfloat16"},
}  # the engine's names in the benchmark, and how it is set
