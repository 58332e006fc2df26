"""Memory that is freed: what the C library keeps for the next who asks, and what it gives back to the system."""

from __future__ import annotations

import contextlib
import ctypes

KEPT = 64 * 2**20  # bytes: what a pass asks for at once is below
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # mallopt's names for numbers


def keep_memory() -> None:
    """Keep what a pass of the models frees for the next one, where the C library is glibc.

    By itself it gives blocks of some megabytes back at once, and each time they are asked for again the system makes
    them anew, page by page: the larger half of the time of a product of 8-bit integers. At most twice `KEPT` is kept:
    threads that begin from now on share what there is, since what each would keep for itself is never given back.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(MMAP_THRESHOLD, KEPT)
        mallopt(TRIM_THRESHOLD, 2 * KEPT)
        mallopt(ARENA_MAX, 1)


def give_back_memory() -> None:
    """Hand it back to the system, where the C library is glibc: for when much less is needed from now on."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
