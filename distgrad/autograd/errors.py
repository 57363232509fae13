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


def narrower(name: str, x: Any, shape: Any) -> RuntimeError:
    """A write to ``x`` of what broadcasts with it to another ``shape``."""
    return RuntimeError(
        f"output with shape {list(x.shape)} doesn't match the broadcast shape {list(shape)} (in {name}_)"
    )


def stale(node: Any, array: Any, version: int, expected: int, is_output: bool, tensor: Any = None) -> RuntimeError:
    """A saved value was written to before backward needed it."""
    if is_output:
        which = f"which is output 0 of {node.name()}"
    elif tensor is not None and hasattr(tensor._node, "edges") and tensor._node.edges:
        made_by = tensor._node.node if hasattr(tensor._node, "nr") else tensor._node
        which = f"which is output {tensor.output_nr} of {made_by.name()}"
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


_FORBIDDEN = (
    " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both "
    "the view and the inplace either both inside the {0} block (if you don't want the inplace to be tracked) or both "
    "outside (if you want the inplace to be tracked)."
)
_WHY = {
    "no_grad": _FORBIDDEN.format("no_grad"),
    "inference": _FORBIDDEN.format("inference_mode"),
    "several": (
        " This view is the output of a function that returns multiple views. Such functions do not allow the output "
        "views to be modified inplace. You should replace the inplace operation by an out-of-place one."
    ),
    "function": (
        " This view was created inside a custom Function (or because an input was returned as-is) and the autograd "
        "logic to handle view+inplace would override the custom backward associated with the custom Function, leading "
        "to incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the custom "
        "Function."
    ),
}


def unfollowed(view: Any, node: Any, output_nr: int, indirect: bool) -> RuntimeError:
    """A write that the history of ``view`` cannot follow: through it, or, ``indirect``, to its base or another view."""
    name = None if node is None or not (hasattr(node, "name") or hasattr(node, "nr")) else node
    if name is not None:
        name = (node.node if hasattr(node, "nr") else node).name()
    what = "its base or another view of its base has been" if indirect else "is being"
    if view.made in ("no_grad", "inference") or name is None:
        start = (
            "A view was created in"
            if name is None
            else f"Output {output_nr} of {name} is a view of a view which was created in"
        )
        mode = (
            f"inference mode and {what} modified inplace in normal mode."
            if view.made == "inference"
            else f"no_grad mode and {what} modified inplace with grad mode enabled."
        )
        return RuntimeError(f"{start} {mode}{_WHY[view.made]}")
    return RuntimeError(f"Output {output_nr} of {name} is a view and {what} modified inplace.{_WHY[view.made]}")


def leaf_written(view: bool) -> RuntimeError:
    """A recorded write to a leaf that requires grad, or to a view of one."""
    of = "a view of " if view else ""
    return RuntimeError(f"{of}a leaf Variable that requires grad is being used in an in-place operation.")


def turned_since() -> RuntimeError:
    """The history of a view, or of a write to one, of a tensor that took another shape in place."""
    return RuntimeError(
        "the tensor that this is a view of was given another shape in place since (by unsqueeze_(), t_() or the like), "
        "so that this view's history is not known any more: write x = x.unsqueeze(0) instead of x.unsqueeze_(0)"
    )


def overlapping() -> RuntimeError:
    return RuntimeError(
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation."
    )


def read_only() -> RuntimeError:
    """A write to memory that NumPy says is read-only."""
    return RuntimeError(
        "this tensor's memory is read-only: it was made over a NumPy array that cannot be written to. Write to a copy, "
        "which .clone() gives"
    )
