"""Parameter groups: what users give an optimizer, read and checked."""

from __future__ import annotations

import warnings
from typing import Any

from .._arguments import kind_of
from ..autograd import Tensor
from ..autograd.tensor import TENSORS

__all__ = ["complete", "groups_of", "options_of", "required"]


class _Required:
    """The default of a hyperparameter that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"

    def __deepcopy__(self, memo: Any) -> _Required:
        return self


required = _Required()


def options_of(name: str, known: dict[str, Any], args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters of optimizer ``name``: its defaults ``known``, replaced by position and by name.

    TypeError, as of any call, for one too many, one given twice or an unknown one.
    """
    if len(args) > len(known):
        raise TypeError(f"{name}() takes at most {len(known)} hyperparameters ({', '.join(known)}), got {len(args)}")
    found = dict(zip(known, args, strict=False))
    for k, v in given.items():
        if k in found:
            raise TypeError(f"{name}() got multiple values for argument '{k}'")
        if k not in known and k != "maximize":
            raise TypeError(
                f"{name}() got an unexpected keyword argument '{k}'; it takes {', '.join([*known, 'maximize'])}"
            )
        found[k] = v
    return known | found


def groups_of(params: Any) -> list[dict[str, Any]]:
    """The groups that an optimizer's ``params`` argument means."""
    if isinstance(params, Tensor):
        raise TypeError(
            "params argument given to the optimizer should be an iterable of Tensors or dicts, but got " + params.type()
        )
    try:
        groups = list(params)
    except TypeError:
        hint = "; say model.parameters()" if hasattr(params, "named_parameters") else ""
        raise TypeError(
            "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
            f"{kind_of(params)}{hint}"
        ) from None
    if not groups:
        raise ValueError("optimizer got an empty parameter list")
    return groups if isinstance(groups[0], dict) else [{"params": groups}]


def complete(group: Any, defaults: dict[str, Any], others: list[dict[str, Any]]) -> None:
    """Bring ``group`` into its final form, in place: a list of tensors under ``params``, and every option.

    Args:
        group: what the user gave.
        defaults: values for what it lacks.
        others: the groups that there are already.

    Raises:
        TypeError: it is no dict, or something in it no tensor.
        ValueError: a tensor that is no leaf, or in another group; names for some only; a required option is missing.
    """
    if not isinstance(group, dict):
        raise TypeError(f"param_group must be a dict, but got {type(group)}")
    if "params" not in group:
        raise ValueError(f"param_group must have 'params'; it has {', '.join(map(repr, group)) or 'nothing'}")
    params = group["params"]
    if isinstance(params, Tensor):
        params = [params]
    elif isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
            "will change between runs. Please use a list instead."
        )
    try:
        listed = list(params)
    except TypeError:
        raise TypeError(f"a group's 'params' must be a tensor or an iterable of them, not {kind_of(params)}") from None
    names = [entry[0] for entry in listed if isinstance(entry, tuple)]
    if names and len(names) < len(listed):
        raise ValueError(
            f"all optimizer params should be with/without names; {len(listed) - len(names)} of {len(listed)} have none"
        )
    listed = [entry[1] for entry in listed] if names else listed
    for p in listed:
        if p.__class__ not in TENSORS:
            raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {kind_of(p)}")
        if not p.is_leaf:
            raise ValueError("can't optimize a non-leaf Tensor")
    missing = [k for k, v in defaults.items() if v is required and k not in group]
    if missing:
        raise ValueError(f"parameter group didn't specify a value of required optimization parameter {missing[0]}")
    if any((bool(names) or "param_names" in group) != ("param_names" in other) for other in others):
        kind = "with" if names else "without"
        raise ValueError(
            "all optimizer param groups should be with/without names. "
            f"cannot add param group {kind} names to the optimizer"
        )
    taken = {id(p) for other in others for p in other["params"]}
    if any(id(p) in taken for p in listed):
        raise ValueError("some parameters appear in more than one parameter group")
    unique = list({id(p): p for p in listed}.values())
    if len(unique) != len(listed):
        warnings.warn(
            "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error",
            stacklevel=4,
        )
    group["params"] = unique
    if names:
        group["param_names"] = names
    for k, v in defaults.items():
        group.setdefault(k, v)
