"""The reducer: after backward every gradient is the mean over all ranks' samples, whatever each rank used or held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import distgrad as dg
import distgrad.distributed as dist
from distgrad import from_numpy, registry, storage
from distgrad.autograd import Tensor
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.data_parallel.message_reducer import Reducer
from distgrad.distributed.gradients.buckets import Bucket, make_buckets
from distgrad.distributed.process_groups.default_group import get_group

Threads: Any = registry.get("communicator", "threads")
TINY = 64  # bytes: every parameter a bucket of its own
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 5)), RNG.standard_normal((12, 2))
SHAPES = ((5, 3), (3,), (3, 2), (2,))
SHARES = {1: [12], 2: [5, 7], 3: [4, 4, 4], 4: [6, 0, 1, 5]}


def parameters(dtype: Any = np.float64) -> list[Tensor]:
    rng = np.random.default_rng(1)
    return [dg.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in SHAPES]


def loss(params: Sequence[Tensor], rows: slice) -> Tensor:
    w1, b1, w2, b2 = params
    x, y = (dg.tensor(a[rows].astype(w1._data.dtype)) for a in (X, Y))
    return ((dg.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).sum() / max(len(x._data), 1)


def whole_batch(dtype: Any = np.float64) -> list[np.ndarray]:
    params = parameters(dtype)
    loss(params, slice(None)).backward()
    return [p.grad._data.copy() for p in params if p.grad is not None]


def attach(params: Sequence[Tensor], cap: float = TINY, by_samples: bool = True) -> Reducer:
    order = {id(p): i for i, p in enumerate(params)}
    buckets = make_buckets(storage.flatten(list(params)), order, cap, cap)
    return Reducer(get_group().comm, buckets, by_samples)


def share(counts: Sequence[int]) -> slice:
    lo = sum(counts[: dist.get_rank()])
    return slice(lo, lo + counts[dist.get_rank()])


def on_ranks(size: int, main: Callable[[], Any]) -> list[Any]:
    def body() -> Any:
        dist.init_process_group("threads")
        return main()

    results: list[Any] = Threads.run(size, body)
    return results


def gradients(params: Sequence[Tensor]) -> list[np.ndarray | None]:
    return [None if p.grad is None else p.grad._data.copy() for p in params]


@pytest.mark.parametrize("cap", [TINY, 150, 1e6])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_give_the_gradient_of_the_whole_batch(size: int, cap: float) -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters()
        reducer, mine = attach(params, cap), share(SHARES[size])
        for _ in range(2):
            reducer.forward(sync=True, samples=mine.stop - mine.start, training=True)
            loss(params, mine).backward()
            got = gradients(params)
            for p in params:
                p.grad = None
        return got

    results, want = on_ranks(size, main), whole_batch()
    for got in results:
        for g, w, first in zip(got, want, results[0], strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12)
            assert g.tobytes() == first.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, dg.bfloat16.np, np.float16])
def test_narrow_types_are_reduced_too(dtype: Any) -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters(dtype)
        reducer, mine = attach(params), share([6, 6])
        reducer.forward(sync=True, samples=6, training=True)
        loss(params, mine).backward()
        return gradients(params)

    eps = dg.finfo(dg.dtypes.from_numpy_dtype(dtype)).eps
    for got in on_ranks(2, main):
        for g, w in zip(got, whole_batch(), strict=True):
            assert g.dtype == dtype
            np.testing.assert_allclose(g.astype(np.float64), w, atol=20 * eps, rtol=20 * eps)


def test_a_rank_without_samples_does_not_spread_its_nan() -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters()
        reducer, idle = attach(params), dist.get_rank() == 1
        reducer.forward(sync=True, samples=0 if idle else 12, training=True)
        scale = float("nan") if idle else 1.0  # what mean() makes of no samples
        (loss(params, slice(None)) * scale).backward()
        return gradients(params)

    for got in on_ranks(2, main):
        for g, w in zip(got, whole_batch(), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12)


def test_weighting_by_ranks_is_the_plain_mean_over_ranks() -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters()
        reducer, mine = attach(params, by_samples=False), share([3, 9])
        reducer.forward(sync=True, samples=mine.stop - mine.start, training=True)
        loss(params, mine).backward()
        return gradients(params)

    parts = []
    for rows in (slice(0, 3), slice(3, 12)):
        params = parameters()
        loss(params, rows).backward()
        parts.append([p.grad._data for p in params if p.grad is not None])
    for got in on_ranks(2, main):
        for g, a, b in zip(got, *parts, strict=True):
            np.testing.assert_allclose(g, (a + b) / 2, rtol=1e-12)


def test_evaluation_does_not_count_as_training() -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters()
        reducer, mine = attach(params), share([5, 7])
        reducer.forward(sync=True, samples=1000 * dist.get_rank(), training=False)
        reducer.forward(sync=True, samples=mine.stop - mine.start, training=True)
        loss(params, mine).backward()
        return gradients(params)

    for got in on_ranks(2, main):
        for g, w in zip(got, whole_batch(), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12)


def test_unused_parameters() -> None:
    """F6: unused everywhere stays None; unused on some ranks counts as zero there; nobody waits for ever."""

    def main() -> list[Any]:
        params = [dg.tensor(np.ones(n), requires_grad=True) for n in (2, 3, 4)]
        reducer = attach(params)
        reducer.forward(sync=True, samples=1, training=True)
        rank = dist.get_rank()
        used = params[rank] * float(rank + 1)  # rank 0 uses the first, rank 1 the second, nobody the third
        used.sum().backward()
        got = gradients(params)
        for p in params:
            p.grad = None
        reducer.forward(sync=True, samples=1, training=True)
        params[2].sum().backward()
        return [got, gradients(params)]

    for first, second in on_ranks(2, main):
        assert [None if g is None else g.tolist() for g in first] == [[0.5, 0.5], [1.0, 1.0, 1.0], None]
        assert [None if g is None else g.tolist() for g in second] == [None, None, [1.0] * 4]


def test_gradients_may_come_in_any_order() -> None:
    """Ranks that finish their parameters in opposite orders still start the same reductions in the same order."""

    def main() -> list[np.ndarray | None]:
        params = [dg.tensor(np.ones(n), requires_grad=True) for n in (1, 2, 3)]
        reducer = attach(params)
        reducer.forward(sync=True, samples=1, training=True)
        total = dg.tensor(1.0)
        for p in params if dist.get_rank() else reversed(params):
            total = total * p.sum()
        total.backward()
        return gradients(params)

    for got in on_ranks(2, main):
        assert [g.tolist() for g in got] == [[6.0], [3.0] * 2, [2.0] * 3]


def test_accumulation_reduces_the_sum() -> None:
    def main() -> list[Any]:
        params = parameters()
        reducer, mine = attach(params), share([6, 6])
        reducer.forward(sync=False, samples=6, training=True)
        loss(params, mine).backward()
        local = gradients(params)
        reducer.forward(sync=True, samples=6, training=True)
        loss(params, mine).backward()
        return [local, gradients(params)]

    results = on_ranks(2, main)
    assert not np.allclose(results[0][0][0], results[1][0][0])  # the first stayed on its rank
    for _, got in results:
        for g, w in zip(got, whole_batch(), strict=True):
            np.testing.assert_allclose(g, 2 * w, rtol=1e-12)


def test_a_gradient_the_user_put_there_is_reduced_with_the_rest() -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters()
        reducer, mine = attach(params), share([6, 6])
        for p in params[:2]:
            p.grad = from_numpy(np.full(p._data.shape, 10.0 * dist.get_rank()))
        reducer.forward(sync=True, samples=6, training=True)
        loss(params, mine).backward()
        return gradients(params)

    for got in on_ranks(2, main):
        for i, (g, w) in enumerate(zip(got, whole_batch(), strict=True)):
            np.testing.assert_allclose(g, w + 5.0 * (i < 2), rtol=1e-12)


def test_an_old_gradient_kept_by_the_user_keeps_its_values() -> None:
    def main() -> bool:
        params = parameters()
        reducer, mine = attach(params), share([6, 6])
        reducer.forward(sync=True, samples=6, training=True)
        loss(params, mine).backward()
        kept = params[0].grad
        assert kept is not None
        before = kept._data.copy()
        for p in params:
            p.grad = None
        reducer.forward(sync=True, samples=6, training=True)
        (loss(params, mine) * 3.0).backward()
        assert params[0].grad is not None
        np.testing.assert_allclose(params[0].grad._data, 3 * before, rtol=1e-12)
        return kept._data.tobytes() == before.tobytes()

    assert on_ranks(2, main) == [True, True]


def test_without_a_forward_that_syncs_nothing_is_reduced() -> None:
    def main() -> list[np.ndarray | None]:
        params = parameters()
        attach(params)
        if dist.get_rank() == 0:  # no collective, so one rank may do it alone
            loss(params, slice(0, 6)).backward()
        return gradients(params)

    results = on_ranks(2, main)
    assert results[0][0] is not None
    assert results[1][0] is None


def test_reductions_start_while_backward_runs() -> None:
    """Buckets go out as soon as they are full, last parameter first."""

    def main() -> list[str]:
        events: list[str] = []
        params = parameters()
        comm = get_group().comm
        real = comm.Iallreduce

        def spy(array: Any, op: ReduceOp = ReduceOp.SUM) -> Any:
            events.append(f"reduce {array.size}")
            return real(array, op)

        comm.Iallreduce = spy  # type: ignore[method-assign]
        for p in params:
            p.register_post_accumulate_grad_hook(lambda p: events.append(f"ready {tuple(p.shape)}"))
        reducer = attach(params)
        reducer.forward(sync=True, samples=6, training=True)
        loss(params, share([6, 6])).backward()
        return events

    for events in on_ranks(2, main):
        assert events.index("reduce 2") < events.index("ready (5, 3)"), events
        # the samples of each rank, then the buckets, then which parameters were used
        assert [e for e in events if "reduce" in e] == [f"reduce {n}" for n in (2, 2, 6, 3, 15, 4)], events


def test_a_backward_that_failed_is_not_forgotten() -> None:
    def main() -> str:
        params = parameters()
        reducer = attach(params)
        reducer.forward(sync=True, samples=6, training=True)
        handle = params[0].register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            loss(params, share([6, 6])).backward()
        handle.remove()
        with pytest.raises(RuntimeError, match="the last backward") as caught:
            reducer.forward(sync=True, samples=6, training=True)
        return str(caught.value)

    for rank, text in enumerate(on_ranks(2, main)):
        assert text.startswith(f"rank {rank}: the last backward() failed before all gradients were reduced")


def test_a_parameter_that_got_other_memory_is_served_there() -> None:
    def main() -> list[Any]:
        params = parameters()
        reducer, mine = attach(params), share([5, 7])
        if dist.get_rank() == 1:
            params[0].data = dg.tensor(params[0]._data.copy())
            storage.flatten(params)  # as an optimizer that finds it homeless does
        for _ in range(2):
            reducer.forward(sync=True, samples=mine.stop - mine.start, training=True)
            loss(params, mine).backward()
        return gradients(params)

    for got in on_ranks(2, main):
        for g, w in zip(got, whole_batch(), strict=True):
            np.testing.assert_allclose(g, 2 * w, rtol=1e-12)


def test_a_model_converted_after_wrapping_is_refused() -> None:
    def main() -> str:
        params = parameters()
        reducer = attach(params)
        for p in params:
            p.data = dg.tensor(p._data.astype(np.float32))
        reducer.forward(sync=True, samples=6, training=True)
        with pytest.raises(RuntimeError, match="move and convert a model before wrapping it") as caught:
            loss(params, share([6, 6])).backward()
        return str(caught.value)

    text = on_ranks(2, main)[1]
    assert text.startswith("rank 1: a parameter of shape (2,) was float64 on cpu and is now float32 on cpu")


def test_ranks_whose_parameters_lie_in_another_order_are_refused() -> None:
    def main() -> None:
        params = parameters()
        if dist.get_rank() == 1:
            storage.flatten(list(reversed(params)))
        attach(params, cap=1e6)

    with pytest.raises(RuntimeError, match=r"in another order on rank\(s\) 1 than on rank 0"):
        on_ranks(2, main)


def test_other_parameters_in_the_same_storage_are_left_alone() -> None:
    def main() -> list[Any]:
        params, other = parameters(), dg.tensor(np.zeros(4), requires_grad=True)
        storage.flatten([*params[:2], other, *params[2:]])
        reducer, mine = attach(params, cap=1e6), share([5, 7])
        other.grad = from_numpy(np.full(4, float(dist.get_rank())))
        reducer.forward(sync=True, samples=mine.stop - mine.start, training=True)
        loss(params, mine).backward()
        return [*gradients(params), gradients([other])[0]]

    for rank, got in enumerate(on_ranks(2, main)):
        assert got.pop().tolist() == [rank] * 4
        for g, w in zip(got, whole_batch(), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-12)


def names_of(buckets: Sequence[Bucket], params: Sequence[Tensor]) -> list[list[int]]:
    position = {id(p): i for i, p in enumerate(params)}
    return [[position[id(p)] for p in bucket.params] for bucket in buckets]


def test_buckets_are_cut_from_the_last_parameter_to_the_first() -> None:
    params = [dg.tensor(np.zeros(n, np.float32), requires_grad=True) for n in (1000, 16, 16, 64, 16, 16)]
    order = {id(p): i for i, p in enumerate(params)}
    flat = storage.flatten(params)
    assert names_of(make_buckets(flat, order, 400, 128), params) == [[4, 5], [1, 2, 3], [0]]
    assert names_of(make_buckets(flat, order, 1e9, 64), params) == [[5], [0, 1, 2, 3, 4]]
    assert names_of(make_buckets(flat, order, 1, 1), params) == [[5], [4], [3], [2], [1], [0]]


def test_a_bucket_holds_one_dtype_and_all_ranks_agree_on_the_order() -> None:
    kinds = (np.float32, np.float64, np.float32, np.float64)
    params = [dg.tensor(np.zeros(4, kind), requires_grad=True) for kind in kinds]
    order = {id(p): i for i, p in enumerate(params)}
    assert names_of(make_buckets(storage.flatten(params), order, 1, 1), params) == [[3], [2], [1], [0]]
    assert names_of(make_buckets(storage.flatten(params), order, 1e9, 1e9), params) == [[1, 3], [0, 2]]
