"""PyTorch's layout of an optimizer's state: parameters by their position, groups with positions for parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ...autograd import Tensor
from .entries import merged
from .segments import Segment
from .state_views import as_tensor, cast, whole_states

__all__ = ["must_be_of", "must_fit", "packed", "unpacked"]


def packed(state: Mapping[Any, Any], groups: list[dict[str, Any]], segments: Iterable[Segment]) -> dict[str, Any]:
    """``{"state": {index: {name: value}}, "param_groups": [...]}``; state that processes share is made whole."""
    index: dict[int, int] = {}
    saved = []
    for group in groups:
        for p in group["params"]:
            index.setdefault(id(p), len(index))
        saved.append(
            {k: v for k, v in group.items() if k != "params"} | {"params": [index[id(p)] for p in group["params"]]}
        )
    whole = whole_states(segments)
    entries = {}
    for key, entry in state.items():
        if isinstance(key, Tensor):
            if entry:
                found = whole.get(id(key))
                entries[index.get(id(key), key)] = merged(entry, found, copy=True) if found else {**entry}
        else:
            entries[key] = entry
    return {"state": entries, "param_groups": saved}


# What PyTorch's optimizers of some time ago did not have, and theirs load without.
_LATER = frozenset({
    "amsgrad", "capturable", "centered", "decoupled_weight_decay", "differentiable", "foreach", "fused", "maximize",
    "nesterov",
})  # fmt: skip


def must_be_of(optimizer: str, defaults: Mapping[str, Any], saved: Iterable[Mapping[str, Any]]) -> None:
    """ValueError for groups ``saved`` by another optimizer, which lack hyperparameters of this one."""
    for i, group in enumerate(saved):
        lacking = [name for name in defaults if name not in group and name not in _LATER]
        foreign = [name for name in group if name not in defaults and name not in _LATER and name != "params"]
        if lacking and foreign:
            raise ValueError(
                f"loaded state dict is not one of {optimizer}: its param group {i} has no {', '.join(lacking)}, which "
                f"{optimizer} has, but has {', '.join(foreign)}"
            )


def must_fit(optimizer: str, entries: Iterable[Any], names: Iterable[str]) -> None:
    """ValueError for the state of another optimizer: arrays of other ``names`` where these are missing."""
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        lacking = [name for name in names if name not in entry]
        foreign = [k for k, v in entry.items() if k not in names and k != "step" and getattr(v, "shape", ()) != ()]
        if lacking and foreign:
            raise ValueError(
                f"loaded state dict is not one of {optimizer}: a parameter's state has no {', '.join(lacking)}, which "
                f"{optimizer} has, but has {', '.join(foreign)}"
            )


def unpacked(state_dict: Mapping[str, Any], groups: list[dict[str, Any]], raw: bool) -> dict[Any, Any]:
    """Put the saved options into ``groups``; the saved state, by parameter.

    Args:
        raw: whoever takes the values over copies and converts them; else tensors are brought to their parameter's dtype
            and device here.

    ValueError if the numbers of groups or of their parameters differ; KeyError for a part that is missing.
    """
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise KeyError(f"loaded state dict has no {key!r}; it has {', '.join(map(repr, state_dict)) or 'nothing'}")
    saved = state_dict["param_groups"]
    if len(saved) != len(groups):
        raise ValueError(
            f"loaded state dict has a different number of parameter groups: {len(saved)}, the optimizer {len(groups)}"
        )
    for i, (theirs, ours) in enumerate(zip(saved, groups, strict=True)):
        if "params" not in theirs:
            raise KeyError(f"param group {i} of the loaded state dict has no 'params'; it has {', '.join(theirs)}")
        if len(theirs["params"]) != len(ours["params"]):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                f"group {i} has {len(theirs['params'])} parameters, the optimizer's {len(ours['params'])}"
            )
    by_key: dict[Any, Tensor] = {}
    for theirs, ours in zip(saved, groups, strict=True):
        ours.update(copy.deepcopy({k: v for k, v in theirs.items() if k != "params"}))
        by_key.update(zip(theirs["params"], ours["params"], strict=True))
        by_key.update(zip(map(str, theirs["params"]), ours["params"], strict=True))  # as text formats write keys
    found: dict[Any, Any] = {}
    for key, entry in state_dict["state"].items():
        p = by_key.get(key)
        if p is None:
            found[key] = entry
        elif entry is not None:
            found[p] = {name: as_tensor(value) if raw else cast(value, p, name) for name, value in entry.items()}
    return found
