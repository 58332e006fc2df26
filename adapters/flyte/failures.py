"""Which failures another attempt may mend."""

from __future__ import annotations

from turnscribe.bulk.places import Missing, TooLarge, Unavailable
from turnscribe.errors import InferenceFailed, ModelUnavailable, OutOfMemory, RequestError


class TryAgain(Exception):
    """What was wrong may pass: the same work is worth another attempt."""


def may_pass(error: Exception) -> bool:
    """A store or the Hub was busy, or a device failed; what is wrong with a file, a parameter or a setting stays."""
    return isinstance(error, Unavailable | InferenceFailed | ModelUnavailable | TryAgain) and not of_the_file(error)


def of_the_file(error: Exception) -> bool:
    """The file or its parameters are at fault: it fails on every such machine, until one of them is another."""
    return isinstance(error, RequestError | OutOfMemory | Missing | TooLarge)
