"""Turnscribe: who said what. `turnscribe.load(...)` is the way in from Python; start reading at `pipeline.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnscribe.api import Transcriber, load

from turnscribe.threads import wait_politely

wait_politely()  # before anything imports torch

__version__ = "0.2.0"  # the one place: the package, the server and `turnscribe --version` read it here

__all__ = ["Transcriber", "load"]


def __getattr__(name: str) -> object:
    """The names of `api`, once they are asked for: the package's smaller parts are used where little is installed."""
    if name in __all__:
        from turnscribe import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
