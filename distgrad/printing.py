"""The printed form of a tensor, character for character PyTorch's.

Two steps: :func:`_shown` cuts a large array down to the corners that are printed, and :func:`_body` lays the few
numbers left in nested brackets.  How wide a column is and whether numbers are in scientific form is decided from the
numbers shown alone, as in PyTorch (https://docs.pytorch.org/docs/stable/generated/torch.set_printoptions.html).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import dtypes

__all__ = ["format_sparse", "format_tensor", "get_printoptions", "printoptions", "set_printoptions"]


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _Options()
_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the point of a floating-point number (4 at the start).
        threshold: more elements than this and only the corners are shown (1000).
        edgeitems: how many elements a corner has along each dimension (3).
        linewidth: characters a line (80).
        profile: ``"default"``, ``"short"`` or ``"full"``: a set of the four values above, each still overridable.
        sci_mode: scientific form always (True), never (False), or where the numbers ask for it (None).  As in PyTorch
            a call that does not name it sets it back to None.

    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1 / 3])
    tensor([0.33])
    >>> torch.set_printoptions(profile="default")
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"unknown print profile {profile!r}; the profiles are: {', '.join(sorted(_PROFILES))}")
        vars(_options).update(vars(_PROFILES[profile]))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force, fit to be passed to :func:`set_printoptions` as keywords."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Inside, the options of :func:`set_printoptions` hold; afterwards those of before."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def format_tensor(
    host: np.ndarray | None,
    dtype: dtypes.dtype,
    *,
    shape: tuple[int, ...] = (),
    device: str | None = None,
    requires_grad: bool = False,
    grad_fn: str | None = None,
    prefix: str = "tensor(",
) -> str:
    """What ``repr`` of a tensor shows.

    Args:
        host: its elements, of any shape; None where it has none, on the device ``meta``.
        shape: which it has then.
        dtype: its element type; named in the result where a reader could not tell it from the numbers.
        device: ``"cuda:0"`` and the like; None on the CPU, which is not named.
        requires_grad: shown where there is no ``grad_fn``.
        grad_fn: the name of the node that made it, e.g. ``"MulBackward0"``.
        prefix: what stands before the numbers; later lines are indented by its length.
    """
    default = dtypes.get_default_dtype()
    default_complex = dtypes.complex128 if default is dtypes.float64 else dtypes.complex64
    suffixes = [] if device is None else [f"device='{device}'"]
    if host is None:
        body = "..."
        suffixes.append(f"size={shape}")
        shows_dtype = dtype is not default
    elif host.size == 0:
        body = "[]"
        if host.ndim != 1:
            suffixes.append(f"size={host.shape}")
        shows_dtype = dtype is not default  # there is no number to tell it from
    else:
        body = _numbers(host, dtype, len(prefix))
        if not _options.edgeitems:
            suffixes.append(f"size={host.shape}")
        shows_dtype = dtype not in (default, default_complex, dtypes.int64, dtypes.bool_)
    if shows_dtype:
        suffixes.append(f"dtype={dtype}")
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + body, suffixes, len(prefix))


def format_sparse(
    indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...], dtype: dtypes.dtype, *, device: str | None = None
) -> str:
    """What ``repr`` of a sparse tensor shows.

    Args:
        indices: (sparse dimensions, n).  values: (n, *).  shape: of the whole.
        dtype: of the values, named where it is not the default.
        device: as of :func:`format_tensor`.
    """
    indent = len("tensor(")
    lines = []
    for name, host, kind in (("indices", indices, dtypes.int64), ("values", values, dtype)):
        prefix = f"{name}=tensor("
        body = _numbers(host, kind, indent + len(prefix)) if host.size else f"[], size={host.shape}"
        lines.append(prefix + body + ")")
    default = dtypes.get_default_dtype()
    suffixes = [f"size={tuple(shape)}", f"nnz={indices.shape[1]}"]
    if device is not None:
        suffixes.insert(0, f"device='{device}'")
    if dtype not in (default, dtypes.complex128 if default is dtypes.float64 else dtypes.complex64, dtypes.int64):
        suffixes.append(f"dtype={dtype}")
    text = "tensor(" + (",\n" + " " * indent).join([*lines, suffixes[0]])
    return _with_suffixes(text, [*suffixes[1:], "layout=torch.sparse_coo"], indent)


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """``text`` and the suffixes, each on the running line while it fits; PyTorch counts that line two too long."""
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def _numbers(host: np.ndarray, dtype: dtypes.dtype, indent: int) -> str:
    shown, cut = _shown(host) if host.size > _options.threshold else (host, [False] * host.ndim)
    if dtype.is_complex:
        whole = shown.astype(np.complex128)
        real, imag = _Column(whole.real), _Column(whole.imag)
        width = real.width + imag.width + 1

        def show(value: Any) -> str:
            second = (imag(value.imag) + "j").lstrip()
            return real(value.real) + (second if second[0] in "+-" else "+" + second)

        return _body(whole.tolist(), cut, indent, width, show)
    if dtype.is_floating_point:
        doubles = shown.astype(np.float64)  # exact, and a Python float for every element, bfloat16 too
        column = _Column(doubles)
        return _body(doubles.tolist(), cut, indent, column.width, column)
    values = shown.tolist()
    width = max((len(str(value)) for value in shown.ravel().tolist()), default=1)
    return _body(values, cut, indent, width, lambda value: str(value).rjust(width))


def _shown(host: np.ndarray) -> tuple[np.ndarray, list[bool]]:
    """The corners of ``host``, and which dimensions were cut down to their two ends."""
    edge = _options.edgeitems
    cut = [size > 2 * edge for size in host.shape]
    for axis, is_cut in enumerate(cut):
        if is_cut:
            size = host.shape[axis]
            host = host.take([*range(edge), *range(size - edge, size)], axis)
    return host, cut


class _Column:
    """How the floating-point numbers of one array are written; calling it writes one, right-justified."""

    def __init__(self, doubles: np.ndarray) -> None:
        counted = doubles[np.isfinite(doubles) & (doubles != 0)]  # zeros, nan and inf have no say, in PyTorch
        self.scientific = self.whole = False
        if counted.size == 0:
            self.whole = True
            self.width = 1
            return
        self.whole = bool((counted == np.ceil(counted)).all())
        if _options.sci_mode is None:
            low, high = float(abs(counted).min()), float(abs(counted).max())
            self.scientific = high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4
        else:
            self.scientific = _options.sci_mode
        self.width = 1
        self.width = max(len(self(value)) for value in counted.tolist())

    def __call__(self, value: float) -> str:
        if self.scientific:
            text = f"{value:.{_options.precision}e}"
        elif self.whole:
            text = f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        else:
            text = f"{value:.{_options.precision}f}"
        return text.rjust(self.width)


def _body(values: Any, cut: list[bool], indent: int, width: int, show: Callable[[Any], str]) -> str:
    """Nested brackets around ``values``, a number or nested lists of them."""
    if not cut:
        return show(values)
    edge = _options.edgeitems
    if len(cut) == 1:
        items = [show(value) for value in values]
        if cut[0]:
            items[edge:edge] = [" ..."] if edge else ["..."]
        a_line = max(1, (_options.linewidth - indent) // (width + 2))
        lines = [", ".join(items[i : i + a_line]) for i in range(0, len(items), a_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    items = [_body(value, cut[1:], indent + 1, width, show) for value in values]
    if cut[0]:
        items[edge:edge] = ["..."]
    return "[" + ("," + "\n" * (len(cut) - 1) + " " * (indent + 1)).join(items) + "]"
