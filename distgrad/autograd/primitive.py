"""One operation, one place: a forward function and one gradient rule per input.

::

    @primitive("__mul__", "__rmul__", promote="same")
    def mul(xp, x, y):
        return xp.multiply(x, y)

    mul.defvjp(lambda g, ans, x, y: g * y,
               lambda g, ans, x, y: g * x)

``xp`` is the array module of the inputs.  A rule takes the gradient of the result, the result and the inputs, and
returns the gradient of one input, before broadcasting is summed back (the engine does that).  It runs on raw arrays in
an ordinary backward pass and on recorded Tensors under ``create_graph=True``; whatever it calls must take both, as
every primitive does: called on raw arrays, a primitive returns raw arrays.

What a node must keep follows from the rules: an input (or the result, ``ans``) is saved only where a rule that will run
reads it.  Inputs named in ``meta`` are read for their shape and dtype alone: their rules are given the edge, which has
both, and nothing is kept alive.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array
from .errors import freed, mismatched, stale
from .grad_mode import recording
from .graph import Cell, Node, Output
from .operands import module_of, placed, rounded, unify
from .tensor import TENSORS, Tensor, as_array
from .views import as_view, inplace, refresh

ndarray = np.ndarray
new = object.__new__
Rule = Callable[..., Any]

_RAW = frozenset({ndarray, np.float32, np.float64})  # what rules compute with on the CPU
_f32, _f64 = np.dtype(np.float32), np.dtype(np.float64)

_NO_OPTIONS: dict[str, Any] = {}

REGISTRY: dict[str, Primitive] = {}


def _code(function: Callable[..., Any]) -> CodeType:
    """The code of a Python function, of a decorated one what it decorates."""
    return getattr(function, "__wrapped__", function).__code__


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the parameters of a Python function."""
    code = _code(function)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _reads(rule: Rule) -> frozenset[str]:
    """The parameters that ``rule`` reads."""
    code = rule.__code__
    read = set(code.co_cellvars)  # read by an inner function
    for step in dis.get_instructions(code):
        if step.opname.startswith("LOAD_FAST"):
            read.update(step.argval if isinstance(step.argval, tuple) else (step.argval,))
    return frozenset(read)


class Plan(NamedTuple):
    """What a node keeps: whether the result; of each input 0 nothing, 1 the tensor, 2 its edge; the inputs not kept."""

    ans: bool
    kinds: tuple[int, ...]
    drops: tuple[tuple[int, int], ...]


class Plans(dict[int, "Plan | None"]):
    """A primitive's plans by mask, made when first asked for."""

    def __init__(self, primitive: Primitive) -> None:
        super().__init__()
        self.primitive = primitive

    def __missing__(self, mask: int) -> Plan | None:
        plan = self[mask] = self.primitive.plan(mask)
        return plan


