"""Whether the Hub can be reached, known within seconds.

huggingface_hub tries again and again, each time for up to ten seconds and for every file of a model. So it is asked
for nothing before the Hub has answered once; where it does not, a model that is in the cache is loaded from there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ANSWER_WITHIN = 4.0  # seconds, name resolution too
KEPT = 30.0  # seconds: several models are loaded one after the other
CONFIGURATIONS = ("config.json", "config.yaml")  # one of which every model has


class Reach:
    """Asks the Hub; an answer counts for some seconds."""

    def __init__(self, *, within: float = ANSWER_WITHIN) -> None:
        self.within = within
        self._known: tuple[float, str, bool] | None = None  # when, which Hub, and whether it answered

    def is_there(self) -> bool:
        """Whether it answers, whatever it says."""
        from huggingface_hub import constants

        hub = constants.ENDPOINT
        if self._known is not None:
            when, which, answered = self._known
            if which == hub and time.monotonic() - when < KEPT:
                return answered
        answered = self._asked(hub)
        self._known = time.monotonic(), hub, answered
        return answered

    def _asked(self, hub: str) -> bool:
        """In a thread of its own, as nothing else ends the resolution of a name in time."""
        from huggingface_hub.utils import get_session

        answered: list[bool] = []

        def ask() -> None:
            try:
                get_session().head(hub, timeout=self.within)
            except Exception:  # of whichever library it uses
                return
            answered.append(True)

        asking = threading.Thread(target=ask, name="hub", daemon=True)
        asking.start()
        asking.join(self.within)
        return bool(answered)


REACH = Reach()


def is_cached(model: str) -> bool:
    """Whether some version of a Hub id is in the cache; nothing is asked of the Hub."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(model, name), str) for name in CONFIGURATIONS)


@contextmanager
def offline() -> Iterator[None]:
    """Inside, whoever loads a model takes what is in the cache and asks nobody."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
