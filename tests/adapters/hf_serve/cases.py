"""What a client of each cloud sends to hf-serve 0.2.0 with this repository in it, and what has to come back.

The same cases are held against hf-serve itself (`test_hf_serve.py`, Python 3.12) and against the double that stands
for it in `make test` (`tests/test_containers.py`), so the double cannot drift away from what it stands for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

JSON = "application/json"
PING, HEALTH = "/ping", "/health"

Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Case:
    """One request, as a POST where it has a body, and the answer to it."""

    name: str
    cloud: str | None  # what --cloud says; None: nothing, as on Inference Endpoints
    path: str
    body: bytes | None
    content_type: str | None
    status: int
    check: Check  # of the answer's JSON, or of its text where it is none


def cases(speech: bytes) -> list[Case]:
    """`speech` is a recording of some seconds, in which a few words are said."""
    text = base64.b64encode(speech).decode()
    words = {"timestamps": "word"}
    one = {"inputs": text, "parameters": words}

    def case(name: str, cloud: str | None, path: str, body: object, status: int, check: Check) -> Case:
        return Case(name, cloud, path, json.dumps(body).encode(), JSON, status, check)

    def google(name: str, body: object, status: int, check: Check) -> Case:
        return case(name, "google", "/predict", body, status, check)

    def everywhere(name: str, body: object, status: int, check: Check) -> list[Case]:
        return [
            case(f"{name}-{cloud or 'endpoints'}", cloud, path, body, status, check)
            for cloud, path in (
                (None, "/"),
                ("sagemaker", "/invocations"),
                ("google", "/predict"),
                ("azure", "/predict"),
            )
        ]

    return [
        *everywhere("one", one, 200, is_answer),
        *everywhere("wrong-parameter", {"inputs": text, "parameters": {"task": "sing"}}, 400, says("task is 'sing'")),
        *everywhere("no-audio", {"inputs": "bm90IGF1ZGlv"}, 400, says("not audio that can be read")),
        *everywhere("no-base64", {"inputs": "!"}, 400, says("not base64")),
        *everywhere("nothing", {}, 400, says("inputs is missing")),
        google("instances-text", {"instances": [text, text], "parameters": words}, 200, are_predictions(2)),
        google("instances-object", {"instances": [one]}, 200, are_predictions(1)),
        google("instances-file", {"instances": [{"b64": text}], "parameters": words}, 200, are_predictions(1)),
        google("instances-null", {"instances": [one], "parameters": None}, 200, are_predictions(1)),
        google(  # numbers that went through gRPC come as floats
            "instances-floats",
            {"instances": [text], "parameters": words | {"num_speakers": 2.0, "batch_size": 4.0}},
            200,
            are_predictions(1),
        ),
        google("instances-none", {"instances": []}, 400, says("instances must be a list of one recording or more")),
        google("instances-no-list", {"instances": text}, 400, says("instances must be a list")),
        google(
            "second-broken", {"instances": [text, "bm90IGF1ZGlv"]}, 400, says("instances[1]: The input is not audio")
        ),
        google("second-empty", {"instances": [text, {}]}, 400, says("instances[1]: inputs is missing")),
        google(
            "second-wrong",
            {"instances": [text, one | {"parameters": {"task": "sing"}}]},
            400,
            says("instances[1]: task is 'sing'"),
        ),
        google("parameters-wrong", {"instances": [text], "parameters": ["en"]}, 400, says("parameters is a list")),
        # What hf-serve does before the handler is called, or instead of it:
        Case("ping", "sagemaker", PING, None, None, 200, is_ok),
        *(Case(f"health-{cloud}", cloud, HEALTH, None, None, 200, is_ok) for cloud in (None, "google", "azure")),
        case("score", "azure", "/score", one, 307, lambda answer: answer == ""),
        case("not-there", None, "/score", one, 404, says("Not Found")),
        *(
            Case(
                f"raw-{cloud}",
                cloud,
                path,
                speech,
                "audio/wav",
                500,
                lambda answer: answer == "Internal Server Error",
            )
            for cloud, path in (("sagemaker", "/invocations"), ("google", "/predict"))
        ),
        Case("no-type", "azure", "/predict", json.dumps(one).encode(), None, 422, is_refused),
        Case("no-object", "google", "/predict", b"[]", JSON, 422, is_refused),
        Case("no-json", "sagemaker", "/invocations", b"{", JSON, 422, is_refused),
    ]


def is_answer(answer: Any) -> bool:
    return len(answer["words"]) > 2 and "predictions" not in answer


def are_predictions(count: int) -> Check:
    def check(answer: Any) -> bool:
        predictions = answer.get("predictions", [])
        return list(answer) == ["predictions"] and len(predictions) == count and all(map(is_answer, predictions))

    return check


def says(sentence: str) -> Check:
    return lambda answer: list(answer) == ["detail"] and sentence in answer["detail"]


def is_ok(answer: Any) -> bool:
    return bool(answer == {"status": "ok"})


def is_refused(answer: Any) -> bool:
    return isinstance(answer["detail"], list)


def read(content: bytes) -> Any:
    """An answer's JSON, or its text."""
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()
