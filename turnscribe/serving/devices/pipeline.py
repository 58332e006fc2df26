"""What the server has in place of a `Pipeline` where several devices work for it."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from turnscribe.asr.capabilities import Capabilities
from turnscribe.devices import Running
from turnscribe.errors import Cancelled, InferenceFailed, SettingsError
from turnscribe.inputs.limits import Limits
from turnscribe.listener import SILENT, Estimate, Listener
from turnscribe.pipeline import LoadPipeline, Voices
from turnscribe.request import Request
from turnscribe.serving.devices.channel import Begin, KnownVoices, Ready, Result, VoicesIn, Work
from turnscribe.serving.devices.choice import environment_of
from turnscribe.serving.devices.device import LOOK_EVERY, Call, Device, DeviceState, NotTaken, ProcessEnded
from turnscribe.settings import ModelSettings
from turnscribe.transcript import Chunk, Transcript
from turnscribe.waveform import Waveform

log = logging.getLogger("turnscribe.server")

TRIES = 2  # for one request: where its recording ends the process that works on it, two processes have ended


class PipelineOnDevices:
    """Transcribes in a process for each of `names`, each with what `load` makes of the settings.

    A request goes to the device with the fewest, and waits while each has `at_once`, unless it is urgent. One that
    was in a process when that ended is a suspect: it is begun anew, in the next process that has room and no other
    suspect in it. So where one recording ends its process, the others that were in there are not with it again.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: LoadPipeline,
        *,
        first_request: Request,
        at_once: int,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._names, self._load, self._first_request = tuple(names), load, first_request
        self._at_once, self._environ = at_once, environ
        self._changed = threading.Condition(threading.RLock())
        self._devices: list[Device] = []
        self._closed = False
        self._numbers = itertools.count(1)
        self._settings: ModelSettings | None = None
        self._ready: Ready | None = None

    def start(self, settings: ModelSettings) -> PipelineOnDevices:
        """All the processes; it is over once all are ready. Raises `SettingsError` where one cannot be."""
        self._settings = settings
        for name in self._names:
            gpu = name != "cpu"
            begin = Begin(self._load, settings, self._first_request, needs_gpu=gpu)
            environment = environment_of(name, self._names, self._environ)
            self._devices.append(Device(name, begin, environment, self._changed))
        with self._changed:
            if not self._closed:
                for device in self._devices:
                    device.start()
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or any(device.failure for device in self._devices)
                    or all(device.ready for device in self._devices)
                )
            )
            if self._closed:
                raise Cancelled("The server ends.")
            failed = next((device for device in self._devices if device.failure), None)
            self._ready = self._devices[0].ready
        if failed is not None:
            self.close()
            raise SettingsError(failed.failure)
        return self

    def close(self) -> None:
        """All processes end, those that are loading too; over once they have."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for device in self._devices:
            device.close()
        for device in self._devices:
            device.join()

    @property
    def states(self) -> list[DeviceState]:
        with self._changed:
            return [device.state for device in self._devices]

    # Of a pipeline ------------------------------------------------------------------------------------

    @property
    def settings(self) -> ModelSettings:
        assert self._settings is not None
        return self._settings

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def capabilities(self) -> Capabilities:
        assert self._ready is not None
        return self._ready.capabilities

    @property
    def has_diarizer(self) -> bool:
        assert self._ready is not None
        return self._ready.has_diarizer

    @property
    def running(self) -> Running | None:
        """`states` says it of each device."""
        return None

    @property
    def voice_similarity(self) -> float | None:
        """As `Pipeline.voice_similarity`: that of all devices, which have the same models."""
        assert self._ready is not None
        return self._ready.voice_similarity

    def known_voices(self, clips: Mapping[str, bytes]) -> dict[str, NDArray[np.float32]]:
        """As `Pipeline.known_voices`, by one of the devices."""
        sizes = tuple((name, len(clip)) for name, clip in clips.items())
        found = self._run(b"".join(clips.values()), KnownVoices(sizes), urgent=True)
        assert isinstance(found, dict)
        return found

    def voices(self, waveform: Waveform) -> Voices:
        """As `Pipeline.voices`, by one of the devices."""
        found = self._run(waveform.astype(np.float32, copy=False).tobytes(), VoicesIn(), urgent=True)
        assert isinstance(found, Voices)
        return found

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript:
        """As `Pipeline.transcribe`. Raises `InferenceFailed` also for what was in `TRIES` processes as they ended."""
        transcript = self._run(audio, request, listener, urgent=request.decoding.urgent)
        assert isinstance(transcript, Transcript)
        return transcript

    def _run(self, content: bytes, work: Work, listener: Listener = SILENT, *, urgent: bool) -> Result:
        heard, tried = _Heard(listener), 0
        while tried < TRIES:
            call = self._place_for(len(content), listener, suspect=tried > 0, urgent=urgent)
            try:
                return call.run(content, work, heard.listener())
            except NotTaken:
                continue
            except ProcessEnded:
                tried += 1
                if self._closed:
                    raise Cancelled("The server ends.") from None
        incident = uuid.uuid4().hex[:12]
        log.error("request failed, incident %s: %d processes ended while they worked on it", incident, TRIES)
        raise InferenceFailed(
            f"The processes that worked on this recording ended, {TRIES} times, and it is not tried again; the "
            f"endpoint's log has it under {incident}."
        )

    def _place_for(self, size: int, listener: Listener, *, suspect: bool, urgent: bool) -> Call:
        """In the least busy of the devices that have room: all have, for what is urgent. Raises `Cancelled`."""
        with self._changed:
            while True:
                if self._closed:
                    raise Cancelled("The server ends.")
                listener.stop_if_asked()
                free = [
                    device
                    for device in self._devices
                    if device.ready
                    and (urgent or device.not_urgent < self._at_once)
                    and not (suspect and device.has_suspect)
                ]
                if free:
                    device = min(free, key=lambda device: (device.has_suspect, device.load))
                    return device.take(next(self._numbers), size, suspect=suspect, urgent=urgent)
                self._changed.wait(LOOK_EVERY)


class _Heard:
    """What a listener has heard of a request: it does not hear that again where the request is begun anew."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._share = self._estimated = 0.0
        self._until = float("-inf")  # the end of the last chunk, in seconds

    def listener(self) -> Listener:
        """For one try."""
        before = self._until

        def on_progress(share: float) -> None:
            if share >= self._share:
                self._share = share
                self._listener.on_progress(share)

        def on_chunks(chunks: Sequence[Chunk]) -> None:
            further = [chunk for chunk in chunks if (chunk.start + chunk.end) / 2 >= before]
            if further:
                self._until = max(self._until, further[-1].end)
                self._listener.on_chunks(further)

        def on_estimate(estimate: Estimate) -> None:
            self._estimated = max(self._estimated, estimate.share)
            self._listener.on_estimate(replace(estimate, share=self._estimated))

        return replace(self._listener, on_progress=on_progress, on_chunks=on_chunks, on_estimate=on_estimate)
