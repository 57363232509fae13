"""Limiting gradients: their common norm, or each element.

Gradients that lie side by side in flat storage are taken together: a run of parameters is one slice, whose gaps are
zero and change neither a norm nor a product.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from types import GeneratorType
from typing import Any

import numpy as np

from ... import backend, dtypes
from ...autograd import Tensor
from ...autograd.gradient_slots import place
from ...autograd.tensor import TENSORS
from ...backend.protocol import Array

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

Tensors = Tensor | Iterable[Tensor]


def _listed(given: Tensors) -> list[Tensor]:
    return [given] if given.__class__ in TENSORS else list(given)  # type: ignore[list-item]


def _arrays(params: Iterable[Tensor], together: bool = True) -> Iterator[Array]:
    """The arrays of the parameters' gradients: neighbours in flat storage as one, if ``together``.

    A sparse gradient is coalesced first, in place, so that its values are its elements and can be written to.
    """
    run: tuple[Any, Array] | None = None  # the storage and its buffer
    lo = hi = 0
    for p in params:
        grad = p.grad
        if grad is None:
            continue
        storage, i = (place(p) if together else None) or (None, 0)
        buffer = None if storage is None or grad.is_sparse else storage.buffer_of(i, grad._data)
        if run is not None and buffer is run[1] and i == hi:
            hi += 1
            continue
        if run is not None:
            yield run[1][run[0].ranges[lo][0] : run[0].ranges[hi - 1][1]]
            run = None
        if buffer is not None:
            run, lo, hi = (storage, buffer), i, i + 1
        elif grad.is_sparse:
            grad._data = grad._data.coalesce()
            yield grad._data.values
        else:
            yield grad._data
    if run is not None:
        yield run[1][run[0].ranges[lo][0] : run[0].ranges[hi - 1][1]]


def _norm(x: Array, p: float) -> Any:
    """The ``p``-norm of all elements of ``x``, at least in float32."""
    xp = backend.array_module(x)
    if x.dtype.itemsize == 2:
        x = x.astype(np.float32)
    if not x.size:
        return x.real.dtype.type(0)
    if p == 2:
        x = x.reshape(-1)
        square = xp.vdot(x, x).real
        if xp is np and not 1e-30 < square < 1e30:  # too near the limits of float32
            most = np.abs(x).max()
            if 0 < most < math.inf:
                x = x / most
                return np.sqrt(np.vdot(x, x).real) * most
        return xp.sqrt(square)
    size = xp.abs(x)
    if math.isinf(p):
        return size.max() if p > 0 else size.min()
    if p == 0:
        return xp.count_nonzero(size).astype(size.dtype) if xp is not np else size.dtype.type(np.count_nonzero(size))
    return size.sum() if p == 1 else xp.sum(size**p) ** (1 / p)


def _total(arrays: list[Array], p: float, error_if_nonfinite: bool) -> Tensor:
    """The ``p``-norm of the ``p``-norms of ``arrays``, on the device of the first."""
    if not arrays:
        return Tensor._wrap(np.zeros((), dtypes.get_default_dtype().np), None)
    where = backend.device_of(arrays[0])
    common = dtypes.result_type([(dtypes.from_numpy_dtype(a.dtype).to_real(), 1) for a in arrays])
    norms = []
    for a in arrays:
        with backend.where_it_lies(a):
            norms.append(backend.to_device(backend.array_module(a).asarray(_norm(a, p)), where))
    with backend.where_it_lies(norms[0]):
        xp = backend.array_module(norms[0])
        wide = np.float64 if common.itemsize == 8 else np.float32
        alone = len(norms) == 1 and p != 0  # by the 0-norm of norms one tensor counts as one, as in PyTorch
        total = norms[0] if alone else xp.asarray(_norm(xp.stack([n.astype(wide) for n in norms]), p))
        total = total.astype(common.np)
        if error_if_nonfinite and not bool(xp.isfinite(total)):
            raise RuntimeError(
                f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. "
                "To disable this error and scale the gradients by the non-finite norm anyway, set "
                "`error_if_nonfinite=False`"
            )
    return Tensor._wrap(total, None)


def get_total_norm(
    tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The norm of all elements of ``tensors``, as if they were one vector.

    Args:
        tensors: one or several, of any devices and dtypes; the result lies where the first does.
        norm_type: a number, or inf.
        error_if_nonfinite: RuntimeError where the norm is infinite or NaN.
        foreach: accepted; there is one implementation.

    >>> nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)
    """
    arrays = [t._data.coalesce().values if t.is_sparse else t._data for t in _listed(tensors)]
    return _total(arrays, float(norm_type), error_if_nonfinite)


