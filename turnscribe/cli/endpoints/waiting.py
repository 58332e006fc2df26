"""Waiting for an endpoint to answer, and the names of its states.

Tells every change of state with the seconds since, outlives a few failed looks, and ends where the endpoint answers,
is at rest or has failed. huggingface_hub's own `wait` does the looking; nothing here changes an endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from turnscribe.cli.endpoints.errors import PAGES, Refused, is_network, one_line

AT_REST = {
    "scaledToZero": "is scaled to zero: the first request starts it, and waits or is refused meanwhile",
    "paused": f"is paused: resume it at {PAGES}",
}
PATIENCE = 5  # requests in a row that may fail while waiting

Tell = Callable[..., None]


def wait_until_running(endpoint: Any, *, timeout: float, every: float, tell: Tell) -> str:
    """What became of it, once it answers or is at rest; every change of state is reported with the seconds since.

    huggingface_hub's own `wait` does the waiting, by calling the endpoint's `fetch`. Raises `Refused`.
    """
    from huggingface_hub.errors import HfHubHTTPError, InferenceEndpointError, InferenceEndpointTimeoutError

    started, reported, failures = time.monotonic(), "", 0

    def report() -> None:
        nonlocal reported
        state = state_of(endpoint)
        if state != reported:
            tell(f"{time.monotonic() - started:6.0f} s  {state}")
            reported = state
        if endpoint.status in AT_REST:
            raise _AtRest

    def fetch() -> Any:
        nonlocal failures
        type(endpoint).fetch(endpoint)
        failures = 0
        report()
        return endpoint

    endpoint.fetch = fetch
    while True:
        try:
            report()
            endpoint.wait(timeout=max(0, timeout - (time.monotonic() - started)), refresh_every=every)
            return f"{endpoint.name} runs: {endpoint.url}"
        except _AtRest:
            return f"{endpoint.name} {AT_REST[endpoint.status]}."
        except InferenceEndpointTimeoutError:
            raise Refused(
                f"{endpoint.name} does not answer after {timeout:.0f} s and goes on starting: its log is at "
                f"{page_of(endpoint)}; `wait` waits again."
            ) from None
        except InferenceEndpointError:
            raise Refused(
                f"{endpoint.name} could not start ({state_of(endpoint)}): its log is at {page_of(endpoint)}; "
                "`python -m scripts.doctor` checks models, token and gates from here."
            ) from None
        except Exception as error:
            status = getattr(getattr(error, "response", None), "status_code", 500)
            passing = (is_network(error) or isinstance(error, HfHubHTTPError)) and (status >= 500 or status == 429)
            failures += 1
            if not passing or failures > PATIENCE:
                raise
            time.sleep(every)


class _AtRest(Exception):
    """The endpoint will not start by itself."""


def state_of(endpoint: Any) -> str:
    """`failed: no capacity`: the state, and the API's remark on it where there is one."""
    state = str(getattr(endpoint.status, "value", endpoint.status))
    remark = str(endpoint.raw["status"].get("message") or "").strip()
    return f"{state}: {one_line(remark)}" if remark else state


def page_of(endpoint: Any) -> str:
    return f"{PAGES}/{endpoint.namespace}/endpoints/{endpoint.name}"
