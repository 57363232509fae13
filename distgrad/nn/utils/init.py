"""Layers made without drawing their values."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from ..base.module import Module
from ..init import _skipped

__all__ = ["skip_init"]

M = TypeVar("M", bound=Module)


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """``module_cls(*args, **kwargs)``, but what ``nn.init`` would fill is left as its memory was: nothing is drawn.

    Raises:
        RuntimeError: ``module_cls`` is no module, or takes no ``device``.

    >>> nn.utils.skip_init(nn.Linear, 5, 1)
    Linear(in_features=5, out_features=1, bias=True)
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with _skipped():
        return module_cls(*args, **kwargs)
