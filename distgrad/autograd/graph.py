"""The recorded graph.  An *edge* is where a tensor's gradient goes: a Node, one Output of a Node, or a Leaf.

Every edge has ``shape`` and ``dtype`` (of the tensor whose gradient it takes) and ``hooks``.  A Node points only to
what it was computed from, never to its own output, so reference counting alone frees a graph; a Leaf knows its tensor
weakly for the same reason.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .memory_format import lies_last

if TYPE_CHECKING:
    from .tensor import Tensor

Hook = Any  # Callable[[Tensor], Tensor | None]


TURN = 1 << 40


class Cell:
    """The version of a memory area: shared by a tensor, its views and the node that saved it.

    ``version`` counts in-place writes; ``generation`` counts them too and, by :data:`TURN`, each time that the owner
    began or ceased to require grad: after either a view's own history may be out of date.  ``pinned``: whether somebody
    else may know of the memory, or asked for the order of elements in it, so that they stay where they are.
    """

    __slots__ = ("generation", "pinned", "version")

    def __init__(self) -> None:
        self.version = 0
        self.generation = 0
        self.pinned = False


def pin(x: Tensor) -> None:
    """Let the elements of ``x`` stay in the order they have in memory: a user asked for it, or shares the memory."""
    if x._vc is None:
        x._vc = Cell()
    x._vc.pinned = True


def settle(x: Any) -> None:
    """Let the elements of ``x`` lie row by row, if their channels lie last only because a convolution left them so.

    Done before somebody else may know of the memory: a view, a detached tensor, NumPy.  So every view there is in
    PyTorch is one here.
    """
    if (x._vc is None or not x._vc.pinned) and x._view is None and lies_last(x._data) and type(x._node) is not Leaf:
        x._data = np.ascontiguousarray(x._data)


class Node:
    """One recorded operation with one output (or several: then each is an Output).

    ``edges`` runs parallel to the primitive's inputs, None where no gradient is wanted.  ``args`` holds what the
    gradient rules of the wanted edges read: saved tensors, the edge itself where only shape and dtype are read, else
    None.  ``versions`` are the versions of the saved tensors, None when all are 0.
    """

    __slots__ = (
        "__weakref__", "ans", "args", "cell", "cell_version", "dtype", "edges", "hooks", "kwargs", "notes", "primitive",
        "shape", "versions",
    )  # fmt: skip
    ans: Any
    args: Any  # None once freed
    cell: Cell | None
    cell_version: int
    dtype: Any
    edges: tuple[Any, ...]
    hooks: list[Hook] | None
    kwargs: dict[str, Any] | None
    notes: dict[str, Any]  # what users noted, once they did
    primitive: Any
    shape: Any
    versions: tuple[int, ...] | None

    def name(self) -> str:
        """PyTorch's name for this node, e.g. ``MulBackward0``."""
        return self.primitive.node_name(self)

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """For each input the function its gradient goes to and which of that function's outputs it is."""
        return tuple(_as_function(e) for e in self.edges)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


def copied(node: Node) -> Node:
    """Another node with what ``node`` has."""
    other = object.__new__(Node)
    for name in Node.__slots__:
        if name != "__weakref__" and hasattr(node, name):  # without a cell there is no version of it
            setattr(other, name, getattr(node, name))
    return other


