"""Where versions of transformers differ, 4.46 to 5.x. (pyannote's differences: `pyannote_compat`.)"""

from __future__ import annotations

import importlib.metadata
from typing import Any


def dtype_argument(dtype: Any) -> dict[str, Any]:
    """The keyword that sets the weights' type: `dtype` since transformers 4.56, `torch_dtype` before."""
    major, minor = importlib.metadata.version("transformers").split(".")[:2]
    return {"dtype" if (int(major), int(minor)) >= (4, 56) else "torch_dtype": dtype}
