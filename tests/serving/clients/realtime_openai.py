"""What the OpenAI SDK makes of a server's realtime transcription sessions: every event with its class, as JSON.

    python realtime_openai.py URL KEY RECORDING

The recording is a wav file: one channel, 16 bits, 24 kHz. With the synchronous client the server finds the
utterances; with the asynchronous one the client commits its halves. Knows no test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import wave
from collections.abc import Iterator
from typing import Any

from openai import AsyncOpenAI, OpenAI

url, key, recording = sys.argv[1:4]

RATE = 24_000
PIECE = 2 * RATE // 10
SILENCE = bytes(2 * 2 * RATE)  # after which the last utterance is over
TRANSCRIPTION = "conversation.item.input_audio_transcription"
OURS = "turnscribe.behind"  # the SDK has no class for it
HALVES = 2


def sound() -> bytes:
    with wave.open(recording) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return file.readframes(file.getnframes())


def pieces(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), PIECE):
        yield base64.b64encode(data[start : start + PIECE]).decode()


def session(detection: dict[str, Any] | None) -> Any:
    heard = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "transcription": {"model": "gpt-4o-transcribe", "language": "en", "delay": "low"},
        "noise_reduction": {"type": "near_field"},
        "turn_detection": detection,
    }
    include = ["item.input_audio_transcription.logprobs"]
    return {"type": "transcription", "include": include, "audio": {"input": heard}}


class Heard:
    """All events, as plain values, until so many utterances are over; without a number, until a clear is answered."""

    def __init__(self, utterances: int | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._utterances = utterances

    def add(self, one: Any) -> bool:
        """Whether that was the last one."""
        values = one.to_dict()
        if values["type"] != OURS:
            type(one).model_validate(values)  # the SDK itself takes what comes
            values["class"] = type(one).__name__
        self.events.append(values)
        over = self._count(f"{TRANSCRIPTION}.completed") + self._count(f"{TRANSCRIPTION}.failed")
        if self._utterances is not None:
            return over == self._utterances
        return bool(self._count("input_audio_buffer.cleared")) and over == self._count("input_audio_buffer.committed")

    def _count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.events)


def synchronous() -> list[dict[str, Any]]:
    client, heard = OpenAI(base_url=f"{url}/v1", api_key=key), Heard()
    detection = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 300}
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        connection.session.update(session=session(detection))
        for audio in pieces(sound() + SILENCE):
            connection.input_audio_buffer.append(audio=audio)
        connection.input_audio_buffer.clear()
        while not heard.add(connection.recv()):
            pass
    return heard.events


async def asynchronous() -> list[dict[str, Any]]:
    data, heard = sound(), Heard(HALVES)
    half = len(data) // HALVES // 2 * 2
    async with (
        AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        await connection.session.update(session=session(None))
        await connection.session.update(session={**session(None), "turnscribe": {"rule": "none"}}, event_id="wrong")
        await connection.input_audio_buffer.commit(event_id="too_early")
        for part in (data[:half], data[half:]):
            for audio in pieces(part):
                await connection.input_audio_buffer.append(audio=audio)
            await connection.input_audio_buffer.commit()
        while not heard.add(await connection.recv()):
            pass
    return heard.events


print(json.dumps({"sync": synchronous(), "async": asyncio.run(asynchronous())}))
