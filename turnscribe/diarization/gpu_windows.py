"""How many windows a diarizer's network takes at a time on a GPU: as many as fit into its share of the memory."""

from __future__ import annotations

from turnscribe.devices import Device

GPU_SHARE = 1 / 8  # of a GPU's memory for a pass; the recogniser lives there too


def windows_that_fit(device: Device, bytes_each: float, *, fewest: int, most: int) -> int:
    """Of `bytes_each` while they pass a network; `fewest` and `most` are the bounds, the first of them stronger than
    the memory."""
    return int(min(max(device.memory * GPU_SHARE // bytes_each, fewest), most))
