"""Which recordings are heard: a small choice for the tests and a larger one for the table, both drawn with a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from tests.real.recording import NOBODY_SPEAKS, Recording
from tests.real.sources import CAPTIONS, PROMPTS

SEED = "turnscribe"
CONVERSATIONS = ("conversation/aepyx", "conversation/frint980428", "conversation/know", "conversation/sample")
SOUNDS = {kind: 20 for kind in NOBODY_SPEAKS if kind not in ("music", "noise")}
# So many of a group; a group that is not named is left out.
TESTED = {
    **{f"prompt {language}": 13 for language in PROMPTS},
    **{f"caption {language}": 3 for language in CAPTIONS},
    **{f"line {language}": 9 for language in ("cs", "nl")},
    "reading en": 9,
    **{f"dialogue {language}": 1 for language in ("cs", "nl")},
    "music": 5,
    "noise": 5,
    **SOUNDS,
    **{f"message {language}": 1 for language in PROMPTS},
    "onset": 14,
    "pause": 6,
    "behind": 6,
    "synthetic": 4,
}
TABLE = {
    **{f"prompt {language}": 30 for language in PROMPTS},
    **{f"caption {language}": 12 for language in CAPTIONS},
    **{f"line {language}": 30 for language in ("cs", "nl")},
    "reading en": 9,
    **{f"dialogue {language}": 3 for language in ("cs", "nl")},
    "music": 15,
    "noise": 5,
    **SOUNDS,
    **{f"message {language}": 3 for language in PROMPTS},
    "onset": 42,
    "pause": 6,
    "behind": 10,
    "synthetic": 6,
}


def choice(recordings: Sequence[Recording], counts: Mapping[str, int]) -> list[Recording]:
    """All conversations, and of each group so many recordings, or all where there are fewer.

    The same names give the same choice everywhere, and a larger count keeps what a smaller one chose.
    """
    chosen = [recording for recording in recordings if recording.name in CONVERSATIONS]
    for group, count in counts.items():
        members = sorted((one for one in recordings if one.group == group), key=lambda one: one.name)
        random.Random(f"{SEED} {group}").shuffle(members)
        chosen += members[:count]
    return sorted(chosen, key=lambda recording: recording.name)
