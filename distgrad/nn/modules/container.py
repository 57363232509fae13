"""Modules made of modules: the classes of ``torch.nn.modules.container``, which are in files of other names here."""

from __future__ import annotations

from .containers import ModuleDict, ModuleList, Sequential
from .parameter_containers import ParameterDict, ParameterList

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]