def _written(params: Iterable[Tensor]) -> None:
    """Note a write to each gradient."""
    for p in params:
        if p._grad is not None:
            p._grad._bump()


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by ``max_norm / (total_norm + 1e-6)`` where that is below 1, in place.

    Args:
        parameters: whose gradients; those without one are passed over.
        max_norm: the norm that the gradients shall have at most.
        total_norm: the norm that they have, of one element.
        foreach: accepted; there is one implementation.

    >>> w = torch.zeros(2, requires_grad=True)
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> nn.utils.clip_grads_with_norm_([w], max_norm=1.0, total_norm=torch.tensor(5.0))
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    params = _listed(parameters)
    norm = total_norm._data
    with backend.where_it_lies(norm):
        if norm.dtype.itemsize == 2:
            norm = norm.astype(np.float32)
        factor = backend.array_module(norm).minimum(float(max_norm) / (norm + 1e-6), 1.0)
        factor = backend.array_module(norm).asarray(factor)
    on_host = float(factor) if backend.device_of(factor) == backend.CPU else None
    if on_host != 1.0:
        # NaN times the zero between two parameters would stay there, so then each is written by itself
        for array in _arrays(params, together=on_host is None or not math.isnan(on_host)):
            _scale(array, factor)
    _written(params)


def _scale(array: Array, factor: Array) -> None:
    """Multiply in place; on a device, where nobody knows whether the factor is NaN, zeros stay zero."""
    with backend.where_it_lies(array):
        mine = backend.to_device(factor, backend.device_of(array)).astype(array.real.dtype)
        if isinstance(array, np.ndarray):
            array *= mine
        else:
            array[...] = backend.array_module(array).where(array == 0, array, array * mine)


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of all parameters, in place, to a common norm of at most ``max_norm`` (Pascanu et al. 2013,
    arXiv:1211.5063).

    Args:
        parameters: one or several; those without a gradient are passed over.
        max_norm: the norm that the gradients shall have at most.
        norm_type: a number, or inf.
        error_if_nonfinite: RuntimeError where the norm is infinite or NaN, before anything is scaled.
        foreach: accepted; there is one implementation.

    Returns:
        The norm before, of all gradients as one vector: without dimensions, on the device of the first.

    >>> w = torch.zeros(2, requires_grad=True)
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> nn.utils.clip_grad_norm_([w], max_norm=1.0)
    tensor(5.)
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    params = _listed(parameters)
    if not params and isinstance(parameters, GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    p = float(norm_type)
    arrays = list(_arrays(params, together=p > 0))  # the zeros between parameters change no such norm
    total = _total(arrays, p, error_if_nonfinite)
    clip_grads_with_norm_(params, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """:func:`clip_grad_norm_`, under the name that is deprecated.

    >>> import warnings
    >>> warnings.simplefilter("ignore")
    >>> nn.utils.clip_grad_norm([], max_norm=1.0)
    tensor(0.)
    """
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the gradients to [-clip_value, clip_value], in place.

    Args:
        parameters: whose gradients; those without one are passed over.
        foreach: accepted; there is one implementation.

    >>> w = torch.zeros(2, requires_grad=True)
    >>> w.grad = torch.tensor([3.0, -4.0])
    >>> nn.utils.clip_grad_value_([w], clip_value=1.0)
    >>> w.grad
    tensor([ 1., -1.])
    """
    params, most = _listed(parameters), float(clip_value)
    for array in _arrays(params, together=most >= 0):
        with backend.where_it_lies(array):
            xp = backend.array_module(array)
            xp.minimum(xp.maximum(array, -most, out=array), most, out=array)
    _written(params)
