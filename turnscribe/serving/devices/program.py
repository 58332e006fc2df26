"""What runs in a device's process: models, and a thread for each request that the server sends.

The server alone ends it. A SIGTERM or Ctrl-C that goes to all processes of a service must not end it before the
answers that the server still waits for. It leaves by itself only where its GPU is lost: after some errors CUDA
refuses all that a process asks of it from then on, and another process may do better.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

import numpy as np

from turnscribe.devices import gpu_works
from turnscribe.errors import InferenceFailed, SettingsError, TurnscribeError
from turnscribe.incidents import incidents
from turnscribe.listener import Listener
from turnscribe.pipeline import Transcriber, best_device
from turnscribe.request import Request
from turnscribe.serving.devices.channel import (
    Answer,
    Begin,
    Channel,
    Estimated,
    Failure,
    Further,
    KnownVoices,
    LoadFailed,
    Message,
    Progress,
    Ready,
    Result,
    Stage,
    Start,
    Stop,
    VoicesIn,
    contents_of,
)
from turnscribe.serving.loading import warm_up
from turnscribe.serving.log import start_log

log = logging.getLogger("turnscribe.server")


class Program:
    """Does what comes over the channel."""

    def __init__(self, channel: Channel, device_works: Callable[[], bool]) -> None:
        self._channel, self._device_works = channel, device_works
        self._pipeline: Transcriber | None = None
        self._stops: dict[int, threading.Event] = {}  # by the request's number

    def run(self) -> None:
        """Until the server closes its end, or ends."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                message, file = self._channel.receive()
                match message:
                    case Begin():
                        _in_thread("load", partial(self._load, message))
                    case Start():
                        assert file is not None
                        self._stops[message.number] = threading.Event()
                        _in_thread("request", partial(self._answer, message, file))
                    case Stop():
                        if stop := self._stops.get(message.number):
                            stop.set()

    def _load(self, begin: Begin) -> None:
        try:
            if begin.needs_gpu and best_device() == "cpu":
                raise SettingsError("DEVICES names a GPU that is not there, or that torch cannot use: name others.")
            pipeline = begin.load(begin.settings)
            warm_up(pipeline, begin.first_request)
        except Exception as error:
            expected = isinstance(error, TurnscribeError)
            if not expected:
                log.error("the models could not be loaded", exc_info=True)
            self._send(LoadFailed(str(error) if expected else type(error).__name__))
            return
        self._pipeline = pipeline
        voices = pipeline.voice_similarity
        self._send(Ready(pipeline.capabilities, pipeline.has_diarizer, voices, pipeline.running))

    def _answer(self, start: Start, file: int) -> None:
        outcome: Answer | Failure
        try:
            outcome = Answer(start.number, self._done(start, contents_of(file)))
        except TurnscribeError as error:
            if isinstance(error, InferenceFailed) and not self._device_works():
                log.error("the device is lost to this process")
                self._channel.close()  # so that the server sends its requests elsewhere
                return
            outcome = Failure(start.number, type(error), str(error))
        del self._stops[start.number]
        self._send(outcome)

    def _done(self, start: Start, content: bytes) -> Result:
        pipeline = self._pipeline
        assert pipeline is not None
        with incidents(secret=pipeline.settings.token):
            match start.work:
                case VoicesIn():
                    return pipeline.voices(np.frombuffer(content, np.float32).copy())
                case KnownVoices(sizes):
                    stops = list(itertools.accumulate(size for _, size in sizes))
                    clips = {
                        name: content[stop - size : stop] for (name, size), stop in zip(sizes, stops, strict=True)
                    }
                    return pipeline.known_voices(clips)
                case Request():
                    return pipeline.transcribe(content, start.work, self._listener(start.number))

    def _listener(self, number: int) -> Listener:
        return Listener(
            on_progress=lambda share: self._send(Progress(number, share)),
            on_estimate=lambda estimate: self._send(Estimated(number, estimate)),
            on_stage=lambda name: self._send(Stage(number, name)),
            on_stage_end=lambda name: self._send(Stage(number, name, over=True)),
            on_chunks=lambda chunks: self._send(Further(number, tuple(chunks))),
            should_stop=self._stops[number].is_set,
        )

    def _send(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # without the server this process ends, in `run`
            self._channel.send(message)


def _in_thread(name: str, call: Callable[[], None]) -> None:
    threading.Thread(target=call, name=name, daemon=True).start()


def main(device: str, descriptor: int) -> None:
    """Serve the device over the socket of that descriptor, and end the process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    start_log(device)
    Program(Channel(Connection(descriptor)), gpu_works).run()
    os._exit(0)  # whatever the models are at


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
