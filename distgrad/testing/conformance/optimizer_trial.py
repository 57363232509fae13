"""A training small enough to be made a hundred times: what the checks of optimizers run.

A row of numbers, cut into parameters in any way, descends Σ a (p − b)² / 2 + c p, where c changes with the step.  Its
gradient is computed element by element, so nothing but the optimizer can make a result depend on how the row was cut.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import distgrad
from distgrad import Tensor, backend
from distgrad.nn import functional
from distgrad.optim import Optimizer

from .report import CheckFailed, NotApplicable, same_bits

__all__ = ["Piece", "Run", "Trial", "WAYS", "host_copy", "only_row_of", "pieces_of", "same_state"]

Piece = tuple[int, tuple[int, ...]]  # where in the row a parameter begins, and its shape

LENGTH = 400
_CONTRACT = {*dir(Optimizer), "advance", "measure", "conclude"}
_IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable", "maximize")
# What is tried, in this order, until the optimizer takes it: a name for it, and the shapes of the parameters.
WAYS: dict[str, tuple[tuple[int, ...], ...]] = {
    "tensors": ((3, 4), (5,), (), (2, 3, 2), (1,), (70,), (10, 7)),
    "matrices": ((3, 4), (5, 2), (1, 6), (10, 7)),
    "sparse gradients": ((6, 4), (5, 2)),
}


@dataclasses.dataclass
class Trial:
    """An optimizer's class, and the settings to check it by.

    Args:
        cls: the class.
        options: hyperparameters for every check, where the defaults will not do.
        takes: what it optimizes, ``"tensors"``, ``"matrices"`` or ``"sparse gradients"``; None: found by trying.
        bowl, rosenbrock: for the two checks of convergence: options, and under ``"steps"`` how many.
        skip: names of checks that do not apply, each with the reason.
    """

    cls: type
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    takes: str | None = None
    bowl: dict[str, Any] = dataclasses.field(default_factory=dict)
    rosenbrock: dict[str, Any] = dataclasses.field(default_factory=dict)
    skip: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.cls, type) and issubclass(self.cls, Optimizer)):
            raise TypeError(f"an optimizer is a subclass of distgrad.optim.Optimizer, got {self.cls!r}")
        if self.takes not in (None, *WAYS):
            raise ValueError(f"takes must be one of {', '.join(map(repr, WAYS))}, got {self.takes!r}")

    @functools.cached_property
    def way(self) -> str:
        """What the optimizer takes: as told, or the first of :data:`WAYS` with which it makes two steps."""
        if self.takes is not None:
            return self.takes
        refusals = {}
        for way in WAYS:
            try:
                Run(self, way=way).steps(2)
            except Exception as error:
                refusals[way] = error
            else:
                return way
        first = next(iter(refusals.values()))
        raise CheckFailed(
            "it cannot make a step, with whatever parameters: "
            + "; ".join(f"{way}: {type(e).__name__}: {e}" for way, e in refusals.items())
        ) from first

    @property
    def sparse(self) -> bool:
        return self.way == "sparse gradients"

    @property
    def own_step(self) -> bool:
        """Whether it has a ``step()`` of its own in place of an ``update()`` for the engine."""
        return self.cls.update is Optimizer.update  # type: ignore[attr-defined]

    @property
    def elementwise(self) -> bool:
        """Whether the engine gives it blocks of flat storage."""
        return self.cls.elementwise and not self.own_step  # type: ignore[attr-defined]

    @property
    def couples(self) -> bool:
        """Whether an update depends on sums over all parameters: then where one is cut is of no more than rounding."""
        return bool(self.cls.sums)  # type: ignore[attr-defined]

    @property
    def methods(self) -> list[str]:
        """Its own public methods beside those of every optimizer, as far as they need no arguments."""
        found = {}
        for cls in reversed(self.cls.__mro__[: self.cls.__mro__.index(Optimizer)]):
            for name, value in cls.__dict__.items():
                if inspect.isfunction(value) and not name.startswith("_") and name not in _CONTRACT:
                    needed = [p for p in inspect.signature(value).parameters.values() if p.default is p.empty]
                    needed = [p for p in needed if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
                    found[name] = len(needed) == 1
        return [name for name, callable_so in found.items() if callable_so]

    def not_coupled(self) -> None:
        """:class:`NotApplicable` for an optimizer whose parameters move each other."""
        if self.couples:
            raise NotApplicable("it makes sums over all parameters, so none moves as it does alone")

    def alike(self, a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
        """Whether two results are the same: bit for bit, but to rounding where sums were made."""
        if not self.couples:
            return same_bits(a, b)
        return len(a) == len(b) and all(
            x.dtype == y.dtype and np.allclose(x, y, rtol=0, atol=1e-10 if x.dtype == np.float64 else 1e-4)
            for x, y in zip(a, b, strict=True)
        )

    @property
    def needs_closure(self) -> bool:
        """Whether ``step()`` cannot be called without one."""
        parameters = inspect.signature(self.cls.step).parameters  # type: ignore[attr-defined]
        return "closure" in parameters and parameters["closure"].default is inspect.Parameter.empty

    def note(self) -> str:
        """How it was checked."""
        given = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        return f"on {self.way}" + (f", with {given}" if given else "")

    def reads(self, name: str) -> bool:
        """Whether every step reads the option: a keyword of ``update()``, or any option where ``step()`` is its own."""
        if self.own_step:
            return True
        parameters = inspect.signature(self.cls.update).parameters  # type: ignore[attr-defined]
        return name == "lr" or name in parameters

    def only_elementwise(self) -> None:
        """:class:`NotApplicable` for an optimizer that is not called on blocks."""
        if not self.elementwise:
            raise NotApplicable("it works on whole tensors, not on blocks of elements")

    def options_for(self, **wanted: Any) -> dict[str, Any]:
        """``wanted`` without what is no hyperparameter of the optimizer; the trial's options where they say nothing."""
        return self.options | {k: v for k, v in wanted.items() if k in self.defaults}

    @functools.cached_property
    def defaults(self) -> dict[str, Any]:
        """The hyperparameters that the constructor takes, with their values."""
        found = dict(Run(self, steps_taken=False).optimizer.defaults)
        taken = inspect.signature(self.cls.__init__).parameters  # type: ignore[misc]
        if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            return found
        return {name: value for name, value in found.items() if name in taken}

    @functools.cached_property
    def variants(self) -> list[dict[str, Any]]:
        """Options that switch on what is off by default (decay, momentum, flags): none, each by itself, and all."""
        wanted = {
            name: True if value is False else 0.1
            for name, value in self.defaults.items()
            if name not in (*_IMPLEMENTATION, *self.options) and value in (0, False) and value is not None
        }
        each = [{}, *({name: value} for name, value in wanted.items() if self.accepts({name: value}))]
        together: dict[str, Any] = {}
        for one in each:
            together |= one if self.accepts(together | one) else {}
        return each if together in each else [*each, together]

    def accepts(self, options: Mapping[str, Any]) -> bool:
        """Whether it makes a step with these options."""
        try:
            Run(self, options=options).step()
        except Exception:  # what is wrong with an option is another check's affair
            return False
        return True

    def rows(self) -> list[Piece]:
        """The usual parameters."""
        return pieces_of(WAYS[self.way])


