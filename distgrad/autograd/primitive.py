"""One operation, one place: a forward function and one gradient rule per input.

::

    @primitive("__mul__", "__rmul__", promote="same")
    def mul(xp, x, y):
        return xp.multiply(x, y)

    mul.defvjp(lambda g, ans, x, y: g * y,
               lambda g, ans, x, y: g * x,
               saves=("y", "x"))

``xp`` is the array module of the inputs.  A rule takes the gradient of the result, the result and the inputs, and
returns the gradient of one input, before broadcasting is summed back (the engine does that).  It runs on raw arrays in
an ordinary backward pass and on recorded Tensors under ``create_graph=True``; whatever it calls must take both, as
every primitive does: called on raw arrays, a primitive returns raw arrays.

What a node must keep is declared beside the rules: ``saves`` names, for each rule, the inputs and the result (``ans``)
that it reads, and one is saved only where a rule that will run reads it; in the place of another the rule is given
None.  Where ``saves`` is left out everything is kept, which is never wrong, but holds memory.  Inputs named in ``meta``
are read for their shape and dtype alone: their rules are given the edge, which has both, and nothing is kept alive.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..backend.protocol import Array
from .dispatch import NO_OPTIONS, binary_call, binary_pull, general_call, keywords, unary_call, unary_pull, view_call
from .errors import mismatched, narrower
from .graph import Node, output_of
from .recording import Plan, Rule, code_of, named_as, parameters_of, saved_arrays
from .tensor import Tensor
from .views import inplace

REGISTRY: dict[str, Primitive] = {}


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
        saves: for each rule the names of the inputs, and ``ans`` for the result, that it reads.
        takes_out: for each differentiable input whether its rule can write into ``out``.
        plans: for each set of inputs that want a gradient (a bit mask) what to save.
    """

    always_saves = False  # whether PyTorch saves a number, too, so that the graph can be gone through but once
    ufunc: np.ufunc | None = None  # that computes floats of one type in NumPy, just as ``forward`` does
    refuse: Callable[[Any], None] | None = None  # raises for operands, as given, of types that it does not take
    public: tuple[str, tuple[str, ...]] | None = None  # the function that users call in its place, and its arguments

    def __init__(self, forward: Callable[..., Any], promote: str | None, meta: str, view: bool, grad_name: Any) -> None:
        self.forward = forward
        self.name = forward.__name__
        self.promote = promote
        self.meta = frozenset(meta.split())
        self.view = view
        self.grad_name = grad_name
        code = code_of(forward)
        self.inputs = code.co_varnames[1 : code.co_argcount]
        named = code.co_argcount + code.co_kwonlyargcount
        self.variadic = code.co_varnames[named] if code.co_flags & inspect.CO_VARARGS else None
        self.rules: tuple[Rule | None, ...] = ()
        self.takes_out: tuple[bool, ...] = ()
        self.any_out = False
        self.materialize = True
        self.wide_number = False  # whether half precisions meet a number behind them in float32, as it is
        self.fitting_number = False  # whether a number that a half precision cannot hold is refused, not infinite
        self.multilinear = False  # of a variadic one: whether of the input it is for the rule reads only the shape
        self.one_kind = True  # whether its first argument tells if it is called on tensors or on arrays
        self.call: Callable[..., Any] = forward
        self.plans = Plans(self)
        self.saves: tuple[frozenset[str], ...] = ()

    def ignores(self, node: Node, i: int) -> bool:
        """Whether the backward pass does not need the value of saved input ``i`` of ``node`` after all."""
        return False

    def node_name(self, node: Node) -> str:
        if callable(self.grad_name):
            return self.grad_name(node)
        return self.grad_name or "".join(w.capitalize() for w in self.name.strip("_").split("_")) + "Backward0"

    def defvjp(self, *rules: Rule | None, saves: str | Sequence[str] | None = None) -> None:
        """Give the gradient rule of each differentiable input, in order; None where there is no gradient.

        Args:
            saves: what the rules read of the inputs with rules (by the names that forward gives them) and of the result
                (``"ans"``): names separated by spaces, for all rules alike or in a sequence for each.  By default
                everything.

        Raises:
            ValueError: ``saves`` names something else, or is not one for each rule.
        """
        self.rules = rules
        self._declare(saves)
        self.takes_out = tuple([r is not None and "out" in parameters_of(r) for r in rules])
        self.any_out = True in self.takes_out
        self.one_kind = self.variadic is not None or len(rules) <= 1
        if len(rules) == 1 and not self.any_out:
            self.pull = unary_pull(self)  # type: ignore[method-assign]

    def defvjp_each(self, rule: Callable[..., Any], saves: str | None = None) -> None:
        """Give one rule for all inputs of a variadic primitive: ``rule(i, g, ans, *inputs, **kwargs)``.

        ``saves`` may name the variadic parameter and ``ans``, as for :meth:`defvjp`.
        """
        self.rules = (rule,)
        self._declare(saves)

    def _declare(self, saves: str | Sequence[str] | None) -> None:
        """Take note of what each rule reads."""
        known = ("ans", self.variadic) if self.variadic else ("ans", *self.inputs[: len(self.rules)])
        if saves is None:
            saves = " ".join(known)
        each = [saves] * len(self.rules) if isinstance(saves, str) else list(saves)
        if len(each) != len(self.rules):
            raise ValueError(f"{self.name}: saves has {len(each)} entries for {len(self.rules)} rules")
        self.saves = tuple([frozenset(names.split()) for names in each])
        for name in frozenset().union(*self.saves):
            if name not in known:
                raise ValueError(f"{self.name}: saves names {name!r}, but may name {', '.join(known)}")
        self.plans.clear()

    def plan(self, mask: int) -> Plan | None:
        """What to save when the inputs of the bits of ``mask`` want a gradient; None if none of them has a rule."""
        wanted = [i for i, r in enumerate(self.rules) if r is not None and mask >> i & 1]
        if not wanted:
            return None
        read = frozenset().union(*[self.saves[i] for i in wanted])
        kinds = [0 if n not in read else 2 if n in self.meta else 1 for n in self.inputs[: len(self.rules)]]
        return Plan("ans" in read, tuple(kinds), tuple([(i, k) for i, k in enumerate(kinds) if k != 1]))

    def plan_variadic(self, n: int, mask: int) -> Plan:
        """What to save of ``n`` variadic inputs."""
        read = self.saves[0]
        kind = 0 if self.variadic not in read else 2 if self.variadic in self.meta else 1
        kinds = [kind] * n
        if self.multilinear and mask & (mask - 1) == 0:  # only one is wanted
            kinds[mask.bit_length() - 1] = 2
        return Plan("ans" in read, tuple(kinds), tuple([(i, k) for i, k in enumerate(kinds) if k != 1]))

    def gradients(self, node: Node, g: Any, args: Any, ans: Any, wanted: Any) -> list[Any]:
        """The gradient of each wanted input, from ``args`` and ``ans`` as arrays or as Tensors."""
        kwargs = node.kwargs or NO_OPTIONS
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
        ans, kwargs = node.ans, node.kwargs or NO_OPTIONS
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
        if type(ans) is tuple:
            ans = tuple([Tensor._wrap(a, output_of(node, nr, a)) for nr, a in enumerate(ans)])
        elif ans is not None:
            ans = Tensor._wrap(ans, node)
        return self.gradients(node, g, node.args, ans, wanted)