class Primitive:
    """What the engine knows of an operation; ``call`` is what users call.

    Attributes:
        rules: for each differentiable input its gradient rule or None.
        takes_out: for each differentiable input whether its rule can write into ``out``.
        plans: for each set of inputs that want a gradient (a bit mask) what to save.
    """

    def __init__(self, forward: Callable[..., Any], promote: str | None, meta: str, view: bool, grad_name: Any) -> None:
        self.forward = forward
        self.name = forward.__name__
        self.promote = promote
        self.meta = frozenset(meta.split())
        self.view = view
        self.grad_name = grad_name
        code = _code(forward)
        self.inputs = code.co_varnames[1 : code.co_argcount]
        named = code.co_argcount + code.co_kwonlyargcount
        self.variadic = code.co_varnames[named] if code.co_flags & inspect.CO_VARARGS else None
        self.rules: tuple[Rule | None, ...] = ()
        self.takes_out: tuple[bool, ...] = ()
        self.any_out = False
        self.materialize = True
        self.call: Callable[..., Any] = forward
        self.plans = Plans(self)
        self._reads_of: dict[int, frozenset[str]] = {}

    def node_name(self, node: Node) -> str:
        if callable(self.grad_name):
            return self.grad_name(node)
        return self.grad_name or "".join(w.capitalize() for w in self.name.strip("_").split("_")) + "Backward0"

    def defvjp(self, *rules: Rule | None) -> None:
        """Give the gradient rule of each differentiable input, in order; None where there is no gradient."""
        self.rules = rules
        self.takes_out = tuple([r is not None and "out" in _parameters(r) for r in rules])
        self.any_out = True in self.takes_out
        if len(rules) == 1 and not self.any_out:
            self.pull = _unary_pull(self)  # type: ignore[method-assign]

    def defvjp_each(self, rule: Callable[..., Any]) -> None:
        """Give one rule for all inputs of a variadic primitive: ``rule(i, g, ans, *inputs, **kwargs)``.

        It saves nothing but its inputs' shapes, or all of them unless the variadic parameter is named in ``meta``.
        """
        self.rules = (rule,)

    def reads(self, i: int) -> frozenset[str]:
        """The parameters that rule ``i`` reads."""
        if i not in self._reads_of:
            rule = self.rules[i]
            self._reads_of[i] = _reads(rule) if rule is not None else frozenset()
        return self._reads_of[i]

    def plan(self, mask: int) -> Plan | None:
        """What to save when the inputs of the bits of ``mask`` want a gradient; None if none of them has a rule."""
        wanted = [i for i, r in enumerate(self.rules) if r is not None and mask >> i & 1]
        if not wanted:
            return None
        read = frozenset().union(*[self.reads(i) for i in wanted])
        kinds = [0 if n not in read else 2 if n in self.meta else 1 for n in self.inputs[: len(self.rules)]]
        return Plan("ans" in read, tuple(kinds), tuple([(i, k) for i, k in enumerate(kinds) if k != 1]))

    def plan_variadic(self, n: int) -> Plan:
        """What to save of ``n`` variadic inputs."""
        read = self.reads(0)
        kind = 0 if self.variadic not in read else 2 if self.variadic in self.meta else 1
        return Plan("ans" in read, (kind,) * n, tuple((i, kind) for i in range(n) if kind != 1))

    def gradients(self, node: Node, g: Any, args: Any, ans: Any, wanted: Any) -> list[Any]:
        """The gradient of each wanted input, from ``args`` and ``ans`` as arrays or as Tensors."""
        kwargs = node.kwargs or _NO_OPTIONS
        if self.variadic:
            rule = self.rules[0]
            assert rule is not None
            return [None if w is None else rule(i, g, ans, *args, **kwargs) for i, w in enumerate(wanted)]
        return [
            None if w is None else rule(g, ans, *args, **kwargs)  # type: ignore[misc]
            for rule, w in zip(self.rules, wanted, strict=True)
        ]

    def pull(self, node: Node, g: Array, wanted: Any, outs: Any = None) -> list[Any]:
        """Gradients of the wanted inputs on raw arrays."""
        args = saved_arrays(node)
        if self.variadic:
            return self.gradients(node, g, args, node.ans, wanted)
        ans, kwargs = node.ans, node.kwargs or _NO_OPTIONS
        result: list[Any] = []
        for i, rule in enumerate(self.rules):
            if wanted[i] is None:
                result.append(None)
            elif outs is not None and outs[i] is not None and self.takes_out[i]:
                result.append(rule(g, ans, *args, out=outs[i], **kwargs))  # type: ignore[misc]
            else:
                result.append(rule(g, ans, *args, **kwargs))  # type: ignore[misc]
        return result

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        """The same on Tensors, recorded."""
        saved_arrays(node)  # the checks
        ans = node.ans
        if type(ans) is not tuple and ans is not None:
            ans = Tensor._wrap(ans, node)
        return self.gradients(node, g, node.args, ans, wanted)


