"""Several recordings in one request, as Vertex AI sends them: `instances` come in, `predictions` go out.

A request's keys alone say which shape it has, so one handler is right in every container:

| The body | Sent by | The answer |
|---|---|---|
| `{"inputs": ..., "parameters": {...}}` | all others, and Vertex AI's `rawPredict` | one answer |
| `{"instances": [...], "parameters": {...}}` | Vertex AI's `predict` and its batch jobs | `{"predictions": [...]}` |

No container takes the second shape apart for a custom handler: hf-serve 0.2.0 with `--cloud google` does so for its
own tasks, and hands a custom handler the body as it came (`hf_serve/routers/custom.py`).

An instance is the base64 of a recording, which is what hf-serve's own speech recognition takes; an object with
`inputs`, and `parameters` that go before those of all; or an object with `b64`, as batch jobs send a list of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from turnscribe.errors import BadAudio, TurnscribeError

Given = TypeVar("Given")
Made = TypeVar("Made")


def has_instances(data: object) -> bool:
    """Whether a request is one of several recordings. `inputs` goes before `instances`.

    >>> has_instances({"instances": ["UklGRg=="]}), has_instances({"inputs": "UklGRg=="})
    (True, False)
    """
    return isinstance(data, Mapping) and data.get("inputs") is None and data.get("instances") is not None


def read_instances(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each instance as the request that it would be alone. Raises `BadAudio`.

    >>> read_instances({"instances": [{"inputs": "UklGRg=="}], "parameters": {"language": "en"}})
    [{'inputs': 'UklGRg==', 'parameters': {'language': 'en'}}]
    """
    instances = data["instances"]
    if not isinstance(instances, Sequence) or isinstance(instances, str | bytes) or not instances:
        raise BadAudio("instances must be a list of one recording or more: send the base64 of each.")
    common = data.get("parameters")
    return [_alone(instance, common) for instance in instances]


def each_instance(instances: Sequence[Given], make: Callable[[Given], Made]) -> Iterator[Made]:
    """What `make` makes of each, in order. Of several, its `TurnscribeError` says which one it was."""
    for position, instance in enumerate(instances):
        try:
            made = make(instance)
        except TurnscribeError as error:
            if len(instances) == 1:
                raise
            raise type(error)(f"instances[{position}]: {error}") from error
        yield made


def _alone(instance: object, common: object) -> dict[str, Any]:
    if not isinstance(instance, Mapping):
        return {"inputs": instance, "parameters": common}
    inputs = instance.get("inputs", instance.get("b64"))
    if isinstance(inputs, Mapping):
        inputs = inputs.get("b64")
    return {"inputs": inputs, "parameters": _merged(common, instance.get("parameters"))}


def _merged(common: object, own: object) -> object:
    """Both, an instance's own before those of all; what is no object is left for `parse_parameters` to refuse."""
    if own is None:
        return common
    if not isinstance(own, Mapping) or common is None:
        return own
    return {**common, **own} if isinstance(common, Mapping) else common
