"""Memory that the ranks of a node share, and that each may also see as its own.

A region is an anonymous file (``memfd_create``), which every rank maps.  Mapped shared, a write is everybody's.  Mapped
private, reads see what the others publish, and a write makes a copy of its page for this rank alone: the kernel's
copy-on-write, so it holds for every alias of the memory, whoever writes through it.  :class:`PrivateView` finds such
pages and drops them.

Why not ``MPI_Win_allocate_shared``: its memory cannot be mapped privately, which is what keeps a user's own write to a
parameter from reaching the other ranks; and both MPIs' windows lie in ``/dev/shm``, of which a container has 64 MB.
"""

from __future__ import annotations

import mmap
import os
import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if sys.platform == "linux":  # elsewhere why_not() says that it is not
    import resource

    from distgrad.distributed.shared_memory.mapping import HUGE_PAGE, Mapping
    from distgrad.distributed.shared_memory.page_scan import PageScan

if TYPE_CHECKING:
    from distgrad.distributed.communication.communicator import Communicator

__all__ = ["NodeMemory", "PrivateView", "why_not"]

_PAGE = mmap.PAGESIZE


def _rounded(nbytes: int) -> int:
    """The size of the file for ``nbytes``: what fills half a large page gets a whole one."""
    return -(-nbytes // HUGE_PAGE) * HUGE_PAGE if 2 * nbytes >= HUGE_PAGE else max(nbytes, 1)


def why_not() -> str | None:
    """Why this machine cannot share memory so; None where it can."""
    if not hasattr(os, "memfd_create"):
        return "this system has no memfd_create (it is not Linux)"
    if platform.machine() not in ("x86_64", "AMD64"):  # others may show a rank's writes out of order
        return f"on {platform.machine()} processors it would need memory barriers, which Python has not"
    try:
        PrivateView.probe()
    except (OSError, ValueError) as error:
        return f"pages written privately cannot be told apart ({error})"
    return None


class NodeMemory:
    """A zeroed region of ``nbytes`` bytes, mapped by this process.

    Args:
        handle: ``(pid, file descriptor)`` of the process that made it; None to make it.

    Attributes:
        bytes: the region as bytes; a write is seen by all ranks.
        handle: what others open it by, as long as this process keeps it open.
    """

    def __init__(self, nbytes: int, handle: tuple[int, int] | None = None) -> None:
        self.nbytes = nbytes
        if handle is None:
            self._fd = os.memfd_create("distgrad", os.MFD_CLOEXEC)
            os.ftruncate(self._fd, _rounded(nbytes))
        elif handle[0] == os.getpid():  # ranks that are threads
            self._fd = os.dup(handle[1])
        else:
            self._fd = os.open(f"/proc/{handle[0]}/fd/{handle[1]}", os.O_RDWR | os.O_CLOEXEC)
        self.handle = (os.getpid(), self._fd)
        self._map = Mapping(self._fd, _rounded(nbytes))
        self.bytes = self._map.bytes[:nbytes]

    @classmethod
    def common(cls, comm: Communicator, nbytes: int, touch: bool = True) -> NodeMemory:
        """One region for all ranks of ``comm``, which are of one node; untouched, it takes no memory.  Collective."""
        mine = cls(nbytes) if comm.rank == 0 else None
        handle = comm.bcast(None if mine is None else mine.handle)
        mine = mine or cls(nbytes, (int(handle[0]), int(handle[1])))
        if touch:
            mine.take(comm.rank, comm.size)
        comm.Barrier()  # nobody's handle is needed any more
        return mine

    def take(self, rank: int = 0, size: int = 1) -> None:
        """Have part ``rank`` of ``size``, still untouched, lie near this process's core and in large pages."""
        pages = _rounded(self.nbytes) // HUGE_PAGE
        lo, hi = (pages * r // size * HUGE_PAGE for r in (rank, rank + 1))
        self._touch(lo, hi)

    def _touch(self, lo: int, hi: int) -> None:
        if lo < hi:
            self._map.bytes[lo:hi:HUGE_PAGE] = 0  # a page that is there is what the others are joined to
            self._map.enlarge(lo, hi)

    def give_back(self, lo: int, hi: int) -> None:
        """Take no memory for bytes ``lo`` to ``hi - 1``, which nobody reads, as far as they fill large pages."""
        self._map.punch(lo, hi)

    def take_back(self, lo: int, hi: int) -> None:
        """Bytes ``lo`` to ``hi - 1``, given back before, will be written to again, all of them: have large pages."""
        self._touch(-(-lo // HUGE_PAGE) * HUGE_PAGE, hi // HUGE_PAGE * HUGE_PAGE)

    def forget(self) -> None:
        """Drop this process's page tables for the region, not what is in it: they come back where it is touched."""
        self._map.forget()

    def private(self) -> PrivateView:
        """The region as this process sees it, writes of its own included."""
        return PrivateView(self._fd, self.nbytes)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at exit the module's names may be gone
        if hasattr(self, "_fd"):
            close(self._fd)


class PrivateView:
    """A private mapping of a region.

    Attributes:
        bytes: the region; a write is seen by this process alone, until :meth:`drop`.
    """

    _pagemap = -1

    def __init__(self, fd: int, nbytes: int) -> None:
        self._map = Mapping(fd, _rounded(nbytes), private=True)
        self.bytes = self._map.bytes[:nbytes]
        if PrivateView._pagemap < 0:
            PrivateView._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._faults, self._written = -1, list[tuple[int, int]]()
        self._scan = PageScan(self._pagemap, self._map.address, -(-self._map.nbytes // _PAGE) * _PAGE)

    @classmethod
    def probe(cls) -> None:
        """Raise ValueError or OSError where written pages are not found."""
        region = NodeMemory(3 * _PAGE)
        view = region.private()
        view.bytes[_PAGE] = 1
        region.bytes[0] = 2
        if view.written() != [(_PAGE, 2 * _PAGE)] or view.bytes[0] != 2 or region.bytes[_PAGE] != 0:
            raise ValueError("a private mapping does not behave as Linux's do")

    def keep(self) -> None:
        """Make a copy of every page, as if it had been written to."""
        one = self.bytes[::_PAGE]
        one[...] = one.copy()

    def written(self) -> list[tuple[int, int]]:
        """The runs of pages, as (first byte, behind last byte), that this process has a copy of its own of."""
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        if faults != self._faults:  # a page is copied in a fault: without one nothing has changed
            self._faults = faults
            self._written = [(lo, min(hi, self.bytes.size)) for lo, hi in self._scan.own_pages()]
        return self._written

    def drop(self) -> None:
        """Forget this process's own writes: see again what all ranks share."""
        self._map.forget()
        self._faults = -1
