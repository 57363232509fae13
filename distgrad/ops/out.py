"""``out=``: results written where the caller says, ``torch.add(x, y, out=z)``.

The functions that take it are named here; they themselves know nothing of it.  A result is computed, then written into
the memory of ``out``, which is given its shape first.  Of a function whose arguments are :func:`checked`, only a call
that has ``out`` takes another way; the others get a wrapper under their public name, and not as methods.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from .. import dtypes
from .._arguments import kind_of, let_take_out
from ..autograd import Tensor, no_grad
from ..autograd.grad_mode import recording
from ..autograd.recording import named_as
from ..autograd.tensor import TENSORS
from . import in_place
from .reshaped import resize_


def _words(text: str) -> list[str]:
    return text.split()


# Functions whose ``out`` may be of any type that the result's can be cast to.
_CAST = _words("""
acos acosh add addcdiv addcmul addr all angle any arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
atan2 atanh bernoulli bitwise_and bitwise_or bitwise_xor cat cholesky clamp clamp_max clamp_min clip column_stack
concat concatenate copysign cos cosh cumprod cumsum deg2rad digamma div divide dstack eq erf erfc erfinv exp exp2 expm1
float_power floor_divide fmax fmin fmod gcd ge greater greater_equal gt hstack hypot kron lcm ldexp le lerp less
less_equal lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit
log_softmax logsumexp lt maximum mean minimum mul multiply mvlgamma nanmean nansum ne nextafter not_equal outer
polygamma pow prod rad2deg reciprocal remainder row_stack rsqrt sigmoid sin sinc sinh softmax sqrt square stack std sub
subtract sum tan tanh true_divide var vstack xlogy
""")

# Functions whose ``out`` must be of the result's type.
_SAME = _words("""
abs absolute addbmm addmm addmv amax amin aminmax argmax argmin argsort baddbmm bitwise_not bmm bucketize ceil complex
conj_physical count_nonzero cross cummax cummin diag diff dot fix floor frac frexp gather heaviside histc index_add
index_copy index_reduce index_select inner inverse isin isneginf isposinf kthvalue logcumsumexp masked_select matmul
matrix_power max median min mm mode msort multinomial mv nan_to_num nanmedian nanquantile narrow_copy neg negative
nonzero norm normal polar qr quantile renorm round scatter scatter_add scatter_reduce searchsorted sgn sign signbit
slogdet sort svd take take_along_dim tensordot topk tril triu trunc vdot where
""")

# Functions that make tensors, of the type of ``out`` where none is given.
_MADE = _words("arange empty eye full linspace logspace ones rand randint randn randperm range zeros")

# Functions that compute in the type of ``out`` where none is given.
_IN_TYPE_OF_OUT = frozenset({
    "cumprod", "cumsum", "log_softmax", "mean", "nanmean", "nansum", "prod", "softmax", "sum", *_MADE,
})  # fmt: skip

_LINALG_CAST = _words("cond eig eigvals lstsq matrix_power matrix_rank pinv tensorinv tensorsolve")
_LINALG_SAME = _words("""
cholesky cholesky_ex cross det eigh eigvalsh inv inv_ex lu lu_factor lu_solve matmul matrix_norm multi_dot norm qr
slogdet solve solve_ex solve_triangular svd svdvals vecdot vector_norm
""")
_FUNCTIONAL_SAME = _words("avg_pool2d avg_pool3d gelu hardshrink linear logsigmoid softplus softshrink")
_FFT = _words("""
fft fft2 fftfreq fftn hfft hfft2 hfftn ifft ifft2 ifftn ihfft ihfft2 ihfftn irfft irfft2 irfftn rfft rfft2 rfftfreq
rfftn
""")


def publish(namespace: dict[str, Any], cast: list[str], same: list[str]) -> None:
    """Let the functions of ``namespace`` named in ``cast`` and ``same``, as far as they are there, take ``out``."""
    for names, exact in ((cast, False), (same, True)):
        for name in names:
            if name in namespace:
                namespace[name] = taking_out(name, namespace[name], exact)


def publish_all(top: Any, linalg: Any, fft: Any, functional: Any) -> None:
    """Let all functions that PyTorch gives ``out`` take it; called once every family is there."""
    publish(top, [*_CAST, *_MADE], _SAME)
    publish(linalg, _LINALG_CAST, _LINALG_SAME)
    publish(fft, _FFT, [])
    publish(functional, ["normalize"], _FUNCTIONAL_SAME)


@functools.cache
def as_function(name: str) -> Any:
    """Tensor's method ``name`` as a function of the tensor, which takes ``out`` where PyTorch's does."""
    function = in_place.as_function(name)
    if name in _CAST or name in _SAME:
        return taking_out(name, function, name in _SAME)
    return function


def taking_out(name: str, function: Any, exact: bool) -> Any:
    """``function``, which takes ``out``, too."""
    if let_take_out(function, lambda args, kwargs: written(name, function, exact, args, kwargs)):
        return function
    code = function.__code__
    if not code.co_kwonlyargcount and not code.co_flags & 12 and not function.__defaults__ and code.co_argcount <= 2:
        return _of_few(name, function, exact, code.co_varnames[: code.co_argcount])

    @functools.wraps(function)
    def called(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        return written(name, function, exact, args, {**kwargs, "out": out})

    return called


def _of_few(name: str, function: Any, exact: bool, names: tuple[str, ...]) -> Any:
    """:func:`taking_out` of a function of one or two arguments ``names``: a call without ``out`` costs less so."""
    called: Any
    if len(names) == 1:

        def called(x: Any, *, out: Any = None) -> Any:
            return function(x) if out is None else written(name, function, exact, (x,), {"out": out})
    else:

        def called(x: Any, y: Any, *, out: Any = None) -> Any:
            return function(x, y) if out is None else written(name, function, exact, (x, y), {"out": out})

    called.__code__ = named_as(called.__code__, names)
    return functools.update_wrapper(called, function)


def written(name: str, function: Callable[..., Any], exact: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``function`` returns for ``args`` and ``kwargs``, written into its tensors ``out``, which are returned.

    Raises:
        TypeError: ``out`` is no tensor, or of several results no tuple or list of as many.
        RuntimeError: a gradient would have to be recorded; ``out`` is of a type that the result cannot be cast to (or,
            where the function is ``exact`` about it, of another than the result's), on another device, or has elements
            that share memory.
    """
    kwargs = dict(kwargs)
    out = kwargs.pop("out")
    if out is None:
        return function(*args, **kwargs)
    outs = tuple(out) if isinstance(out, tuple | list) else (out,)
    for o in outs:
        if o.__class__ not in TENSORS:
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {kind_of(o)}")
    if recording.enabled and _wants_grad((args, tuple(kwargs.values()), outs)):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if name in _IN_TYPE_OF_OUT:
        _told_type(name, kwargs, outs[0])
    with no_grad():
        found = function(*args, **kwargs)
        results = tuple(found) if isinstance(found, tuple) else (found,)
        if len(results) != len(outs) or isinstance(found, tuple) is not isinstance(out, tuple | list):
            what = f"a tuple of {len(results)} Tensors" if isinstance(found, tuple) else "Tensor"
            raise TypeError(f"{name}(): argument 'out' must be {what}, not {kind_of(out)} of {len(outs)}")
        for result, o in zip(results, outs, strict=True):
            _refuse(name, result, o, exact)
        for result, o in zip(results, outs, strict=True):
            _write(result, o)
    if not isinstance(found, tuple):
        return out
    return type(found)(outs)


