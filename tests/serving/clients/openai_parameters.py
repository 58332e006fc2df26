"""Every parameter that the OpenAI SDK's calls have, each sent by itself: the text, and what the server says of it.

    python openai_parameters.py URL KEY RECORDING CLIP

Prints JSON: the SDK's version, and by call and parameter what came. Knows no test.
"""

from __future__ import annotations

import base64
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import openai

url, key, recording, clip = sys.argv[1:5]
CLIP = f"data:audio/wav;base64,{base64.b64encode(Path(clip).read_bytes()).decode()}"
MODELS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize", "gpt-transcribe")
FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
ANN = {"known_speaker_names": ["Ann"], "known_speaker_references": [CLIP], "response_format": "diarized_json"}
OF_THE_SDK = {"self", "file", "extra_headers", "extra_query", "extra_body", "timeout"}
VALUES: dict[str, list[dict[str, Any]]] = {
    "model": [{"model": name} for name in MODELS],
    "chunking_strategy": [
        {"chunking_strategy": "auto"},
        {"chunking_strategy": {"type": "server_vad", "threshold": 0.4}},
        {"chunking_strategy": {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 200}},
    ],
    "include": [
        {"include": ["logprobs"]},
        {"include": ["logprobs"], "response_format": "srt"},
    ],
    "keywords": [{"keywords": ["budget", "project"]}],
    "known_speaker_names": [ANN],
    "known_speaker_references": [ANN],
    "language": [{"language": "en"}],
    "languages": [{"languages": ["en", "de"]}],
    "prompt": [{"prompt": "A talk about a project."}],
    "response_format": [{"response_format": name} for name in FORMATS],
    "stream": [{"stream": False}],
    "temperature": [{"temperature": 0.2}],
    "timestamp_granularities": [
        {"timestamp_granularities": ["word", "segment"], "response_format": "verbose_json"},
        {"timestamp_granularities": ["word"]},
    ],
}


def sent(call: Any, values: dict[str, Any]) -> dict[str, Any]:
    raw = call.with_raw_response.create(**{"model": "whisper-1", "file": Path(recording), **values})
    answer, warnings = raw.parse(), raw.headers.get("x-turnscribe-warning")
    fields = {} if isinstance(answer, str) else answer.to_dict()
    said = [warnings] if warnings else fields.get("warnings", [])
    text = answer if isinstance(answer, str) else fields["text"]
    return {"text": text, "warnings": said, "fields": sorted(fields)}


client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
found: dict[str, Any] = {"version": openai.__version__}
for name in ("transcriptions", "translations"):
    call = getattr(client.audio, name)
    parameters = [one for one in inspect.signature(call.create).parameters if one not in OF_THE_SDK]
    formats = VALUES["response_format"][:5] if name == "translations" else VALUES["response_format"]
    values = {**VALUES, "response_format": formats}
    found[name] = {one: [sent(call, each) for each in values[one]] for one in parameters}  # a new one is a KeyError
print(json.dumps(found))
