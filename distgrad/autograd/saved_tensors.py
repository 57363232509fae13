"""Hooks for what operations save for the backward pass: to keep it elsewhere, or in another form."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import backend
from .errors import freed
from .grad_mode import recording
from .graph import Node, copied
from .observers import observe, stop
from .recording import Wrapped, versions_of
from .tensor import TENSORS, Tensor

__all__ = [
    "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip


class _Box:
    """In a saved tensor's place: what the hook made of it."""

    __slots__ = ("dtype", "edge", "ndim", "packed", "shape", "tensor")

    def __init__(self, value: Any, pack: Callable[[Any], Any]) -> None:
        self.tensor = value.__class__ in TENSORS  # else it is a raw array
        tensor = value if self.tensor else Tensor._wrap(value, None)
        self.edge = tensor._node
        self.shape, self.dtype, self.ndim = tensor._data.shape, tensor._data.dtype, tensor._data.ndim
        before, observers = recording.enabled, recording.observers
        recording.enabled, recording.observers = False, ()
        try:
            self.packed = pack(tensor)
        finally:
            recording.enabled, recording.observers = before, observers

    def open(self, unpack: Callable[[Any], Any]) -> Any:
        found = unpack(self.packed)
        if found.__class__ not in TENSORS:
            kind = type(found).__name__
            raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {kind}")
        return Tensor._wrap(found._data, self.edge) if self.tensor else found._data


def _mapped(value: Any, function: Callable[[Any], Any], what: Callable[[Any], bool]) -> Any:
    """``value``, a tuple or one thing, with ``function`` of what it is for."""
    if value.__class__ is tuple:
        return tuple([_mapped(v, function, what) for v in value])
    return function(value) if what(value) else value


def _is_box(value: Any) -> bool:
    return value.__class__ is _Box


def _is_array(value: Any) -> bool:
    return backend.is_array(value) and not isinstance(value, np.generic)


class _Packed(Wrapped):
    """The primitive of a node whose saved tensors went through hooks."""

    def __init__(self, primitive: Any, unpack: Callable[[Any], Any], ans: Any) -> None:
        super().__init__(primitive)
        self._unpack, self._ans = unpack, ans

    def _whole(self, node: Node) -> Node:
        """The node as it was before."""
        if node.args is None:
            self._ans = None
            raise freed()
        opened: Callable[[Any], Any] = functools.partial(_Box.open, unpack=self._unpack)
        whole = copied(node)
        whole.primitive = self.primitive
        whole.args = _mapped(tuple(node.args), opened, _is_box)
        whole.ans = _mapped(self._ans, opened, _is_box)
        whole.cell = None
        whole.versions = versions_of(whole.args)
        return whole

    def pull(self, node: Node, g: Any, wanted: Any, outs: Any = None) -> Any:
        return self.primitive.pull(self._whole(node), g, wanted, outs)

    def pull_tensors(self, node: Node, g: Any, wanted: Any) -> Any:
        return self.primitive.pull_tensors(self._whole(node), g, wanted)


class saved_tensors_hooks:  # noqa: N801 - PyTorch's name
    """Inside, what operations save for the backward pass goes through ``pack_hook`` as they are recorded, and what that
    returns through ``unpack_hook``, which returns a tensor, when the backward pass needs it.

    >>> sizes = []
    >>> def pack(t):
    ...     sizes.append(tuple(t.shape))
    ...     return t.detach().numpy().tolist()
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(pack, torch.tensor):
    ...     y = x * x
    >>> y.sum().backward()
    >>> sizes, x.grad
    ([(2,), (2,)], tensor([2., 4.]))
    """

    refused: str | None = None  # why there are none just now

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if saved_tensors_hooks.refused is not None:
            raise RuntimeError(saved_tensors_hooks.refused)
        recording.pairs = (*recording.pairs, self)
        observe(self._pack)

    def __exit__(self, *exc: object) -> None:
        stop(self._pack)
        recording.pairs = recording.pairs[:-1]

    def _pack(self, node: Node) -> None:
        if recording.pairs[-1] is not self:
            return  # the innermost hooks count
        boxed = functools.partial(_Box, pack=self.pack_hook)
        args = _mapped(tuple(node.args), boxed, lambda a: a.__class__ in TENSORS)
        ans = _mapped(node.ans, boxed, _is_array)
        if any(_is_box(a) for a in args) or ans is not node.ans:
            if hasattr(node.primitive, "forget_versions"):
                node.primitive.forget_versions()
            node.primitive = _Packed(node.primitive, self.unpack_hook, ans)
            node.args = args
            node.ans = True  # something is saved: the engine lets go of it


class save_on_cpu(saved_tensors_hooks):  # noqa: N801 - PyTorch's name
    """Inside, what operations on a GPU save for the backward pass is kept in the host's memory until it is needed.

    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> with torch.autograd.graph.save_on_cpu():
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([6.])
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def unpack(kept: tuple[Any, Any]) -> Any:
            return kept[1].to(kept[0])

        super().__init__(lambda t: (t.device, t.detach().cpu()), unpack)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside, :class:`saved_tensors_hooks` raises RuntimeError with ``error_message``.

    >>> with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
    ...     with torch.autograd.graph.save_on_cpu():
    ...         pass
    Traceback (most recent call last):
    RuntimeError: not here
    """
    before, saved_tensors_hooks.refused = saved_tensors_hooks.refused, error_message
    try:
        yield
    finally:
        saved_tensors_hooks.refused = before


class _Copies(saved_tensors_hooks):
    """What :func:`allow_mutation_on_saved_tensors` gives: the copies are kept by the graph that needs them."""

    active = False

    def __init__(self) -> None:
        self.inside = False
        super().__init__(lambda t: t.detach().clone(), self._back)

    def _back(self, kept: Tensor) -> Tensor:
        if not self.inside:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was "
                "originally recorded."
            )
        return kept

    def __enter__(self) -> None:
        if _Copies.active:
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        super().__enter__()
        _Copies.active = self.inside = True

    def __exit__(self, *exc: object) -> None:
        _Copies.active = self.inside = False
        super().__exit__(*exc)

    def clear(self) -> None:
        """Nothing: there is no list of copies to empty."""


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[_Copies]:
    """Inside, what operations save for the backward pass is copied as they are recorded, so that writing to it in place
    afterwards changes no gradient.

    RuntimeError for one inside another; AssertionError for a backward pass behind it.

    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.allow_mutation_on_saved_tensors():
    ...     y = x.clone()
    ...     z = (y * y).sum()
    ...     y = y.zero_()
    ...     z.backward()
    >>> x.grad
    tensor([2., 2.])
    """
    copies = _Copies()
    with copies:
        yield copies
