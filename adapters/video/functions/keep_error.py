"""Where an execution fails, its error is kept beside the video: `talk.mp4.error.json`."""

from __future__ import annotations

import json
from typing import Any

from adapters.video.functions.places import head
from adapters.video.functions.write_transcript import ERROR

NO_CAUSE = "No cause was given: the history of the execution shows where it failed."


def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Writes nothing where the video is gone or another by now (`etag`, if it came so far): the error is not of what
    is there."""
    import boto3

    s3 = boto3.client("s3")
    found = head(s3, event["bucket"], event["key"])
    if found is None or event["etag"] not in ("", found["ETag"]):
        return {"written": False}
    kept = {
        "error": event["error"]["Error"],
        "message": message(event["error"].get("Cause", "")),
        "video": f"s3://{event['bucket']}/{event['key']}",
        "execution": event["execution"],
    }
    body = json.dumps(kept, indent=2, ensure_ascii=False).encode()
    key = event["key"] + ERROR
    s3.put_object(Bucket=event["bucket"], Key=key, Body=body, ContentType="application/json")
    return {"written": True}


def message(cause: str) -> str:
    """What a function said, without the lines of code it said it in; any other cause as it is; always a sentence.

    >>> message('{"errorMessage": "It is empty.", "errorType": "UnsupportedVideo", "stackTrace": ["..."]}')
    'It is empty.'
    """
    try:
        error = json.loads(cause)
    except ValueError:
        return cause or NO_CAUSE
    return (str(error.get("errorMessage", cause)) if isinstance(error, dict) else cause) or NO_CAUSE