class Output:
    """Output number ``nr`` of a Node that has several."""

    __slots__ = ("__weakref__", "dtype", "edges", "hooks", "nr", "shape")
    dtype: Any
    edges: tuple[Node]
    hooks: list[Hook] | None
    nr: int
    shape: Any

    @property
    def node(self) -> Node:
        """The node that it is an output of."""
        return self.edges[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Leaf:
    """Where the gradient of a tensor that the user made arrives.

    Three fields say more than that, and this room alone writes them; others call the functions named here.

    Attributes:
        post_hooks: run with the tensor after its gradient is complete.
        slot: a tensor over the parameter's part of flat gradient storage, if it has one: the first gradient is written
            there.  Given, passed on and replaced by the functions of gradient_slots.py.
        bound: None, or, for a post hook that asks, what no element of the gradient just made exceeds in magnitude:
            infinite, unless the operation that wrote it into the slot knows better.  The hook calls :meth:`take_bound`,
            the operation :meth:`tell_bound`.
        factors: None, or asked by an operation whose gradient is a product gᵀ x, with the two: True if they are kept
            instead, and the slot left as it is.  Set by :meth:`offer_factors`.
    """

    __slots__ = (
        "__weakref__", "accumulator", "bound", "dtype", "factors", "hooks", "post_hooks", "shape", "slot", "tensor",
    )  # fmt: skip
    edges = ()

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.shape = tensor._data.shape
        self.dtype = tensor._data.dtype
        self.hooks: list[Hook] | None = None
        self.post_hooks: list[Any] | None = None
        self.bound: float | None = None
        self.factors: Callable[[Any, Any], bool] | None = None
        self.slot: Tensor | None = None
        self.accumulator: weakref.ref[AccumulateGrad] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def take_bound(self) -> float:
        """What no element of the gradient just made exceeds, infinite if nobody knows; asks for that of the next."""
        bound, self.bound = self.bound, math.inf
        return math.inf if bound is None else bound

    def tell_bound(self, bound: float) -> None:
        """No element of the gradient that is being made exceeds ``bound``; where somebody asks."""
        if self.bound is not None:
            self.bound = bound

    def ask_no_bound(self) -> None:
        """Nobody asks any longer."""
        self.bound = None

    def offer_factors(self, keep: Callable[[Any, Any], bool] | None) -> None:
        """Have the operation that makes the gradient ask ``keep`` whether its two factors are kept; None: no longer."""
        self.factors = keep


def _nobody() -> None:
    return None


def nowhere(tensor: Tensor) -> Leaf:
    """The edge of a tensor that requires grad because what it is a view of does, and of which no history is known: what
    is computed from it is recorded, and the gradient that arrives is dropped, as in PyTorch."""
    leaf = Leaf(tensor)
    leaf.tensor = _nobody  # type: ignore[assignment]
    return leaf


def is_nowhere(edge: Any) -> bool:
    """Whether ``edge`` was made by :func:`nowhere`."""
    return type(edge) is Leaf and edge.tensor is _nobody


class View:
    """How a tensor is a view: of ``base``, by the steps of ``parent`` (the View it was made from, or None) and then
    output ``nr`` (None: the only one) of ``step``: (primitive, arguments behind the first, options).

    ``generation`` is the memory's when the view's own history was last right.  ``made`` says why its
    history cannot follow a write, None where it can: it, or what it is a view of, was made under ``"no_grad"``, in
    ``"inference"`` mode, as one of ``"several"`` views or by a custom ``"function"``.
    """

    __slots__ = ("base", "generation", "made", "nr", "parent", "step")
    base: Tensor
    generation: int
    made: str | None
    nr: int | None
    parent: View | None
    step: tuple[Any, tuple[Any, ...], dict[str, Any]]

    def steps(self) -> tuple[Any, ...]:
        """What to do with the base to get the view, without anything that would keep the base alive."""
        own = (*self.step, self.nr)
        return (own,) if self.parent is None else (*self.parent.steps(), own)


def stepped(x: Any, steps: tuple[Any, ...]) -> Any:
    """``x``, a Tensor or an array, after the steps of a :class:`View`."""
    for primitive, args, kwargs, nr in steps:
        x = primitive.call(x, *args, **kwargs)
        if nr is not None:
            x = x[nr]
    return x


class AccumulateGrad(Node):
    """A Leaf as ``next_functions`` shows it: the same object for as long as somebody holds it."""

    __slots__ = ("leaf", "variable")

    def __init__(self, leaf: Leaf) -> None:
        self.variable = leaf.tensor()
        self.leaf = leaf
        self.args, self.edges = (), ()

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        return ()

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


def _accumulator(leaf: Leaf) -> AccumulateGrad:
    found = None if leaf.accumulator is None else leaf.accumulator()
    if found is None:
        found = AccumulateGrad(leaf)
        leaf.accumulator = weakref.ref(found)
    return found


def _as_function(edge: Any) -> tuple[Any, int]:
    if edge is None:
        return None, 0
    if type(edge) is Leaf:
        return _accumulator(edge), 0
    if type(edge) is Output:
        return edge.node, edge.nr
    return edge, 0


def output_of(node: Node, nr: int, array: Any) -> Output:
    """The edge of output ``nr``, ``array``, of ``node``."""
    out = object.__new__(Output)
    out.edges = (node,)
    out.nr = nr
    out.shape = array.shape
    out.dtype = array.dtype
    out.hooks = None
    return out


def last(hook: Any) -> Any:
    """Mark a function as a hook that stays behind those of users, whenever they are registered."""
    hook.is_last = True
    return hook


def is_last(hook: Any) -> bool:
    """Whether ``hook`` is so marked."""
    return getattr(hook, "is_last", False) is True


class RemovableHandle:
    """What registering a hook returns; ``remove()`` takes the hook out, as does leaving a ``with`` block.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> handle = x.register_hook(lambda g: 10 * g)
    >>> handle.remove()
    >>> x.sum().backward()
    >>> x.grad
    tensor([1.])
    """

    def __init__(self, hooks: Any, hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        hooks, self._hooks = self._hooks, None
        if hooks is None:
            return
        if isinstance(hooks, dict):
            hooks.pop(self._hook, None)
            return
        for i, h in enumerate(hooks):
            if h is self._hook:
                del hooks[i]
                return

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
