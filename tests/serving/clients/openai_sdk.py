"""What the OpenAI SDK makes of a server: every format, streams, known speakers, models and errors, as JSON.

    python openai_sdk.py URL KEY RECORDING CONVERSATION NAME=CLIP ...

The clips are of people in the conversation. Knows no test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from openai import APIStatusError, AsyncOpenAI, OpenAI

url, key, recording, conversation = sys.argv[1:5]
people = dict(argument.split("=", 1) for argument in sys.argv[5:])

ASKED = {
    "json": {},
    "text": {"response_format": "text"},
    "srt": {"response_format": "srt"},
    "vtt": {"response_format": "vtt"},
    "verbose_json": {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]},
    "segments_only": {"response_format": "verbose_json", "timestamp_granularities": ["segment"]},
    "diarized_json": {"response_format": "diarized_json", "chunking_strategy": "auto"},
    "logprobs": {"include": ["logprobs"]},
    "handlers_own": {"language": "en", "temperature": 0, "extra_body": {"assisted": True, "diarize": False}},
}


def plain(answer: Any) -> Any:
    """An answer as plain values, and all that its type requires in it."""
    if isinstance(answer, str):
        return answer
    values = answer.to_dict()
    type(answer).model_validate(values)  # the SDK itself takes what comes
    return values


def event(one: Any) -> dict[str, Any]:
    return {"class": type(one).__name__, **plain(one)}


def refusal(error: APIStatusError) -> dict[str, Any]:
    shown = {"class": type(error).__name__, "status": error.status_code, "message": error.message}
    return {**shown, "code": error.code, "type": error.type, "retry_after": error.response.headers.get("retry-after")}


def refused(client: OpenAI, **asked: Any) -> dict[str, Any]:
    try:
        client.audio.transcriptions.create(**{"model": "whisper-1", "file": Path(recording), **asked})
    except APIStatusError as error:
        return refusal(error)
    return {}


def translated(client: OpenAI) -> Any:
    try:
        return plain(client.audio.translations.create(model="whisper-1", file=Path(recording)))
    except APIStatusError as error:
        return refusal(error)


def data_url(clip: str) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(Path(clip).read_bytes()).decode()}"


def synchronous() -> dict[str, Any]:
    client = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    file, create = Path(recording), client.audio.transcriptions.create
    formats = {name: plain(create(model="whisper-1", file=file, **asked)) for name, asked in ASKED.items()}
    likely = create(model="gpt-4o-transcribe", file=file, stream=True, include=["logprobs"])
    stream = [event(one) for one in create(model="whisper-1", file=file, stream=True)]
    diarized = create(model="gpt-4o-transcribe-diarize", file=file, stream=True, response_format="diarized_json")
    diarized_stream = [event(one) for one in diarized]
    known = create(
        model="gpt-4o-transcribe-diarize",
        file=("talk.flac", Path(conversation).read_bytes(), "audio/flac"),
        response_format="diarized_json",
        known_speaker_names=list(people),
        known_speaker_references=[data_url(clip) for clip in people.values()],
    )
    return {
        "formats": formats,
        "stream": stream,
        "likely_stream": [event(one) for one in likely],
        "diarized_stream": diarized_stream,
        "known": plain(known),
        "translation": translated(client),
        "models": [plain(model) for model in client.models.list()],
        "model": plain(client.models.retrieve("demo/whisper")),
        "refusals": {
            "parameter": refused(client, response_format="pdf"),
            "audio": refused(client, file=b"this is no recording"),
            "key": refused(client.with_options(api_key="wrong")),
            "stream": refused(client, stream=True, temperature=9),
            "path": refused(client.with_options(base_url=f"{url}/v1/nowhere")),
        },
    }


async def asynchronous() -> dict[str, Any]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        create = client.audio.transcriptions.create
        answer = await create(model="whisper-1", file=Path(recording))
        stream = await create(model="whisper-1", file=Path(recording), stream=True)
        events = [event(one) async for one in stream]
        (model,) = [plain(model) async for model in client.models.list()]

        async def rushed() -> dict[str, Any]:
            try:
                return plain(await create(model="m", file=Path(conversation), response_format="diarized_json"))
            except APIStatusError as error:
                return refusal(error)

        async def patient() -> Any:
            waiting = client.with_options(max_retries=10)
            return plain(await waiting.audio.transcriptions.create(model="m", file=Path(recording)))

        return {
            "json": plain(answer),
            "stream": events,
            "model": model,
            "rushed": await asyncio.gather(*[rushed() for _ in range(3)]),
            "patient": await asyncio.gather(*[patient() for _ in range(2)]),
        }


print(json.dumps({"sync": synchronous(), "async": asyncio.run(asynchronous())}))
