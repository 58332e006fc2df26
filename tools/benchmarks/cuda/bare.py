"""Stand-ins for small packages that the package imports and a machine with torch and transformers alone may lack.

What they do there has no part in what is measured: limits of a request's parameters, which nobody sends here.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any


class _Said:
    """An annotation that nobody reads."""

    def __init__(self, *said: Any, **more: Any) -> None:
        pass


def stand_in_for_missing() -> list[str]:
    """Put them where the import looks; returns which were missing."""
    missing = []
    if importlib.util.find_spec("annotated_types") is None:
        module: Any = ModuleType("annotated_types")
        module.__getattr__ = lambda name: _Said
        sys.modules["annotated_types"] = module
        missing.append("annotated_types")
    return missing
