"""A node of the graph as users see it: hooks, notes, saved values, its place in the graph."""

from __future__ import annotations

import gc
import importlib
import weakref
from typing import Any

import pytest

import distgrad
from distgrad.autograd import graph


@pytest.fixture(params=["distgrad", pytest.param("torch", marks=pytest.mark.torch)])
def lib(request: pytest.FixtureRequest) -> Any:
    """distgrad, and PyTorch, for which the same tests hold."""
    return importlib.import_module(request.param)


def leaves(lib: Any) -> tuple[Any, Any]:
    return lib.tensor([1.0, 2.0], requires_grad=True), lib.tensor([3.0, 4.0], requires_grad=True)


def lists(found: Any) -> Any:
    return [None if t is None else t.tolist() for t in found]


def test_hooks_of_a_node_see_and_replace_gradients(lib: Any) -> None:
    x, w = leaves(lib)
    y = x * w
    seen: list[Any] = []
    first = y.grad_fn.register_hook(lambda ins, outs: seen.append((lists(ins), lists(outs))))
    y.grad_fn.register_prehook(lambda outs: (outs[0] * 10,))
    y.grad_fn.register_hook(lambda ins, outs: (ins[0] * 2, ins[1]))
    y.sum().backward(retain_graph=True)
    assert seen == [([[30.0, 40.0], [10.0, 20.0]], [[10.0, 10.0]])]
    assert (x.grad.tolist(), w.grad.tolist()) == ([60.0, 80.0], [10.0, 20.0])
    first.remove()
    y.sum().backward()
    assert len(seen) == 1


def test_they_run_after_those_of_the_tensor_and_in_recorded_passes_too(lib: Any) -> None:
    x, w = leaves(lib)
    y = x * w
    order: list[str] = []
    y.grad_fn.register_hook(lambda ins, outs: order.append("after"))
    y.grad_fn.register_prehook(lambda outs: order.append("before"))
    y.register_hook(lambda g: order.append("tensor"))
    y.sum().backward(retain_graph=True)
    assert order == ["tensor", "before", "after"]
    y.grad_fn.register_prehook(lambda outs: (outs[0] * outs[0] * 5,))
    (g,) = lib.autograd.grad((y * y).sum(), x, create_graph=True)
    assert g.tolist() == [5 * 4 * 3 * 3.0 * 3, 5 * 4 * 8 * 8.0 * 4]  # 5 (2 x w)² w
    (second,) = lib.autograd.grad(g.sum(), x)
    assert second.tolist() == [5 * 360**2 * 3.0, 5 * 1280**2 * 4.0]  # 40 y w, through the hook and the node again


def test_a_captured_gradient_is_the_one_before_the_hooks_of_the_node(lib: Any) -> None:
    x, w = leaves(lib)
    y = x * w
    y.grad_fn.register_prehook(lambda outs: (outs[0] * 5,))
    assert lists(lib.autograd.grad(y.sum(), [y, x])) == [[1.0, 1.0], [15.0, 20.0]]


def test_what_is_not_wanted_or_not_used_is_none(lib: Any) -> None:
    x, _ = leaves(lib)
    seen: list[Any] = []
    y = x * lib.ones(2)
    y.grad_fn.register_hook(lambda ins, outs: seen.append(lists(ins)))
    y.sum().backward()
    parts = x.unbind()
    parts[1].grad_fn.register_hook(lambda ins, outs: seen.append(lists(outs)))
    parts[1].backward()
    assert seen == [[[1.0, 1.0], None], [None, 1.0]]
    assert x.grad.tolist() == [1.0, 2.0]


def test_gradients_that_hooks_see_have_the_shapes_of_the_inputs(lib: Any) -> None:
    x = lib.ones(3, 2, requires_grad=True)
    w = lib.ones(2, requires_grad=True)
    seen: list[Any] = []
    y = x + w
    y.grad_fn.register_hook(lambda ins, outs: seen.append([tuple(t.shape) for t in ins]))
    y.sum().backward()
    assert seen == [[(3, 2), (2,)]]
    assert w.grad.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("hook", "error", "message"),
    [
        (lambda ins, outs: (ins[0],), RuntimeError, r"incorrect number of values \(got 1, but expected 2\)"),
        (lambda ins, outs: 3, TypeError, "expected tuple, but hook returned 'int'"),
        (lambda ins, outs: (ins[0][:1], None), RuntimeError, "has changed the size of value"),
    ],
)
def test_what_a_hook_may_not_return(lib: Any, hook: Any, error: type, message: str) -> None:
    x, w = leaves(lib)
    y = x * w
    y.grad_fn.register_hook(hook)
    with pytest.raises(error, match=message):
        y.sum().backward()


