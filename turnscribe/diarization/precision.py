"""In which type networks whose answers are compared, not printed, are multiplied."""

from __future__ import annotations

import functools

import torch


def fast_type(device: torch.device | str) -> torch.dtype:
    """bfloat16 on a CPU that multiplies it, float32 elsewhere.

    oneDNN answers by the processor's instructions: AVX512_BF16 or AMX.
    """
    return torch.bfloat16 if torch.device(device).type == "cpu" and _multiplies_bfloat16() else torch.float32


@functools.cache
def _multiplies_bfloat16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()
    except (AttributeError, RuntimeError):
        return False
