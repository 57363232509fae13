"""Moving a module to another device or dtype, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from ... import backend, dtypes
from ...autograd import Tensor
from ...ops.creation import empty_like

if TYPE_CHECKING:
    from ...autograd.memory_format import memory_format
    from ..parameter import Parameter


class Movable:
    """The part of :class:`Module` that moves."""

    if TYPE_CHECKING:
        _parameters: dict[str, Parameter | None]
        _buffers: dict[str, Tensor | None]

        def children(self) -> Iterator[Movable]: ...

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace values of parameters, gradients and buffers by ``fn(values)``; parameters stay the same objects."""
        if recurse:
            for module in self.children():
                module._apply(fn, recurse)
        for parameter in self._parameters.values():
            if parameter is not None:
                _replace(parameter, fn)
                if parameter.grad is not None:
                    _replace(parameter.grad, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move, in place: ``to(device)``, ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)`` or with keywords.

        A dtype changes only floating-point and complex parameters and buffers, a ``memory_format`` those of 4 and 5
        dimensions.

        Raises:
            TypeError: a dtype that is neither.  RuntimeError: a device that isn't here, a memory format of another
                number of dimensions than a parameter has that it applies to.
        """
        device, dtype, form = _destination(args, kwargs)
        return self._apply(
            lambda t: _with_data(t, device).to(
                device=device,
                dtype=dtype if t.is_floating_point() or t.is_complex() else None,
                memory_format=form if t.ndim in (4, 5) else None,
            )
        )

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to ``device`` without the values: those there are not set."""
        return self._apply(lambda t: empty_like(t, device=device), recurse)

    def cpu(self) -> Self:
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: int | str | backend.device | None = None) -> Self:
        """Move to a GPU, by default the current one."""
        return self._apply(lambda t: t.cuda(device))

    def _cast(self, dtype: dtypes.dtype) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self) -> Self:
        """Floating-point parameters and buffers as float32."""
        return self._cast(dtypes.float32)

    def double(self) -> Self:
        """Floating-point parameters and buffers as float64."""
        return self._cast(dtypes.float64)

    def half(self) -> Self:
        """Floating-point parameters and buffers as float16."""
        return self._cast(dtypes.float16)

    def bfloat16(self) -> Self:
        """Floating-point parameters and buffers as bfloat16."""
        return self._cast(dtypes.bfloat16)

    def type(self, dst_type: dtypes.dtype) -> Self:
        """All parameters and buffers as ``dst_type``."""
        return self._apply(lambda t: t.to(dst_type))


def _with_data(t: Tensor, device: backend.device | None) -> Tensor:
    """``t``; NotImplementedError where it is to move from where it has no elements."""
    if t.is_meta and device is not None and device.type != "meta":
        raise NotImplementedError(
            "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
            "torch.nn.Module.to() when moving module from meta to a different device."
        )
    return t


def _replace(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> None:
    new = fn(tensor.data)
    if new._data is not tensor._data:  # flat storage need not adapt to what did not change
        tensor.data = new


def _destination(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[backend.device | None, dtypes.dtype | None, memory_format | None]:
    """The device, dtype and memory format that the arguments of :meth:`Module.to` name."""
    unknown = set(kwargs) - {"device", "dtype", "memory_format", "non_blocking", "tensor"}
    if unknown:
        raise TypeError(
            f"to() got an unexpected keyword argument '{min(unknown)}'; it takes device, dtype, tensor, memory_format"
        )
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for a in (*args, kwargs.get("tensor")):
        if isinstance(a, Tensor):
            device, dtype = a.device, a.dtype
        elif isinstance(a, dtypes.dtype):
            dtype = a
        elif isinstance(a, (str, backend.device)) or (isinstance(a, int) and not isinstance(a, bool)):
            device = a
        elif a is not None and not isinstance(a, bool):
            raise TypeError(f"to() takes a device, a dtype or a tensor, got {type(a).__name__}")
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}")
    return None if device is None else backend.resolve(device), dtype, kwargs.get("memory_format")
