"""Second step: what the endpoint will read, as an object of the work bucket.

Either the audio, which MediaConvert takes out of the video (`start` a job, `look` at it), or the whole video (`copy`,
inside S3). A copy, because the endpoint's input is named in an HTTP header, which not every file name fits, and
because the endpoint's role then reads no uploads. Writes the same object when it is called again for the same
execution.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from adapters.video.functions.media import (
    DECODED,
    ENDPOINT_LIMIT,
    ExtractionFailed,
    VideoMissing,
    VideoTooLarge,
    suffix,
)
from adapters.video.functions.places import head, token

JOB = Path(__file__).resolve().parent.parent / "media_convert_job.json"
AUDIO = (".mp4", "audio/mp4")  # MediaConvert's suffix for the container the job asks for, and its type


def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Needs WORK_BUCKET, and MEDIA_CONVERT_ROLE and MEDIA_CONVERT_QUEUE for jobs, in its environment."""
    step = {"copy": _copy, "start": _start, "look": _look}[event["step"]]
    return step(event)


def build_job(template: dict[str, Any], *, source: str, destination: str, execution: str) -> dict[str, Any]:
    """The arguments of `create_job` but for the role: the job's file, with the one input and output filled in."""
    settings = json.loads(json.dumps(template["Settings"]))
    settings["Inputs"][0]["FileInput"] = source
    settings["OutputGroups"][0]["OutputGroupSettings"]["FileGroupSettings"]["Destination"] = destination
    return {**template, "Settings": settings, "ClientRequestToken": token(execution)}


def _copy(event: dict[str, Any]) -> dict[str, Any]:
    import boto3
    from botocore.exceptions import ClientError

    bucket, kind = os.environ["WORK_BUCKET"], suffix(event["key"])
    key = f"input/{token(event['execution'])}{kind}"
    source = {"Bucket": event["bucket"], "Key": event["key"]}
    try:
        boto3.client("s3").copy_object(
            Bucket=bucket, Key=key, CopySource=source, CopySourceIfMatch=event["etag"], TaggingDirective="REPLACE"
        )
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 412):
            raise VideoMissing("The video was deleted or replaced meanwhile; a new upload starts again.") from error
        raise
    return {"bucket": bucket, "key": key, "content_type": DECODED[kind]}


def _start(event: dict[str, Any]) -> dict[str, Any]:
    import boto3

    bucket, name = os.environ["WORK_BUCKET"], f"input/{token(event['execution'])}"
    job = build_job(
        json.loads(JOB.read_text(encoding="utf-8")),
        source=f"s3://{event['bucket']}/{event['key']}",
        destination=f"s3://{bucket}/{name}",
        execution=event["execution"],
    )
    made = boto3.client("mediaconvert").create_job(
        Role=os.environ["MEDIA_CONVERT_ROLE"], Queue=os.environ["MEDIA_CONVERT_QUEUE"], **job
    )
    kind, content_type = AUDIO
    return {"job": made["Job"]["Id"], "bucket": bucket, "key": name + kind, "content_type": content_type}


def _look(event: dict[str, Any]) -> dict[str, Any]:
    import boto3

    job = boto3.client("mediaconvert").get_job(Id=event["job"])["Job"]
    if job["Status"] in ("ERROR", "CANCELED"):
        reason = job.get("ErrorMessage") or "no reason was given"
        raise ExtractionFailed(f"MediaConvert: {job['Status']}, code {job.get('ErrorCode', 'none')}: {reason}")
    done = job["Status"] == "COMPLETE"
    if done:
        found = head(boto3.client("s3"), event["bucket"], event["key"])
        if found is None:
            raise ExtractionFailed("MediaConvert is done and wrote no audio: has the video a sound track?")
        if found["ContentLength"] > ENDPOINT_LIMIT:
            raise VideoTooLarge("The audio alone is over 1 GB, which the endpoint does not take: cut the video.")
    return {"done": done}
