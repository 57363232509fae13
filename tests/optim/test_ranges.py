"""A process's share of the update, the size of blocks and the layout of tensors change no bit; memory stays small."""

from __future__ import annotations

import copy
import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import optim, storage
from tests.optim import every
from tests.optim.every import each, make

SHAPES = ((2, 3), (5,), (), (4, 7), (0,), (3,))
# in elements of the buffers: at the edges of parameters, inside them, in the gaps between, and empty shares
BOUNDARIES = [(0,), (1,), (8,), (11, 13), (16, 16, 30), (3, 4, 21, 40), (1000,)]


def share(flat: storage.FlatStorage, lo: int, hi: int) -> None:
    end = len(flat.data)
    flat.owned = (min(lo, end), min(hi, end))


def gradients(k: int, dtype: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(k)
    return [np.asarray(rng.standard_normal(s), dtype) for s in SHAPES]


def run(name: str, dtype: str, cuts: tuple[int, ...] = (), n: int = 4, **more: Any) -> tuple[list[Any], list[Any]]:
    """Parameters and state after ``n`` steps, by one process or by several, one for each share, one after another.

    After each step every process takes over what the others have updated.
    """
    edges = [0, *cuts, 10**6]
    workers = []
    for lo, hi in itertools.pairwise(edges):
        params = every.parameters(distgrad, dtype, SHAPES)
        (flat,) = storage.flatten(params)
        if cuts:
            share(flat, lo, hi)
        workers.append((params, flat, make(distgrad, name, params, **more)))
    for k in range(n):
        for params, _, optimizer in workers:
            for i, (p, g) in enumerate(zip(params, gradients(k, dtype), strict=True)):
                p.grad = None if (k, i) == (2, 1) else distgrad.tensor(g)
            optimizer.step()
        for _, flat, _ in workers:
            for _, other, _ in workers:
                lo, hi = other.owned
                flat.data[lo:hi] = other.data[lo:hi]
    whole(workers)
    return [p.detach().numpy() for p in workers[0][0]], [o.state_dict() for _, _, o in workers]


def whole(workers: list[Any]) -> None:
    """Give every storage an assemble() that reads the other workers' parts, as a communicator will fetch them."""

    def assembler(me: Any) -> Any:
        def assemble(part: Any) -> Any:
            mine = workers[me][2]._segments[0]
            (place,) = [(s, name) for s in range(len(mine)) for name, x in mine[s].state.items() if x is part]
            s, name = place
            return np.concatenate([optimizer._segments[0][s].state[name] for _, _, optimizer in workers])

        return assemble

    if len(workers) > 1:
        for i, (_, flat, _) in enumerate(workers):
            flat.assemble = assembler(i)


def assert_same(a: tuple[list[Any], list[Any]], b: tuple[list[Any], list[Any]]) -> None:
    for p, q in zip(a[0], b[0], strict=True):
        assert p.tobytes() == q.tobytes()
    for ours in (*a[1], *b[1]):
        theirs = a[1][0]
        assert ours["state"].keys() == theirs["state"].keys()
        for i in theirs["state"]:
            assert ours["state"][i].keys() == theirs["state"][i].keys()
            for entry, value in theirs["state"][i].items():
                assert ours["state"][i][entry].shape == value.shape
                assert ours["state"][i][entry].numpy().tobytes() == value.numpy().tobytes(), (i, entry)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("cuts", BOUNDARIES, ids=str)
@each
def test_shares_of_the_update_make_up_the_whole(name: str, cuts: tuple[int, ...], dtype: str) -> None:
    assert_same(run(name, dtype), run(name, dtype, cuts))


@each
def test_state_is_held_for_the_share_alone(name: str) -> None:
    params = every.parameters(distgrad, shapes=((1000,), (24,)))
    (flat,) = storage.flatten(params)
    share(flat, 900, 1010)
    optimizer = make(distgrad, name, params)
    every.steps(optimizer, params, 1)
    (segment,) = optimizer._segments[0]
    assert segment.state
    assert all(len(x) == 110 for x in segment.state.values())
    with pytest.raises(RuntimeError, match="holds optimizer state only for elements 900 to 1009 of 0 to 1023"):
        optimizer.state_dict()


@each
def test_a_share_loads_its_part_of_a_whole_state(name: str) -> None:
    params = every.parameters(distgrad, shapes=SHAPES)
    optimizer = make(distgrad, name, params)
    every.steps(optimizer, params)
    saved = copy.deepcopy(optimizer.state_dict())
    values = [p.detach().clone() for p in params]
    every.steps(optimizer, params, 1)
    for lo, hi in ((0, 10), (10, 33), (33, 33), (33, 10**6)):
        others = [v.clone().requires_grad_() for v in values]
        (flat,) = storage.flatten(others)
        share(flat, lo, hi)
        resumed = make(distgrad, name, others)
        resumed.load_state_dict(copy.deepcopy(saved))
        every.steps(resumed, others, 1)
        lo, hi = flat.owned
        ours = storage.flatten(params)[0].data
        assert flat.data[lo:hi].tobytes() == ours[lo:hi].tobytes()


@each
def test_a_share_may_be_set_after_the_optimizer_was_made(name: str) -> None:
    params, others = every.parameters(distgrad), every.parameters(distgrad)
    optimizer, other = make(distgrad, name, params), make(distgrad, name, others)
    every.steps(optimizer, params, 2)
    every.steps(other, others, 2)
    (flat,), (flat_other,) = storage.flatten(params), storage.flatten(others)
    before = flat.data.copy()
    share(flat, 2, 13)
    every.steps(optimizer, params, 1)
    every.steps(other, others, 1)
    assert flat.data[2:13].tobytes() == flat_other.data[2:13].tobytes()
    for part in (slice(2), slice(13, None)):
        assert flat.data[part].tobytes() == before[part].tobytes()
    (segment,) = optimizer._segments[0]
    assert all(len(x) == 11 for x in segment.state.values())


class NormScaled(optim.Optimizer):
    """Needs whole tensors."""

    defaults = dict(lr=0.1)
    state = ("total",)
    elementwise = False

    def update(self, xp, p, g, total, *, lr):  # type: ignore[no-untyped-def, override]
        total += g
        p -= lr * total / (1 + xp.linalg.norm(g))


def test_whole_tensors_go_to_the_share_they_begin_in() -> None:
    first, second = [every.parameters(distgrad) for _ in range(2)]
    whole_params = every.parameters(distgrad)
    every.steps(NormScaled(whole_params), whole_params, 1)
    for params, lo, hi in ((first, 0, 3), (second, 3, 10**6)):
        (flat,) = storage.flatten(params)
        share(flat, lo, hi)
        every.steps(NormScaled(params), params, 1)
    untouched = every.parameters(distgrad)
    assert [p.tolist() for p in first] == [whole_params[0].tolist(), *(p.tolist() for p in untouched[1:])]
    assert [p.tolist() for p in second] == [untouched[0].tolist(), *(p.tolist() for p in whole_params[1:])]


@each
def test_the_layout_of_tensors_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    start, steps = rng.standard_normal(60), rng.standard_normal((5, 60))

    def bits(sizes: list[int], dtype: str, block: int) -> bytes:
        monkeypatch.setattr("distgrad.optim.update.pieces.BLOCK_BYTES", block)
        edges = np.cumsum([0, *sizes])
        cut = list(itertools.pairwise(edges))
        kind = getattr(distgrad, dtype)
        params = [distgrad.tensor(start[a:b].tolist(), dtype=kind, requires_grad=True) for a, b in cut]
        optimizer = make(distgrad, name, params)
        for g in steps:
            for p, (a, b) in zip(params, cut, strict=True):
                p.grad = distgrad.tensor(g[a:b].tolist(), dtype=kind)
            optimizer.step()
        return b"".join(p.detach().numpy().tobytes() for p in params)

    for dtype in ("float32", "float64", "float16"):
        expected = bits([60], dtype, 1 << 20)
        for sizes in ([1] * 60, [7, 13, 40], [59, 1], [32, 0, 28]):
            for block in (8, 24, 1 << 20):
                assert bits(sizes, dtype, block) == expected


@pytest.mark.parametrize("jit", ["1", "0"])
@pytest.mark.parametrize("more", [{}, {"maximize": True}], ids=str)
@each
def test_a_step_needs_under_a_megabyte_beside_its_state(
    name: str, more: dict[str, Any], jit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distgrad import jit as compiled

    monkeypatch.setenv("DISTGRAD_JIT", jit)
    compiled.available.cache_clear()
    try:
        params = [distgrad.zeros(1 << 20, requires_grad=True), distgrad.zeros(1 << 19, requires_grad=True)]
        optimizer = make(distgrad, name, params, **more)
        sum((p - 1).square().sum() for p in params).backward()
        optimizer.step()  # makes state and scratch
        (segment,) = optimizer._segments[0]
        tracemalloc.start()
        optimizer.step()
        temporary = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kept = sum(x.nbytes for x in segment._spare)
    finally:
        compiled.available.cache_clear()
    assert temporary + kept <= 1 << 20
