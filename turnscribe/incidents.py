"""Errors that the caller cannot mend: a sentence with an id for the caller, the details in the log under that id."""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from turnscribe.errors import InferenceFailed, OutOfMemory, TurnscribeError

log = logging.getLogger("turnscribe")


@contextmanager
def incidents(*, secret: str | None = None) -> Iterator[None]:
    """Turns what is no `TurnscribeError` into `InferenceFailed`, or into `OutOfMemory` where the device is full.

    `secret`, a token, never reaches the log.
    """
    try:
        yield
    except TurnscribeError:
        raise
    except Exception as error:
        incident = uuid.uuid4().hex[:12]
        details = traceback.format_exc()
        if secret:
            details = details.replace(secret, "[HF_TOKEN]")
        log.error("request failed, incident %s\n%s", incident, details)
        if type(error).__name__ == "OutOfMemoryError":  # torch's, in a diarizer
            raise OutOfMemory("The device has too little memory for this request: try again, or less.") from error
        raise InferenceFailed(
            f"The request could not be answered; the endpoint's log has the details under {incident}."
        ) from error
