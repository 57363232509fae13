"""The versions of distgrad, of the PyTorch whose interface it has, and of what it is built with.

It is built with no CUDA, which CuPy brings where it is.

>>> torch.version.cuda is None
True
"""

from __future__ import annotations

__all__ = ["cuda", "distgrad", "hip"]

distgrad = "0.1.0"  # of this package; pyproject.toml says the same
# What a program that looks for PyTorch's version finds: that whose interface this is, and which package serves it.
__version__ = f"2.13.0+distgrad.{distgrad}"

cuda: str | None = None
hip: str | None = None
