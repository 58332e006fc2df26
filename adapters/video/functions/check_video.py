"""First step: is the file there, of a kind that is read, and not too large? Reads none of it."""

from __future__ import annotations

from typing import Any

from adapters.video.functions.media import (
    CONVERTED,
    DECODED,
    ENDPOINT_LIMIT,
    UnsupportedVideo,
    VideoMissing,
    VideoTooLarge,
    suffix,
)
from adapters.video.functions.places import head


def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """`bucket`, `key` and `extract` ("mediaconvert" or "no") to the file's `etag` and `size`.

    The key is taken as it is: an event of EventBridge has the plain key, other than S3's own notifications, where
    it is URL-encoded. Decoding it here would break the names that contain a plus or a percent sign.
    """
    import boto3

    bucket, key, converting = event["bucket"], event["key"], event["extract"] == "mediaconvert"
    kind = suffix(key)
    if kind not in DECODED and not (converting and kind in CONVERTED):
        known = ", ".join([*DECODED, *(CONVERTED if converting else ())])
        more = "" if converting else f"; with ExtractAudio=mediaconvert also {', '.join(CONVERTED)}"
        raise UnsupportedVideo(f"A file that ends in {kind or 'no suffix'} is not read: use {known}{more}.")
    found = head(boto3.client("s3"), bucket, key)
    if found is None:
        raise VideoMissing("The video is not there any more: upload it again.")
    size = found["ContentLength"]
    if not size:
        raise UnsupportedVideo("The file is empty: upload it again.")
    if size > ENDPOINT_LIMIT and not converting:
        raise VideoTooLarge(
            f"The video has {size / 2**30:.2f} GB and the endpoint takes 1 GB: deploy with "
            "ExtractAudio=mediaconvert, which sends the audio alone, or cut the video."
        )
    return {"etag": found["ETag"], "size": size}
