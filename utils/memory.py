"""How the C library hands out memory to a program that makes and drops the same large arrays again and again."""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Make freed memory stay with this process, in large pages, instead of going back to the kernel.

    A training step frees hundreds of megabytes of activations and asks for as many again; by default each of these
    pages is given back, fetched again and zeroed in every step. To be called before torch is loaded, which reads
    THP_MEM_ALLOC_ENABLE at its first allocation. Changes no number. False where the C library is not glibc, and then
    nothing is changed but torch's use of large pages.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, 2**31 - 1), mallopt(_TOP_PAD, 64 << 20)])
