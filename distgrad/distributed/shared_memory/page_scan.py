"""Which pages of a private mapping of a file a process has written to, and so has a copy of its own of.

Linux tells in ``/proc/self/pagemap``: from 6.7 on by the ioctl PAGEMAP_SCAN, which takes a few microseconds since it
looks at large pages as one; before that by a word for every 4 KiB, which are read.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

__all__ = ["PageScan"]

_PAGE = mmap.PAGESIZE
_WORD = np.dtype(np.uint64)

_PAGEMAP_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
_OF_FILE, _PRESENT, _SWAPPED = 1 << 2, 1 << 3, 1 << 4  # categories of pages
_START, _WALK_END = 2, 4  # words of that struct
_RUNS = 64  # that one call tells of

_EXISTS_BITS, _OF_FILE_BIT = np.uint64(3 << 62), np.uint64(1 << 61)  # of a word: in memory or swap; a file's page


class PageScan:
    """The pages of a private mapping that are the process's own.

    Args:
        pagemap: ``/proc/self/pagemap``, open for reading.
        start, length: of the mapping; multiples of the page size.
    """

    def __init__(self, pagemap: int, start: int, length: int) -> None:
        self._pagemap, self._start, self._length = pagemap, start, length
        self._runs = np.zeros((_RUNS, 3), _WORD)
        self._words = np.zeros(0, _WORD)
        self._asked = np.array(
            [
                12 * _WORD.itemsize, 0,  # size of the struct, flags
                start, start + length, 0,  # from, to, how far it came
                self._runs.ctypes.data, _RUNS, 0,  # where runs go, how many at most, how many pages at most: any number
                _OF_FILE, _OF_FILE, _PRESENT | _SWAPPED, _PRESENT,  # not a file's, and somewhere; what to tell of them
            ],
            _WORD,
        )  # fmt: skip
        try:
            self._scan()
        except OSError:  # an older kernel
            self._words = np.zeros(length // _PAGE, _WORD)

    def own_pages(self) -> list[tuple[int, int]]:
        """Runs of them, as (first byte, behind last byte) from the mapping's start."""
        return self._read() if self._words.size else self._scan()

    def _scan(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        asked, start, end = self._asked, self._start, self._start + self._length
        asked[_START] = start
        while n := fcntl.ioctl(self._pagemap, _PAGEMAP_SCAN, asked):  # type: ignore[call-overload]
            found += [(lo - start, hi - start) for lo, hi, _ in self._runs[:n].tolist()]
            if n < _RUNS or asked[_WALK_END] >= end:
                break
            asked[_START] = asked[_WALK_END]
        return found

    def _read(self) -> list[tuple[int, int]]:
        words = self._words
        done = os.preadv(self._pagemap, [words.data], self._start // _PAGE * _WORD.itemsize)
        if done != words.nbytes:
            raise OSError(f"/proc/self/pagemap gave {done} bytes of {words.nbytes}")
        own = ((words & _EXISTS_BITS) != 0) & ((words & _OF_FILE_BIT) == 0)
        if not own.any():
            return []
        edges = np.flatnonzero(np.diff(own, prepend=False, append=False)).reshape(-1, 2) * _PAGE
        return [(int(lo), int(hi)) for lo, hi in edges]
