"""Objects in S3: addresses taken apart, and whether something is there yet."""

from __future__ import annotations

import uuid
from typing import Any


def split(uri: str) -> tuple[str, str]:
    """
    >>> split("s3://work/output/1.out")
    ('work', 'output/1.out')
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def head(s3: Any, bucket: str, key: str) -> dict[str, Any] | None:
    """The object's size and ETag, or `None` where there is none. A role that may not list a bucket gets a 403 for an
    object that is not there, which is an error here: who waits for objects needs `s3:ListBucket`."""
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    return found


def token(execution: str) -> str:
    """One for each execution, the same on every retry, 36 characters of ASCII: an execution that EventBridge started
    has a name of 73, and an inference's id may have 64.

    >>> token("talk") == token("talk"), len(token("talk"))
    (True, 36)
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, execution))
