"""Kernels of other libraries behind operations that NumPy computes otherwise: a seam with one question, who serves.

An operation asks the function here of its name for a result; None sends it on to its own NumPy code, which is the
reference and always there.  Whether a library may serve is the user's to say (:data:`setting`), and which operations it
is asked for was measured (``benchmarks/kernels.py``): results differ in their last bits.

Environment:
    DISTGRAD_KERNELS: ``numpy``, nothing else computes; ``onednn``, an error where that library is not found; by default
        oneDNN where it is found.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

__all__ = ["onednn_serves", "setting", "told"]

_WORDS = ("", "numpy", "onednn")


def _given() -> str:
    word = os.environ.get("DISTGRAD_KERNELS", "")
    if word not in _WORDS:
        raise ValueError(f"DISTGRAD_KERNELS must be one of {', '.join(_WORDS[1:])} or unset, but got {word!r}")
    return word


# What the user wants; ``torch.backends.mkldnn.enabled`` is this ``enabled``.
setting = SimpleNamespace(enabled=_given() != "numpy", demanded=_given() == "onednn")
_found: list[bool] = []


def onednn_serves() -> bool:
    """Whether oneDNN is wanted and there; RuntimeError where it was demanded and is not."""
    if not setting.enabled:
        return False
    if not _found:
        from . import onednn

        _found.append(onednn.library() is not None)
        if setting.demanded and not _found[0]:
            raise RuntimeError(
                "DISTGRAD_KERNELS=onednn, but no libdnnl.so.3 was found in the environment's lib folder or by the "
                "system's loader; pip install 'distgrad[fast]' brings one"
            )
    return _found[0]


def told() -> dict[str, Any]:
    """What serves, for ``python -m distgrad doctor``."""
    from . import onednn

    number = onednn.version()
    return {
        "onednn": None if number is None else ".".join(map(str, number)),
        "library": onednn.where(),
        "serves": onednn_serves(),
    }
