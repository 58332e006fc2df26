"""Where versions of transformers differ, 4.46 to 5.x. (pyannote's differences: `pyannote_versions`.)"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def dtype_argument(dtype: Any) -> dict[str, Any]:
    """The keyword that sets the weights' type: `dtype` since transformers 4.56, `torch_dtype` before."""
    major, minor = importlib.metadata.version("transformers").split(".")[:2]
    return {"dtype" if (int(major), int(minor)) >= (4, 56) else "torch_dtype": dtype}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Errors only: transformers warns on every call about arguments that its own Whisper code passes on, and reports
    the encoder as unexpected when an assistant is loaded as a decoder alone."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)
