"""Tensor: an array, where its gradient goes, and the version of its memory.

Operations become methods of Tensor where they are declared (``primitive("__mul__")``); this file knows none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backend, dtypes
from ..backend.protocol import Array
from .description import Described
from .graph import TURN, Cell, Leaf, Node, Output, RemovableHandle, View, is_last, is_nowhere, settle
from .values import Valued

new = object.__new__

# The classes whose instances are tensors: looked up by identity in the hot path, kept by Tensor.__init_subclass__.
TENSORS: set[Any] = set()


def as_array(xp: Any, value: Any) -> Array:
    """``value``, what a forward function returned, as an array (NumPy's reductions return scalars)."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    return value if backend.is_array(value) else xp.asarray(value)


def taken(array: Array) -> Array:
    """``array``, if a tensor can be made over it.

    Raises:
        TypeError: elements of a type that no tensor has.
        ValueError: NumPy arrays of foreign byte order, with a negative stride or one that is no multiple of the
        element. """
    kind = array.dtype
    if array.__class__ is not np.ndarray and isinstance(array, np.ndarray):
        unmasked(array)
    if kind in dtypes.FROM_NUMPY:
        if dtypes.is_float8(kind):
            dtypes.float8_used.add(dtypes.FROM_NUMPY[kind])
        if array.__class__ is np.ndarray:
            strides = array.strides
            if strides and min(strides) < 0:
                raise ValueError(
                    "At least one stride in the given numpy array is negative, and tensors with negative strides are "
                    "not currently supported. (You can probably work around this by making a copy of your array  with "
                    "array.copy().) "
                )
            if any(s % kind.itemsize for s in strides):
                raise ValueError(
                    "given numpy array strides not a multiple of the element byte size. Copy the numpy array to "
                    "reallocate the memory."
                )
        return array
    if kind.newbyteorder("=") in dtypes.FROM_NUMPY:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            "currently not supported."
        )
    name = "numpy" if isinstance(array, np.ndarray) else backend.array_module(array).__name__
    raise TypeError(
        f"can't convert np.ndarray of type {name}.{kind.type.__name__}. The only supported types are: float64, "
        "float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
    )


def unmasked(array: np.ndarray) -> None:
    """TypeError for a masked array (``numpy.ma``) that hides an element: a tensor has no mask and would show it."""
    mask = getattr(array, "mask", None)
    if mask is not None and np.any(mask):
        raise TypeError(
            "can't convert a numpy.ma.MaskedArray with masked elements to a tensor, which would lose the mask; fill "
            "them with .filled(value), or make tensors of .data and .mask"
        )


def _in_default_dtype(array: Any) -> Any:
    """``array`` in the default dtype: itself where it is of that, otherwise a copy (of complex ones the real part)."""
    kind = dtypes.get_default_dtype().np
    if array.dtype == kind:
        return array
    with backend.where_it_lies(array):
        return (array.real if array.dtype.kind == "c" else array).astype(kind)


