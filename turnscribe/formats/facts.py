"""What a document says of a recording before its text."""

from __future__ import annotations

from turnscribe.formats.lines import clean_line
from turnscribe.formats.times import timestamp
from turnscribe.transcript import Transcript
from turnscribe.whisper.languages import language_name


def clock(seconds: float) -> str:
    """`HH:MM:SS`, as people read it.

    >>> clock(3661.9)
    '01:01:01'
    """
    return timestamp(seconds).partition(".")[0]


def facts_line(transcript: Transcript) -> str:
    """Its length, and of language and speakers what is known.

    >>> facts_line(Transcript("", (), 61.0, language="de"))
    'Duration: 00:01:01 · Language: German'
    """
    speakers = dict.fromkeys(clean_line(chunk.speaker) for chunk in transcript.chunks if chunk.speaker)
    facts = {
        "Duration": clock(transcript.duration),
        "Language": language_name(transcript.language).capitalize() if transcript.language else "",
        "Translation": "into English" if transcript.task == "translate" else "",
        "Speakers": ", ".join(name for name in speakers if name),
    }
    return " · ".join(f"{name}: {fact}" for name, fact in facts.items() if fact)
