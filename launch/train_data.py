"""The data sets that ``train.py`` knows.  To add one: a function that returns :class:`Data`, and a row in DATASETS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from distgrad.random import Generator

__all__ = ["DATASETS", "Data", "digits"]


@dataclass(frozen=True)
class Data:
    """A classification task on the host.

    Attributes:
        train, validation: inputs, float32 of shape (n, *shape), and labels, int64 of shape (n,).
        classes: how many; labels are 0 to classes - 1.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train[0].shape[1:]


def digits() -> Data:
    """1797 handwritten digits of 8 × 8 pixels (UCI, "Optical Recognition of Handwritten Digits"), inside scikit-learn.

    Inputs are (1, 8, 8), scaled to [-1, 1]; the split, 1437 to 360, is always the same one.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SystemExit(f"the digits data set needs scikit-learn: pip install 'distgrad[demo]' ({error})") from error
    found = load_digits()
    x = (found.data.reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
    y = found.target.astype(np.int64)
    order = Generator.keyed(0, 0).permutation(len(x))
    x, y = x[order], y[order]
    return Data((x[:1437], y[:1437]), (x[1437:], y[1437:]), classes=10)


DATASETS: dict[str, Callable[[], Data]] = {"digits": digits}
