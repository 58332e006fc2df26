"""The pipeline, loaded and warmed up in a thread of its own while the server already answers.

Its models are in this process or, where the server has several devices, in one for each (`devices/`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np

from turnscribe.errors import TurnscribeError
from turnscribe.memory import give_back_memory
from turnscribe.pipeline import LoadPipeline, Transcriber
from turnscribe.request import Request
from turnscribe.serving.devices.device import DeviceState
from turnscribe.serving.devices.pipeline import PipelineOnDevices
from turnscribe.serving.problems import Busy
from turnscribe.settings import ModelSettings
from turnscribe.waveform import SAMPLE_RATE, to_wav

log = logging.getLogger("turnscribe.server")

FIRST_PARAMETERS = {"vad": False}  # of the first request: a tone is no speech, and is to go through all the models


class PipelineLoader:
    """What `load(settings)` makes, once that is done and a first request went through it.

    What is on `devices` of its own is loaded by them; their processes end at `end`.
    """

    def __init__(self, settings: ModelSettings, load: LoadPipeline, devices: PipelineOnDevices | None = None) -> None:
        self.settings, self._load, self._devices = settings, load, devices
        self._pipeline: Transcriber | None = None  # once it is warm
        self._closed = False

    @classmethod
    def of(cls, pipeline: Transcriber) -> PipelineLoader:
        """For one that is loaded, and only has to be warmed up."""
        return cls(pipeline.settings, lambda settings: pipeline)

    @classmethod
    def on_devices(cls, settings: ModelSettings, devices: PipelineOnDevices) -> PipelineLoader:
        """For one in several processes."""
        return cls(settings, devices.start, devices)

    def start(self, first_request: Request, *, on_ready: Callable[[], None], on_failure: Callable[[], None]) -> None:
        """Begin. One of the two functions is called in the end; `on_ready` is not after `close`."""
        arguments = (first_request, on_ready, on_failure)
        threading.Thread(target=self._load_and_warm_up, args=arguments, name="load", daemon=True).start()

    def close(self) -> None:
        """What is still loading is left to end with the process."""
        self._closed = True

    def end(self) -> None:
        """After the last answer: other processes end."""
        self._closed = True
        if self._devices is not None:
            self._devices.close()

    @property
    def device_states(self) -> Sequence[DeviceState]:
        """Of the devices that have a process of their own."""
        return self._devices.states if self._devices is not None else ()

    @property
    def is_ready(self) -> bool:
        """Whether a request would be worked on now."""
        states = self.device_states
        return self._pipeline is not None and (not states or any(state.ready for state in states))

    @property
    def pipeline(self) -> Transcriber:
        """Raises `Busy` while it is loading."""
        if self._pipeline is None:
            raise Busy("The models are loading: try again soon.", retry_after_s=10)
        return self._pipeline

    def _load_and_warm_up(
        self, first_request: Request, on_ready: Callable[[], None], on_failure: Callable[[], None]
    ) -> None:
        try:
            pipeline = self._load(self.settings)
            warm_up(pipeline, first_request)
        except Exception as error:
            if self._closed:  # other processes were told to end
                return
            expected = isinstance(error, TurnscribeError)
            log.error("the models could not be loaded: %s", error, exc_info=not expected)
            on_failure()
            return
        if not self._closed:
            self._pipeline = pipeline
            on_ready()
            log.info("ready")


def warm_up(pipeline: Transcriber, first_request: Request) -> None:
    """What is compiled or allocated late, is now."""
    pipeline.transcribe(_tone(), first_request)
    give_back_memory()


def _tone() -> bytes:
    """A second of a quiet tone of 220 Hz, as a wav file."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return to_wav(0.03 * np.sin(2 * np.pi * 220 * seconds))
