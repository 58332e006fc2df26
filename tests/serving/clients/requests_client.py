"""What `requests` gets from a server: the README's call, the recording as the body, a form, errors; as JSON.

    python requests_client.py URL KEY RECORDING

Knows no test.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import requests

url, key, recording = sys.argv[1:4]
file = Path(recording)
audio = base64.b64encode(file.read_bytes()).decode()
PARAMETERS = {"timestamps": "word", "num_speakers": 2}

session = requests.Session()
session.headers["Authorization"] = f"Bearer {key}"


def refusal(answer: requests.Response) -> dict[str, Any]:
    return {"status": answer.status_code, "body": answer.json()}


def streamed() -> list[dict[str, Any]]:
    form = {"model": "m", "stream": "true"}
    with file.open("rb") as part:
        answer = session.post(f"{url}/v1/audio/transcriptions", files={"file": part}, data=form, stream=True)
    lines = answer.iter_lines(decode_unicode=True)
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


with file.open("rb") as body, file.open("rb") as part:
    answers = {
        "json": session.post(url, json={"inputs": audio, "parameters": PARAMETERS}).json(),
        "raw": session.post(url, data=body, params=PARAMETERS).json(),
        "form": session.post(url, files={"file": part}, data={"parameters": json.dumps(PARAMETERS)}).json(),
        "stream": streamed(),
        "refusals": {
            "key": refusal(requests.post(url, json={"inputs": audio}, headers={"Authorization": "Bearer wrong"})),
            "parameter": refusal(session.post(url, json={"inputs": audio, "parameters": {"batch_size": 0}})),
        },
    }
print(json.dumps(answers))
