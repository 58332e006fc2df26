"""Keys and values of the rows that decode together.

Each row has a position of its own: what is written past a row's length is never seen, since every query is told
how far it may look, and it is overwritten when the row gets there. So taking back a rejected draft costs nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STEP = 64  # positions by which a cache that may grow does


class Cache:
    """Room for `rows` rows of a decoder with `layers` layers and `heads` heads of `width`.

    Self-attention: `[layers, rows * beams, positions, 2 * heads * width]`, keys then values, as one product yields
    them. Cross-attention: `[layers, 2, rows, heads, frames, width]`, written once a window, read by all its beams.
    With `fixed`, all positions are there from the start and always read (CUDA graphs need it); otherwise the cache
    grows and only what can be needed is read.
    """

    def __init__(
        self,
        *,
        layers: int,
        rows: int,
        heads: int,
        width: int,
        frames: int,
        positions: int,
        beams: int = 1,
        fixed: bool,
        device: torch.device,
        dtype: torch.dtype,
        audio_type: torch.dtype | None = None,
    ) -> None:
        """`dtype` is that of keys and values, `audio_type` that of cross-attention's where it is another."""
        self.rows, self.beams, self.heads, self.width, self.fixed, self.limit = (
            rows,
            beams,
            heads,
            width,
            fixed,
            positions,
        )
        self._cross = _room((layers, 2, rows, heads, frames, width), device, audio_type or dtype)
        self._own = torch.zeros(
            layers, rows * beams, positions if fixed else 0, 2 * heads * width, device=device, dtype=dtype
        )
        self._keys = torch.arange(positions, device=device)

    def reserve(self, positions: int) -> None:
        """Room for at least `positions` in every row."""
        have = self._own.shape[2]
        if positions <= have:
            return
        assert not self.fixed, f"a fixed cache has {have} positions, {positions} are needed"
        more = min(-(-positions // STEP) * STEP, self.limit)
        grown = self._own.new_zeros(*self._own.shape[:2], more, self._own.shape[3])
        grown[:, :, :have] = self._own
        self._own = grown

    def readable(self, positions: int) -> int:
        """How many positions are read where no query looks further than `positions`."""
        return self._own.shape[2] if self.fixed else min(positions, self._own.shape[2])

    def mask(self, positions: Tensor, read: int) -> Tensor:
        """Positions of the queries `[B, Q]` -> which of `read` keys each may see: `[B, 1, Q, read]`."""
        return (self._keys[:read] <= positions[..., None])[:, None]

    def own_rows(self, rows: slice, count: int) -> slice:
        """Where `count` rows of tokens belong in self-attention: all beams of the windows in `rows`, or the first of
        each."""
        step = 1 if count == (rows.stop - rows.start) * self.beams else self.beams
        return slice(rows.start * self.beams, rows.stop * self.beams, step)

    def write_own(self, layer: int, rows: slice, positions: Tensor, keys_values: Tensor) -> None:
        """Put `[B, Q, 2 * heads * width]` at `positions` `[B, Q]` of `rows`."""
        room = self._own[layer, rows]  # [B, positions, 2 * heads * width]
        room.scatter_(1, positions[..., None].expand(-1, -1, room.shape[-1]), keys_values)

    def own(self, layer: int, rows: slice, read: int) -> tuple[Tensor, Tensor]:
        """Keys and values, `[B, heads, read, width]` each."""
        room = self._by_head(self._own[layer, rows, :read])  # [B, read, 2, heads, width]
        keys, values = room.permute(2, 0, 3, 1, 4)
        return keys, values

    def write_cross(self, layer: int, rows: slice, keys_values: Tensor) -> None:
        """Put what a layer makes of the encoder's output, `[B, frames, 2 * heads * width]`."""
        parts = self._by_head(keys_values)  # [B, frames, 2, heads, width]
        self._cross[layer, :, rows].copy_(parts.permute(2, 0, 3, 1, 4))

    def cross(self, layer: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Keys and values, `[B, heads, frames, width]` each."""
        keys, values = self._cross[layer, :, rows]
        return keys, values

    def swap(self, first: int, second: int) -> None:
        """Exchange two rows."""
        for tensor, dim in ((self._cross, 2), (self._own.unflatten(1, (self.rows, self.beams)), 1)):
            one, other = tensor.select(dim, first), tensor.select(dim, second)
            kept = one.clone()
            one.copy_(other)
            other.copy_(kept)

    def reorder(self, rows: slice, origins: Tensor, positions: int, *, asking: bool) -> None:
        """Continue each beam of `rows` from another: self-attention's row `i` from row `origins[i]`, the first
        `positions` of it. `asking` which beams change, for which a GPU would have to be waited for, copies fewer."""
        first, last = rows.start * self.beams, rows.stop * self.beams
        origins = origins[first:last]
        if asking:
            here = torch.arange(first, last, device=origins.device)
            moved = origins != here
            here, origins = here[moved], origins[moved]
            for own in self._own[:, :, :positions] if len(here) else ():
                own[here] = own[origins]
        else:
            for own in self._own[:, :, :positions]:
                own[first:last] = own.index_select(0, origins)

    def _by_head(self, keys_values: Tensor) -> Tensor:
        """`[B, N, 2 * heads * width]` -> `[B, N, 2, heads, width]`"""
        return keys_values.view(*keys_values.shape[:2], 2, self.heads, self.width)


def _room(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Zeros. On the CPU from numpy, which asks Linux for large pages: steps are about a twentieth
    shorter."""
    if device.type == "cpu":
        return torch.from_numpy(np.zeros((*shape, dtype.itemsize), np.uint8)).view(dtype)[..., 0]
    return torch.zeros(shape, device=device, dtype=dtype)
