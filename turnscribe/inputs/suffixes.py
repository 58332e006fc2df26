"""Which files of a folder are taken for recordings."""

from __future__ import annotations

import re
from pathlib import PurePath

MEDIA = re.compile(
    r"\.(aac|aiff?|amr|avi|flac|m4[abv]|mk[av]|mov|mp[234]|mpe?g|og[agv]|opus|wav|webm|wm[av])", re.IGNORECASE
)


def is_recording(name: str) -> bool:
    """By the name of the file alone: it has a suffix of audio or video, and is not hidden.

    >>> is_recording("talks/Monday.MP3"), is_recording("talks/.part.mp3"), is_recording("talks/notes.txt")
    (True, False, False)
    """
    path = PurePath(name)
    return MEDIA.fullmatch(path.suffix) is not None and not path.name.startswith(".")
