"""An error in a layer says which layer, and where in the model it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module


def described(module: Module) -> str:
    """The module's printed form on one line, its children left out."""
    try:
        extra = " ".join(module.extra_repr().split())
    except Exception:  # a stranger's extra_repr must not replace the error that is being named
        extra = "…"
    return f"{module._get_name()}({extra or ('…' if module._modules else '')})"


def name_layer(module: Module, error: BaseException) -> None:
    """Put the innermost layer before the error's text, once, with its path in the outermost module that was called.

    Runs in each module that the error passes on its way up: the first is the layer, and each later one that contains it
    knows a longer path.
    """
    if not hasattr(error, "_layer"):
        if len(error.args) != 1 or not isinstance(error.args[0], str):
            return
        error._layer = (module, error.args[0])  # type: ignore[attr-defined]
    layer, text = error._layer  # type: ignore[attr-defined]
    path = next((name for name, m in module.named_modules() if m is layer), "")
    if path or module is layer:
        place = f"{path}: " if path else ""
        error.args = (f"{place}{described(layer)}: {text}",)
