"""What an operation leaves behind, written down: run once as it is, and once with everything straightened taken out.

``python -m tests.autograd.both_ways general`` does the latter: before distgrad is imported, each straightened caller is
replaced by the general one, each straightened rule by :meth:`Primitive.pull`, and :func:`_run_plain` by :func:`_run`.
What is found of every row of tests/ops and of the graphs of test_fast_paths.py is printed as JSON.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.machinery
import json
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np


class _Replaced(importlib.machinery.SourceFileLoader):
    """Loads a module of distgrad and hands it to a function that takes out what is straightened."""

    changes: dict[str, Callable[[Any], None]]

    def exec_module(self, module: Any) -> None:
        super().exec_module(module)
        self.changes[module.__name__](module)


class _Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in _Replaced.changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        spec.loader = _Replaced(name, spec.origin)  # type: ignore[arg-type]
        return spec


def _general_dispatch(dispatch: Any) -> None:
    general = dispatch.general_call
    dispatch.unary_call = lambda prim: general(prim)
    dispatch.binary_call = lambda prim, strict=True: general(prim, strict, 2)
    dispatch.view_call = lambda prim, call: call
    dispatch.unary_pull = dispatch.binary_pull = lambda prim: type(prim).pull.__get__(prim)


def _general_fused(fused: Any) -> None:
    """A fused primitive is called by the general way: as a plain one of the same inputs, whose node it then takes."""
    from distgrad.autograd.dispatch import general_call
    from distgrad.autograd.graph import Node
    from distgrad.autograd.primitive import Primitive

    def fused_call(prim: Any) -> Callable[..., Any]:
        kept: list[Any] = []

        def forward(xp: Any, *args: Any, **kwargs: Any) -> Any:
            ans, beside = prim.forward(xp, *args, **kwargs)
            kept[:] = [beside]
            return ans

        plain = Primitive(forward, None, "", False, None)
        plain.variadic, plain.inputs, plain.name = None, prim.inputs, prim.name
        plain.defvjp(*[lambda *a: None] * prim.n, saves=" ".join(prim.inputs[: prim.n]))
        call = general_call(plain)

        def called(*args: Any, **kwargs: Any) -> Any:
            out = call(*args, **kwargs)
            node = getattr(out, "_node", None)
            if node.__class__ is Node and node.primitive is plain:
                node.primitive, node.ans = prim, (out._data, kept[0])
            kept.clear()
            return out

        return called

    fused.fused_call = fused_call


def _general_engine(engine: Any) -> None:
    run = engine._run
    engine._run_plain = lambda roots, grads, keep: run(roots, grads, keep, False)
    engine._count_all = lambda root: engine._count([root], None)


_Replaced.changes = {
    "distgrad.autograd.dispatch": _general_dispatch,
    "distgrad.autograd.fused": _general_fused,
    "distgrad.autograd.engine": _general_engine,
}


# --- what is written down ---------------------------------------------------------------------------------------------


def bits(a: Any) -> str:
    """An array (or what is no array) as text that is the same where type, shape and bits are."""
    if a is None or isinstance(a, (bool, int, float, complex, str)):
        return repr(a)
    if isinstance(a, (tuple, list)):
        return f"{[bits(part) for part in a]}"
    a = np.asarray(a)
    where_nan = a.dtype.kind in "fc" and np.isnan(a).any()
    raw = np.nan_to_num(a, nan=12345.0).tobytes() + np.isnan(a).tobytes() if where_nan else a.tobytes()
    return f"{a.dtype} {a.shape} {hashlib.sha1(raw).hexdigest()[:12]}"


class Graph:
    """The nodes below some tensors, numbered in the order in which they are met."""

    def __init__(self, outs: list[Any], named: list[Any]) -> None:
        from distgrad.autograd.graph import Leaf, Node, Output

        self.kinds = Leaf, Node, Output
        self.named = named  # tensors by number
        self.edges: dict[Any, str] = {}
        self.nodes: list[Any] = []
        for o in outs:
            self._meet(o._node)

    def _meet(self, root: Any) -> None:
        stack = [root]
        while stack:
            e = stack.pop()
            if e is None or e in self.edges:
                continue
            self.edges[e] = f"{type(e).__name__} {len(self.edges)}"
            if e.__class__ is self.kinds[1]:
                self.nodes.append(e)
            stack.extend(reversed(e.edges))

    def _kept(self, a: Any) -> Any:
        from distgrad.autograd.recording import Shape
        from distgrad.autograd.tensor import TENSORS

        if a.__class__ in TENSORS:
            known = [f"input {i}" for i, t in enumerate(self.named) if t is a]
            return f"tensor {known or bits(a.numpy(force=True)) if not a.is_sparse else 'sparse'}"
        if a.__class__ in self.kinds:
            return "edge " + self.edges.get(a, "elsewhere")
        if a.__class__ is Shape:
            return f"shape {a.shape} {a.dtype}"
        if isinstance(a, (tuple, list)):
            return [self._kept(part) for part in a]
        return bits(a) if isinstance(a, (np.ndarray, np.generic)) else repr(a).split(" at 0x")[0]

    def _result(self, node: Any) -> str:
        ans = node.ans
        if ans.__class__ is self.kinds[1]:  # what wrote through a view
            return f"node {ans.name()} {self._kept(ans.args)} {ans.versions}"
        return bits(ans[0] if node.primitive.__class__.__name__ == "Fused" else ans)

    def watch(self, log: list[str]) -> None:
        """Have every edge write its gradient down in ``log``; of a node with several outputs, each of them."""
        for e, name in self.edges.items():
            if not isinstance(e.shape, list):
                e.hooks = [lambda g, name=name: log.append(f"{name}: {bits(g.numpy(force=True))}")]

    def described(self) -> list[Any]:
        """The fields of every node."""
        return [
            {
                "name": n.name(),
                "primitive": n.primitive.name,
                "edges": [None if e is None else self.edges[e] for e in n.edges],
                "args": self._kept(n.args),
                "kwargs": None if n.kwargs is None else {k: self._kept(v) for k, v in n.kwargs.items()},
                "ans": self._result(n),
                "hooks": n.hooks,
                "versions": n.versions,
                "cell": None if n.cell is None else (n.cell.version, n.cell_version),
                "shape": [list(s) for s in n.shape] if isinstance(n.shape, list) else list(n.shape),
                "dtype": str(n.dtype),
            }
            for n in self.nodes
        ]


def described(make: Callable[[], tuple[list[Any], list[Any]]]) -> dict[str, Any]:
    """Everything about inputs and the outputs computed from them, which ``make()`` returns."""
    import distgrad

    found: dict[str, Any] = {}
    for passed in ("plain", "hooked", "again"):
        args, outs = make()
        counts = [(sys.getrefcount(a), sys.getrefcount(a._data)) for a in args]
        graph = Graph([o for o in outs if o.requires_grad], args)
        if passed == "plain":
            found["out"] = [(bits(o.numpy(force=True)), o.requires_grad, str(o.grad_fn).split(" ")[0]) for o in outs]
            found["nodes"] = graph.described()
            found["holds"] = counts
        roots = [o for o in outs if o.requires_grad]
        if not roots:
            break
        log: list[str] = []
        if passed == "hooked":
            graph.watch(log)
        for i, a in enumerate(args):
            if a.requires_grad:
                a.register_post_accumulate_grad_hook(lambda t, i=i, log=log: log.append(f"accumulated {i}"))
        weights = [
            distgrad.tensor(np.cos(np.arange(o.numel()) + k).reshape(tuple(o.shape))).to(o.dtype)
            for k, o in enumerate(roots)
        ]
        distgrad.autograd.backward(roots, weights, retain_graph=passed == "again")
        if passed == "again":
            distgrad.autograd.backward(roots, weights)
        found[f"{passed}: calls"] = log
        found[f"{passed}: gradients"] = [
            None if a.grad is None else bits((a.grad.to_dense() if a.grad.is_sparse else a.grad).numpy(force=True))
            for a in args
        ]
        found[f"{passed}: freed"] = [n.args is None for n in graph.nodes]
        living = [weakref.ref(n) for n in graph.nodes]
        del graph, roots, outs
        found[f"{passed}: alive"] = [ref() is not None for ref in living]
        found[f"{passed}: holds"] = [(sys.getrefcount(a), sys.getrefcount(a._data)) for a in args]
    return found


def of_row(row: Any, case: Any, dtype: str) -> dict[str, Any]:
    """:func:`described` for a case of a row of tests/ops."""
    import distgrad
    from tests.ops.case import outputs
    from tests.ops.test_rows import inputs_of

    def make() -> tuple[list[Any], list[Any]]:
        args = inputs_of(distgrad, case, dtype)
        return args, outputs(row.call(distgrad, *args))

    return described(make)


def everything() -> dict[str, Any]:
    """All that is compared, by name."""
    import distgrad
    from tests.autograd import test_fast_paths
    from tests.ops.test_rows import ROWS, dtypes_of

    found: dict[str, Any] = {}
    gc.disable()  # what is freed is freed by reference counts
    try:
        for row in ROWS:
            for k, case in enumerate(row.cases):
                for dtype in [*dtypes_of(row), "float32", *(("float16", "bfloat16") if row.half else ())]:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found[f"{row.name} {k} {dtype}"] = of_row(row, case, dtype)
        for name, make in test_fast_paths.GRAPHS.items():
            found[name] = described(lambda make=make: make(distgrad))
    finally:
        gc.enable()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


if __name__ == "__main__":
    if sys.argv[1:] == ["general"]:
        sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
    print(json.dumps(everything()))