def saved_arrays(node: Node) -> list[Any]:
    """The node's saved arguments as arrays; an error if they were freed, or written to since they were saved."""
    args = node.args
    if args is None:
        raise freed()
    if node.cell is not None and node.cell.version != node.cell_version:
        raise stale(node, node.ans, node.cell.version, node.cell_version, True)
    raw: list[Any] = []
    for a in args:
        if a.__class__ in TENSORS:
            raw.append(a._data if a._vc is None else _array_of(node, len(raw), a))
        else:
            raw.append(a)
    return raw


def _versions(args: Any) -> tuple[int, ...] | None:
    """The versions of the saved tensors among ``args``; None when all are 0."""
    for a in args:
        if a.__class__ in TENSORS and a._vc is not None and a._vc.version:
            return tuple([b._vc.version if b.__class__ in TENSORS and b._vc is not None else 0 for b in args])
    return None


def record(prim: Any, ans: Any, args: tuple[Any, ...], edges: Any, kwargs: Any, save_ans: bool) -> Node:
    """A node for ``ans`` computed from ``args``, of which unneeded ones were replaced by None or an edge."""
    node = new(Node)
    node.primitive = prim
    node.edges = edges
    node.args = args
    node.kwargs = kwargs
    node.hooks = None
    node.versions = _versions(args)
    node.cell = None
    node.cell_version = 0
    node.ans = ans if save_ans else None
    if ans.__class__ is tuple:  # their shapes and dtypes: those of the Outputs, filled in by finish()
        node.shape = []
        node.dtype = []
    else:
        node.shape = ans.shape
        node.dtype = ans.dtype
    return node


def finish(node: Node, ans: Any, save_ans: bool) -> Any:
    """The output tensor(s) of ``node``."""
    if ans.__class__ is tuple:
        outputs = []
        edges = (node,)
        shapes, dtypes = node.shape, node.dtype
        for nr, a in enumerate(ans):
            out = new(Tensor)
            out._data = a
            out._vc = out._view = None
            shape, dtype = a.shape, a.dtype
            shapes.append(shape)
            dtypes.append(dtype)
            if dtype.kind in "biu":
                out._node = None
            else:
                out._node = edge = new(Output)
                edge.edges = edges
                edge.nr = nr
                edge.shape = shape
                edge.dtype = dtype
                edge.hooks = None
            outputs.append(out)
        return tuple(outputs)
    out = Tensor._wrap(ans, node)
    if save_ans:
        node.cell = out._vc = Cell()
    return out


def _array_of(node: Node, i: int, a: Any) -> Array:
    """The array of saved tensor ``a``, argument ``i`` of ``node``, if it was not written to since."""
    cell = a._vc
    if cell is not None:
        expected = 0 if node.versions is None else node.versions[i]
        if cell.version != expected:
            raise stale(node, a._data, cell.version, expected, False, a)
    return a._data


def _unary_pull(prim: Primitive) -> Callable[..., Any]:
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
            x = _array_of(node, 0, x) if x._vc is not None else x._data
        if len(args) == 1 and not node.kwargs:
            return (prim.rules[0](g, node.ans, x),)  # type: ignore[misc]
        return (prim.rules[0](g, node.ans, x, *args[1:], **(node.kwargs or _NO_OPTIONS)),)  # type: ignore[misc]

    return pull


def _binary_pull(prim: Primitive) -> Callable[..., Any]:
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
            x = _array_of(node, 0, x) if x._vc is not None else x._data
        if y.__class__ in TENSORS:
            y = _array_of(node, 1, y) if y._vc is not None else y._data
        first, second = prim.rules
        ex, ey = wanted
        if ex is None:
            return None, second(g, node.ans, x, y)  # type: ignore[misc]
        if ey is None:
            return first(g, node.ans, x, y), None  # type: ignore[misc]
        return first(g, node.ans, x, y), second(g, node.ans, x, y)  # type: ignore[misc]

    return pull