class Tensor(Valued, Described):
    """A multi-dimensional array that can record what is done to it (the standard: ``torch.Tensor``).

    Make one with :func:`distgrad.tensor`, :func:`distgrad.zeros` and their like.  ``Tensor(2, 3)``,
    ``Tensor([1, 2])`` and ``Tensor(array)`` make tensors of the default type, as PyTorch's legacy constructor does; an
    array of that type is not copied.

    Engine's fields:
        _data: the array.
        _node: the edge its gradient goes to (Node, Output or Leaf); None if it does not require grad.
        _vc: the version Cell of its memory, None as long as nobody needed one.
        _view: of a view, the View that says of what; else None.

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([[2., 4.],
            [6., 8.]])
    >>> x.shape, x.dtype, x.device
    (torch.Size([2, 2]), torch.float32, device(type='cpu'))
    """

    __slots__ = ("__dict__", "__weakref__", "_data", "_node", "_vc", "_view")
    __array_priority__ = 1000

    _data: Any
    _node: Node | Output | Leaf | None
    _vc: Cell | None
    _view: View | None
    # Rarely set, so kept in the instance's dict when they are.  So is _when_replaced: called before .data is assigned,
    # for those who look at the tensor alone and would not see that its memory is another.
    _grad: Tensor | None = None
    _retains: Callable[[Tensor], None] | None = None  # the hook that retain_grad() made

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        TENSORS.add(cls)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and backend.is_array(args[0]):
            array = _in_default_dtype(taken(args[0]))
        elif len(args) == 1 and isinstance(args[0], (float, complex, np.generic)):
            raise TypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
        elif len(args) == 1 and args[0].__class__ in TENSORS:
            array = args[0]._data
        elif args and all(isinstance(a, (int, np.integer)) for a in args):
            array = np.empty(tuple(int(a) for a in args), dtypes.get_default_dtype().np)
        elif len(args) <= 1:
            array = np.array(args[0] if args else [], dtypes.get_default_dtype().np)
        else:
            raise TypeError(f"Tensor() takes one array or sequence, or the sizes; got {len(args)} arguments")
        self = new(cls)
        self._data = array
        self._node = self._vc = self._view = None
        return self

    @staticmethod
    def _wrap(array: Array, node: Any) -> Tensor:
        t = new(Tensor)
        t._data = array
        t._node = node
        t._vc = None
        t._view = None
        return t

    # --- autograd ---------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor."""
        view = self._view
        if view is None:
            return self._node is not None
        if view.base._node is None and is_nowhere(self._node):
            return False
        return self._node is not None or (view.base._node is not None and self._data.dtype.kind not in "biu")

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value.__class__ is not bool:
            raise RuntimeError("requires_grad must be a bool")
        if not self.is_leaf and value:
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        self._require_grad(value)

    def _require_grad(self, value: bool) -> None:
        node = self._node
        if is_nowhere(node):
            node = None
        if value == (node is not None):
            return
        if self._vc is not None:
            self._vc.generation += TURN  # there may be views
        if not value:
            if type(node) is not Leaf:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            self.__dict__["_leaf"] = node  # its hooks and slot, should it be switched on again
            self._node = None
            return
        if dtypes.FROM_NUMPY[self._data.dtype].category < 2:
            raise RuntimeError(
                f"only Tensors of floating point and complex dtype can require gradients, this one is {self.dtype}"
            )
        leaf = self.__dict__.get("_leaf")
        self._node = leaf if leaf is not None else Leaf(self)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Set :attr:`requires_grad` and return the tensor."""
        given: Any = requires_grad
        if not isinstance(given, bool | np.bool_):
            found = type(given).__name__
            raise TypeError(f"requires_grad_(): argument 'requires_grad' (position 1) must be bool, not {found}")
        self._require_grad(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it: it has no history."""
        self._fresh()
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Any:
        """The node of the operation that made it; None for a leaf."""
        self._fresh()
        node = self._node
        if type(node) is Output:
            return node.node
        return node if type(node) is Node or isinstance(node, Node) else None

    @property
    def output_nr(self) -> int:
        """Which output of :attr:`grad_fn` it is."""
        return self._node.nr if type(self._node) is Output else 0

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf (or of a tensor that retains its gradient), or None."""
        found = self._grad
        return found if found.__class__ is not DeferredGrad else found.settle(self)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__!r}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._data.shape != self._data.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: the tensor has {list(self._data.shape)}, "
                    f"the grad {list(value._data.shape)}"
                )
            if value._data.dtype != self._data.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: the tensor has {self.dtype}, the grad {value.dtype}"
                )
            if value.device != self.device:
                raise RuntimeError(
                    f"assigned grad has data located on a different device: the tensor on {self.device}, the grad on "
                    f"{value.device}"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def data(self) -> Any:
        """The same memory without history; writing to it is not recorded."""
        t = new(Tensor)
        t._data = self._data
        t._node = t._vc = t._view = None
        return t

    @data.setter
    def data(self, value: Tensor) -> None:
        if value.__class__ not in TENSORS:
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._node is not None and value.dtype.category < 2:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        told = self.__dict__.get("_when_replaced")
        if told is not None:
            told(self)
        self._data = value._data
        node = self._node
        if type(node) is Leaf:
            array, slot = value._data, node.slot
            if slot is not None and (
                node.shape != array.shape
                or node.dtype != array.dtype
                or backend.device_of(slot._data) != backend.device_of(array)
            ):
                node.slot = None
            node.shape, node.dtype = array.shape, array.dtype

    def detach(self) -> Tensor:
        """The same memory without history; an in-place write to either is seen by both and by version checks."""
        settle(self)
        if self._vc is None:
            self._vc = Cell()
        self._vc.pinned = True
        t = Tensor._wrap(self._data, None)
        t._vc = self._vc
        return t

    def detach_(self) -> Tensor:
        """Forget the history, in place."""
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node = None
        if self._vc is not None:
            self._vc.generation += TURN
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in ``.grad`` too."""
        self._fresh()
        node = self._node
        if node is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if type(node) is Leaf or self._retains:
            return
        import weakref

        ref = weakref.ref(self)

        def keep(g: Tensor) -> None:
            tensor = ref()
            if tensor is not None:
                tensor._grad = g.clone() if tensor._grad is None else tensor._grad + g

        keep.last = True  # type: ignore[attr-defined]
        self._retains = keep  # taken along when a write gives the tensor another history
        if node.hooks is None:
            node.hooks = []
        node.hooks.append(keep)

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this non-leaf tensor."""
        return self._retains is not None

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient is complete; what it returns, if not None, replaces it."""
        self._fresh()
        node = self._node
        if node is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if node.hooks is None:
            node.hooks = []
        at = len(node.hooks)
        while at and getattr(node.hooks[at - 1], "last", False):
            at -= 1
        node.hooks.insert(at, hook)
        return RemovableHandle(node.hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(tensor)`` after each backward that added to this leaf's ``.grad``: once, when it is complete."""
        node = self._node
        if type(node) is not Leaf:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors or those without grad"
            )
        if node.post_hooks is None:
            node.post_hooks = []
        hooks = node.post_hooks
        at = len(hooks)
        while at and is_last(hooks[at - 1]) and not is_last(hook):
            at -= 1
        hooks.insert(at, hook)
        return RemovableHandle(hooks, hook)

    @property
    def _version(self) -> int:
        """How many in-place writes its memory has seen."""
        return 0 if self._vc is None else self._vc.version

    def _bump(self) -> None:
        """Note an in-place write to ``_data``."""
        cell = self._vc
        if cell is None:
            cell = self._vc = Cell()
        cell.version += 1
        cell.generation += 1

    @property
    def _base(self) -> Tensor | None:
        """The tensor that this one is a view of, or None."""
        return None if self._view is None else self._view.base

    def _is_view(self) -> bool:
        return self._view is not None

    # --- to Python and NumPy ----------------------------------------------------------------------------------------

    def __hash__(self) -> int:
        return id(self)

    _is_parameter = False

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()))

    if TYPE_CHECKING:  # operations are attached where they are declared

        def __getattr__(self, name: str) -> Any: ...
        def backward(
            self,
            gradient: Tensor | None = None,
            retain_graph: bool | None = None,
            create_graph: bool = False,
            inputs: Any = None,
        ) -> None: ...
        def _fresh(self) -> None: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __iter__(self) -> Any: ...


TENSORS.add(Tensor)


class DeferredGrad(Tensor):
    """A leaf's gradient slot whose value is found out when somebody asks for it.

    Fields:
        settle: given the leaf, returns what is to be its ``.grad`` from then on.
        open: called before a backward pass writes to the slot or adds to what the leaf has; False: the slot is not to
            be written to.
    """

    settle: Callable[[Tensor], Tensor]
    open: Callable[[], bool]

    def __new__(cls, array: Any) -> DeferredGrad:
        """Over ``array``, in its own type."""
        self = new(cls)
        self._data = array
        self._node = self._vc = self._view = None
        return self
