"""What PyTorch's programs ask and set of the libraries under it: here NumPy, CuPy and, where it is found, oneDNN.

``mkldnn`` is oneDNN's old name: ``mkldnn.enabled`` says whether it may compute, and ``mkldnn.flags(enabled=False)``
keeps it from that for a while.  The other switches keep what they are given, and change nothing: convolutions do not go
through cuDNN, sums are made in an order that is always the same, and float32 products are float32's.

>>> torch.backends.cudnn.benchmark = True
>>> torch.backends.cudnn.is_available(), torch.backends.mps.is_available()
(False, False)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

from .kernels import setting

__all__ = ["cuda", "cudnn", "mkldnn", "mps"]


def _no() -> bool:
    return False


def _nothing() -> None:
    return None


cudnn = SimpleNamespace(
    allow_tf32=False, benchmark=False, deterministic=False, enabled=False, is_available=_no, version=_nothing
)
cuda = SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False), is_built=_no)
mps = SimpleNamespace(is_available=_no, is_built=_no)


class _OneDNN:
    """``torch.backends.mkldnn``."""

    @property
    def enabled(self) -> bool:
        """Whether oneDNN may compute, where it is found; NumPy does otherwise, with other last bits."""
        return setting.enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        setting.enabled = bool(value)

    def is_available(self) -> bool:
        """Whether the library is found."""
        from .kernels import onednn

        return onednn.library() is not None

    @contextlib.contextmanager
    def flags(self, enabled: bool = False, **others: object) -> Iterator[None]:
        """While this is entered, oneDNN may compute or not; other settings of PyTorch's are taken and change nothing.

        >>> with torch.backends.mkldnn.flags(enabled=False):
        ...     torch.conv2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).item()
        ...
        4.0
        """
        before, setting.enabled = setting.enabled, bool(enabled)
        try:
            yield
        finally:
            setting.enabled = before


mkldnn = _OneDNN()
