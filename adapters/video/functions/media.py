"""What counts as a video, what the endpoint takes, and the ways a function ends its execution.

An exception's class is the error's name in the state machine: `workflow.asl.json` retries none of those below, since
the same again would fail again; after `EndpointFailed` alone it asks the endpoint again, twice at most.
"""

from __future__ import annotations

ENDPOINT_LIMIT = 2**30  # bytes: SageMaker's, of the input of one asynchronous invocation

# The handler decodes these itself.
DECODED = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".3gp": "video/3gpp",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}
# These only MediaConvert does. The rule of template.yaml starts an execution for all of them, and for nothing else.
CONVERTED = (".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".mxf", ".ts", ".wmv")


class UnsupportedVideo(Exception):
    """The file is of a kind that is not read here."""


class VideoTooLarge(Exception):
    """The endpoint takes no input of that size."""


class VideoMissing(Exception):
    """The file is gone, or may not be read."""


class ExtractionFailed(Exception):
    """MediaConvert ended with an error."""


class TranscriptionFailed(Exception):
    """The endpoint refused the recording."""


class EndpointFailed(Exception):
    """The endpoint ended with an error that says nothing about the recording: a worker died, a load was cut."""


def suffix(key: str) -> str:
    """
    >>> suffix("talks/Day 1.MP4")
    '.mp4'
    """
    name = key.rsplit("/", 1)[-1]
    return "." + name.rsplit(".", 1)[1].lower() if "." in name else ""
