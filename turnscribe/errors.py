"""Everything that can be wrong with a request or with the operator's settings, in one tree.

    TurnscribeError             text fit for whoever gets it; both serving containers pass it on
    ├── RequestError (ValueError)   the caller can mend it
    │   ├── BadAudio                    what was sent cannot be decoded, or is over a limit
    │   └── BadParameters               a parameter is wrong, or two cannot stand together
    ├── InferenceFailed             our fault or the machine's: an id, and the details only in the log
    │   └── OutOfMemory                 the device ran out of memory even at batch size 1
    ├── Cancelled                   the caller said stop
    └── SettingsError (ValueError)  the operator can mend it: a variable, a model, a token, a gate
        └── ModelUnavailable            a model could not be fetched just now: loading again may do

hf-serve answers a `ValueError` with 400, as the caller's fault, and anything else with 500, after which a client or a
queue may try again; so only what the caller can mend is one. huggingface-inference-toolkit answers all with 400.

Messages are one sentence each: what was wrong, what would be right. They hold no payload, token or path of
the server. Whoever speaks HTTP turns the classes into statuses.
"""

from __future__ import annotations


class TurnscribeError(Exception):
    """Base of all."""


class RequestError(TurnscribeError, ValueError):
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


class SettingsError(TurnscribeError, ValueError):
    """The environment, a model or a token is wrong; raised while loading."""


class ModelUnavailable(SettingsError):
    """The Hub was busy or out of reach; raised while loading, which may be tried again."""
