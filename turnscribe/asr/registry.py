"""The ASR backends by name, and the one place that loads them.

A backend is a module with a function `load` (`protocol.LoadAsr`). To add one, write the module and name it here.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from turnscribe.asr.protocol import Asr, LoadAsr, WeightsType
from turnscribe.checkpoints.hub import available_model
from turnscribe.devices import Device, device_of
from turnscribe.errors import SettingsError
from turnscribe.memory import give_back_memory, keep_memory

BACKENDS = {  # by the name that ASR_BACKEND gives
    "engine": "turnscribe.asr.engine_backend",
    "transformers": "turnscribe.asr.transformers_backend",
}


def load_asr(
    model: str,
    *,
    assistant: str | None = None,
    token: str | None = None,
    device: str | Device = "cpu",
    backend: str = "engine",
    dtype: WeightsType = "auto",
    root: Path = Path(),
) -> Asr:
    """Load a model, and an assistant for speculative decoding, into a backend.

    `model` and `assistant` are folders (looked for in `root` first) or Hub ids, in the format of transformers or of
    CTranslate2, named models (fetched if they are not there), or checkpoints of openai-whisper (`.pt`). The weights
    are of `dtype`: "auto" is float16 on CUDA and float32 on the CPU. Raises `SettingsError` that names the variable.
    """
    if backend not in BACKENDS:
        raise SettingsError(f"ASR_BACKEND is {backend!r}: give {' or '.join(BACKENDS)}.")
    load: LoadAsr = importlib.import_module(BACKENDS[backend]).load
    model = available_model("ASR_MODEL", model, root)
    assistant = available_model("ASSISTANT_MODEL", assistant, root) if assistant else None
    loaded = load(model, assistant=assistant, token=token, device=device, dtype=dtype)
    give_back_memory()
    if device_of(device).kind == "cpu":
        keep_memory()
    return loaded
