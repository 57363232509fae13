"""Products with Jacobians and Hessians, and these themselves, of functions of tensors: PyTorch's older interface.

``func`` has the newer one, of functions that return functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ops.creation import ones_like, zeros, zeros_like
from ..ops.joining import stack
from .backward import grad
from .grad_mode import enable_grad
from .primitive import alias
from .tensor import TENSORS, Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(value: Any, name: str, function: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether ``value`` is a tuple, and its tensors."""
    several = isinstance(value, tuple)
    found = tuple(value) if several else (value,)
    for i, t in enumerate(found):
        if t.__class__ not in TENSORS:
            where = f"value at index {i} in the {name}" if several else f"{name}"
            raise TypeError(
                f"The {where} given to {function} must be either a Tensor or a tuple of Tensors but it has type "
                f"{type(t)}."
            )
    return several, found


def _watched(inputs: tuple[Tensor, ...], recorded: bool) -> tuple[Tensor, ...]:
    """``inputs``, to be differentiated; ``recorded``: what is found is to have their history."""
    return tuple(alias(x) if recorded and x.requires_grad else x.detach().requires_grad_() for x in inputs)


def _shown(several: bool, found: Any, recorded: bool) -> Any:
    made = tuple(t if recorded else t.detach() for t in found)
    return made if several else made[0]


def _vector(v: Any, like: tuple[Tensor, ...], several: bool, name: str) -> tuple[Tensor, ...]:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"The vector v can only be None if the user-provided function returns a single Tensor with a single "
                f"element: {name}"
                if name == "vjp"
                else "The vector v can only be None if the input to the user-provided function is a single Tensor with "
                "a single element."
            )
        return (ones_like(like[0]).detach(),)
    tensors = _tuple(v, "v", name)[1]
    if len(tensors) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(tensors)}.")
    for i, (t, x) in enumerate(zip(tensors, like, strict=True)):
        if t.shape != x.shape:
            which = f"Entry {i} in v" if len(like) > 1 else "v"
            raise RuntimeError(f"{which} has invalid size: should be {x.shape} but got {t.shape}.")
    return tensors


def _called(func: Callable[..., Any], inputs: tuple[Tensor, ...], name: str) -> tuple[bool, tuple[Tensor, ...]]:
    return _tuple(func(*inputs), "outputs of the user-provided function", name)


def _one_number(outputs: tuple[Tensor, ...], several: bool, name: str) -> Tensor:
    if several:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1 or outputs[0].dim() > 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
    return outputs[0].reshape(())


def _grads(outputs: Any, inputs: Any, weights: Any, recorded: bool, strict: bool, what: str) -> tuple[Tensor, ...]:
    """The gradients of ``inputs``; zeros, or with ``strict`` RuntimeError, where an output does not depend on one."""
    if strict and not all(o.requires_grad for o in outputs):
        i = next(i for i, o in enumerate(outputs) if not o.requires_grad)
        raise RuntimeError(
            f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
            "differentiable manner from the input when running in strict mode."
        )
    pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    if not pairs:
        return tuple(zeros_like(x).detach() for x in inputs)
    found = grad([o for o, _ in pairs], inputs, [w for _, w in pairs], retain_graph=True, create_graph=recorded,
                 allow_unused=True)  # fmt: skip
    for i, g in enumerate(found):
        if g is None and strict:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {i}. This is not allowed in strict "
                f"mode. ({what})"
            )
    return tuple(zeros_like(x).detach() if g is None else g for g, x in zip(found, inputs, strict=True))


def _pushed(outputs: Any, inputs: Any, v: Any, recorded: bool, strict: bool) -> tuple[Tensor, ...]:
    """Of each output the product of its Jacobian with ``v``: a gradient of a gradient, linear in its weights."""
    weights = tuple(zeros_like(o).detach().requires_grad_() for o in outputs)
    first = _grads(outputs, inputs, weights, True, strict, "jvp")
    pairs = [(g, t) for g, t in zip(first, v, strict=True) if g.requires_grad]
    if not pairs:
        return tuple(zeros_like(o).detach() for o in outputs)
    return grad([g for g, _ in pairs], weights, [t for _, t in pairs], retain_graph=True, create_graph=recorded,
                materialize_grads=True)  # fmt: skip


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The value of ``func`` at ``inputs`` and the product of ``v``, of the value's form, with its Jacobian.

    Args:
        func: takes and returns a tensor or several.
        inputs: a tensor or a tuple.
        v: may be left out where the value is one number: 1.
        create_graph: what is found has a history.
        strict: RuntimeError where an output does not depend on an input.

    >>> torch.autograd.functional.vjp(torch.exp, torch.zeros(2), torch.tensor([1.0, 2.0]))
    (tensor([1., 1.]), tensor([1., 2.]))
    """
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "vjp")
        watched = _watched(given, create_graph)
        many, outputs = _called(func, watched, "vjp")
        found = _grads(outputs, watched, _vector(v, outputs, many, "vjp"), create_graph, strict, "vjp")
    return _shown(many, outputs, create_graph), _shown(several, found, create_graph)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The value of ``func`` at ``inputs`` and the product of its Jacobian with ``v``, of the inputs' form.

    Arguments as for :func:`vjp`; two backward passes are made.

    >>> torch.autograd.functional.jvp(torch.exp, torch.zeros(2), torch.tensor([1.0, 2.0]))
    (tensor([1., 1.]), tensor([1., 2.]))
    """
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "jvp")
        watched = _watched(given, create_graph)
        direction = _vector(v, watched, several, "jvp")
        many, outputs = _called(func, watched, "jvp")
        found = _pushed(outputs, watched, direction, create_graph, strict)
    return _shown(many, outputs, create_graph), _shown(many, found, create_graph)


