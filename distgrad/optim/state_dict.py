"""PyTorch's layout of an optimizer's state: parameters by their position, groups with positions for parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ..autograd import Tensor
from .flat import Segment
from .states import cast, whole_states

__all__ = ["packed", "unpacked"]


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
                entries[index.get(id(key), key)] = {**entry, **whole.get(id(key), {})}
        else:
            entries[key] = entry
    return {"state": entries, "param_groups": saved}


def unpacked(state_dict: Mapping[str, Any], groups: list[dict[str, Any]], raw: bool) -> dict[Any, Any]:
    """Put the saved options into ``groups``; the saved state, by parameter.

    Args:
        raw: leave the values as they are; else tensors are brought to their parameter's dtype and device.

    ValueError if the numbers of groups or of their parameters differ.
    """
    saved = state_dict["param_groups"]
    if len(saved) != len(groups):
        raise ValueError(
            f"loaded state dict has a different number of parameter groups: {len(saved)}, the optimizer {len(groups)}"
        )
    for i, (theirs, ours) in enumerate(zip(saved, groups, strict=True)):
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
            found[p] = dict(entry) if raw else {name: cast(value, p, name) for name, value in entry.items()}
    return found
