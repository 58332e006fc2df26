"""The user script of SageMaker's containers: a request's bytes and headers to the answer.

`model.tar.gz` carries it as `code/inference.py`, beside the handler and its package. The Hugging Face container calls
`model_fn` once for each worker and `transform_fn` for each request; the PyTorch container does the same. Batch
transform and asynchronous endpoints send each file as such a request.

A body is a recording as it is, of any content type, or `application/json` with `{"inputs": base64, "parameters":
{...}}`. Parameters of a recording sent as it is stand in the header `X-Amzn-SageMaker-Custom-Attributes`. Accept says
what comes back: the JSON answer, text, or subtitles. Both containers tell the caller the text of any exception, so
none leaves this file that is not one of our sentences.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

# Both containers put this file's folder on sys.path, or they could not import it.
from turnscribe.errors import BadParameters, SettingsError, TurnscribeError
from turnscribe.formats import FORMATS
from turnscribe.formats.format import JSON
from turnscribe.instances import has_instances

if TYPE_CHECKING:
    from handler import EndpointHandler

log = logging.getLogger("turnscribe")

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


def _media_type(text: str) -> str:
    """`Text/VTT; charset=utf-8` -> `text/vtt`"""
    return text.partition(";")[0].strip().lower()


def _formats_by_type() -> dict[str, str | None]:
    """By media type, the name of the format; where several have one, that of the first. `None`: the own answer."""
    by_type: dict[str, str | None] = {JSON: None}
    for known in FORMATS.values():
        by_type.setdefault(_media_type(known.media_type), known.name)
    return by_type


ANSWER_TYPES = _formats_by_type()
RANGES = {"*/*": None, "application/*": None, "text/*": "text", "text/srt": "srt"}  # accepted too


class Model:
    """The `EndpointHandler` that the environment describes; model folders may stand in `folder`.

    Where it cannot be loaded, every request tries again and is told why. Were that raised while a worker starts,
    the PyTorch container would leave its requests waiting for a worker that never comes.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._handler: EndpointHandler | None = None

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.load()(request)

    def load(self) -> EndpointHandler:
        """Once; the same at every call. Raises `SettingsError`."""
        try:
            if self._handler is None:
                from handler import EndpointHandler

                self._handler = EndpointHandler(path=self._folder)
            return self._handler
        except TurnscribeError as error:
            raise error from None
        except Exception:  # a package that is missing, a broken driver
            log.exception("the models could not be loaded")
            raise SettingsError("The models could not be loaded; the container's log has the details.") from None


def model_fn(model_dir: str) -> Model:
    model = Model(model_dir)
    try:
        model.load()
    except SettingsError as error:
        log.error("%s", error)
    return model


def transform_fn(
    model: Callable[[dict[str, Any]], Any],
    body: Any,
    content_type: str | None,
    accept: str | None,
    context: Any = None,
) -> str | bytes:
    """The answer in the form `accept` asks for: bytes where that is binary. `body` is a `str` where the container
    decoded it.

    Raises `TurnscribeError`, its text fit for the caller: the PyTorch container would send an error's causes too.
    """
    try:
        response_format = choose_format(accept)
        request = build_request(body, content_type, parse_attributes(_header(context, ATTRIBUTES)))
        if response_format is None:
            return json.dumps(model(request), ensure_ascii=False)
        formatted = str(model(_in_format(request, response_format))["formatted"])
        return base64.b64decode(formatted) if FORMATS[response_format].is_binary else formatted
    except TurnscribeError as error:
        raise error from None


def build_request(body: Any, content_type: str | None, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What the handler is called with; the parameters in a JSON body go before `attributes`."""
    if _media_type(content_type or "") != JSON:
        return {"inputs": body, "parameters": attributes}
    try:
        sent = json.loads(body or b"")
    except (ValueError, RecursionError):
        raise BadParameters("The body is not JSON: send an object with inputs and parameters.") from None
    if not isinstance(sent, dict):
        raise BadParameters("The body is JSON and no object: send an object with inputs and parameters.")
    parameters = sent.get("parameters")
    if parameters is None or isinstance(parameters, dict):
        return {**sent, "parameters": {**attributes, **(parameters or {})}}
    return sent  # the handler says what is wrong with them


def parse_attributes(text: str) -> dict[str, Any]:
    """The parameters in CustomAttributes: `language=en&timestamps=word`, percent-encoded, or a JSON object.

    >>> parse_attributes("language=en&prompt=J%C3%BCrgen")
    {'language': 'en', 'prompt': 'Jürgen'}
    """
    text = text.strip()
    try:
        if text.startswith("{"):
            return dict(json.loads(text))
        return dict(parse_qsl(text, strict_parsing=True)) if text else {}
    except (ValueError, RecursionError):
        raise BadParameters(
            "CustomAttributes cannot be read: send parameters as language=en&timestamps=word, or a JSON object."
        ) from None


def choose_format(accept: str | None) -> str | None:
    """The `response_format` for an Accept header, `None` for the JSON answer: its first type that can be given.

    >>> choose_format("text/html, text/vtt;q=0.9, */*;q=0.1")
    'vtt'
    """
    ranges = [part for part in (accept or "").split(",") if part.strip()]
    if not ranges:
        return None
    for part in sorted(ranges, key=_quality, reverse=True):  # stable: of equal ones, the first
        media_type = _media_type(part)
        if _quality(part) > 0 and media_type in (known := ANSWER_TYPES | RANGES):
            return known[media_type]
    *first, last = ANSWER_TYPES
    raise BadParameters(f"Accept names nothing that can be given: ask for {', '.join(first)} or {last}.")


def _in_format(request: dict[str, Any], response_format: str) -> dict[str, Any]:
    if has_instances(request):
        raise BadParameters("Accept asks for one text, and instances have an answer each: ask for application/json.")
    parameters = request["parameters"]
    if not isinstance(parameters, Mapping):
        return request  # as above
    if parameters.get("response_format") not in (None, "", response_format):
        raise BadParameters(
            f"Accept asks for {response_format} and response_format for something else: leave one of them out."
        )
    return {**request, "parameters": {**parameters, "response_format": response_format}}


def _header(context: Any, name: str) -> str:
    """A request's header, whatever its case; "" without one."""
    headers = context.get_all_request_header(0) if context is not None else {}
    return next((str(value) for key, value in headers.items() if key.lower() == name), "")


def _quality(part: str) -> float:
    """The q of one range of an Accept header: 1 without one, 0 for what is no number."""
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
