"""What a current huggingface_hub's clients make of a server, as JSON.

    python hub_current.py URL KEY RECORDING

Knows no test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

url, key, recording = sys.argv[1:4]
PARAMETERS = {"timestamps": "word", "num_speakers": 2}


def plain(answer: Any) -> dict[str, Any]:
    """An answer as plain values; its chunks keep what their type does not know only as the attribute."""
    chunks = [dict(chunk) for chunk in answer.chunks]
    return {"class": type(answer).__name__, **dict(answer), "text": answer.text, "chunks": chunks}


def refusal(**asked: Any) -> dict[str, Any]:
    try:
        InferenceClient(url, token=asked.pop("token", key)).automatic_speech_recognition(recording, **asked)
    except HfHubHTTPError as error:
        return {"class": type(error).__name__, "status": error.response.status_code, "body": error.response.text}
    return {}


def synchronous() -> dict[str, Any]:
    client = InferenceClient(url, token=key)
    return {
        "raw": plain(client.automatic_speech_recognition(recording)),
        "bytes": plain(client.automatic_speech_recognition(Path(recording).read_bytes())),
        "json": plain(client.automatic_speech_recognition(recording, extra_body=PARAMETERS)),
    }


async def asynchronous() -> dict[str, Any]:
    async with AsyncInferenceClient(url, token=key) as client:
        return {
            "raw": plain(await client.automatic_speech_recognition(recording)),
            "json": plain(await client.automatic_speech_recognition(recording, extra_body=PARAMETERS)),
        }


refusals = {"key": refusal(token="wrong"), "parameter": refusal(extra_body={"batch_size": 0})}
print(json.dumps({"sync": synchronous(), "async": asyncio.run(asynchronous()), "refusals": refusals}))
