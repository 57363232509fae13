"""The versions: of distgrad, of the PyTorch whose names and behaviour it has, and of what it is built with.

Programs read ``torch.__version__`` to learn what they may use, so it is that of the PyTorch whose behaviour is the
standard here, with distgrad's own behind the plus.  It is built with no CUDA, which CuPy brings where it is.

>>> torch.version.cuda is None, torch.version.distgrad
(True, '0.1.0')
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["TorchVersion", "cuda", "debug", "distgrad", "git_version", "hip"]

distgrad = "0.1.0"
cuda: str | None = None
hip: str | None = None
debug = False
git_version: str | None = None

_FORM = re.compile(r"v?(\d+(?:\.\d+)*)(?:[-_.]?(dev|a|alpha|b|beta|rc|post)[-_.]?(\d*))?(?:\+([a-z0-9._-]+))?$", re.I)
_STAGES = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "rc": -1, "": 0, "post": 1}


def _order(given: Any) -> tuple[Any, ...] | None:
    """What versions are ordered by (PEP 440): of text or a tuple of numbers; None for what is no version."""
    text = given if isinstance(given, str) else ".".join(map(str, given)) if isinstance(given, Iterable) else ""
    found = _FORM.match(text.strip())
    if found is None:
        return None
    release, stage, number, local = found.groups()
    numbers = [int(n) for n in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    parts = re.split(r"[._-]", local.lower()) if local else []
    # a local part's numbers come behind its words
    order = tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts)
    return tuple(numbers), _STAGES[(stage or "").lower()], int(number or 0), order


class TorchVersion(str):
    """A version as text that is compared as a version, with other text or with a tuple of numbers.

    TypeError for ``<`` and its like with what is no version.

    >>> torch.__version__ >= (1, 8), torch.__version__ >= "2.0", torch.__version__.split(".")[0]
    (True, True, '2')
    """

    def _pair(self, other: Any) -> tuple[Any, Any]:
        mine, theirs = _order(str(self)), _order(other)
        if mine is None or theirs is None:  # as text, where both are text
            if not isinstance(other, str):
                raise TypeError(f"a version cannot be compared with {other!r}")
            return str(self), str(other)
        return mine, theirs

    def __lt__(self, other: Any) -> bool:
        mine, theirs = self._pair(other)
        return bool(mine < theirs)

    def __le__(self, other: Any) -> bool:
        mine, theirs = self._pair(other)
        return bool(mine <= theirs)

    def __gt__(self, other: Any) -> bool:
        mine, theirs = self._pair(other)
        return bool(mine > theirs)

    def __ge__(self, other: Any) -> bool:
        mine, theirs = self._pair(other)
        return bool(mine >= theirs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (str, tuple, list)):
            return False
        mine, theirs = self._pair(other)
        return bool(mine == theirs)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(str(self))


__version__ = TorchVersion(f"2.13.0+distgrad.{distgrad}")