def publish(prim: Primitive, call: Callable[..., Any], methods: tuple[str, ...], lenient: Any = None) -> Any:
    """Make ``call`` known; Python's operators get ``lenient``, which takes NumPy's arrays beside tensors."""
    call.__name__ = call.__qualname__ = prim.name
    call.__doc__ = prim.forward.__doc__
    call.__module__ = prim.forward.__module__
    call.primitive = prim  # type: ignore[attr-defined]
    call.operator = lenient or call  # type: ignore[attr-defined]
    call.defvjp = prim.defvjp  # type: ignore[attr-defined]
    call.defvjp_each = prim.defvjp_each  # type: ignore[attr-defined]
    prim.call = call
    REGISTRY[prim.name] = prim
    for name in methods:
        operator = name.startswith("__i") and name not in ("__invert__", "__iter__")
        if operator or (name.endswith("_") and not name.endswith("__")):
            setattr(Tensor, name, inplace(prim, name))
        elif name.startswith("__r") and name not in ("__rshift__", "__repr__", "__reversed__"):
            setattr(Tensor, name, _reflected(lenient or call))
        else:
            setattr(Tensor, name, lenient or call if name.startswith("__") else call)
    return call


def _with_keywords(prim: Primitive, call: Any) -> Any:
    """``call``, of one or two arguments, with PyTorch's names for them: in its code, so that to call it costs nothing
    more."""
    code = call.__code__
    given = tuple(keywords(prim)[: code.co_argcount])
    if not set(given) & set(code.co_varnames[code.co_argcount :]):
        call.__code__ = named_as(code, given)
    return call


