"""Bringing an operation's operands together: one array module, one device, one dtype."""

from __future__ import annotations

import math
from types import NoneType
from typing import Any

import numpy as np

from .. import backend, dtypes
from .coo import Coo
from .tensor import TENSORS, unmasked

_BEYOND = 1 << 64
# What copies numbers, or asks whether they are the same, and so takes those of eight bits, too.
MOVING = frozenset({
    "_cat", "_gathered", "_move", "_roll", "_setitem", "_stack", "_tile", "_to", "_to_integers", "_where", "_written",
    "alias", "clone", "copy", "eq", "equal", "fill", "filled", "isnan", "_laid", "ne", "zero",
})  # fmt: skip
_SCALARS = (bool, int, float, complex, NoneType)


def module_of(operands: Any) -> Any:
    """The array module of raw operands."""
    for a in operands:
        if a.__class__ is np.ndarray:
            return np
        if backend.is_array(a):
            return backend.array_module(a)
        if isinstance(a, (list, tuple)) and a:
            return module_of(a)
    return np


def mixed(found: list[Any], name: str) -> RuntimeError:
    devices = sorted({str(backend.device_of(a)) for a in found}, reverse=True)
    return RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(devices)}! "
        f"(in {name}; move one with .to())"
    )


def rounded(ans: Any, raw: Any) -> Any:
    """``ans``, computed from operands ``raw``, back in half precision where a number beside one of that type widened
    it: a wide one, or, in NumPy, any beside bfloat16.  PyTorch computes in float32 and rounds, too."""
    if ans.dtype.kind == "f":
        for a in raw:
            if backend.is_array(a) and a.dtype.itemsize == 2 and a.dtype != ans.dtype and a.dtype.kind in "fV":
                with backend.where_it_lies(ans):
                    return ans.astype(a.dtype)
    return ans


_REALS = frozenset({int, float})


def as_held(number: Any, kind: dtypes.dtype, fits: bool = False) -> Any:
    """``number`` rounded to the half precision ``kind``, of which NumPy does not know the width of bfloat16, and does
    not tell a function of a number.  RuntimeError for one too large where it ``fits``."""
    if fits and math.isfinite(number) and abs(number) > dtypes.finfo(kind).max:
        name = "c10::Half" if kind.name == "float16" else "c10::BFloat16"
        raise RuntimeError(f"value cannot be converted to type {name} without overflow")
    with np.errstate(over="ignore"):
        return float(np.asarray(number, kind.np))


def _with_wide_number(xp: Any, prim: Any, raw: list[Any], kind: np.dtype[Any]) -> list[Any] | None:
    """The operands of a product or quotient in half precision whose second is a number, or a tensor of no dimensions:
    that is not rounded to half precision ``kind``, but given as float32.  None for others."""
    x, y = raw
    if not backend.is_array(x):  # the order of factors does not matter
        return [xp.asarray(x, np.float32), y] if prim.name == "mul" else None
    if not backend.is_array(y):
        return [x.astype(kind, copy=False), xp.asarray(y, np.float32)]
    if y.ndim == 0 and y.dtype != kind:
        return [x.astype(kind, copy=False), y.astype(np.float32)]
    return None


def _wrapped(number: int, kind: dtypes.dtype) -> int:
    """``number`` as an integer of type ``kind``, cut to its width as PyTorch does (NumPy refuses one too large);
    OverflowError for one of more than 64 bits."""
    bits = 8 * kind.itemsize
    if not -_BEYOND <= number < _BEYOND:
        raise OverflowError(f"int too big to convert: {number}")
    number &= (1 << bits) - 1
    return number - (1 << bits) if kind.is_signed and number >> (bits - 1) else number


def placed(forward: Any, raw: Any) -> Any:
    """``forward``, to be called where its operands ``raw`` lie: on their device, if that is not the current one."""
    there = backend.where_it_lies(next(a for a in raw if backend.is_array(a)))
    if there is backend.NOWHERE:
        return forward

    def elsewhere(*args: Any, **kwargs: Any) -> Any:
        with there:
            return forward(*args, **kwargs)

    return elsewhere


def _on_one_device(prim: Any, operands: Any, raw: list[Any], arrays: list[Any], first: Any) -> tuple[Any, list[Any]]:
    """For :func:`unify` where ``first`` of the ``arrays`` among ``raw`` is on a device: the module and ``raw``."""
    where = backend.device_of(first)
    strangers = [i for i, a in enumerate(raw) if backend.is_array(a) and backend.device_of(a) != where]
    if not strangers:
        return backend.array_module(first), raw
    moved = list(operands)
    for i in strangers:
        if not isinstance(raw[i], np.ndarray) or raw[i].ndim or operands[i].__class__ not in TENSORS:
            raise mixed(arrays, prim.name)
        moved[i] = operands[i].to(where)
    return None, moved


