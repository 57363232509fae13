"""Memory that ranks share and may see as their own: pages written privately are found, and large pages are used."""

from __future__ import annotations

import gc
import re
from pathlib import Path

import numpy as np
import pytest

from distgrad.distributed.shared_memory import region as node_memory
from distgrad.distributed.shared_memory.region import NodeMemory

pytestmark = pytest.mark.skipif(node_memory.why_not() is not None, reason=str(node_memory.why_not()))


def count(name: str) -> int:
    """KiB of what /proc/self/smaps calls ``name`` in this process's node memory."""
    kib, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-", line):
            inside = "memfd:distgrad" in line
        elif inside and line.startswith(name + ":"):
            kib += int(line.split()[1])
    return kib


@pytest.mark.parametrize("more", [0, 2 << 20], ids=["small pages", "large pages"])
def test_private_pages(more: int) -> None:
    region = NodeMemory(more + 5 * 4096 + 10)
    region.take()
    view = region.private()
    assert view.written() == []
    region.bytes[7] = 1
    assert view.bytes[7] == 1
    view.bytes[4096] = 5
    view.bytes[3 * 4096 - 1] = 6
    view.bytes[-1] = 7
    assert view.written() == [(4096, 3 * 4096), (more + 5 * 4096, more + 5 * 4096 + 10)]
    assert not region.bytes[4096:].any()
    region.bytes[4097] = 9
    assert view.bytes[4097] == 0
    view.drop()
    assert view.written() == []
    assert view.bytes[4097] == 9
    again = NodeMemory(more + 5 * 4096 + 10, region.handle)
    assert again.bytes[4097] == 9


def test_both_ways_to_find_written_pages() -> None:
    region = NodeMemory(200 * 4096)
    view = region.private()
    view.bytes[:: 2 * 4096] = 1  # more runs than one call tells of
    view.bytes[150 * 4096 : 160 * 4096] = 1
    runs = [(2 * k, 2 * k + 1) for k in range(75)] + [(150, 161)] + [(2 * k, 2 * k + 1) for k in range(81, 100)]
    scan = view._scan
    scan._words = np.zeros(200, np.uint64)
    assert scan._read() == [(lo * 4096, hi * 4096) for lo, hi in runs]
    try:
        assert scan._scan() == scan._read()
    except OSError:
        pytest.skip("this kernel has no PAGEMAP_SCAN (Linux has from 6.7 on)")


def test_large_pages() -> None:
    """Memory of megabytes lies in large pages, in both of a process's views, and one write costs one small page."""
    before = count("ShmemPmdMapped"), count("Anonymous")
    region = NodeMemory(8 << 20)
    region.take()
    if count("ShmemPmdMapped") == before[0]:
        pytest.skip("this kernel gives files no large pages (Linux does from 6.1 on)")
    assert count("ShmemPmdMapped") - before[0] == 8 << 10
    view = region.private()
    assert not view.bytes.any()
    assert count("ShmemPmdMapped") - before[0] == 16 << 10
    view.bytes[5 << 20] = 1
    assert count("Anonymous") - before[1] == 4
    assert not region.bytes.any()


def test_forgetting_page_tables_forgets_nothing_else() -> None:
    gc.collect()  # what other tests have left must not go in between
    region = NodeMemory(100 * 4096)
    before = count("Rss")
    region.bytes[:] = 7
    assert count("Rss") - before == 100 * 4
    region.forget()
    assert count("Rss") == before
    assert (region.bytes == 7).all()
