"""Who asks, as far as it goes along with a request or a job: for the counters by key, and for traces."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

IN_SCOPE = "turnscribe.caller"  # of a request's ASGI scope


@dataclass(frozen=True)
class Caller:
    """`key` is the label of an API key, never the key. `traceparent` is W3C's, of the span that others belong to."""

    key: str | None = None
    traceparent: str | None = None


NOBODY = Caller()


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """As far as the middleware around has found out."""
    caller: Caller = scope.get(IN_SCOPE, NOBODY)
    return caller


def note_caller(scope: MutableMapping[str, Any], **known: str | None) -> None:
    """Fields of `Caller` that are known from here on."""
    scope[IN_SCOPE] = replace(caller_of(scope), **known)