def test_hooks_of_a_leafs_node(lib: Any) -> None:
    x, w = leaves(lib)
    y = x * w
    accumulator = y.grad_fn.next_functions[0][0]
    assert accumulator is y.grad_fn.next_functions[0][0]
    assert accumulator.variable is x
    assert isinstance(accumulator, lib.autograd.graph.Node)
    seen: list[Any] = []
    after = accumulator.register_hook(lambda ins, outs: seen.append((lists(ins), lists(outs), x.grad.tolist())))
    accumulator.register_prehook(lambda outs: (outs[0] * 2,))
    y.sum().backward(retain_graph=True)
    after.remove()
    y.sum().backward()
    assert seen[0][0] == []
    assert seen[0][2] == [6.0, 8.0]
    assert x.grad.tolist() == [12.0, 16.0]
    assert len(seen) == 1


def test_notes_stay_with_the_node(lib: Any) -> None:
    x, w = leaves(lib)
    y = x * w
    assert y.grad_fn.metadata == {}
    y.grad_fn.metadata["who"] = "me"
    assert y.grad_fn.metadata == {"who": "me"}
    assert (x * w).grad_fn.metadata == {}
    assert isinstance(y.grad_fn, lib.autograd.graph.Node)


def test_a_node_with_hooks_is_freed_with_its_tensor() -> None:
    x, w = leaves(distgrad)
    y = x * w
    y.grad_fn.register_prehook(lambda outs: None)
    y.grad_fn.metadata["a"] = 1
    gone = weakref.ref(y.grad_fn)
    accumulator = weakref.ref(y.grad_fn.next_functions[0][0])
    gc.disable()
    try:
        del y
        assert gone() is None
        assert accumulator() is None
    finally:
        gc.enable()


def test_places_in_the_graph_are_taken_for_tensors(lib: Any) -> None:
    edge_of = lib.autograd.graph.get_gradient_edge
    x, w = leaves(lib)
    y = x * w
    edge = edge_of(y)
    assert edge.node is y.grad_fn
    assert edge.output_nr == 0
    assert edge_of(x).node is y.grad_fn.next_functions[0][0]
    z = (y * y).sum()
    assert lists(lib.autograd.grad(z, [edge, edge_of(x), w], retain_graph=True)) == [
        [6.0, 16.0], [18.0, 64.0], [6.0, 32.0]
    ]  # fmt: skip
    assert lists(lib.autograd.grad(z, lib.autograd.graph.GradientEdge(y.grad_fn, 0), retain_graph=True)) == [
        [6.0, 16.0]
    ]
    assert lists(lib.autograd.grad(edge_of(z), x, retain_graph=True)) == [[18.0, 64.0]]
    assert lists(lib.autograd.grad(edge, x, lib.tensor([1.0, 2.0]), retain_graph=True)) == [[3.0, 8.0]]
    lib.autograd.backward(edge_of(z), inputs=[edge_of(w)])
    assert w.grad.tolist() == [6.0, 32.0]
    assert x.grad is None
    with pytest.raises(RuntimeError, match="does not require gradients"):
        edge_of(lib.ones(2))


def test_places_of_one_output_of_several(lib: Any) -> None:
    x, _ = leaves(lib)
    a, b = x.clone().unbind()
    z = a * 2 + b * b
    edges = [lib.autograd.graph.get_gradient_edge(t) for t in (a, b)]
    assert [e.output_nr for e in edges] == [0, 1]
    assert lists(lib.autograd.grad(z, edges, retain_graph=True)) == [2.0, 4.0]
    assert lists(lib.autograd.grad(edges[1], x, retain_graph=True)) == [[0.0, 1.0]]


def test_saved_values_have_pytorchs_names(lib: Any) -> None:
    x, w = leaves(lib)
    product = (x * w).grad_fn
    assert product._saved_self is x
    assert product._saved_other is w
    assert (x * 2.0).grad_fn._saved_other.dtype is lib.float64
    assert (x * 2.0).grad_fn._saved_self is None
    e = x.exp()
    assert e.grad_fn._saved_result.equal(e)
    assert e.grad_fn._saved_result.grad_fn is e.grad_fn
    assert not hasattr(e.grad_fn, "_saved_self")
    assert "_saved_result" in dir(e.grad_fn)
    assert "_saved_self" not in dir(e.grad_fn)
    assert (x**2).grad_fn._saved_exponent == 2
    assert x.sum().grad_fn._saved_self_sym_sizes == (2,)
    assert (x[None] @ w[:, None]).grad_fn._saved_mat2.tolist() == [[3.0], [4.0]]
    assert x.softmax(0).grad_fn._saved_dim == 0
    assert lib.where(x > 1, x, w).grad_fn._saved_condition.tolist() == [False, True]
    product = x * w
    product.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        _ = product.grad_fn._saved_self
    written = x.clone()
    y = written * w
    written.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        _ = y.grad_fn._saved_self


def test_saved_values_are_unpacked(lib: Any) -> None:
    x, w = leaves(lib)
    with lib.autograd.graph.saved_tensors_hooks(lambda t: t.detach() * 2, lambda t: t):
        y = x * w
    assert y.grad_fn._saved_self.tolist() == [2.0, 4.0]


