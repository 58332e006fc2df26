"""What `/metrics` shows, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from turnscribe.serving.devices.device import DeviceState
from turnscribe.serving.problems import CLIENT_CLOSED_REQUEST
from turnscribe.serving.usage import Usage, label_of
from turnscribe.transcript import Transcript

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
FACTORS = (0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class Metrics:
    """Requests, audio, speed, stages, queues, and how much each of the API keys is used."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        self.usage = Usage(registry, map(label_of, keys))
        self._requests = Counter(
            "turnscribe_requests_total", "Requests by route and outcome.", ["route", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "turnscribe_request_seconds",
            "Time to the end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._audio = Counter("turnscribe_audio_seconds_total", "Audio transcribed, in seconds.", registry=registry)
        self._factor = Histogram(
            "turnscribe_real_time_factor",
            "Seconds of audio per second of work, by recording.",
            buckets=FACTORS,
            registry=registry,
        )
        self._stages = Counter(
            "turnscribe_stage_seconds_total", "Time by stage of the work.", ["stage"], registry=registry
        )
        self._speculation = Counter(
            "turnscribe_draft_tokens_total", "Tokens the assistant drafted.", ["verdict"], registry=registry
        )

    def gauge(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A number that is read when `/metrics` is."""
        Gauge(f"turnscribe_{name}", meaning, registry=self.registry).set_function(value)

    def devices(self, states: Callable[[], Sequence[DeviceState]]) -> None:
        """Those that have a process of their own, read when `/metrics` is."""
        self.registry.register(_Devices(states))

    def count_answer(self, route: str, status: int, seconds: float, key: str | None = None) -> None:
        """`key` is the label of an API key."""
        self._requests.labels(route, _outcome(status)).inc()
        self.usage.count_request(key, _outcome(status))
        self._seconds.labels(route).observe(seconds)

    def count_transcript(self, transcript: Transcript) -> None:
        self._audio.inc(transcript.duration)
        for stage, seconds in transcript.timings.items():
            if stage != "total":
                self._stages.labels(stage).inc(seconds)
        total = transcript.timings.get("total", 0.0)
        if total > 0:
            self._factor.observe(transcript.duration / total)
        if transcript.speculation:
            accepted, proposed = transcript.speculation.accepted, transcript.speculation.proposed
            self._speculation.labels("accepted").inc(accepted)
            self._speculation.labels("refused").inc(proposed - accepted)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Devices(Collector):
    """By the device's name and its place in `DEVICES`."""

    def __init__(self, states: Callable[[], Sequence[DeviceState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        states = self._states()
        if not states:
            return
        labels = ["device", "place"]
        ready = GaugeMetricFamily("turnscribe_device_ready", "Whether it takes requests.", labels=labels)
        running = GaugeMetricFamily("turnscribe_device_requests", "Requests and jobs on it.", labels=labels)
        restarts = CounterMetricFamily("turnscribe_device_restarts", "Processes started anew.", labels=labels)
        for place, state in enumerate(states):
            values = [state.device, str(place)]
            ready.add_metric(values, state.ready)
            running.add_metric(values, state.running)
            restarts.add_metric(values, state.restarts)
        yield from (ready, running, restarts)


def _outcome(status: int) -> str:
    """`ok`, `client_error`, `server_error`, `busy`, `timeout` or `gone`."""
    special = {503: "busy", 504: "timeout", CLIENT_CLOSED_REQUEST: "gone"}
    if status in special:
        return special[status]
    return "ok" if status < 400 else "client_error" if status < 500 else "server_error"
