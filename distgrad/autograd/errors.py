"""The engine's errors, worded to PyTorch's sense."""

from __future__ import annotations

from typing import Any

from ..dtypes import from_numpy_dtype


def freed() -> RuntimeError:
    return RuntimeError(
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
        "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
        "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
        "saved tensors after calling backward."
    )


def stale(node: Any, array: Any, version: int, expected: int, is_output: bool, tensor: Any = None) -> RuntimeError:
    """A saved value was written to before backward needed it."""
    if is_output:
        which = f"which is output 0 of {node.name()}"
    elif tensor is not None and tensor.grad_fn is not None:
        which = f"which is output 0 of {tensor.grad_fn.name()}"
    else:
        which = "which is a leaf"
    if isinstance(array, tuple):
        array = array[0]
    kind = from_numpy_dtype(array.dtype).tensor_type
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[torch.{kind} {list(array.shape)}], {which}, saved by {node.name()}, is at version {version}; expected "
        f"version {expected} instead. Hint: write to a copy (x = x + 1 instead of x += 1), or write before it is used."
    )
