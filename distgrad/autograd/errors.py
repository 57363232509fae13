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


def mismatched(name: str, operands: Any) -> RuntimeError | None:
    """Two operands whose shapes do not broadcast; None if they do, so that it was something else."""
    shapes = [a.shape for a in operands if hasattr(a, "shape")]
    for i, a in enumerate(shapes):
        for b in shapes[i + 1 :]:
            for d in range(1, min(len(a), len(b)) + 1):
                if a[-d] != b[-d] and 1 not in (a[-d], b[-d]):
                    return RuntimeError(
                        f"The size of tensor a ({a[-d]}) must match the size of tensor b ({b[-d]}) at non-singleton "
                        f"dimension {max(len(a), len(b)) - d} (in {name.strip('_')}: {list(a)} and {list(b)})"
                    )
    return None


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