def _nary(prim: Primitive) -> Callable[..., Any]:
    forward = prim.forward
    promote = prim.promote
    view = prim.view
    variadic = prim.variadic

    def call(*args: Any, **kwargs: Any) -> Any:
        n = len(args) if variadic else len(prim.rules) or 1
        if args[0].__class__ in _RAW and (variadic or n == 1):  # in a rule, on arrays
            return forward(np, *args, **kwargs)
        raw: list[Any] = []
        edges: list[Any] = []
        mask, bit = 0, 1
        tensors = False
        quick = promote is None
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
                if a is not None and a.__class__ is not ndarray:
                    quick = False
            raw.append(a)
            bit += bit
        if not tensors:
            return forward(module_of(args[:n]), *args, **kwargs)
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
        except ValueError as e:
            raise mismatched(prim.name, raw) or e from None
        if ans.__class__ is not ndarray:
            if ans.__class__ is tuple:
                if not view:
                    ans = tuple([as_array(xp, a) for a in ans])
            else:
                ans = as_array(xp, ans)
        if mask and recording.enabled and prim.rules:
            plan = prim.plan_variadic(n) if variadic else prim.plans[mask]
            if plan is not None:
                node = record(prim, ans, _kept(args, edges, plan) if plan.drops else args, edges, kwargs, plan.ans)
                out = finish(node, ans, plan.ans)
                return as_view(prim, out, args, kwargs) if view else out
        out = tuple([Tensor._wrap(a, None) for a in ans]) if ans.__class__ is tuple else Tensor._wrap(ans, None)
        return as_view(prim, out, args, kwargs) if view else out

    return call


def _viewing(prim: Primitive, general: Callable[..., Any]) -> Callable[..., Any]:
    """The call of a view on the CPU, straightened: of one tensor, whatever its options; else ``general`` is called."""
    forward = prim.forward
    plans = prim.plans

    def call(*args: Any, **kwargs: Any) -> Any:
        x = args[0]
        if x.__class__ not in TENSORS or x._data.__class__ is not ndarray:
            return general(*args, **kwargs)
        if (view := x._view) is not None and view.generation != x._vc.generation:
            refresh(x)
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
            out = finish(record(prim, ans, kept, (edge,), kwargs, plan.ans), ans, plan.ans)
        return as_view(prim, out, args, kwargs)

    return call


def _kept(args: tuple[Any, ...], edges: list[Any], plan: Plan) -> tuple[Any, ...]:
    """``args`` with the tensors that no rule reads replaced by None, those read for their shape by their edge."""
    kept = list(args)
    for i, kind in plan.drops:
        if i < len(kept) and kept[i].__class__ in TENSORS:
            kept[i] = None if kind == 0 else edges[i] if edges[i] is not None else Shape(kept[i])
    return tuple(kept)


class Shape:
    """The shape and dtype of an input that has no edge."""

    __slots__ = ("dtype", "ndim", "shape")

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype, self.ndim = tensor._data.shape, tensor._data.dtype, tensor._data.ndim


def _unary(prim: Primitive) -> Callable[..., Any]:
    """The call of one input and no options: :func:`_nary`, straightened, for the hot path."""
    forward = prim.forward
    promote = prim.promote
    plans = prim.plans

    def call(x: Any) -> Any:
        if x.__class__ not in TENSORS:
            return forward(module_of((x,)), x)
        if (view := x._view) is not None and view.generation != x._vc.generation:
            refresh(x)
        data = x._data
        if data.__class__ is ndarray and (promote != "float" or (d := data.dtype) is _f32 or d is _f64):
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
            if x._vc is not None:
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


def _binary(prim: Primitive) -> Callable[..., Any]:
    """The call of two inputs and no options, straightened for the hot path."""
    forward = prim.forward
    floats = prim.promote == "float"
    plans = prim.plans

    def call(x: Any, y: Any) -> Any:
        if x.__class__ in TENSORS:
            if (view := x._view) is not None and view.generation != x._vc.generation:
                refresh(x)
            xd = x._data
            ex = x._node
        elif y.__class__ in TENSORS:
            xd = x
            ex = None
        else:
            return forward(module_of((x, y)), x, y)
        if y.__class__ in TENSORS:
            if (view := y._view) is not None and view.generation != y._vc.generation:
                refresh(y)
            yd = y._data
            ey = y._node
        else:
            yd = y
            ey = None
        try:
            if xd.__class__ is ndarray and (
                ((d := xd.dtype) is yd.dtype and (not floats or d is _f32 or d is _f64))
                if yd.__class__ is ndarray
                else ((yd.__class__ is float or yd.__class__ is int) and ((d := xd.dtype) is _f32 or d is _f64))
            ):
                ans = forward(np, xd, yd)
            else:
                xp, (xd, yd) = unify(prim, (x, y), [xd, yd])
                if xp is None:
                    return call(xd, yd)
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
            node.versions = _versions(args)
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


