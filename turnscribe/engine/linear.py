"""One matrix product, the fastest way the device has.

Decoding multiplies a few rows by every weight, so a step costs what reading the weights costs. MKL, which
`F.linear` calls on the CPU, rearranges the weights on every call: 20 ms for Whisper base's vocabulary and six rows on
two cores, where reading them takes 3.5 ms. oneDNN takes them rearranged once: 3.4 ms. Its operators are those that
torch's own compiler emits; where a build of torch lacks them, `F.linear`, their slow twin, is used.

Products of 8-bit integers (`Int8Linear`) read a quarter of that and count four times as fast, on processors whose
instructions multiply and add them in one (VNNI).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

# "own" is the weights' type. The others are for float32 weights on a CPU that has instructions for them; elsewhere
# they are the first. "half" is bfloat16, or else "fine": 8-bit weights and 16-bit inputs, which reads less and counts
# more. "int8" is for many rows, four times as fast as "own".
Precision: TypeAlias = Literal["own", "half", "fine", "int8"]

ROWS_HINT = 8  # oneDNN packs for a number of rows; it serves others nearly as well (measured 1 to 6000)
LEVELS = 127.0  # of an 8-bit number, on either side of zero
ZERO = 128  # oneDNN multiplies signed weights by unsigned inputs, so zero is in their middle
FINER = 2 * LEVELS  # what rounding leaves is at most half a level
SMALLEST = 1e-30  # a row of zeros is divided by this
INT8_ERROR = 0.02  # of the product of random numbers; it is 0.008


class Linear:
    """`x @ weight.T + bias`, then GELU where asked for.

    `weight` is `[out, in]`; on the CPU it is packed, and the caller's tensor can be let go.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.bias, self.bytes_each = bias, weight.element_size()  # that are read of a weight
        self._packed = _pack(weight)
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
        return self._product(x, bias, gelu)

    def _product(self, x: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        attribute, algorithm = ("gelu", "none") if gelu else ("none", "")  # GELU's algorithm "none" is the exact one
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, bias, attribute, [], algorithm)
        return product


class BFloat16Linear(Linear):
    """Float32 weights, multiplied as bfloat16: half as much is read."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(weight.bfloat16(), None if bias is None else bias.bfloat16())

    def _product(self, x: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        return super()._product(x.bfloat16(), None if bias is None else bias.bfloat16(), gelu).to(x.dtype)


class Int8Linear(Linear):
    """Float32 weights and inputs, both rounded to 8 bits: the weights by output, the inputs by row.

    So a row's result does not depend on the rows beside it, to the last bit: sums of integers are exact.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.bias, self.bytes_each, self._weight = bias, 1, None
        scales = weight.detach().abs().amax(dim=1).clamp_(min=SMALLEST) / LEVELS  # [out]
        rounded = (weight.detach() / scales[:, None]).round_().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded, [ROWS_HINT, weight.shape[1]])
        self._scales = scales / LEVELS
        self._zeros = torch.zeros(len(scales), dtype=torch.long)

    def _product(self, x: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
        # in place wherever it can be: fresh memory costs more than what is written to it
        largest = torch.maximum(x.amax(-1, keepdim=True), x.amin(-1, keepdim=True).neg_()).clamp_(min=SMALLEST)
        y = self._of_levels(x * (LEVELS / largest)).mul_(largest)
        if bias is not None:
            y.add_(bias)
        return _gelu_in_place(y) if gelu else y

    def _of_levels(self, x: Tensor) -> Tensor:
        """The product without its bias, of inputs within `LEVELS` of zero, which are overwritten."""
        return self._integers(x.round_())

    def _integers(self, x: Tensor) -> Tensor:
        """Of whole numbers. To signed ones torch converts seven times as fast; those that oneDNN takes are `ZERO`
        more, which turns their highest bit."""
        unsigned = x.to(torch.int8).bitwise_xor_(-ZERO).view(torch.uint8)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            unsigned, 1.0, ZERO, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y


class FineInt8Linear(Int8Linear):
    """Inputs of 16 bits: one 8-bit number, and another one for what that left.

    They are two rows of one product. Where rows are few, reading the weights is what costs, and they are read once.
    """

    def _of_levels(self, x: Tensor) -> Tensor:
        both = torch.stack([x.round(), x])
        both[1].sub_(both[0]).mul_(FINER).round_()
        coarse_and_fine = self._integers(both)
        return coarse_and_fine[0].add_(coarse_and_fine[1], alpha=1 / FINER)


def linear(weight: Tensor, bias: Tensor | None = None, *, precision: Precision = "own") -> Linear:
    """The product of that precision, or of the weights' own where this machine has no instructions for it."""
    kind = Linear
    if weight.dtype == torch.float32 and weight.device.type == "cpu":
        if precision == "half" and multiplies_bfloat16():
            kind = BFloat16Linear
        elif precision in ("half", "fine") and multiplies_int8():
            kind = FineInt8Linear
        elif precision == "int8" and multiplies_int8():
            kind = Int8Linear
    return kind(weight, bias)


@cache
def multiplies_int8() -> bool:
    """Whether this processor's own instructions multiply and add 8-bit integers, and this torch's products hold."""
    try:
        if not torch.cpu._is_vnni_supported():
            return False
        random = torch.Generator().manual_seed(0)
        weight, x = torch.randn(24, 96, generator=random), torch.randn(5, 96, generator=random)
        expected = F.linear(x, weight)
        return bool((Int8Linear(weight)(x) - expected).norm() < INT8_ERROR * expected.norm())
    except (AttributeError, RuntimeError):
        return False


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor's own instructions multiply bfloat16: without them oneDNN takes three times as long as
    in float32."""
    try:
        return torch.cpu._is_avx512_bf16_supported() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    except (AttributeError, RuntimeError):
        return False


def _gelu_in_place(x: Tensor) -> Tensor:
    activated: Tensor = torch.ops.aten.gelu_(x)
    return activated


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
