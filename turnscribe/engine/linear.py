"""One matrix product, the fastest way the device has.

Decoding multiplies a few rows by every weight, so a step costs what reading the weights costs. MKL, which
`F.linear` calls on the CPU, rearranges the weights on every call: 20 ms for Whisper base's vocabulary and six rows on
two cores, where reading them takes 3.5 ms. oneDNN takes them rearranged once: 3.4 ms. Its operators are those that
torch's own compiler emits; where a build of torch lacks them, `F.linear`, their slow twin, is used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_HINT = 8  # oneDNN packs for a number of rows; it serves others nearly as well (measured 1 to 6000)


class Linear:
    """`x @ weight.T + bias`, then GELU where asked for.

    `weight` is `[out, in]`; on the CPU it is packed, and the caller's tensor can be let go. With `allow_bfloat16`,
    float32 weights are multiplied as bfloat16 on a CPU that has instructions for it, so half as much is read. It is
    for drafts, whose mistakes cost time and no text.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, *, allow_bfloat16: bool = False) -> None:
        on_cpu = weight.dtype == torch.float32 and weight.device.type == "cpu"
        self.in_bfloat16 = allow_bfloat16 and on_cpu and _multiplies_bfloat16()
        self.bias = bias
        self._packed = _pack(weight.bfloat16() if self.in_bfloat16 else weight)
        self._weight = weight if self._packed is None else None

    @property
    def is_packed(self) -> bool:
        """Whether the caller's tensor can be let go."""
        return self._packed is not None

    def in_float32(self) -> Linear:
        """The same product in float32; of weights that are not packed."""
        assert self._weight is not None
        return Linear(self._weight.float(), None if self.bias is None else self.bias.float())

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """`[..., in]` -> `[..., out]`"""
        return self.with_bias(x, self.bias, gelu=gelu)

    def with_bias(self, x: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
        """The product with another bias."""
        if self._packed is None:
            assert self._weight is not None
            y = F.linear(x, self._weight, bias)
            return F.gelu(y) if gelu else y
        attribute, algorithm = ("gelu", "none") if gelu else ("none", "")  # GELU's algorithm "none" is the exact one
        product = torch.ops.mkldnn._linear_pointwise
        if self.in_bfloat16:
            bias = None if bias is None else bias.bfloat16()
            x_bfloat16 = x.bfloat16()
            rounded: Tensor = product(x_bfloat16, self._packed, bias, attribute, [], algorithm)
            return rounded.to(x.dtype)
        exact: Tensor = product(x, self._packed, bias, attribute, [], algorithm)
        return exact


def _multiplies_bfloat16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def _pack(weight: Tensor) -> Any:
    """The weight as oneDNN wants it, or `None` where there is nothing to gain or no oneDNN."""
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS_HINT)
        torch.ops.mkldnn._linear_pointwise(weight.new_zeros(1, weight.shape[1]), packed, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    return packed