@pytest.mark.torch
def test_every_saved_value_is_pytorchs() -> None:
    import torch

    count = 0
    for name, ours, theirs in zip(NAMES, _results(distgrad), _results(torch), strict=True):
        a, b = ours.grad_fn, theirs.grad_fn
        if a.name() != b.name():
            continue
        for attribute in (n for n in dir(a) if n.startswith("_saved_")):
            found, wanted = getattr(a, attribute), getattr(b, attribute)
            count += 1
            if isinstance(wanted, torch.Tensor):
                assert repr(found.detach()) == repr(wanted.detach()), (name, attribute)
            else:
                assert found == wanted, (name, attribute)
    assert count > 120


NAMES: list[str] = []


def _results(lib: Any) -> list[Any]:
    """One result of each of the common operations, on the same numbers."""
    functional = lib.nn.functional
    x = lib.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = lib.tensor([2.0, 3.0, 4.0], requires_grad=True)
    m = lib.arange(9.0).reshape(3, 3).requires_grad_()
    v = lib.ones(2, 3, requires_grad=True)
    made = {
        "mul": x * w, "mul number": x * 2.0, "add": x + w, "add alpha": lib.add(x, w, alpha=2), "sub": x - w,
        "div": x / w, "div number": x / 2, "pow": x**2, "pow tensor": x**w, "exp": x.exp(), "log": x.log(),
        "sqrt": x.sqrt(), "tanh": x.tanh(), "sigmoid": x.sigmoid(), "relu": x.relu(), "sin": x.sin(), "cos": x.cos(),
        "abs": x.abs(), "neg": -x, "sum": x.sum(), "sum dim": m.sum(0), "sum dims": m.sum((0, 1), keepdim=True),
        "mean": x.mean(), "mean dim": m.mean(1), "mm": v @ m, "mv": m @ x, "dot": x.dot(w), "bmm": m[None] @ m[None],
        "linear": functional.linear(v, m, x), "transpose": m.transpose(0, 1), "permute": m.permute(1, 0),
        "view": m.view(9), "expand": x.expand(2, 3), "select": x[0], "slice": x[1:], "index": x[lib.tensor([0, 1])],
        "cat": lib.cat([x, w]), "stack": lib.stack([x, w]), "softmax": x.softmax(0), "log_softmax": x.log_softmax(0),
        "max": x.max(), "max dim": m.max(0)[0], "prod": x.prod(), "clamp": x.clamp(0, 2),
        "where": lib.where(x > 1, x, w), "gelu": functional.gelu(x), "mse": functional.mse_loss(x, w),
        "bce": functional.binary_cross_entropy_with_logits(x, lib.ones(3)),
        "layer_norm": functional.layer_norm(v, (3,), x, w), "conv2d": functional.conv2d(m[None, None], m[None, None]),
        "embedding": functional.embedding(lib.tensor([0, 1]), m), "norm": x.norm(), "var": x.var(), "std": x.std(),
        "cumsum": x.cumsum(0), "gather": x.gather(0, lib.tensor([0])), "masked_fill": x.masked_fill(x > 1, 0.0),
        "atan2": lib.atan2(x, w), "maximum": lib.maximum(x, w), "erf": lib.erf(x), "logsumexp": x.logsumexp(0),
        "rsqrt": x.rsqrt(), "reciprocal": x.reciprocal(), "silu": functional.silu(x),
        "leaky_relu": functional.leaky_relu(x), "softplus": functional.softplus(x), "elu": functional.elu(x),
        "lerp": lib.lerp(x, w, 0.3), "addcmul": lib.addcmul(x, w, w), "asin": (x / 4).asin(), "log1p": x.log1p(),
        "expm1": x.expm1(), "sinh": x.sinh(), "hardtanh": functional.hardtanh(x), "log2": x.log2(), "tan": x.tan(),
        "triu": m.triu(), "hypot": lib.hypot(x, w), "lgamma": x.lgamma(), "digamma": x.digamma(),
    }  # fmt: skip
    NAMES[:] = made
    return list(made.values())


def test_what_was_saved_may_be_written_to(lib: Any) -> None:
    x = lib.ones(2, requires_grad=True)
    with lib.autograd.graph.allow_mutation_on_saved_tensors() as context:
        y = x.clone()
        z = (y * y).sum()
        y.zero_()
        z.backward()
        later = (x.clone() * 2 * x).sum()
    context.clear()
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(AssertionError, match="backward outside of"):
        later.backward()
    with (
        lib.autograd.graph.allow_mutation_on_saved_tensors(),
        pytest.raises(RuntimeError, match="cannot be nested"),
        lib.autograd.graph.allow_mutation_on_saved_tensors(),
    ):
        pass


def test_names_are_those_of_the_module() -> None:
    wanted = (
        "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge",
        "increment_version", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
    )  # fmt: skip
    assert all(hasattr(graph, name) for name in wanted)
