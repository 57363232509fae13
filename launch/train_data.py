"""The data sets that ``train.py`` knows.  To add one: a function that returns :class:`Data`, and a row in DATASETS.

A user's own table, ``--data``, is read by ``train_table.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distgrad.random import Generator

__all__ = ["DATASETS", "Data", "digits"]


@dataclass(frozen=True)
class Data:
    """Samples on the host, and what is to be learned of them.

    Attributes:
        train, validation: inputs, float32 of shape (n, *shape), and labels, int64 of shape (n,), or, where values are
            to be learned, float32 of shape (n, k).
        classes: how many; labels are 0 to classes - 1.  0: values.
        single: whether one output is to tell two classes.
        facts: what is kept with a trained model: names of columns and classes, the scaling.
        note: the data in a line, for people; empty where its name says it all.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    classes: int
    single: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train[0].shape[1:]

    @property
    def outputs(self) -> int:
        """How many numbers a model gives for one input."""
        return 1 if self.single else self.classes or self.train[1].shape[1]


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
