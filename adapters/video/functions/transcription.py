"""Third step: the asynchronous endpoint. `start` an invocation, `look` for its output or its failure in S3."""

from __future__ import annotations

import os
from typing import Any

from adapters.video.functions.media import EndpointFailed, TranscriptionFailed
from adapters.video.functions.places import head, split, token

SHOWN = 2000  # characters of the endpoint's error
REFUSED = "Received client error ("  # SageMaker's words for the container's 4xx; those for a 5xx name a server error


def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    step = {"start": _start, "look": _look}[event["step"]]
    return step(event)


def _start(event: dict[str, Any]) -> dict[str, Any]:
    """Where the answer and the error will be.

    The inference's id is the same when this function is retried, which SageMaker does not take for the same request:
    the transcription may run twice then, and the second answer counts. After each of the endpoint's `failures` it is
    another.
    """
    import boto3

    answer = boto3.client("sagemaker-runtime").invoke_endpoint_async(
        EndpointName=os.environ["ENDPOINT"],
        InputLocation=f"s3://{event['bucket']}/{event['key']}",
        ContentType=event["content_type"],
        Accept="application/json",
        CustomAttributes=os.environ["PARAMETERS"],
        InferenceId=token(f"{event['execution']} {event['failures']}"),
        InvocationTimeoutSeconds=int(os.environ["INVOCATION_TIMEOUT_SECONDS"]),
        RequestTTLSeconds=int(os.environ["REQUEST_TTL_SECONDS"]),
    )
    return {"output": answer["OutputLocation"], "failure": answer["FailureLocation"]}


def _look(event: dict[str, Any]) -> dict[str, Any]:
    import boto3

    s3 = boto3.client("s3")
    if head(s3, *split(event["output"])):
        return {"done": True}
    bucket, key = split(event["failure"])
    if head(s3, bucket, key):
        content = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{4 * SHOWN}")["Body"].read()
        text = content.decode("utf-8", "replace")[:SHOWN]
        error = TranscriptionFailed if REFUSED in text else EndpointFailed
        raise error(f"The endpoint answered: {text}")
    return {"done": False}
