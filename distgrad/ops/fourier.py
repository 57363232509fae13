"""Discrete Fourier transforms: one primitive for each kind of numbers that goes in and comes out.

The transform of a complex tensor is its own adjoint but for the sign of the exponent; a real one reads or gives the
half of a spectrum that tells the other, its conjugate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from .._arguments import checked
from ..autograd import Tensor, primitive
from ._declare import Device, Dims, DType, axis, ndim_of, noun, raw
from .creation import tensor
from .elementwise import real
from .rearranging import roll

# how a forward transform of each norm is scaled; a backward one in the opposite way
_POWERS = {"backward": 0.0, "ortho": -0.5, "forward": -1.0}


def _in_kind(x: Any, kind: Any) -> Any:
    """``x``, of which NumPy may have computed in float64, in the precision of ``kind``."""
    wide = kind in (np.float64, np.complex128)
    return x.astype(("D" if wide else "F") if x.dtype.kind == "c" else "d" if wide else "f", copy=False)


def _scaled(x: Any, scale: float) -> Any:
    """``x`` times ``scale``, in its own memory; of complex numbers both parts, so that zeros keep their signs."""
    if scale == 1:
        return x
    if x.dtype.kind != "c":
        x *= scale
        return x
    x.real *= scale
    x.imag *= scale
    return x


def _transformed(xp: Any, x: Any, dims: tuple[int, ...], forward: bool) -> Any:
    """The sums over ``dims`` of x exp(-2 pi i j k / n), or +, without a factor."""
    return (xp.fft.fftn if forward else xp.fft.ifftn)(x, axes=dims, norm="backward" if forward else "forward")


@primitive(grad_name="FftC2CBackward0")
def _c2c(xp, x, dims, scale, forward):
    return _scaled(_in_kind(_transformed(xp, x, dims, forward), x.dtype), scale)


_c2c.defvjp(lambda g, ans, x, dims, scale, forward: _c2c(g, dims, scale, not forward), saves="")


@primitive(meta="x", grad_name="FftR2CBackward0")
def _r2c(xp, x, dims, scale, forward):
    """The first half of the spectrum, along the last of ``dims``, of real numbers."""
    out = _in_kind(xp.fft.rfftn(x, axes=dims), x.dtype)
    return _scaled(out if forward else out.conj(), scale)


def _r2c_vjp(g, ans, x, dims, scale, forward):
    n, last = x.shape[dims[-1]], dims[-1]
    return real(_c2c(_lengthened(g, last, n), dims, scale, not forward))


_r2c.defvjp(_r2c_vjp, saves="x")


@primitive(meta="x", grad_name="FftC2RBackward0")
def _c2r(xp, x, dims, scale, n, forward):
    """The real numbers, ``n`` along the last of ``dims``, of the first half of a spectrum."""
    sizes = [x.shape[d] for d in dims[:-1]] + [n]
    out = xp.fft.irfftn(x.conj() if forward else x, s=sizes, axes=dims, norm="forward")
    return _scaled(_in_kind(out, x.dtype), scale)


def _c2r_vjp(g, ans, x, dims, scale, n, forward):
    """Each frequency but 0 and the middle one of an even number stands for two."""
    whole = _r2c(g, dims, scale, not forward)
    size = x.shape[dims[-1]]
    twice = np.ones(size)
    twice[1 : (n + 1) // 2] = 2
    shape = [1] * len(x.shape)
    shape[dims[-1]] = size
    weights = twice.reshape(shape).astype(raw(g).dtype)
    return whole * _beside(weights, g)


_c2r.defvjp(_c2r_vjp, saves="x")


def _beside(array: np.ndarray, x: Any) -> Any:
    """An array of the CPU beside the tensor or array ``x``, where that lies."""
    data = raw(x)
    there = array if isinstance(data, np.ndarray) else backend.to_device(array, backend.device_of(data))
    return Tensor._wrap(there, None) if isinstance(x, Tensor) else there


def _lengthened(x: Any, dim: int, n: int) -> Any:
    """``x`` with ``n`` elements along ``dim``: cut, or zeros behind them."""
    have = x.shape[dim]
    if have > n:
        return x[(slice(None),) * dim + (slice(0, n),)]
    return x if have == n else _padded(x, dim, n - have)


@primitive(meta="x", grad_name="ConstantPadNdBackward0")
def _padded(xp, x, dim, more):
    out = xp.zeros((*x.shape[:dim], x.shape[dim] + more, *x.shape[dim + 1 :]), x.dtype)
    out[(slice(None),) * dim + (slice(0, x.shape[dim]),)] = x
    return out


_padded.defvjp(
    lambda g, ans, x, dim, more: g[(slice(None),) * dim + (slice(0, x.shape[dim]),)],
    saves="x",
)


def _scale(norm: str | None, sizes: Sequence[int], forward: bool, name: str) -> float:
    if norm is not None and norm not in _POWERS:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    power = _POWERS[norm or "backward"]
    count = math.prod(sizes)
    return float(count) ** (power if forward else -1 - power) if count else 1.0


def _number(x: Tensor, name: str, real_: bool | None) -> Tensor:
    """``x`` in a type that is transformed: integers and bools in the default one; ``real_``: a real, or not, one."""
    if x.dtype.itemsize == 2 and x.dtype.is_floating_point:
        raise RuntimeError(f"Unsupported dtype {noun(x)}")
    if real_ and x.dtype.is_complex:
        raise RuntimeError(f"{name} expects a real input tensor, but got {noun(x)}")
    if x.dtype.category < 2:
        x = x.to(dtypes.get_default_dtype())
    if real_ is False and not x.dtype.is_complex:
        x = x.to(dtypes.complex64 if x.dtype == dtypes.float32 else dtypes.complex128)
    return x


def _places(x: Tensor, s: Any, dim: Any, name: str) -> tuple[tuple[int, ...], list[int]]:
    """The dimensions that are transformed, and how many elements each is to have."""
    shape = raw(x).shape
    n = len(shape)
    sizes = None if s is None else [s] if isinstance(s, int) else list(s)
    if dim is not None:
        given = [dim] if isinstance(dim, int) else list(dim)
        if given and not n:
            raise IndexError(f"Dimension specified as {given[0]} but tensor has no dimensions")
        dims = [axis(d, n) for d in given]
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if sizes is not None and len(sizes) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif sizes is not None:
        if len(sizes) > n:
            raise RuntimeError(f"Got shape with {len(sizes)} values but input tensor only has {n} dimensions.")
        dims = list(range(n - len(sizes), n))
    else:
        dims = list(range(n))
    if sizes is None:
        sizes = [-1] * len(dims)
    for size in sizes:
        if size != -1 and size < 1:
            raise RuntimeError(f"Invalid number of data points ({size}) specified")
    return tuple(dims), [shape[d] if size == -1 else size for d, size in zip(dims, sizes, strict=True)]


def _fitted(x: Tensor, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    for d, size in zip(dims, sizes, strict=True):
        if size < 1:
            raise RuntimeError(f"Invalid number of data points ({size}) specified")
        x = _lengthened(x, d, size)
    return x


def _complex(x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool, name: str) -> Tensor:
    x = _number(x, name, None)
    dims, sizes = _places(x, s, dim, name)
    scale = _scale(norm, sizes, forward, name)
    x = _fitted(_number(x, name, False), dims, sizes)
    return _c2c(x, dims, scale, forward) if dims else x.clone()


def _half(x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool, name: str) -> Tensor:
    x = _number(x, name, True)
    dims, sizes = _places(x, s, dim, name)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    return _r2c(_fitted(x, dims, sizes), dims, _scale(norm, sizes, forward, name), forward)


def _real(x: Tensor, s: Any, dim: Any, norm: str | None, forward: bool, name: str) -> Tensor:
    x = _number(x, name, False)
    dims, sizes = _places(x, s, dim, name)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    last = s if s is None or isinstance(s, int) else s[-1]
    n = 2 * (raw(x).shape[dims[-1]] - 1) if last in (None, -1) else last
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    x = _fitted(x, dims, [*sizes[:-1], n // 2 + 1])
    return _c2r(x, dims, _scale(norm, [*sizes[:-1], n], forward, name), n, forward)


_ONE, _TWO, _ALL = "along ``dim``", "along the two dimensions ``dim``", "along the dimensions ``dim``"
_SIZES = {
    _ONE: "``n`` is the length along it",
    _TWO: "``s`` are the lengths along them",
    _ALL: "``s`` are the lengths along them (by default the last ones, and without it all)",
}


def _made(name: str, what: str, over: str, transform: Any, forward: bool, given: str, found: str) -> Any:
    """The public function ``name``, of one dimension, two or several; an example gives ``found`` of ``given``."""
    full = f"fft_{name}"

    def one(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        if not ndim_of(input):
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        if n is not None and n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
        return transform(input, n, dim, norm, forward, full)

    def two(input: Tensor, s: Dims = None, dim: Dims = (-2, -1), norm: str | None = None) -> Tensor:
        return transform(input, s, dim, norm, forward, full)

    def several(input: Tensor, s: Dims = None, dim: Dims = None, norm: str | None = None) -> Tensor:
        return transform(input, s, dim, norm, forward, full)

    function: Any = {_ONE: one, _TWO: two, _ALL: several}[over]
    function.__name__ = function.__qualname__ = full
    function.__doc__ = f"""{what}, {over}.

    {_SIZES[over]} to which the input is first cut or filled up with zeros.  ``norm`` says which of the two directions
    is divided by the number of elements: "backward" (default), "forward", or "ortho": both, by its root.

    >>> torch.fft.{name}(torch.tensor({given}))
    tensor({found})
    """
    return checked(function)


_fourier, _inverse = "The Fourier transform", "The inverse Fourier transform"
_onesided = ", of real numbers: the first half, n // 2 + 1 along the last, of the spectrum"
_to_real = ", real, of the first half of a spectrum; without the length of the last dimension an even one, 2 (m - 1)"
fft = _made("fft", _fourier, _ONE, _complex, True, "[1.0, 2.0]", "[ 3.+0.j, -1.+0.j]")
ifft = _made("ifft", _inverse, _ONE, _complex, False, "[3.0, -1.0]", "[1.+0.j, 2.+0.j]")
rfft = _made("rfft", _fourier + _onesided, _ONE, _half, True, "[1.0, 2.0]", "[ 3.+0.j, -1.+0.j]")
irfft = _made("irfft", _inverse + _to_real, _ONE, _real, False, "[3.0, -1.0]", "[1., 2.]")
hfft = _made("hfft", _fourier + _to_real, _ONE, _real, True, "[3.0, -1.0]", "[2., 4.]")
ihfft = _made("ihfft", _inverse + _onesided, _ONE, _half, False, "[2.0, 4.0]", "[ 3.-0.j, -1.-0.j]")
fft2 = _made("fft2", _fourier, _TWO, _complex, True, "[[1.0, 2.0]]", "[[ 3.+0.j, -1.+0.j]]")
ifft2 = _made("ifft2", _inverse, _TWO, _complex, False, "[[3.0, -1.0]]", "[[1.+0.j, 2.+0.j]]")
rfft2 = _made("rfft2", _fourier + _onesided, _TWO, _half, True, "[[1.0, 2.0]]", "[[ 3.+0.j, -1.+0.j]]")
irfft2 = _made("irfft2", _inverse + _to_real, _TWO, _real, False, "[[3.0, -1.0]]", "[[1., 2.]]")
hfft2 = _made("hfft2", _fourier + _to_real, _TWO, _real, True, "[[3.0, -1.0]]", "[[2., 4.]]")
ihfft2 = _made("ihfft2", _inverse + _onesided, _TWO, _half, False, "[[2.0, 4.0]]", "[[ 3.-0.j, -1.-0.j]]")
fftn = _made("fftn", _fourier, _ALL, _complex, True, "[1.0, 2.0]", "[ 3.+0.j, -1.+0.j]")
ifftn = _made("ifftn", _inverse, _ALL, _complex, False, "[3.0, -1.0]", "[1.+0.j, 2.+0.j]")
rfftn = _made("rfftn", _fourier + _onesided, _ALL, _half, True, "[1.0, 2.0]", "[ 3.+0.j, -1.+0.j]")
irfftn = _made("irfftn", _inverse + _to_real, _ALL, _real, False, "[3.0, -1.0]", "[1., 2.]")
hfftn = _made("hfftn", _fourier + _to_real, _ALL, _real, True, "[3.0, -1.0]", "[2., 4.]")
ihfftn = _made("ihfftn", _inverse + _onesided, _ALL, _half, False, "[2.0, 4.0]", "[ 3.-0.j, -1.-0.j]")


def _shifted(x: Tensor, dim: Any, back: bool) -> Tensor:
    n = ndim_of(x)
    given = range(n) if dim is None else [dim] if isinstance(dim, int) else dim
    if not n and dim is not None and given:
        raise IndexError(f"Dimension specified as {given[0]} but tensor has no dimensions")
    dims = [axis(d, n) for d in given]
    if not dims:
        raise RuntimeError("`shifts` required")
    shape = raw(x).shape
    return roll(x, [(shape[d] + back) // 2 for d in dims], dims)


@checked
def fftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """A spectrum with the frequency 0 in the middle of the dimensions ``dim``, by default of all.

    >>> torch.fft.fftshift(torch.tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return _shifted(input, dim, False)


@checked
def ifftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """The inverse of :func:`fftshift`.

    >>> torch.fft.ifftshift(torch.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return _shifted(input, dim, True)


@checked
def fftfreq(
    n: int, d: float = 1.0, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """The frequencies of the ``n`` elements of :func:`fft`, in cycles per unit of the distance ``d`` between samples.

    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    return _frequencies([k if k < (n + 1) // 2 else k - n for k in range(n)], n * d, dtype, device, requires_grad)


def _frequencies(of: list[int], whole: float, dtype: DType, device: Device, requires_grad: bool) -> Tensor:
    """The whole numbers ``of`` divided by ``whole``, which may be 0."""
    kind: Any = dtypes.get_default_dtype() if dtype is None else dtype
    unit = 1 / whole if whole else math.inf
    return tensor([k * unit for k in of], dtype=kind, device=device).requires_grad_(requires_grad)


@checked
def rfftfreq(
    n: int, d: float = 1.0, *, dtype: DType = None, device: Device = None, requires_grad: bool = False
) -> Tensor:
    """The frequencies of the n // 2 + 1 elements of :func:`rfft`, likewise.

    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    return _frequencies(list(range(n // 2 + 1)), n * d, dtype, device, requires_grad)
