"""Last step: the answer, the text and the subtitles beside the video.

`talk.mp4` gets `talk.mp4.json`, `.txt`, `.srt` and `.vtt`, so that `talk.mov` has its own. The answer comes last: who
waits for it finds the others, and by its `video_etag` which video they are of. Renders with the repository's own
formats, which need nothing but Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from adapters.video.functions.places import head, split
from turnscribe.formats import find_format, render
from turnscribe.transcript import Chunk, Transcript, Word

RENDERED = tuple(map(find_format, ("text", "srt", "vtt")))
ANSWER, ERROR = ".json", ".error.json"
ETAG = "video_etag"  # what the answer beside the video has more


def handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Writes nothing where the video is another by now (`etag`): its own execution has the last word."""
    import boto3

    s3 = boto3.client("s3")
    bucket, key = event["bucket"], event["key"]
    found = head(s3, bucket, key)
    if found is None or found["ETag"] != event["etag"]:
        return {"written": False}
    place, name = split(event["output"])
    answer = json.loads(s3.get_object(Bucket=place, Key=name)["Body"].read())
    transcript = read_transcript(answer)
    for known in RENDERED:
        text = str(render(transcript, known.name)).encode()
        s3.put_object(Bucket=bucket, Key=f"{key}.{known.suffix}", Body=text, ContentType=known.media_type)
    body = json.dumps({**answer, ETAG: event["etag"].strip('"')}, ensure_ascii=False).encode()
    s3.put_object(Bucket=bucket, Key=key + ANSWER, Body=body, ContentType="application/json")
    s3.delete_object(Bucket=bucket, Key=key + ERROR)  # of an earlier try
    return {"written": True}


def read_transcript(answer: dict[str, Any]) -> Transcript:
    """The handler's answer as the transcript it came from, as far as renderings need it. With `words` in it
    (`timestamps=word`) long chunks become several subtitles."""
    chunks = [
        Chunk(chunk["text"], start, end, speaker=chunk.get("speaker"))
        for chunk in answer["chunks"]
        for start, end in [chunk["timestamp"]]
    ]
    words = [
        Word(word["word"], word["start"], word["end"], word.get("probability"), word.get("speaker"))
        for word in answer.get("words", [])
    ]
    return Transcript(
        text=answer["text"],
        chunks=tuple(_with_words(chunks, words)),
        duration=answer["duration"],
        language=answer.get("language"),
    )


def _with_words(chunks: Sequence[Chunk], words: Sequence[Word]) -> Iterator[Chunk]:
    """The words are those of the chunks in order, so each chunk takes as many as spell its text."""
    at = 0
    for chunk in chunks:
        first, missing = at, _letters(chunk.text)
        while at < len(words) and missing > 0:
            missing -= _letters(words[at].text)
            at += 1
        yield replace(chunk, words=tuple(words[first:at]))


def _letters(text: str) -> int:
    return len("".join(text.split()))
