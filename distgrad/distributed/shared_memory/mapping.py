"""Files mapped into memory at addresses where the processor can use large pages.

A page table entry covers 4 KiB, or 2 MiB where 2 MiB of a file lie together in memory and begin at such a boundary in
the file and in the address space.  A matrix product that reads weights of megabytes otherwise waits for page tables,
twice over in a virtual machine.  Ordinary memory gets large pages by itself; a file that processes share gets them from
Linux 6.1 on by ``madvise(MADV_COLLAPSE)``, whatever the system's settings.  Where that does not work memory is as it
was: only time changes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

import numpy as np

__all__ = ["HUGE_PAGE", "Mapping"]

HUGE_PAGE = 1 << 21
_COLLAPSE, _REMOVE = 25, 9  # MADV_COLLAPSE, which the mmap module does not name; MADV_REMOVE
_FIXED, _NORESERVE = 0x10, 0x4000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Mapping:
    """The first ``nbytes`` bytes of a file, at an address that is a multiple of 2 MiB.

    Args:
        fd: the file, open for reading and writing; it may be closed afterwards.
        nbytes: at least 1.
        private: a write is then seen by this process alone.

    Attributes:
        bytes: the memory, which lives as long as any array over it.
        address: where it begins.
    """

    def __init__(self, fd: int, nbytes: int, private: bool = False) -> None:
        self.nbytes = nbytes
        self._whole = nbytes + HUGE_PAGE  # enough address space to find a boundary in
        anywhere = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        self._base = _map(None, self._whole, 0, anywhere, -1)
        self.address = -(-self._base // HUGE_PAGE) * HUGE_PAGE
        how = (mmap.MAP_PRIVATE if private else mmap.MAP_SHARED) | _FIXED
        _map(self.address, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, how, fd)
        self.__array_interface__ = {
            "data": (self.address, False), "shape": (nbytes,), "typestr": "|u1", "version": 3,
        }  # fmt: skip

    @property
    def bytes(self) -> np.ndarray:
        return np.asarray(self)  # its base is this object

    def enlarge(self, lo: int, hi: int) -> bool:
        """Have the bytes from ``lo`` to ``hi - 1`` lie in large pages, as far as whole ones fit; whether they do."""
        first, length = self._whole_pages(lo, hi)
        return length > 0 and _libc.madvise(first, length, _COLLAPSE) == 0

    def punch(self, lo: int, hi: int) -> None:
        """Give the file's memory for the bytes from ``lo`` to ``hi - 1`` back, in whole large pages: they are zeros."""
        first, length = self._whole_pages(lo, hi)
        if length > 0:  # where it is refused, memory stays
            _libc.madvise(first, length, _REMOVE)

    def _whole_pages(self, lo: int, hi: int) -> tuple[int, int]:
        """The address and length of the large pages that lie between."""
        first = self.address + -(-lo // HUGE_PAGE) * HUGE_PAGE
        return first, (self.address + hi) // HUGE_PAGE * HUGE_PAGE - first

    def forget(self) -> None:
        """Drop this process's view of it, and of a private mapping what was written."""
        if _libc.madvise(self.address, self.nbytes, mmap.MADV_DONTNEED):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __del__(self, munmap: Any = _libc.munmap) -> None:  # at exit the module's names are gone before its objects
        if hasattr(self, "_base"):
            munmap(self._base, self._whole)


def _map(address: int | None, nbytes: int, access: int, how: int, fd: int) -> int:
    found = _libc.mmap(address, nbytes, access, how, fd, 0)
    if found is None or found == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), f"{nbytes} bytes could not be mapped: {os.strerror(ctypes.get_errno())}")
    return int(found)
