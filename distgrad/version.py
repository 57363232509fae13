"""The versions of what distgrad is built with: it is built with no CUDA, which CuPy brings where it is.

>>> torch.version.cuda is None
True
"""

from __future__ import annotations

__all__ = ["cuda", "hip"]

cuda: str | None = None
hip: str | None = None
