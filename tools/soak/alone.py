"""The recordings, what is asked of them, and what each request is answered when it is the only one."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
from numpy.typing import NDArray

from tools.benchmarks.audio import speech
from turnscribe.waveform import SAMPLE_RATE, to_wav

CUTS_S = ((0.0, 3.0), (8.0, 12.0), (14.0, 16.5), (20.0, 24.5), (33.3, 37.0))
LONG_S = 16.0  # of the recording that is still being worked on when its client leaves or its server ends
TOLERANCE = 0.02  # of scores, which depend on what else is in a batch
NOT_COMPARED = ("timings", "speculation")
PARAMETERS: tuple[dict[str, Any], ...] = (
    {},
    {"timestamps": "word", "batch_size": 1},
    {"diarize": False, "language": "en", "response_format": "srt"},
    {"chunk_length_s": 7},
)
WITH_ALL_MODELS: tuple[dict[str, Any], ...] = ({"assisted": True, "num_speakers": 2}, {"max_speakers": 3})
FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "tsv")
WITH_SPEAKERS = ("diarized_json", "rttm")


class Question(NamedTuple):
    """`way` is `answer` (the handler's own), `form` (OpenAI's) or `result` (a job's, as a file)."""

    way: str
    recording: int
    parameters: int = 0  # the index
    response_format: str = ""


@dataclass(frozen=True)
class Material:
    """What there is to ask; the last recording is the long one."""

    recordings: tuple[bytes, ...]
    parameters: tuple[dict[str, Any], ...]
    formats: tuple[str, ...]

    @classmethod
    def make(cls, *, clips: int, all_models: bool) -> Material:
        conversation: NDArray = speech(60)
        cuts = [conversation[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)] for a, b in CUTS_S[:clips]]
        recordings = tuple(to_wav(samples) for samples in (*cuts, speech(LONG_S)))
        if not all_models:
            return cls(recordings, PARAMETERS, FORMATS)
        return cls(recordings, PARAMETERS + WITH_ALL_MODELS, FORMATS + WITH_SPEAKERS)

    @property
    def long(self) -> int:
        return len(self.recordings) - 1

    def questions(self) -> Iterator[Question]:
        """All but those about jobs' files, which need no models."""
        for recording in range(len(self.recordings)):
            for parameters in range(len(self.parameters)):
                yield Question("answer", recording, parameters)
            if recording != self.long:
                for name in self.formats:
                    yield Question("form", recording, response_format=name)

    def json_body(self, recording: int, parameters: int) -> dict[str, Any]:
        audio = base64.b64encode(self.recordings[recording]).decode()
        return {"inputs": audio, "parameters": self.parameters[parameters]}


def ask_alone(
    url: str, material: Material, *, wait: Callable[[str], None], between: Callable[[], None]
) -> dict[Question, Any]:
    """The answers to all questions, asked one after the other; `wait` waits for the job of that URL.

    `between` is called before each. Raises `httpx.HTTPError`.
    """
    alone: dict[Question, Any] = {}
    with httpx.Client(base_url=url, timeout=300) as client:
        for question in material.questions():
            between()
            if question.way == "answer":
                answer = client.post("/", json=material.json_body(question.recording, question.parameters))
            else:
                answer = client.post("/v1/audio/transcriptions", **form(material, question))
            alone[question] = content(answer.raise_for_status())
        for recording in range(len(material.recordings)):
            for parameters in range(len(material.parameters)):
                between()
                files = {"file": ("talk.wav", material.recordings[recording])}
                job = client.post("/v1/jobs", files=files, data=as_fields(material.parameters[parameters]))
                location = job.raise_for_status().headers["location"]
                wait(f"{url}{location}")
                for name in material.formats:
                    result = client.get(f"{location}/result", params={"response_format": name})
                    if result.status_code == 400 and name in WITH_SPEAKERS:  # this one has no speakers
                        continue
                    alone[Question("result", recording, parameters, name)] = content(result.raise_for_status())
                client.delete(location).raise_for_status()
    return alone


def form(material: Material, question: Question) -> dict[str, Any]:
    """httpx's options for OpenAI's form."""
    return {
        "files": {"file": ("talk.wav", material.recordings[question.recording])},
        "data": {"model": "whisper-1", "response_format": question.response_format},
    }


def as_fields(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parameters.items()}


def content(answer: httpx.Response) -> Any:
    return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text


def difference(given: Any, wanted: Any, at: str = "the answer") -> str | None:
    """Where two answers differ first, as a sentence; `None` where they are the same.

    >>> difference({"text": "a", "timings": {}}, {"text": "b"})
    "the answer's text is 'a', alone it is 'b'"
    >>> difference([0.5], [0.51]) is None
    True
    """
    if isinstance(given, dict) and isinstance(wanted, dict):
        names = [name for name in {**given, **wanted} if name not in NOT_COMPARED]
        pairs = [(given.get(name), wanted.get(name), f"{at}'s {name}") for name in names]
    elif isinstance(given, list) and isinstance(wanted, list) and len(given) == len(wanted):
        pairs = [
            (one, other, f"{at}[{number}]") for number, (one, other) in enumerate(zip(given, wanted, strict=True))
        ]
    elif isinstance(given, float) and isinstance(wanted, float) and abs(given - wanted) <= TOLERANCE:
        return None
    else:
        return None if given == wanted else f"{at} is {str(given)[:60]!r}, alone it is {str(wanted)[:60]!r}"
    return next((found for pair in pairs if (found := difference(*pair))), None)
