"""Memory that is freed: what the C library keeps for the next who asks, and what it gives back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import os

KEPT = (
    16 * 2**20
)  # bytes: most of what a pass asks for at once is below. Of four times as much, 150 MB stayed in holes
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # mallopt's names for numbers
VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


def keep_memory() -> None:
    """Keep what a pass of the models frees for the next one, where the C library is glibc.

    Its operator's variables go before.

    By itself it gives blocks of some megabytes back at once, and each time they are asked for again the system makes
    them anew, page by page. Of what is free at the end of its heap it now keeps twice `KEPT`; what is free between
    blocks that are in use stays too. Larger blocks go back at once.
    Threads that begin from now on share one heap, since what each would keep for itself is never given back.
    """
    if any(name in os.environ for name in VARIABLES):
        return
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(MMAP_THRESHOLD, KEPT)
        mallopt(TRIM_THRESHOLD, 2 * KEPT)
        mallopt(ARENA_MAX, 1)


def give_back_memory() -> None:
    """Hand it back to the system, where the C library is glibc: for when much less is needed from now on."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