def _public(prim: Primitive, call: Callable[..., Any], methods: tuple[str, ...]) -> Any:
    call.__name__ = call.__qualname__ = prim.name
    call.__doc__ = prim.forward.__doc__
    call.__module__ = prim.forward.__module__
    call.primitive = prim  # type: ignore[attr-defined]
    call.defvjp = prim.defvjp  # type: ignore[attr-defined]
    call.defvjp_each = prim.defvjp_each  # type: ignore[attr-defined]
    prim.call = call
    REGISTRY[prim.name] = prim
    for name in methods:
        operator = name.startswith("__i") and name not in ("__invert__", "__iter__")
        if operator or (name.endswith("_") and not name.endswith("__")):
            setattr(Tensor, name, inplace(prim, name))
        elif name.startswith("__r") and name not in ("__rshift__", "__repr__", "__reversed__"):
            setattr(Tensor, name, _reflected(call))
        else:
            setattr(Tensor, name, call)
    return call


def _reflected(call: Callable[..., Any]) -> Callable[..., Any]:
    def reflected(self: Any, other: Any) -> Any:
        return call(other, self)

    return reflected


def primitive(
    *methods: str,
    promote: str | None = None,
    meta: str = "",
    view: bool = False,
    grad_name: Any = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Declare a differentiable operation by its forward function ``forward(xp, *inputs, **options)``.

    Args:
        methods: names under which it becomes a method of Tensor; ``__r…__`` ones take their operands reversed.
        promote: ``"same"``: inputs are brought to their common dtype; ``"float"``: likewise, and integers to the
            default float type; None: they are passed as they are.
        meta: inputs (by name, separated by spaces) of which rules read only shape and dtype.
        view: the result may share the first input's memory.
        grad_name: PyTorch's name of the node where it isn't CamelCase + ``Backward0``: a string, or a function of the
            node.
    """

    def declare(forward: Callable[..., Any]) -> Any:
        prim = Primitive(forward, promote, meta, view, grad_name)
        code = _code(forward)
        variable = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        plain = not variable and not view and not forward.__defaults__
        if plain and code.co_argcount == 2:
            call = _unary(prim)
        elif plain and code.co_argcount == 3 and promote is not None:
            call = _binary(prim)
            prim.pull = _binary_pull(prim)  # type: ignore[method-assign]
        else:
            call = _nary(prim)
            if view:
                call = _viewing(prim, call)
        return _public(prim, call, methods)

    return declare


class Fused(Primitive):
    """A primitive with a hand-made backward on raw arrays, and simple primitives that say what it means.

    ``forward`` returns ``(result, kept)``; ``backward(xp, g, ans, kept, wanted, *args, **options)`` returns a gradient
    (or None) for each differentiable input.  ``create_graph=True`` differentiates ``reference(*args, **options)``
    instead.
    """

    reference: Callable[..., Any]
    backward: Callable[..., Any]
    n: int

    def pull(self, node: Node, g: Array, wanted: Any, outs: Any = None) -> list[Any]:
        raw = saved_arrays(node)
        ans, kept = node.ans
        kwargs = node.kwargs or _NO_OPTIONS
        xp = np if ans.__class__ is ndarray else module_of((ans,))
        if outs is not None:
            return self.backward(xp, g, ans, kept, wanted, *raw, outs=outs, **kwargs)
        return self.backward(xp, g, ans, kept, wanted, *raw, **kwargs)

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> list[Any]:
        from .engine import grad

        saved_arrays(node)
        n = len(node.edges)
        # an alias of each wanted input: one tensor given twice must not have its two gradients added up
        inputs = [alias(a) if w is not None else a for a, w in zip(node.args[:n], wanted, strict=True)]
        again = self.reference(*inputs, *node.args[n:], **(node.kwargs or {}))
        chosen = [i for i, w in enumerate(wanted) if w is not None]
        found = grad(again, [inputs[i] for i in chosen], g, create_graph=True, allow_unused=True)
        result: list[Any] = [None] * n
        for i, d in zip(chosen, found, strict=True):
            result[i] = d
        return result


def fused(*methods: str, reference: Callable[..., Any], inputs: int, grad_name: Any = None) -> Callable[..., Any]:
    """Declare a fused primitive (:class:`Fused`) whose first ``inputs`` arguments are differentiable; give its backward
    with ``@name.defbackward``."""

    def declare(forward: Callable[..., Any]) -> Any:
        prim = Fused(forward, None, "", False, grad_name)
        prim.reference = reference
        prim.n = n = inputs

        def call(*args: Any, **kwargs: Any) -> Any:
            raw: list[Any] = []
            edges: list[Any] = []
            wants = tensors = False
            quick = True
            for a in args[:n]:
                if a.__class__ in TENSORS:
                    if a._view is not None:
                        refresh(a)
                    tensors = True
                    edge = a._node
                    edges.append(edge)
                    if edge is not None:
                        wants = True
                    a = a._data
                    if a.__class__ is not ndarray:
                        quick = False
                else:
                    edges.append(None)
                    if a is not None and a.__class__ is not ndarray:
                        quick = False
                raw.append(a)
            xp: Any = np
            if not tensors:
                return forward(module_of(args[:n]), *args, **kwargs)[0]
            if quick:
                ans, kept = forward(np, *raw, *args[n:], **kwargs)
            else:
                xp, raw = unify(prim, args[:n], raw)
                if xp is None:
                    return call(*raw, *args[n:], **kwargs)
                ans, kept = (forward if xp is np else placed(forward, raw))(xp, *raw, *args[n:], **kwargs)
            if ans.__class__ is not ndarray:
                ans = as_array(xp, ans)
            if not wants or not recording.enabled:
                return Tensor._wrap(ans, None)
            node = new(Node)
            node.primitive = prim
            node.edges = edges  # type: ignore[assignment]  # a list serves, and needs no copy
            node.args = args
            node.kwargs = kwargs
            node.hooks = node.cell = node.versions = None
            for a in args:
                if a.__class__ in TENSORS and a._vc is not None and a._vc.version:
                    node.versions = _versions(args)
                    break
            node.ans = (ans, kept)
            node.shape = ans.shape
            node.dtype = ans.dtype
            out = new(Tensor)
            out._data = ans
            out._node = node
            out._vc = out._view = None
            return out

        def defbackward(backward: Callable[..., Any]) -> Callable[..., Any]:
            prim.backward = backward
            prim.any_out = "outs" in _parameters(backward)
            return backward

        public = _public(prim, call, methods)
        public.defbackward = defbackward
        public.reference = reference
        return public

    return declare


@primitive("clone", grad_name="CloneBackward0")
def clone(xp: Any, x: Array) -> Array:
    """A copy with its own memory; gradients flow through it."""
    return x.copy()


clone.defvjp(lambda g, ans, x: g)


@primitive("copy_", promote=None, grad_name="CopyBackwards")
def copy(xp: Any, x: Array, source: Array) -> Array:
    """``source`` in the shape and dtype of ``x``; its in-place form ``x.copy_(source)`` overwrites ``x``."""
    return xp.broadcast_to(source, x.shape).astype(x.dtype)


copy.defvjp(lambda g, ans, x, source: None, lambda g, ans, x, source: g)


@primitive(grad_name="AliasBackward0")
def alias(xp: Any, x: Array) -> Array:
    """The same values; a node of its own."""
    return x


alias.defvjp(lambda g, ans, x: g)
