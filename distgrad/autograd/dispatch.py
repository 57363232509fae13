"""How a primitive is called, and its rules in an ordinary backward pass.

There is one general way and, for the hot path, the same straightened for one input, two inputs and views.  Each maker
takes the primitive and returns a plain function: closures instead of attribute look-ups, and no loop where the number
of inputs is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend.protocol import Array
from ..dtypes import float8_used, scalar_dtype
from .errors import freed, mismatched, stale
from .grad_mode import recording
from .graph import Cell, Node, settle
from .promotion import MOVING, module_of, placed, rounded, unify
from .recording import Shape, array_of, finish, kept_args, makers, new, record, versions_of
from .tensor import TENSORS, Tensor, as_array
from .views import as_view, refresh

if TYPE_CHECKING:
    from .primitive import Primitive

ndarray = np.ndarray
NO_OPTIONS: dict[str, Any] = {}
_RAW = frozenset({ndarray, np.float32, np.float64})  # what rules compute with on the CPU
_f32, _f64 = np.dtype(np.float32), np.dtype(np.float64)
_PLAIN = frozenset({int, float, bool, complex})
_OF_NUMBERS = frozenset({"_add", "_sub", "mul", "_div", "floor_divide"})  # PyTorch takes two numbers as tensors here

# where PyTorch takes no number: in the place of either operand, and of the first
_BOTH = frozenset({
    "atan2", "fmax", "fmin", "heaviside", "hypot", "logaddexp", "logaddexp2", "logical_and", "logical_or",
    "logical_xor", "maximum", "minimum",
})  # fmt: skip
_FIRST = _BOTH | {"eq", "fmod", "ge", "gt", "le", "lt", "ne"}
makers.append(globals())


def of_rule(operands: Any) -> Any:
    """The array module of raw ``operands``, in a gradient rule; TypeError outside of backward passes, for there users
    call, who must give tensors."""
    if recording.callbacks is None:
        raise misfit(next((a for a in operands if a.__class__ not in TENSORS), None))
    return module_of(operands)


def misfit(value: Any) -> TypeError:
    """The error for ``value`` in a tensor's place, which names function and argument."""
    from .._arguments import misfit  # which needs tensors

    return misfit(value)


def number_tensor(value: Any) -> Tensor:
    """The number ``value`` as a tensor of its default type."""
    kind = scalar_dtype(value)
    return Tensor._wrap(np.asarray(value, kind.np), None)


# PyTorch's names of arguments that forward functions call x and y; others have theirs there.
KEYWORDS = {"x": "input", "y": "other"}
OTHER_KEYWORDS = {"pow": {"y": "exponent"}, "broadcast_to": {"shape": "size"}}


def keywords(prim: Primitive) -> list[str]:
    """What users call the arguments of ``prim``."""
    names = {**KEYWORDS, **OTHER_KEYWORDS.get(prim.name, {})}
    return [names.get(n, n) for n in prim.inputs]


def by_position(prim: Primitive, kwargs: dict[str, Any]) -> list[Any]:
    """The leading arguments of ``prim``, all given by name, which are taken out of ``kwargs``; TypeError for none."""
    found = []
    for name in keywords(prim):
        if name not in kwargs:
            break
        found.append(kwargs.pop(name))
    if not found:
        name = prim.name.strip("_")
        raise TypeError(f"{name}() missing 1 required positional arguments: \"{keywords(prim)[0]}\"")
    return found


def general_call(prim: Primitive, strict: bool = True, least: int = 1) -> Callable[..., Any]:
    """The call of any primitive; of one without rules the first ``least`` arguments are inputs.

    One piece, because each part that became a function would cost most operations up to 2 %: a call of six arguments
    takes 0.05 µs, a product of two tensors that is recorded 2 µs.
    """
    forward = prim.forward
    promote = prim.promote
    view = prim.view
    variadic = prim.variadic
    computes = not view and prim.name not in MOVING

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            leading = args[0]
        except IndexError:
            return call(*by_position(prim, kwargs), **kwargs)
        if leading.__class__ in _RAW and prim.one_kind and recording.callbacks is not None:  # in a rule, on arrays
            return forward(np, *args, **kwargs)
        n = len(args) if variadic else len(prim.rules) or least
        raw: list[Any] = []
        edges: list[Any] = []
        mask, bit = 0, 1
        tensors = False
        quick = promote is None and not (float8_used and computes)
        for a in args[:n]:
            if a.__class__ in TENSORS:
                if a._view is not None:
                    refresh(a)
                tensors = True
                edge = a._node
                edges.append(edge)
                if edge is not None:
                    mask |= bit
                a = a._data
                if a.__class__ is not ndarray:
                    quick = False
            else:
                edges.append(None)
                if a is not None:
                    if a.__class__ is not ndarray:
                        quick = False
                    elif strict and recording.callbacks is None:
                        raise misfit(a)
            raw.append(a)
            bit += bit
        if not tensors:
            return forward(of_rule(args[:n]), *args, **kwargs)
        try:
            if quick:
                xp: Any = np
                ans = forward(np, *raw, *args[n:], **kwargs)
            else:
                xp, raw = unify(prim, args[:n], raw)
                if xp is None:
                    return call(*raw, *args[n:], **kwargs)
                ans = (forward if xp is np else placed(forward, raw))(xp, *raw, *args[n:], **kwargs)
                if promote is not None:
                    ans = rounded(ans, raw)
                    if not variadic:  # numbers are saved as they were used
                        args = (*[a if a.__class__ in TENSORS else raw[i] for i, a in enumerate(args[:n])], *args[n:])
        except ValueError as e:
            raise mismatched(prim.name, raw) or e from None
        if ans.__class__ is not ndarray:
            if ans.__class__ is tuple:
                if not view:
                    ans = tuple([as_array(xp, a) for a in ans])
            else:
                ans = as_array(xp, ans)
        if mask and recording.enabled and prim.rules:
            plan = prim.plan_variadic(n, mask) if variadic else prim.plans[mask]
            if plan is not None:
                kept = kept_args(args, edges, plan) if plan.drops else args
                node = record(prim, ans, kept, edges, kwargs or None, plan.ans)
                out = finish(node, ans, plan.ans)
                return as_view(prim, out, args, kwargs) if view else out
        out = tuple([Tensor._wrap(a, None) for a in ans]) if ans.__class__ is tuple else Tensor._wrap(ans, None)
        return as_view(prim, out, args, kwargs) if view else out

    return call


