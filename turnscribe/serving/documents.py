"""What `/docs` says of request bodies, which the routes read themselves."""

from __future__ import annotations

from typing import Any

from turnscribe.formats import FORMATS

DESCRIPTION = (
    "Who said what: transcripts with the speaker of every word. The parameters, the answer and the errors are "
    "explained in the repository's docs."
)

_AUDIO = {"type": "string", "format": "binary", "description": "any audio or video file"}
_PARAMETERS = {"type": "object", "description": "the parameters", "additionalProperties": True}
_SUBTITLES = {
    "max_line_width": {"type": "integer", "description": "subtitles: characters in a line"},
    "max_line_count": {"type": "integer", "description": "subtitles: lines in a cue"},
    "max_cue_duration_s": {"type": "number", "description": "subtitles: seconds of a cue"},
    "max_characters_per_second": {"type": "number", "description": "subtitles: reading speed that cues are long for"},
    "min_cue_gap_s": {"type": "number", "description": "subtitles: seconds between cues"},
}
_STRING, _STRINGS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}


def _form(more: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["file"], "properties": {"file": _AUDIO, **more}}
    return {"multipart/form-data": {"schema": schema}}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}


PREDICT = _body(
    {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "inputs": {"type": "string", "description": "base64, a data: URL, or an https URL where allowed"},
                    "parameters": _PARAMETERS,
                },
            }
        },
        "application/octet-stream": {"schema": _AUDIO},
        **_form({"parameters": {"type": "string", "description": "a JSON object of parameters"}}),
    }
)
TRANSCRIPTION = _body(
    _form(
        {
            "model": {**_STRING, "description": "any name; the loaded model answers"},
            "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
            "language": _STRING,
            "prompt": _STRING,
            "temperature": {"type": "number", "minimum": 0, "maximum": 1},
            "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["segment", "word"]}},
            "stream": {"type": "boolean", "default": False},
            "known_speaker_names[]": _STRINGS,
            "known_speaker_references[]": {**_STRINGS, "description": "data: URLs of 2 to 10 s of speech"},
            **_SUBTITLES,
        }
    )
)
JOB = _body(
    {
        **_form({"parameters": _STRING, "webhook": {**_STRING, "format": "uri"}}),
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["parameters"],
                "properties": {
                    "parameters": {
                        **_PARAMETERS,
                        "required": ["url"],
                        "properties": {"url": {**_STRING, "format": "uri"}, "webhook": {**_STRING, "format": "uri"}},
                    }
                },
            }
        },
    }
)
RESULT = {
    "parameters": [
        {
            "name": "response_format",
            "in": "query",
            "required": False,
            "schema": {"type": "string", "enum": list(FORMATS)},
        },
        *({"name": name, "in": "query", "required": False, "schema": schema} for name, schema in _SUBTITLES.items()),
    ]
}
_SECONDS = {"type": "number", "minimum": 0}
_SPAN = {"type": "array", "items": _SECONDS, "minItems": 2, "maxItems": 2}


def _list(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    item = {"type": "object", "required": list(required), "properties": {**required, **optional}}
    return {"type": "array", "items": item}


RENDER = _body(
    {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["transcript"],
                "properties": {
                    "transcript": {
                        "type": "object",
                        "description": "as the endpoint answers it",
                        "properties": {
                            "text": _STRING,
                            "chunks": _list({"text": _STRING, "timestamp": _SPAN}, speaker=_STRING),
                            "speakers": _list({"speaker": _STRING, "timestamp": _SPAN}, text=_STRING),
                            "words": _list({"word": _STRING, "start": _SECONDS, "end": _SECONDS}, speaker=_STRING),
                            "language": _STRING,
                            "duration": _SECONDS,
                        },
                    },
                    "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
                    "filename": {**_STRING, "description": "the recording's name, without its ending"},
                },
            }
        }
    }
) | {"responses": {"200": {"description": "the file, in the format's media type"}}}
