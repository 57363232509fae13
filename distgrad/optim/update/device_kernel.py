"""An update on a device as one kernel."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from ... import backend
from ...backend.protocol import Array, ArrayModule
from .kernel_trace import NotTraceable, source, trace

__all__ = ["fused"]

_refused: set[str] = set()  # the updates that cannot be fused, which was said


def fused(update: Callable[..., None], name: str, scratch: int) -> Callable[..., None]:
    """``update`` as one kernel over its arrays, wherever it can be written as one; else as it is, which is said once.

    Args:
        name: what to call it.
        scratch: how many arrays it wants behind those it is called with.
    """

    def one_by_one(xp: ArrayModule, *block: Array, **options: Any) -> None:
        update(xp, *block, *[xp.empty_like(block[0]) for _ in range(scratch)], **options)

    def as_one(xp: ArrayModule, *block: Array, **options: Any) -> None:
        if name not in _refused and block[0].size:
            try:
                program, numbers = trace(update, block[0].dtype, len(block), scratch, options)
            except NotTraceable as reason:
                one_by_one(xp, *block, **options)  # first: it may say better what is wrong
                _refused.add(name)
                warnings.warn(
                    f"{name}.update() cannot be one kernel because of {reason}; each of its operations is then one",
                    RuntimeWarning,
                    stacklevel=2,
                )
            else:
                backend.run_kernel(source(program, block[0].dtype, name), block, numbers)
            return
        one_by_one(xp, *block, **options)

    return as_one