def pieces_of(shapes: Iterable[tuple[int, ...]]) -> list[Piece]:
    """Neighbouring pieces of the row, of these shapes."""
    found, lo = [], 0
    for shape in shapes:
        found.append((lo, shape))
        lo += math.prod(shape)
    return found


class Run:
    """Parameters, their optimizer, and the steps it makes.

    Args:
        trial: the optimizer.
        pieces: where the parameters lie in the row; default :meth:`Trial.rows`.
        groups: for each parameter group the indices of its parameters and options; default one group of all.
        options: hyperparameters beside the trial's.
        length: of the row.
        seed: of the numbers.
        nudge: the parameters and gradients that a step starts from are about this much larger, in parts.
        lr_nudge: and ``lr`` so much.
    """

    def __init__(
        self,
        trial: Trial,
        pieces: Sequence[Piece] | None = None,
        groups: Sequence[tuple[Sequence[int], Mapping[str, Any]]] | None = None,
        options: Mapping[str, Any] | None = None,
        dtype: Any = distgrad.float64,
        device: str = "cpu",
        length: int = LENGTH,
        seed: int = 0,
        nudge: float = 0.0,
        lr_nudge: float = 0.0,
        way: str | None = None,
        steps_taken: bool = True,
    ) -> None:
        self.trial, self.dtype, self.device = trial, dtype, device
        if way is None and not steps_taken:
            way = trial.takes or "matrices"  # which everything takes that no step is asked of
        self.sparse = (way or trial.way) == "sparse gradients"
        self.pieces = list(pieces if pieces is not None else pieces_of(WAYS[way]) if way else trial.rows())
        rng = np.random.default_rng([seed, length])
        self.direction = 1 + nudge * rng.uniform(0.5, 1.5, length)
        self.start = rng.uniform(0.5, 2, length) * rng.choice([-1, 1], length) * self.direction
        self.a, self.b = rng.uniform(0.5, 2, length), rng.standard_normal(length)
        self.seed, self.taken = seed, 0
        self.params = [self.tensor(self.start, piece).requires_grad_() for piece in self.pieces]
        given = {**trial.options, **(options or {})}
        if lr_nudge and isinstance(trial.defaults.get("lr"), float):
            given["lr"] = given.get("lr", trial.defaults["lr"]) * (1 + lr_nudge)
        params: Any = self.params
        if groups is not None:
            params = [{"params": [self.params[i] for i in members], **more} for members, more in groups]
        self.optimizer: Any = trial.cls(params, **given)

    def tensor(self, row: np.ndarray, piece: Piece) -> Tensor:
        """A piece of ``row``, here."""
        lo, shape = piece
        values = row[lo : lo + math.prod(shape)].reshape(shape)
        return distgrad.tensor(values, dtype=self.dtype, device=self.device)

    def loss(self, members: Iterable[int] | None = None) -> Tensor:
        """What the step now due descends, over the parameters ``members`` (default all)."""
        c = np.random.default_rng([self.seed, self.taken, 1]).standard_normal(len(self.start)) * self.direction
        total = None
        for i in range(len(self.params)) if members is None else members:
            p, a, b, push = self.params[i], *(self.tensor(row, self.pieces[i]) for row in (self.a, self.b, c))
            if self.sparse:  # every other row
                rows = distgrad.arange(self.taken % 2, len(a), 2, device=self.device)
                p, a, b, push = _rows_of(p, rows), a[rows], b[rows], push[rows]
            term = (a * (p - b) * (p - b) * 0.5 + push * p).sum()
            total = term if total is None else total + term
        assert total is not None
        return total

    def backward(self, members: Iterable[int] | None = None) -> Tensor:
        """Forget the gradients and compute those of ``members``."""
        self.optimizer.zero_grad()
        loss = self.loss(members)
        loss.backward()
        return loss

    def step(self, members: Iterable[int] | None = None) -> Any:
        """One step, on gradients of the parameters ``members`` only; what ``step()`` returned."""
        chosen = None if members is None else list(members)
        if self.trial.needs_closure:
            result = self.optimizer.step(lambda: self.backward(chosen))
        else:
            self.backward(chosen)
            result = self.optimizer.step()
        self.taken += 1
        return result

    def steps(self, n: int) -> Run:
        """``n`` steps; itself."""
        for _ in range(n):
            self.step()
        return self

    def values(self) -> list[np.ndarray]:
        """The parameters, copied to the host."""
        return [backend.to_host(p._data).copy() for p in self.params]

    def row(self) -> np.ndarray:
        """The parameters as one row."""
        return np.concatenate([v.reshape(-1) for v in self.values()])

    def state(self, i: int) -> dict[str, Any]:
        """The state of parameter ``i``, copied to the host."""
        return {k: host_copy(v) for k, v in self.optimizer.state.get(self.params[i], {}).items()}

    def numbers(self) -> np.ndarray:
        """Parameters and floating-point state arrays of their shapes, as one row."""
        states = [
            v.reshape(-1)
            for i, p in enumerate(self.params)
            for _, v in sorted(self.state(i).items())
            if isinstance(v, np.ndarray) and v.ndim and v.shape == tuple(p.shape) and v.dtype.kind in "fV"  # bfloat16
        ]
        return np.concatenate([self.row(), *states])


def _rows_of(p: Tensor, rows: Tensor) -> Tensor:
    """Rows of ``p``, whose gradient is sparse."""
    embedding: Any = functional.embedding  # type: ignore[attr-defined,unused-ignore]
    found: Tensor = embedding(rows, p, sparse=True)
    return found


def only_row_of(p: Tensor) -> Tensor:
    """``p``, of one row, with a sparse gradient."""
    return _rows_of(p, distgrad.arange(0, 1, device=p.device))


def host_copy(value: Any) -> Any:
    """A tensor as a NumPy array of its own; anything else as it is."""
    return backend.to_host(value._data).copy() if isinstance(value, Tensor) else value


def same_state(a: Any, b: Any) -> bool:
    """Whether two states, of arrays, tensors, numbers and containers of them, are equal bit for bit."""
    a, b = host_copy(a), host_copy(b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and same_bits([a], [b])
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same_state, a, b))
    return bool(a == b)