def _wants_grad(values: tuple[Any, ...]) -> bool:
    """Whether a tensor among ``values``, or in sequences of theirs, requires grad."""
    return any(
        _wants_grad(tuple(v)) if isinstance(v, tuple | list) else v.__class__ in TENSORS and v.requires_grad
        for v in values
    )


def _told_type(name: str, kwargs: dict[str, Any], out: Tensor) -> None:
    """Let the function compute in the type of ``out``; RuntimeError where it makes tensors and was told another."""
    told = kwargs.get("dtype")
    if told is None:
        kwargs["dtype"] = out.dtype
    elif name in _MADE and dtypes.as_dtype(told) is not out.dtype:
        word = dtypes.as_dtype(told).tensor_type[:-6]
        raise RuntimeError(f"dtype {word} does not match dtype of out parameter ({out.dtype.tensor_type[:-6]})")


def _refuse(name: str, result: Tensor, out: Tensor, exact: bool) -> None:
    """RuntimeError where ``result`` cannot be written into ``out``."""
    if exact and result.dtype is not out.dtype:
        raise RuntimeError(f"{name}: Expected out tensor to have dtype {result.dtype}, but got {out.dtype} instead")
    if not dtypes.can_cast(result.dtype, out.dtype):
        ours, theirs = result.dtype.tensor_type[:-6], out.dtype.tensor_type[:-6]
        raise RuntimeError(f"result type {ours} can't be cast to the desired output type {theirs}")
    if result.device != out.device:
        raise RuntimeError(f"{name}: Expected out tensor to be on {result.device}, but got {out.device} instead")


def _write(result: Tensor, out: Tensor) -> None:
    """``out`` takes the shape and the values of ``result``."""
    if out.shape != result.shape:
        if out.numel():
            warnings.warn(
                f"out of shape {list(out.shape)} was given the shape {list(result.shape)} of the result; only a tensor "
                "without elements should be resized so, as out.resize_(0) makes it",
                UserWarning,
                stacklevel=4,
            )
        resize_(out, *result.shape)
    out.copy_(result)