_SEQUENCES = frozenset((list, tuple, str, bytes))


def _reflected(call: Callable[..., Any]) -> Callable[..., Any]:
    def reflected(self: Any, other: Any) -> Any:
        if other.__class__ in _SEQUENCES:
            return NotImplemented  # Python repeats the sequence, or says that it cannot
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
            default float type; ``"power"``: ``"same"`` but for a number that the type cannot hold, which is given as it
            is; None: they are passed as they are.
        meta: inputs (by name, separated by spaces) of which rules read only shape and dtype.
        view: the result may share the first input's memory.
        grad_name: PyTorch's name of the node where it isn't CamelCase + ``Backward0``: a string, or a function of the
            node.

    >>> @torch.autograd.primitive()
    ... def cube(xp, x):
    ...     return x**3
    ...
    >>> cube.defvjp(lambda g, ans, x: 3 * g * x**2, saves="x")
    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    tensor([12.])
    """

    def declare(forward: Callable[..., Any]) -> Any:
        prim = Primitive(forward, promote, meta, view, grad_name)
        code = code_of(forward)
        lenient = None
        variable = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        plain = not variable and not view and not forward.__defaults__
        if plain and code.co_argcount == 2:
            call = _with_keywords(prim, unary_call(prim))
        elif plain and code.co_argcount == 3 and promote is not None:
            call, lenient = _with_keywords(prim, binary_call(prim)), binary_call(prim, strict=False)
            prim.pull = binary_pull(prim)  # type: ignore[method-assign]
        else:
            call, lenient = general_call(prim), general_call(prim, strict=False)
            if view:
                call = lenient = view_call(prim, call)
        return publish(prim, call, methods, lenient)

    return declare


@primitive(grad_name="CloneBackward0")
def clone(xp: Any, x: Array) -> Array:
    """A copy with its own memory; gradients flow through it.

    >>> x = torch.tensor([1.0])
    >>> y = torch.clone(x)
    >>> y += 1
    >>> x
    tensor([1.])
    """
    return x.copy(order="K")


clone.defvjp(lambda g, ans, x: g, saves="")


@primitive("copy_", promote=None, grad_name="CopyBackwards")
def copy(xp: Any, x: Array, source: Array) -> Array:
    """``source`` in the shape and dtype of ``x``; its in-place form ``x.copy_(source)`` overwrites ``x``."""
    try:
        return dtypes.cast(xp.broadcast_to(source, x.shape), x.dtype)
    except ValueError:
        error = mismatched("copy", (x, source))
        raise error or narrower("copy", x, np.broadcast_shapes(x.shape, source.shape)) from None


def zeros_as(g: Any) -> Any:
    """Zeros in the place of the gradient ``g``: of what was overwritten, which was used and does not count."""
    data = g._data if isinstance(g, Tensor) else g
    zeros = backend.array_module(data).zeros(data.shape, data.dtype)
    return Tensor._wrap(zeros, None) if isinstance(g, Tensor) else zeros


copy.defvjp(lambda g, ans, x, source: zeros_as(g), lambda g, ans, x, source: g, saves="")


@primitive(grad_name="AliasBackward0")
def alias(xp: Any, x: Array) -> Array:
    """The same values; a node of its own."""
    return x


alias.defvjp(lambda g, ans, x: g, saves="")