def view_call(prim: Primitive, general: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a view on the CPU, straightened: of one tensor, whatever its options; else ``general`` is called."""
    forward = prim.forward
    plans = prim.plans

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            x = args[0]
        except IndexError:
            return call(*by_position(prim, kwargs), **kwargs)
        if x.__class__ not in TENSORS or x._data.__class__ is not ndarray:
            return general(*args, **kwargs)
        if (view := x._view) is not None and view.generation != x._vc.generation:
            refresh(x)
        data = x._data
        if data.ndim > 2 and data.strides[1] == data.itemsize:  # the channels lie last
            settle(x)
        try:
            ans = forward(np, x._data, *args[1:], **kwargs)
        except ValueError as e:
            raise mismatched(prim.name, [x._data]) or e from None
        edge = x._node
        if edge is None or not recording.enabled or (plan := plans[1]) is None:
            out = tuple([Tensor._wrap(a, None) for a in ans]) if ans.__class__ is tuple else Tensor._wrap(ans, None)
        else:
            kind = plan.kinds[0]
            kept = args if kind == 1 else (edge if kind else None, *args[1:])
            out = finish(record(prim, ans, kept, (edge,), kwargs or None, plan.ans), ans, plan.ans)
        return as_view(prim, out, args, kwargs)

    return call


def unary_call(prim: Primitive) -> Callable[..., Any]:
    """The call of one input and no options: :func:`general_call`, straightened, for the hot path."""
    forward = prim.forward
    promote = prim.promote
    plans = prim.plans

    def call(x: Any) -> Any:
        if x.__class__ not in TENSORS:
            if x.__class__ is ndarray and recording.callbacks is not None:  # in a rule
                return forward(np, x)
            return forward(of_rule((x,)), x)
        if (view := x._view) is not None and view.generation != x._vc.generation:
            refresh(x)
        data = x._data
        if data.__class__ is ndarray and (
            (d := data.dtype) is _f32 or d is _f64 or (promote != "float" and not float8_used)
        ):
            ans = forward(np, data)
        else:
            xp, (data,) = unify(prim, (x,), [data])
            ans = rounded((forward if xp is np else placed(forward, (data,)))(xp, data), (data,))
        if ans.__class__ is not ndarray:
            ans = as_array(np, ans)
        out = new(Tensor)
        out._data = ans
        out._view = None
        edge = x._node
        if edge is None or not recording.enabled or (plan := plans[1]) is None:
            out._node = out._vc = None
            return out
        save_ans, (kind,), _ = plan
        node = new(Node)
        node.primitive = prim
        node.edges = (edge,)
        node.kwargs = node.hooks = node.versions = None
        if kind == 1:
            node.args = (x,)
            if x._vc is not None and x._vc.version:
                node.versions = (x._vc.version,)
        else:
            node.args = (edge,) if kind else (None,)
        if save_ans:
            node.ans = ans
            node.cell = out._vc = Cell()
            node.cell_version = 0
        else:
            node.ans = node.cell = out._vc = None
        node.shape = ans.shape
        node.dtype = ans.dtype
        out._node = node
        return out

    return call


def binary_call(prim: Primitive, strict: bool = True) -> Callable[..., Any]:
    """The call of two inputs and no options, straightened for the hot path; ``strict``: not of NumPy's arrays.

    One piece, because each part that became a function would cost every sum and product 2 %: 0.05 of 2 µs.
    """
    forward = prim.forward
    floats = prim.promote == "float"
    plans = prim.plans
    first = strict and prim.name in _FIRST
    both = strict and prim.name in _BOTH

    def call(x: Any, y: Any) -> Any:
        if x.__class__ in TENSORS:
            if (view := x._view) is not None and view.generation != x._vc.generation:
                refresh(x)
            xd = x._data
            ex = x._node
        elif y.__class__ in TENSORS:
            if strict and (first or x.__class__ is ndarray) and recording.callbacks is None:
                raise misfit(x)
            xd = x
            ex = None
        else:
            if x.__class__ is ndarray and recording.callbacks is not None:  # in a rule
                return forward(np, x, y)
            if recording.callbacks is None and prim.name in _OF_NUMBERS and {x.__class__, y.__class__} <= _PLAIN:
                return call(number_tensor(x), number_tensor(y))
            return forward(of_rule((x, y)), x, y)
        if y.__class__ in TENSORS:
            if (view := y._view) is not None and view.generation != y._vc.generation:
                refresh(y)
            yd = y._data
            ey = y._node
        else:
            if strict and (both or y.__class__ is ndarray) and recording.callbacks is None:
                raise misfit(y)
            yd = y
            ey = None
        try:
            if xd.__class__ is ndarray and (
                ((d := xd.dtype) is yd.dtype and (d is _f32 or d is _f64 or not (floats or float8_used)))
                if yd.__class__ is ndarray
                else ((yd.__class__ is float or yd.__class__ is int) and ((d := xd.dtype) is _f32 or d is _f64))
            ):
                ans = forward(np, xd, yd)
            else:
                xp, (xd, yd) = unify(prim, (x, y), [xd, yd])
                if xp is None:
                    return call(xd, yd)
                if x.__class__ not in TENSORS:
                    x = xd  # as it was used
                elif y.__class__ not in TENSORS:
                    y = yd
                ans = rounded((forward if xp is np else placed(forward, (xd, yd)))(xp, xd, yd), (xd, yd))
        except ValueError as e:
            raise mismatched(prim.name, (xd, yd)) or e from None
        if ans.__class__ is not ndarray:
            ans = as_array(np, ans)
        out = new(Tensor)
        out._data = ans
        out._view = None
        if (
            (ex is None and ey is None)
            or not recording.enabled
            or (plan := plans[1 if ey is None else 2 if ex is None else 3]) is None
        ):
            out._node = out._vc = None
            return out
        save_ans, (kx, ky), _ = plan
        node = new(Node)
        node.primitive = prim
        node.edges = (ex, ey)
        node.kwargs = node.hooks = None
        if x.__class__ not in TENSORS or kx == 1:
            ax = x
        else:
            ax = None if kx == 0 else ex if ex is not None else Shape(x)
        if y.__class__ not in TENSORS or ky == 1:
            ay = y
        else:
            ay = None if ky == 0 else ey if ey is not None else Shape(y)
        node.args = args = (ax, ay)
        node.versions = None
        if (kx == 1 and ax.__class__ in TENSORS and ax._vc is not None) or (
            ky == 1 and ay.__class__ in TENSORS and ay._vc is not None
        ):
            node.versions = versions_of(args)
        if save_ans:
            node.ans = ans
            node.cell = out._vc = Cell()
            node.cell_version = 0
        else:
            node.ans = node.cell = out._vc = None
        node.shape = ans.shape
        node.dtype = ans.dtype
        out._node = node
        return out

    return call


def unary_pull(prim: Primitive) -> Callable[..., Any]:
    """:meth:`Primitive.pull` of one input, whatever its options, straightened."""

    def pull(node: Node, g: Array, wanted: Any, outs: Any = None) -> Any:
        args = node.args
        if args is None:
            raise freed()
        cell = node.cell
        if cell is not None and cell.version != node.cell_version:
            raise stale(node, node.ans, cell.version, node.cell_version, True)
        x = args[0]
        if x.__class__ in TENSORS:
            x = array_of(node, 0, x) if x._vc is not None else x._data
        if len(args) == 1 and not node.kwargs:
            return (prim.rules[0](g, node.ans, x),)  # type: ignore[misc]
        return (prim.rules[0](g, node.ans, x, *args[1:], **(node.kwargs or NO_OPTIONS)),)  # type: ignore[misc]

    return pull


def binary_pull(prim: Primitive) -> Callable[..., Any]:
    """:meth:`Primitive.pull` of two inputs, straightened."""

    def pull(node: Node, g: Array, wanted: Any, outs: Any = None) -> Any:
        args = node.args
        if args is None:
            raise freed()
        cell = node.cell
        if cell is not None and cell.version != node.cell_version:
            raise stale(node, node.ans, cell.version, node.cell_version, True)
        x, y = args
        if x.__class__ in TENSORS:
            x = array_of(node, 0, x) if x._vc is not None else x._data
        if y.__class__ in TENSORS:
            y = array_of(node, 1, y) if y._vc is not None else y._data
        first, second = prim.rules
        ex, ey = wanted
        if ex is None:
            return None, second(g, node.ans, x, y)  # type: ignore[misc]
        if ey is None:
            return first(g, node.ans, x, y), None  # type: ignore[misc]
        return first(g, node.ans, x, y), second(g, node.ans, x, y)  # type: ignore[misc]

    return pull
