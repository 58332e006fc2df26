"""Everything that can be wrong with a request or with the operator's settings, in one tree.

    ValueError
    └── TurnscribeError         text fit for whoever gets it; both serving containers pass it on
        ├── RequestError        the caller can mend it
        │   ├── BadAudio            what was sent cannot be decoded, or is over a limit
        │   └── BadParameters       a parameter is wrong, or two cannot stand together
        ├── InferenceFailed     our fault or the machine's: an id, and the details only in the log
        │   └── OutOfMemory         the device ran out of memory even at batch size 1
        ├── Cancelled           the caller said stop
        └── SettingsError       the operator can mend it: a variable, a model, a token, a gate
            └── ModelUnavailable    a model could not be fetched just now: loading again may do

Messages are one sentence each: what was wrong, what would be right. They hold no payload, token or path of
the server. Whoever speaks HTTP turns the classes into statuses.
"""

from __future__ import annotations


class TurnscribeError(ValueError):
    """Base of all; a `ValueError`, because that is what the serving containers answer as the caller's."""


class RequestError(TurnscribeError):
    """The request is at fault."""


class BadAudio(RequestError):
    """The input is not audio that can be used."""


class BadParameters(RequestError):
    """A parameter of the request is wrong."""


class InferenceFailed(TurnscribeError):
    """The request was fine and could not be answered."""


class OutOfMemory(InferenceFailed):
    """The device has too little memory for even one window at a time."""


class Cancelled(TurnscribeError):
    """`should_stop` returned true."""


class SettingsError(TurnscribeError):
    """The environment, a model or a token is wrong; raised while loading."""


class ModelUnavailable(SettingsError):
    """The Hub was busy or out of reach; raised while loading, which may be tried again."""
