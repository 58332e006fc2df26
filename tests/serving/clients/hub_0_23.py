"""What the clients of huggingface_hub 0.23 make of a server, as JSON.

    python hub_0_23.py URL KEY RECORDING

Knows no test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.utils import HfHubHTTPError

url, key, recording = sys.argv[1:4]
audio = base64.b64encode(Path(recording).read_bytes()).decode()
BODY = {"inputs": audio, "parameters": {"timestamps": "word", "num_speakers": 2}}


def refusal(token: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        InferenceClient(url, token=token).post(json=body)
    except HfHubHTTPError as error:
        return {"class": type(error).__name__, "status": error.response.status_code, "body": error.response.text}
    return {}


def synchronous() -> dict[str, Any]:
    client = InferenceClient(url, token=key)
    return {
        "json": json.loads(client.post(json=BODY)),
        "raw": json.loads(client.post(data=Path(recording).read_bytes())),
        "task": {"text": client.automatic_speech_recognition(recording).text},
    }


async def asynchronous() -> dict[str, Any]:
    client = AsyncInferenceClient(url, token=key)
    return {
        "json": json.loads(await client.post(json=BODY)),
        "raw": json.loads(await client.post(data=Path(recording).read_bytes())),
        "task": {"text": (await client.automatic_speech_recognition(recording)).text},
    }


refusals = {
    "key": refusal("wrong", BODY),
    "parameter": refusal(key, {"inputs": audio, "parameters": {"batch_size": 0}}),
}
print(json.dumps({"sync": synchronous(), "async": asyncio.run(asynchronous()), "refusals": refusals}))
