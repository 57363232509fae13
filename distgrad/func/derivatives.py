"""Functions made of functions: gradients, products with Jacobians, Jacobians, Hessians; each may be applied to another.

A function's inputs are replaced by tensors that are recorded: a leaf where the input is not recorded itself, and
otherwise an alias, through which the outer derivative sees it.  What is found is recorded if something besides those
leaves is: then somebody outside may differentiate it once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import Tensor, enable_grad, grad as _grad
from ..autograd.graph import Leaf
from ..autograd.primitive import alias
from ..autograd.tensor import TENSORS
from ..ops.creation import ones_like, zeros, zeros_like
from ..ops.joining import stack
from .trees import leaves_of, mapped

__all__ = [
    "grad", "grad_and_value", "hessian", "hvp", "jacfwd", "jacrev", "jvp", "linearize", "value_and_grad", "vjp",
]  # fmt: skip


def _is_tensor(value: Any) -> bool:
    return value.__class__ in TENSORS


class _Watched:
    """Inputs of a function, replaced by what is recorded.

    Attributes:
        tree: the inputs so.
        tensors: the tensors in it.
    """

    def __init__(self, tree: Any) -> None:
        self.tensors: list[Tensor] = []
        self._leaves: set[int] = set()
        self._outer = False
        self.tree = mapped(self._watch, tree)

    def _watch(self, value: Any) -> Any:
        if not _is_tensor(value):
            return value
        if value.requires_grad:
            watched = alias(value)
            self._outer = True
        elif value.dtype.category > 1:
            watched = value.detach().requires_grad_()
            self._leaves.add(id(watched._node))
        else:
            return value
        self.tensors.append(watched)
        return watched

    def seen_outside(self, outputs: Sequence[Any]) -> bool:
        """Whether ``outputs`` depend on something that is recorded besides these inputs."""
        if self._outer:
            return True
        seen: set[int] = set()
        waiting = [t._node for t in outputs if _is_tensor(t)]
        while waiting:
            edge = waiting.pop()
            if edge is None or id(edge) in seen or id(edge) in self._leaves:
                continue
            if type(edge) is Leaf:
                return True
            seen.add(id(edge))
            waiting.extend(edge.edges)
        return False

    def bare(self, value: Any, recorded: bool) -> Any:
        """``value`` for who called: a tensor without the history that only these inputs have given it."""
        return value.detach() if _is_tensor(value) and not recorded else value


def _pulled(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Any], recorded: bool, keep: bool = False
) -> list[Tensor]:
    """The gradients of ``inputs``, zeros where there is none."""
    pairs = [(o, w) for o, w in zip(outputs, weights, strict=True) if o.requires_grad]
    if not pairs or not inputs:
        return [zeros_like(x).detach() for x in inputs]
    return list(
        _grad(
            [o for o, _ in pairs], list(inputs), [w for _, w in pairs], retain_graph=keep or recorded,
            create_graph=recorded, materialize_grads=True,
        )
    )  # fmt: skip


def _chosen(args: tuple[Any, ...], argnums: int | tuple[int, ...]) -> tuple[Any, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    n = len(args)
    for i in numbers:
        if not -n <= i < n:
            raise RuntimeError(f"Got argnum={i}, but only {n} positional inputs")
    chosen = [i % n for i in numbers]
    if len(set(chosen)) != len(chosen):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(chosen)


def _applied(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], argnums: Any, kwargs: dict[str, Any], has_aux: bool
) -> tuple[_Watched, Any, Any]:
    """The inputs ``argnums`` of ``args``, watched, and what ``func`` returns for them; with its second part, if it has
    one."""
    chosen = _chosen(args, argnums)
    watched = _Watched(tuple(args[i] for i in chosen))
    given = list(args)
    for i, tree in zip(chosen, watched.tree, strict=True):
        given[i] = tree
    found, aux = _with_aux(name, func(*given, **kwargs), has_aux)
    return watched, found, aux


def _with_aux(name: str, found: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return found, None
    if not (isinstance(found, tuple) and len(found) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True; got "
            f"{type(found).__name__}"
        )
    return found


def _in_place_of(tree: Any, tensors: Sequence[Tensor], values: Sequence[Any]) -> Any:
    """``tree`` with each of ``tensors`` replaced; zeros for what could not be differentiated."""
    by_id = {id(t): v for t, v in zip(tensors, values, strict=True)}
    return mapped(lambda x: by_id[id(x)] if id(x) in by_id else zeros_like(x) if _is_tensor(x) else None, tree)


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function of the gradient of ``func`` and its value.

    Args:
        func: it returns one number, or with ``has_aux`` that and anything else.
        argnums: with respect to which arguments, tensors or trees of them; several give a tuple.

    Raises:
        RuntimeError: when it is called: ``func`` returns no tensor of one element, or there is no such argument.

    >>> torch.func.grad_and_value(torch.sin)(torch.tensor(0.0))
    (tensor(1.), tensor(0.))
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            watched, value, aux = _applied("grad_and_value(f)(*args)", func, args, argnums, kwargs, has_aux)
            if not _is_tensor(value):
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a single tensor, got unsupported type "
                    f"{type(value).__name__}"
                )
            if value.dim() != 0 and value.numel() != 1:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                    f"{value.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            recorded = watched.seen_outside([value])
            found = _pulled([value], watched.tensors, [ones_like(value)], recorded)
            grads = _in_place_of(watched.tree, watched.tensors, found)
            grads = grads[0] if isinstance(argnums, int) else grads
            value = watched.bare(value, recorded)
            if not has_aux:
                return grads, value
            return grads, (value, mapped(lambda v: watched.bare(v, recorded), aux))

    return wrapped


def grad(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function of the gradient of ``func``, as :func:`grad_and_value` has it; with ``has_aux`` of it and the rest.

    >>> torch.func.grad(torch.sin)(torch.tensor(0.0))
    tensor(1.)
    >>> torch.func.grad(torch.func.grad(lambda x: x**3))(torch.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``func`` at ``primals`` and a function of products of vectors with its Jacobian.

    Returns:
        (value, product): ``product`` takes what is of the form of the value, and returns a tree for each of
        ``primals``, a tuple if they are several.  With ``has_aux`` the rest of what ``func`` returns is the third.

    >>> value, product = torch.func.vjp(torch.sin, torch.tensor([0.0, 0.0]))
    >>> product(torch.tensor([1.0, 2.0]))
    (tensor([1., 2.]),)
    """
    with enable_grad():
        watched = _Watched(primals)
        value, aux = _with_aux("vjp(f, *primals)", func(*watched.tree), has_aux)
        outputs = leaves_of(value)
        if not outputs or not all(map(_is_tensor, outputs)):
            raise RuntimeError("vjp(f, *primals): Expected f(*primals) to return tensors")
        recorded = watched.seen_outside(outputs)

    def product(*cotangents: Any) -> Any:
        weights = cotangents[0] if len(cotangents) == 1 else cotangents
        with enable_grad():
            flat = leaves_of(mapped(lambda o, w: w, value, weights))
            again = recorded or any(_is_tensor(w) and w.requires_grad for w in flat)
            found = _pulled(outputs, watched.tensors, flat, again, keep=True)
            return _in_place_of(watched.tree, watched.tensors, found)

    shown = mapped(lambda v: watched.bare(v, recorded), value)
    return (shown, product, mapped(lambda v: watched.bare(v, recorded), aux)) if has_aux else (shown, product)


