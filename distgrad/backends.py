"""What PyTorch's programs ask and set of the libraries under it: here NumPy and CuPy, whose settings these are not.

The switches keep what they are given, and change nothing: convolutions do not go through cuDNN, sums are made in an
order that is always the same, and float32 products are float32's.

>>> torch.backends.cudnn.benchmark = True
>>> torch.backends.cudnn.is_available(), torch.backends.mps.is_available()
(False, False)
"""

from __future__ import annotations

from types import SimpleNamespace

__all__ = ["cuda", "cudnn", "mps"]


def _no() -> bool:
    return False


def _nothing() -> None:
    return None


cudnn = SimpleNamespace(
    allow_tf32=False, benchmark=False, deterministic=False, enabled=False, is_available=_no, version=_nothing
)
cuda = SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False), is_built=_no)
mps = SimpleNamespace(is_available=_no, is_built=_no)