def _of_one_dtype(prim: Any, xp: Any, operands: Any, raw: list[Any], arrays: list[Any]) -> list[Any]:
    """``raw``, of which ``arrays`` are those of module ``xp``, cast by the primitive's promotion rule; of NumPy's own
    arrays among ``operands`` the type counts in full, as in NumPy, where they have no dimensions, too."""
    seen = []
    for given, a in zip(operands, raw, strict=True):
        if a is None:
            continue
        if isinstance(a, (bool, int, float, complex)):
            seen.append((dtypes.scalar_dtype(a), 0))
        else:
            seen.append((dtypes.from_numpy_dtype(a.dtype), 2 if a.ndim or given.__class__ is np.ndarray else 1))
    common = dtypes.result_type(seen)
    if prim.promote == "float" and common.category < 2:
        common = dtypes.get_default_dtype()
    if common.itemsize == 2 and common.category == 2:
        with backend.where_it_lies(arrays[0]):
            if prim.wide_number and len(raw) == 2:
                wide = _with_wide_number(xp, prim, raw, common.np)
                if wide is not None:
                    return wide
            if not prim.wide_number or len(raw) == 2:
                fits = prim.fitting_number  # of a power the exponent; the base is rounded there
                first = 1 if fits else 0
                raw = [
                    as_held(a, common, fits) if a.__class__ in _REALS and i >= first else a for i, a in enumerate(raw)
                ]
    if common.category == 1 and prim.promote != "power":  # an exponent is not of the base's type
        raw = [_wrapped(a, common) if a.__class__ is int else a for a in raw]
    if xp is np:
        return [
            a if a is None or isinstance(a, (bool, int, float, complex)) else a.astype(common.np, copy=False)
            for a in raw
        ]
    with backend.where_it_lies(arrays[0]):
        return [a.astype(common.np) if backend.is_array(a) and a.dtype != common.np else a for a in raw]


def _refuse_float8(prim: Any, raw: Any) -> None:
    """NotImplementedError where ``prim`` is to compute with numbers of eight bits, which are only stored; but one
    tensor of no dimensions beside others is converted to their type.  RuntimeError for a mixture of types."""
    arrays = [a for a in raw if backend.is_array(a)]
    if prim.promote is not None and any(a.ndim for a in arrays):
        arrays = [a for a in arrays if a.ndim]
        for a in arrays[1:]:
            dtypes.promote_types(dtypes.from_numpy_dtype(arrays[0].dtype), dtypes.from_numpy_dtype(a.dtype))
    for a in arrays:
        if dtypes.is_float8(a.dtype):
            kind = dtypes.FROM_NUMPY[a.dtype].tensor_type[:-6]
            raise NotImplementedError(
                f"\"{prim.name.strip('_')}\" not implemented for '{kind}'; convert with .to(torch.float32) first"
            )


def unify(prim: Any, operands: Any, raw: list[Any]) -> tuple[Any, list[Any]]:
    """The common array module of ``raw`` and ``raw`` cast by the primitive's promotion rule.

    ``operands`` are the same as given: a Tensor's rank counts in promotion, a number's only by category.
    Anything else than a tensor, an array or a number is a TypeError.

    A zero-dimensional CPU tensor may meet device tensors, as in PyTorch: then the module is None, and the operands are
    returned in place of their arrays with those moved, so that the operation is called again with them and its gradient
    finds its way back.  Any other mixture is an error that names both devices.
    """
    arrays = []
    for i, a in enumerate(raw):
        if backend.is_array(a):
            if a.__class__ is not np.ndarray and isinstance(a, np.ndarray):
                unmasked(a)
            arrays.append(a)
        elif isinstance(a, np.generic):
            raw[i] = a.item()
        elif a.__class__ is Coo:
            raise NotImplementedError(
                f"Could not run '{prim.name.strip('_')}' with arguments from the 'Sparse' backend; use to_dense() first"
            )
        elif (a is None and prim.promote is not None and prim.name != "_clamp") or not isinstance(a, _SCALARS):
            raise TypeError(
                f"{prim.name.strip('_')}(): argument '{'other' if i else 'input'}' (position {i + 1}) must be Tensor "
                f"or Number, not {type(a).__name__}"
            )
    if prim.refuse is not None:
        prim.refuse(raw)
    if dtypes.float8_used and not prim.view and prim.name not in MOVING:
        _refuse_float8(prim, raw)
    xp = np
    device = next((a for a in arrays if not isinstance(a, np.ndarray)), None)
    if device is not None:
        xp, raw = _on_one_device(prim, operands, raw, arrays, device)
    return xp, raw if xp is None or prim.promote is None else _of_one_dtype(prim, xp, operands, raw, arrays)
