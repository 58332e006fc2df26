"""SageMaker's three ways side by side, and which of them fits a payload, a latency and a traffic.

The limits are the ones AWS documents. How long an instance takes to start is an estimate (the image, the packages and
the weights decide it), and what one costs is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MB = 2**20  # as AWS counts: 6 MB are 6291456 in the description of its API
WAKE_S = 600  # from no instance to an answer: the machine, the container, the packages, the weights
RELAY_S = 5  # of an asynchronous request: S3 in, the queue, S3 out, and noticing it
GATHER_S = 6 * 3600  # who waits longer can be served by a job now and then; also the longest an asynchronous
# request stays in the queue, unless it says otherwise
IDLE_S = 900  # without a request before an asynchronous endpoint goes to zero: the alarm's datapoints
REQUEST_S = 30  # of computing, where nobody says otherwise


@dataclass(frozen=True, eq=False)
class Way:
    """One way to be served; `payload_bytes` and `seconds` are the most one request may have."""

    command: str  # of `python -m scripts.sagemaker`
    title: str
    payload_bytes: int
    seconds: int
    facts: Mapping[str, str]  # the rows of the comparison

    @property
    def payload_mb(self) -> int:
        return self.payload_bytes // MB


REAL_TIME = Way(
    "real-time",
    "real-time",
    6 * MB,
    60,
    {
        "Payload, at most": "6 MB (4.5 MB as base64), the answer too",
        "Time for one request": "60 s",
        "Latency": "the computing; what nobody can take at once is refused",
        "Result": "in the response",
        "Down to zero instances": "no",
        "Idle, it costs": "every instance, all day",
        "Parameters": "each request's",
    },
)
ASYNCHRONOUS = Way(
    "asynchronous",
    "asynchronous",
    1024 * MB,
    3600,
    {
        "Payload, at most": "1 GB, in S3",
        "Time for one request": "3600 s (900 s unless the request says so)",
        "Latency": "the computing and the queue; from zero instances some 10 minutes more",
        "Result": "a file in S3, or one with the error; SNS tells",
        "Down to zero instances": "yes, and wakes up with the first request",
        "Idle, it costs": "nothing at zero instances",
        "Parameters": "each request's",
    },
)
TRANSFORM = Way(
    "transform",
    "batch transform",
    100 * MB,
    3600,
    {
        "Payload, at most": "100 MB, shared by the requests at once",
        "Time for one request": "3600 s (the job asks for it)",
        "Latency": "a job starts its own instances: some 10 minutes, then file by file",
        "Result": "`NAME.out` in S3 for each file",
        "Down to zero instances": "there are none but in a job",
        "Idle, it costs": "nothing",
        "Parameters": "the job's, for all of its files",
    },
)
WAYS = (REAL_TIME, ASYNCHRONOUS, TRANSFORM)


@dataclass(frozen=True)
class Choice:
    """`way` is `None` where nothing fits; `against` says of each of the others why not, by title."""

    way: Way | None
    reason: str
    against: Mapping[str, str]
    min_instances: int = 1
    max_instances: int = 1
    notes: tuple[str, ...] = ()


def choose(
    *, payload_mb: float, latency_s: float, requests_per_hour: float, request_s: float | None = None
) -> Choice:
    """The way for requests of up to `payload_mb` that may be answered after `latency_s` (`inf`: whenever).

    `request_s` is the computing one request takes, by default `REQUEST_S` or what the latency leaves for it. Raises
    `ValueError`.
    """
    finite = (payload_mb, requests_per_hour, REQUEST_S if request_s is None else request_s)
    if not (latency_s > 0 and all(0 < number < math.inf for number in finite)):
        raise ValueError("Payload, latency, traffic and computing time are numbers above 0; the latency may be inf.")
    notes = []
    if request_s is None:
        request_s = min(REQUEST_S, max(latency_s - RELAY_S, latency_s / 2))
        notes.append(f"{request_s:g} s of computing for a request is an assumption: --request-s says better.")
    against = _ruled_out(payload_mb, latency_s, request_s)
    possible = [way for way in WAYS if way.title not in against]
    if not possible:
        return Choice(None, _way_out(payload_mb, latency_s, request_s), against, notes=tuple(notes))
    load = requests_per_hour * request_s / 3600  # instances busy on average
    most = max(1, math.ceil(2 * load))  # twice the average, for what comes at once
    wakes_in_time = latency_s >= WAKE_S + request_s
    least = 1
    if TRANSFORM in possible and latency_s >= GATHER_S:
        way = TRANSFORM
        reason = (
            f"As an answer may take {_time(latency_s)}, recordings can be gathered in S3 and transcribed by a job "
            "now and then, and nothing runs in between."
        )
    elif REAL_TIME in possible and not (ASYNCHRONOUS in possible and wakes_in_time):
        way, least = REAL_TIME, most
        reason = (
            f"An answer within {_time(latency_s)} needs an instance that is up, and up to 6 MB and 60 s it can "
            "answer on the same connection."
        )
    else:
        way, least = ASYNCHRONOUS, 0 if wakes_in_time else 1
        reason = f"{payload_mb:g} MB and {request_s:g} s are within its 1 GB and 3600 s, " + (
            "and the latency leaves time to start from zero instances."
            if wakes_in_time
            else "and as starting an instance takes minutes, one is kept up."
        )
    against.update({other.title: _second(other, way) for other in possible if other is not way})
    if least == 0 and requests_per_hour * IDLE_S / 3600 >= 1:
        notes.append(f"At {requests_per_hour:g} requests an hour it will seldom be idle long enough to go to zero.")
    elif least and way is not TRANSFORM and load < 0.05:
        notes.append(
            f"The instance is idle {1 - load:.0%} of the time: who can wait {_time(WAKE_S + request_s)} can have an "
            "asynchronous endpoint that goes to zero."
        )
    return Choice(way, reason, against, least, most, tuple(notes))


def comparison() -> str:
    """The table of the three ways, in Markdown."""
    lines = ["| | " + " | ".join(way.title for way in WAYS) + " |", "|---" * (len(WAYS) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(way.facts[row] for way in WAYS) + " |" for row in REAL_TIME.facts]
    return "\n".join(lines)


def _ruled_out(payload_mb: float, latency_s: float, request_s: float) -> dict[str, str]:
    against = {}
    answered = {  # after so many seconds at the earliest
        REAL_TIME: (request_s, "the computing alone takes"),
        ASYNCHRONOUS: (RELAY_S + request_s, "with S3 and a queue on the way it takes"),
        TRANSFORM: (WAKE_S + request_s, "a job starts its own instances first, and takes"),
    }
    for way in WAYS:
        seconds, why = answered[way]
        if payload_mb * MB > way.payload_bytes:
            against[way.title] = f"{payload_mb:g} MB are over its {way.payload_mb} MB a request."
        elif request_s > way.seconds:
            against[way.title] = f"{request_s:g} s of computing are over its {way.seconds} s a request."
        elif latency_s < seconds:
            against[way.title] = f"{_time(latency_s)} are too short: {why} {_time(seconds)}."
    return against


def _second(other: Way, chosen: Way) -> str:
    if other is REAL_TIME:
        return "its instances cost all day, and the latency allows to do without."
    if other is TRANSFORM:
        return "it takes files that lie together, and starts an instance for each job."
    if chosen is TRANSFORM:
        return "it fits too, and starts an instance for recordings that could wait for each other."
    return "it fits too, with a queue and S3 on the way that this latency has no need of."


def _way_out(payload_mb: float, latency_s: float, request_s: float) -> str:
    if payload_mb * MB > ASYNCHRONOUS.payload_bytes:
        return (
            f"No way takes {payload_mb:g} MB: compress the audio (an hour of speech is about 15 MB in Opus), "
            "take it out of its video, or split it."
        )
    if request_s > ASYNCHRONOUS.seconds:
        return f"No way computes for {request_s:g} s: take a larger instance, or split the recordings."
    late = f"No way answers {payload_mb:g} MB that take {_time(request_s)} within {_time(latency_s)}:"
    if request_s > latency_s:
        return f"{late} take a larger instance, split the recordings, or allow {_time(RELAY_S + request_s)}."
    smaller = "compress the audio to 6 MB, or " if request_s <= REAL_TIME.seconds else ""
    return f"{late} {smaller}allow {_time(RELAY_S + request_s)}."


def _time(seconds: float) -> str:
    if seconds == math.inf:
        return "as long as it likes"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:g} s"
