"""What can go wrong over HTTP, with its status, in the two shapes clients expect.

OpenAI's clients read `{"error": {"message", "type", "param", "code"}}`; those of the handler's own routes read
`{"error": "<sentence>"}`, as the serving containers answer.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from copy import copy
from typing import Any, Self

from starlette.responses import JSONResponse

from turnscribe.errors import Cancelled, OutOfMemory, RequestError, TurnscribeError
from turnscribe.files import disk_is_full

CLIENT_CLOSED_REQUEST = 499  # nginx's; nobody is there to read it, but it is counted


class Problem(Exception):
    """An answer that is an error: its status, its sentence and, as `code`, a word for programs."""

    status, code = 400, "invalid_request"

    def __init__(self, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message, self.headers = message, dict(headers or {})

    def __copy__(self) -> Self:
        """One that was not raised yet: it holds no frames, and so nothing of a request."""
        fresh = type(self).__new__(type(self), *self.args)
        vars(fresh).update(vars(self))
        return fresh

    @property
    def kind(self) -> str:
        return "invalid_request_error" if self.status < 500 else "server_error"


class Malformed(Problem):
    """The request is not what its content type says, or a part is missing."""


class Unauthorized(Problem):
    status, code = 401, "invalid_api_key"


class Forbidden(Problem):
    status, code = 403, "forbidden"


class NotFound(Problem):
    status, code = 404, "not_found"


class TooSlow(Problem):
    """The client stopped sending in the middle of its request."""

    status, code = 408, "request_timeout"


class NotReady(Problem):
    """The job has not ended."""

    status, code = 409, "not_ready"


class TooLarge(Problem):
    status, code = 413, "too_large"


class ClientGone(Problem):
    status, code = CLIENT_CLOSED_REQUEST, "client_closed_request"


class InternalError(Problem):
    status, code = 500, "internal_error"


class Busy(Problem):
    """Try again later: the queue is full, the models are loading, or the device is out of memory."""

    status, code = 503, "overloaded"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_s)})


class DiskFull(Problem):
    status, code = 507, "insufficient_storage"


class DeadlineExceeded(Problem):
    status, code = 504, "timeout"


def problem_of(error: Exception) -> Problem:
    """What an exception of the pipeline is over HTTP, to be raised or kept; the unknown says nothing about itself.

    It is always a new one. An exception that was raised holds the frames that it came through, the request's body in
    them, and where one of those holds the exception too, only the collector of cycles frees them.
    """
    if isinstance(error, Problem):
        return copy(error)
    if isinstance(error, RequestError):
        return Malformed(str(error))
    if isinstance(error, OutOfMemory):
        return Busy(str(error), retry_after_s=10)
    if isinstance(error, Cancelled):
        return ClientGone(str(error))
    if disk_is_full(error):
        return DiskFull("The server's disk is full: try again later, or tell its operator.")
    return InternalError(str(error) if isinstance(error, TurnscribeError) else "The request could not be answered.")


def reason(error: BaseException) -> str:
    """What the log may say of an error. Its own text may hold a piece of the request; the system's word may not.

    >>> reason(OSError(28, "No space left on device")), reason(ValueError("of a request"))
    ('OSError: No space left on device', 'ValueError')
    """
    if isinstance(error, OSError) and error.errno:
        return f"{type(error).__name__}: {os.strerror(error.errno)}"
    if isinstance(error, sqlite3.Error):
        return f"{type(error).__name__}: {getattr(error, 'sqlite_errorname', 'unknown')}"
    return type(error).__name__


def openai_error(problem: Problem) -> dict[str, Any]:
    return {"error": {"message": problem.message, "type": problem.kind, "param": None, "code": problem.code}}


def problem_response(problem: Problem, path: str) -> JSONResponse:
    """The answer to a request of `path`: OpenAI's shape below `/v1`, a sentence elsewhere."""
    openai = path.removeprefix("/api").startswith("/v1/")
    content = openai_error(problem) if openai else {"error": problem.message}
    return JSONResponse(content, status_code=problem.status, headers=problem.headers)