class _Pushed:
    """A function at a point, ready for products of its Jacobian with vectors.

    A gradient is linear in the weights of the outputs; its derivative with respect to these, towards the vector, is the
    product (the trick of two backward passes).
    """

    def __init__(self, name: str, func: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> None:
        self.watched = _Watched(primals)
        self.value, self.aux = _with_aux(name, func(*self.watched.tree), has_aux)
        self.outputs = leaves_of(self.value)
        if not self.outputs or not all(map(_is_tensor, self.outputs)):
            raise RuntimeError(f"{name}: Expected f(*primals) to return tensors")
        self.recorded = self.watched.seen_outside(self.outputs)
        self._weights = [zeros_like(o).detach().requires_grad_() if o.requires_grad else None for o in self.outputs]
        pairs = [(o, w) for o, w in zip(self.outputs, self._weights, strict=True) if w is not None]
        self._grads: list[Any] = [None] * len(self.watched.tensors)
        if pairs and self._grads:
            self._grads = list(
                _grad([o for o, _ in pairs], self.watched.tensors, [w for _, w in pairs], create_graph=True,
                      allow_unused=True)
            )  # fmt: skip

    def product(self, tangents: Sequence[Any]) -> list[Tensor]:
        """Of each output the product of its Jacobian with ``tangents``, one for each watched tensor."""
        again = self.recorded or any(t.requires_grad for t in tangents)
        pairs = [(g, t) for g, t in zip(self._grads, tangents, strict=True) if g is not None and g.requires_grad]
        weights = [w for w in self._weights if w is not None]
        if not pairs or not weights:
            return [zeros_like(o).detach() for o in self.outputs]
        found = iter(
            _grad([g for g, _ in pairs], weights, [t.to(g.dtype) for g, t in pairs], retain_graph=True,
                  create_graph=again, materialize_grads=True)
        )  # fmt: skip
        pairs_of = zip(self.outputs, self._weights, strict=True)
        return [zeros_like(o).detach() if w is None else next(found) for o, w in pairs_of]

    def columns(self, k: int) -> list[Tensor]:
        """Of each output the Jacobian with respect to watched tensor ``k``."""
        tensors = self.watched.tensors
        x = tensors[k]
        others = [zeros_like(t).detach() for t in tensors]
        products = [self.product([*others[:k], unit, *others[k + 1 :]]) for unit in _basis(x.shape, x)]
        found = []
        for i, output in enumerate(self.outputs):
            shape = (*output.shape, *x.shape)
            if products:
                found.append(stack([p[i] for p in products], dim=-1).reshape(shape))
            else:
                found.append(zeros(shape, dtype=output.dtype, device=x.device))
        return found

    def shown(self, tree: Any) -> Any:
        return mapped(lambda v: self.watched.bare(v, self.recorded), tree)

    def like_outputs(self, found: Sequence[Any]) -> Any:
        places = iter(found)
        return mapped(lambda _: next(places), self.value)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """The value of ``func`` at ``primals`` and the product of its Jacobian with ``tangents``.

    Args:
        primals, tangents: tuples of as many trees of tensors, of the same shapes.
        strict: RuntimeError where an output does not depend on the inputs, instead of zeros.

    >>> torch.func.jvp(torch.sin, (torch.tensor([0.0, 0.0]),), (torch.tensor([1.0, 2.0]),))
    (tensor([0., 0.]), tensor([1., 2.]))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("jvp(f, primals, tangents): Expected primals and tangents to be tuples")
    if len(primals) != len(tangents):
        raise RuntimeError(
            f"jvp(f, primals, tangents): Expected primals and tangents to have the same structure: {len(primals)} and "
            f"{len(tangents)} values"
        )
    with enable_grad():
        pushed = _Pushed("jvp(f, primals, tangents)", func, primals, has_aux)
        if strict and not all(o.requires_grad for o in pushed.outputs):
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
                "allowed with strict=True."
            )
        found = pushed.product(_of_tensors(pushed.watched, tangents))
        value = pushed.shown(pushed.value)
        product = pushed.like_outputs(found)
        return (value, product, pushed.shown(pushed.aux)) if has_aux else (value, product)


def _of_tensors(watched: _Watched, tangents: Any) -> list[Any]:
    """Those of ``tangents`` in the places of the tensors that are differentiated."""
    known = {id(t) for t in watched.tensors}
    pairs: list[tuple[Any, Any]] = []
    mapped(lambda x, t: pairs.append((x, t)), watched.tree, tangents)
    for x, t in pairs:
        if _is_tensor(x) and (not _is_tensor(t) or t.shape != x.shape):
            shape = tuple(t.shape) if _is_tensor(t) else type(t).__name__
            raise RuntimeError(f"Expected tangents to have the shapes of primals: got {shape} for {tuple(x.shape)}")
    return [t for x, t in pairs if id(x) in known]


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of ``func`` at ``primals`` and the linear function that approximates it there.

    >>> value, linear = torch.func.linearize(torch.sin, torch.tensor(0.0))
    >>> linear(torch.tensor(2.0))
    tensor(2.)
    """
    with enable_grad():
        pushed = _Pushed("linearize(f, *primals)", func, primals, False)

    def product(*tangents: Any) -> Any:
        with enable_grad():
            return pushed.like_outputs(pushed.product(_of_tensors(pushed.watched, tangents)))

    return pushed.shown(pushed.value), product


def _basis(shape: Any, like: Tensor) -> list[Tensor]:
    """The tensors of this shape with a single 1, in order."""
    found = []
    n = 1
    for d in shape:
        n *= d
    for i in range(n):
        unit = zeros(n, dtype=like.dtype, device=like.device)
        unit[i] = 1
        found.append(unit.reshape(tuple(shape)))
    return found


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function of the Jacobian of ``func``, made by a backward pass for each element of its value.

    Returns:
        the function: for each output, a tree as ``func`` returns it, a tree of the form of the arguments ``argnums`` of
        tensors of the output's shape and the argument's behind it.  ``chunk_size`` is PyTorch's.

    >>> torch.func.jacrev(torch.sin)(torch.tensor([0.0, 0.0]))
    tensor([[1., 0.],
            [0., 1.]])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            watched, value, aux = _applied("jacrev(f, argnums)(*args)", func, args, argnums, kwargs, has_aux)
            outputs = leaves_of(value)
            if not all(map(_is_tensor, outputs)):
                raise RuntimeError("jacrev(f, argnums)(*args): Expected f(*args) to return tensors")
            recorded = watched.seen_outside(outputs)

            def rows(output: Tensor) -> Any:
                found = [_pulled([output], watched.tensors, [unit], recorded, keep=True)
                         for unit in _basis(output.shape, output)]  # fmt: skip
                columns = [_stacked([row[k] for row in found], output, x) for k, x in enumerate(watched.tensors)]
                tree = _in_place_of(watched.tree, watched.tensors, columns)
                return tree[0] if isinstance(argnums, int) else tree

            jacobian = mapped(rows, value)
            return (jacobian, mapped(lambda v: watched.bare(v, recorded), aux)) if has_aux else jacobian

    return wrapped


def _stacked(rows: list[Tensor], output: Tensor, x: Tensor) -> Tensor:
    shape = (*output.shape, *x.shape)
    return stack(rows).reshape(shape) if rows else zeros(shape, dtype=output.dtype, device=x.device)


def jacfwd(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """A function of the Jacobian of ``func``, made by a product for each element of its arguments; as :func:`jacrev`.

    >>> torch.func.jacfwd(torch.sin)(torch.tensor([0.0, 0.0]))
    tensor([[1., 0.],
            [0., 1.]])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen(args, argnums)

        def of_chosen(*given: Any) -> Any:
            every = list(args)
            for i, value in zip(chosen, given, strict=True):
                every[i] = value
            return func(*every, **kwargs)

        with enable_grad():
            pushed = _Pushed("jacfwd(f, argnums)(*args)", of_chosen, tuple(args[i] for i in chosen), has_aux)
            tensors = pushed.watched.tensors
            columns = [pushed.columns(k) for k in range(len(tensors))]
            trees = []
            for o in range(len(pushed.outputs)):
                tree = _in_place_of(pushed.watched.tree, tensors, [column[o] for column in columns])
                trees.append(tree[0] if isinstance(argnums, int) else tree)
            jacobian = pushed.like_outputs(trees)
            return (jacobian, pushed.shown(pushed.aux)) if has_aux else jacobian

    return wrapped


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function of the second derivatives of ``func``.

    >>> torch.func.hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def value_and_grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """:func:`grad_and_value` with the value in front, as ``jax.value_and_grad`` returns it; PyTorch has no such name.

    Args:
        func: it returns one number, or with ``has_aux`` that and anything else.
        argnums: with respect to which arguments, tensors or trees of them; several give a tuple.

    Raises:
        RuntimeError: when it is called: ``func`` returns no tensor of one element, or there is no such argument.

    >>> torch.func.value_and_grad(torch.sin)(torch.tensor(0.0))
    (tensor(0.), tensor(1.))
    """
    both = grad_and_value(func, argnums, has_aux)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return value, gradient

    return wrapped


def hvp(func: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The product of the Hessian of ``func`` at ``primals`` with ``tangents``; PyTorch has no such name in ``func``.

    Args:
        func: it returns one number.
        primals, tangents: tuples of as many trees of tensors, of the same shapes.

    Returns:
        For one primal a tree like it, for several a tuple of such trees: the derivative of the gradient along the
        tangents (Pearlmutter 1994), without the Hessian.

    Raises:
        RuntimeError: ``func`` returns no tensor of one element, or primals and tangents are not of one shape.

    >>> torch.func.hvp(lambda x: (x**3).sum(), (torch.tensor([1.0, 2.0]),), (torch.tensor([1.0, 0.0]),))
    tensor([6., 0.])
    """
    argnums = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(func, argnums), primals, tangents)[1]
