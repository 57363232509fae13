"""Modules as functions of their parameters and buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..autograd import Tensor
from ..nn.base.module import Module
from ..ops.joining import stack

__all__ = ["functional_call", "stack_module_state"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What ``module`` returns with other parameters and buffers, by their names, in the place of its own.

    Args:
        parameter_and_buffer_dicts: one dict or several; what they do not name is as it is.
        args: a tuple of arguments, or one.
        tie_weights: what is tied in the module is replaced together.
        strict: RuntimeError where a name is missing or not known.

    Raises:
        ValueError: a name in several dicts, or different tensors for what is tied.

    >>> layer = nn.Linear(1, 1)
    >>> new = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
    >>> torch.func.functional_call(layer, new, torch.tensor([3.0]))
    tensor([7.])
    """
    if isinstance(parameter_and_buffer_dicts, Mapping):
        tensors = dict(parameter_and_buffer_dicts)
    else:
        tensors = {}
        for one in parameter_and_buffer_dicts:
            if twice := sorted(set(one) & set(tensors)):
                raise ValueError(f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous")
            tensors.update(one)
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    with _exchanged(module, tensors, tie_weights, strict):
        return module(*given, **dict(kwargs or {}))


@contextlib.contextmanager
def _exchanged(module: Module, tensors: dict[str, Tensor], tie: bool, strict: bool) -> Iterator[None]:
    places: dict[str, tuple[dict[str, Any], str]] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for registry in (part._parameters, part._buffers):
            for name in registry:
                places[f"{prefix}.{name}" if prefix else name] = registry, name
    own = {name: registry[key] for name, (registry, key) in places.items()}
    if strict:
        unknown = sorted(set(tensors) - set(places))
        missing = sorted(name for name in places if name not in tensors and own[name] is not None)
        if unknown or missing:
            raise RuntimeError(f"Error(s) in functional_call: unexpected key(s) {unknown}, missing key(s) {missing}")
    wanted: dict[str, Any] = {name: t for name, t in tensors.items() if name in places}
    if tie:
        by_tensor: dict[int, list[str]] = {}
        for name, t in own.items():
            if t is not None:
                by_tensor.setdefault(id(t), []).append(name)
        for names in by_tensor.values():
            told = {id(wanted[n]): wanted[n] for n in names if n in wanted}
            if len(told) > 1:
                several = sorted(n for n in names if n in wanted)
                raise ValueError(
                    f"functional_call got multiple values for keys {several}, which are tied. Consider using "
                    "tie_weights=False"
                )
            for value in told.values():
                wanted.update(dict.fromkeys(names, value))
    try:
        for name, t in wanted.items():
            registry, key = places[name]
            registry[key] = t
        yield
    finally:
        for name in wanted:
            registry, key = places[name]
            registry[key] = own[name]


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of several modules of one kind, those of a name stacked in a new dimension 0.

    Raises:
        RuntimeError: none are given, or not all in the same mode or of the same class.

    >>> parameters, buffers = torch.func.stack_module_state([nn.Linear(2, 3) for _ in range(4)])
    >>> parameters["weight"].shape
    torch.Size([4, 3, 2])
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    found = []
    for names in ("named_parameters", "named_buffers"):
        rows = [dict(getattr(m, names)()) for m in models]
        together = {}
        for name, first in rows[0].items():
            stacked = stack([row[name] for row in rows]).detach()
            together[name] = stacked.requires_grad_(first.requires_grad)
        found.append(together)
    return found[0], found[1]