def _rows(output: Tensor, inputs: tuple[Tensor, ...], recorded: bool, strict: bool) -> tuple[Tensor, ...]:
    """For each input the gradients of every element of ``output``."""
    n = output.numel()
    rows = []
    for i in range(n):
        unit = zeros(n, dtype=output.dtype, device=output.device)
        unit[i] = 1
        rows.append(_grads((output,), inputs, (unit.reshape(output.shape),), recorded, strict, "jacobian"))
    return tuple(
        stack([row[k] for row in rows]).reshape((*output.shape, *x.shape))
        if rows else zeros((*output.shape, *x.shape), dtype=x.dtype, device=x.device)
        for k, x in enumerate(inputs)
    )  # fmt: skip


def _columns(outputs: Any, inputs: tuple[Tensor, ...], recorded: bool) -> list[list[Tensor]]:
    """For each output and input the Jacobian, made column by column."""
    found: list[list[Tensor]] = [[] for _ in outputs]
    for k, x in enumerate(inputs):
        products = []
        for i in range(x.numel()):
            unit = zeros(x.numel(), dtype=x.dtype, device=x.device)
            unit[i] = 1
            direction = [unit.reshape(x.shape) if j == k else zeros_like(t).detach() for j, t in enumerate(inputs)]
            products.append(_pushed(outputs, inputs, direction, recorded, False))
        for o, output in enumerate(outputs):
            shape = (*output.shape, *x.shape)
            column = [p[o] for p in products]
            found[o].append(stack(column, dim=-1).reshape(shape) if column else zeros(shape, dtype=x.dtype))
    return found


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of ``func`` at ``inputs``: for each output, of each input a tensor of the output's shape and the
    input's behind it; tuples where they are tuples.

    Args:
        create_graph, strict: as for :func:`vjp`.
        vectorize: PyTorch's; without effect.
        strategy: ``"reverse-mode"``: a backward pass for each element of the outputs; ``"forward-mode"``: a product for
            each of the inputs, with ``vectorize=True`` only, as in PyTorch.

    >>> torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError(
            'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    if vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "jacobian")
        watched = _watched(given, create_graph)
        many, outputs = _called(func, watched, "jacobian")
        if strategy == "forward-mode":
            found = [tuple(row) for row in _columns(outputs, watched, create_graph)]
        else:
            found = [_rows(output, watched, create_graph, strict) for output in outputs]
    made = tuple(_shown(several, row, create_graph) for row in found)
    return made if many else made[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of ``func``, which returns one number, at ``inputs``: for each pair of inputs a tensor.

    >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    several, given = _tuple(inputs, "inputs", "hessian")

    def gradients(*watched: Tensor) -> Any:
        many, outputs = _called(func, watched, "hessian")
        value = _one_number(outputs, many, "hessian")
        return _grads((value,), watched, (ones_like(value).detach(),), True, strict, "hessian")

    found = jacobian(gradients, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if several else found[0][0]


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The value of ``func``, one number, at ``inputs`` and the product of ``v``, of their form, with its Hessian.

    >>> torch.autograd.functional.vhp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    with enable_grad():
        several, given = _tuple(inputs, "inputs", "vhp")
        watched = _watched(given, create_graph)
        direction = _vector(v, watched, several, "vhp")
        many, outputs = _called(func, watched, "vhp")
        value = _one_number(outputs, many, "vhp")
        first = _grads((value,), watched, (ones_like(value).detach(),), True, strict, "vhp")
        found = _grads(first, watched, direction, create_graph, strict, "vhp")
    return _shown(many, outputs, create_graph), _shown(several, found, create_graph)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The value of ``func``, one number, at ``inputs`` and the product of its Hessian with ``v``, of their form.

    >>> torch.autograd.functional.hvp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return vhp(func, inputs, v, create_graph, strict)  # a Hessian is its own transpose
