"""The pipeline, loaded and warmed up in a thread of its own while the server already answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from turnscribe.errors import TurnscribeError
from turnscribe.memory import give_back_memory
from turnscribe.pipeline import Pipeline
from turnscribe.request import Request
from turnscribe.serving.problems import Busy
from turnscribe.settings import ModelSettings
from turnscribe.waveform import SAMPLE_RATE, to_wav

log = logging.getLogger("turnscribe.server")

LoadPipeline: TypeAlias = Callable[[ModelSettings], Pipeline]


class PipelineLoader:
    """What `load(settings)` makes, once that is done and a first request went through it."""

    def __init__(self, settings: ModelSettings, load: LoadPipeline) -> None:
        self.settings, self._load = settings, load
        self._pipeline: Pipeline | None = None  # once it is warm
        self._closed = False

    @classmethod
    def of(cls, pipeline: Pipeline) -> PipelineLoader:
        """For one that is loaded, and only has to be warmed up."""
        return cls(pipeline.settings, lambda settings: pipeline)

    def start(self, first_request: Request, *, on_ready: Callable[[], None], on_failure: Callable[[], None]) -> None:
        """Begin. One of the two functions is called in the end; `on_ready` is not after `close`."""
        arguments = (first_request, on_ready, on_failure)
        threading.Thread(target=self._load_and_warm_up, args=arguments, name="load", daemon=True).start()

    def close(self) -> None:
        """What is still loading is left to end with the process."""
        self._closed = True

    @property
    def is_ready(self) -> bool:
        return self._pipeline is not None

    @property
    def pipeline(self) -> Pipeline:
        """Raises `Busy` while it is loading."""
        if self._pipeline is None:
            raise Busy("The models are loading: try again soon.", retry_after_s=10)
        return self._pipeline

    def _load_and_warm_up(
        self, first_request: Request, on_ready: Callable[[], None], on_failure: Callable[[], None]
    ) -> None:
        try:
            pipeline = self._load(self.settings)
            pipeline.transcribe(_tone(), first_request)  # what is compiled or allocated late, is now
            give_back_memory()
        except Exception as error:
            expected = isinstance(error, TurnscribeError)
            log.error("the models could not be loaded: %s", error, exc_info=not expected)
            on_failure()
            return
        if not self._closed:
            self._pipeline = pipeline
            on_ready()
            log.info("ready")


def _tone() -> bytes:
    """A second of a quiet tone of 220 Hz, as a wav file."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return to_wav(0.03 * np.sin(2 * np.pi * 220 * seconds))
