"""Primitives that were made are kept, in the thread that made them, till there are too many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from . import onednn

MOST = 512  # in a thread


class _Kept(threading.local):
    def __init__(self) -> None:
        self.primitives: OrderedDict[Any, onednn.Primitive | None] = OrderedDict()


kept = _Kept()


def primitive(make: Callable[..., onednn.Primitive], *key: Any) -> onednn.Primitive | None:
    """``make(*key)``, from before if it was made in this thread; None where the library has no such primitive."""
    mine, key = kept.primitives, (make, *key)
    if key in mine:
        mine.move_to_end(key)
        return mine[key]
    try:
        found = make(*key[1:])
    except onednn.Failure:
        found = None
    mine[key] = found
    if len(mine) > MOST:
        mine.popitem(last=False)
    return found
