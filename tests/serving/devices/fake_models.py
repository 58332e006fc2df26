"""What a device's process loads in the tests: it does what the recording says, and runs no model.

A recording is JSON (`recording(...)`); its transcript's text is the process that made it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import CHUNKS, TRANSCRIPT, WARM_UP_BYTES, FakePipeline
from turnscribe.errors import BadAudio, InferenceFailed, SettingsError
from turnscribe.listener import SILENT, Estimate, Listener
from turnscribe.pipeline import Voices
from turnscribe.request import Request
from turnscribe.transcript import Transcript, Turn

TOKEN = "hf_of_the_tests"


def recording(**does: Any) -> bytes:
    """`begun` names a folder in which the process leaves a file of its id; it goes on once the file `until` is there.

    `dies` ends the process, `refuses` and `breaks` raise with that text, and all else takes so many `seconds`.
    """
    return json.dumps({name: str(value) for name, value in does.items()}).encode()


def load(settings: Any) -> Any:
    return FakeModels(token=settings.token)


def load_nothing(settings: Any) -> Any:
    raise SettingsError("ASR_MODEL cannot be loaded: name another.")


def end_at_once(settings: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


class FakeModels(FakePipeline):
    """Two chunks, then what the recording says, then the third and the answer. Voices are what the samples say."""

    voice_similarity = 0.5

    def voices(self, waveform: Any) -> Voices:
        if not len(waveform):
            raise InferenceFailed("There is nothing to hear.")
        return Voices((Turn("A", 0.0, float(len(waveform))),), {"A": waveform}, {"A": float(waveform.sum())})

    def known_voices(self, clips: Any) -> dict[str, Any]:
        return {name: np.frombuffer(clip, np.uint8).astype(np.float32) for name, clip in clips.items()}

    def transcribe(self, audio: bytes, request: Request, listener: Listener = SILENT) -> Transcript:
        if len(audio) == WARM_UP_BYTES:
            return TRANSCRIPT
        does = json.loads(audio)
        listener.on_stage("asr")
        listener.on_chunks(CHUNKS[:1])
        listener.on_progress(0.4)
        listener.on_estimate(Estimate(0.4, 1.5))
        if "begun" in does:
            (Path(does["begun"]) / str(os.getpid())).touch()
        while "until" in does and not Path(does["until"]).exists():
            listener.stop_if_asked()
            time.sleep(0.01)
        if "dies" in does:
            os.kill(os.getpid(), signal.SIGKILL)
        if "refuses" in does:
            raise BadAudio(does["refuses"])
        if "breaks" in does:
            raise ValueError(does["breaks"])
        time.sleep(float(does.get("seconds", 0)))
        listener.on_stage_end("asr")
        listener.on_chunks(CHUNKS[1:])
        listener.on_progress(0.9)
        return replace(TRANSCRIPT, text=str(os.getpid()))
