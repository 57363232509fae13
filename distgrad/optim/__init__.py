"""Optimizers: the contract, and, by name, every one that a plugin registers (``optim.Adam``, ``optim.get("adam")``)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .._names import absent as _absent
from .optimizer import Optimizer

if TYPE_CHECKING:
    from distgrad_optimizers.adadelta import Adadelta as Adadelta
    from distgrad_optimizers.adagrad import Adagrad as Adagrad
    from distgrad_optimizers.adam import Adam as Adam
    from distgrad_optimizers.adamax import Adamax as Adamax
    from distgrad_optimizers.adamw import AdamW as AdamW
    from distgrad_optimizers.asgd import ASGD as ASGD
    from distgrad_optimizers.lion import Lion as Lion
    from distgrad_optimizers.nadam import NAdam as NAdam
    from distgrad_optimizers.radam import RAdam as RAdam
    from distgrad_optimizers.rmsprop import RMSprop as RMSprop
    from distgrad_optimizers.rprop import Rprop as Rprop
    from distgrad_optimizers.sgd import SGD as SGD
    from distgrad_optimizers.sparse_adam import SparseAdam as SparseAdam

    from . import lr_scheduler, swa_utils

__all__ = ["Optimizer", "get", "lr_scheduler", "swa_utils"]


def get(name: str) -> type[Optimizer]:
    """The optimizer class registered as ``name`` (``"adam"``, or the class's name).

    UnknownPluginError, with the nearest known names, if there is none.

    >>> optim.get("adam").__name__, optim.get("AdamW").__name__
    ('Adam', 'AdamW')
    """
    from .. import registry

    return registry.get("optimizer", name)


def __getattr__(name: str) -> Any:
    if name in ("lr_scheduler", "swa_utils"):  # only when asked for: the second imports nn, as no other part here does
        return importlib.import_module("." + name, __name__)
    if not name.startswith("_"):
        from .. import registry

        found = registry.get_class("optimizer", name)
        if found is not None:
            globals()[name] = found
            return found
        broken = registry.broken()
        also = f"plugins that could not be loaded: {', '.join(broken)}" if broken else ""
        raise _absent(__name__, name, "optimizer", __dir__(), also)
    raise AttributeError(f"module 'distgrad.optim' has no attribute '{name}'")


def __dir__() -> list[str]:
    from .. import registry

    return sorted({*__all__, *registry.class_names("optimizer")})
