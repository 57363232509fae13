"""Samplers: orders, lengths, shares, and what PyTorch refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from distgrad import from_numpy, random
from distgrad.random import Generator
from distgrad.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def seeded(n=0):
    return Generator().manual_seed(n)


def test_sequential_and_random_orders():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    s = RandomSampler(range(50), generator=seeded())
    first, second = list(s), list(s)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert list(RandomSampler(range(50), generator=seeded())) == first
    assert len(s) == 50
    assert all(type(i) is int for i in first)


def test_the_default_generator_orders_and_each_epoch_differs():
    with random.fork_rng():
        random.manual_seed(5)
        s = RandomSampler(range(30))
        first, second = list(s), list(s)
        random.manual_seed(5)
        assert [list(s), list(s)] == [first, second]
        assert first != second


def test_drawing_more_fewer_or_with_replacement():
    assert sorted(list(RandomSampler(range(4), num_samples=10))[:8]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(set(RandomSampler(range(100), num_samples=10))) == 10
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=300, generator=seeded()))
    assert {drawn.count(i) > 60 for i in range(3)} == {True}
    assert sorted(SubsetRandomSampler([7, 8, 9], generator=seeded())) == [7, 8, 9]


def test_weights():
    s = WeightedRandomSampler([0.0, 1.0, 3.0], 4000, generator=seeded())
    drawn = list(s)
    assert len(s) == 4000
    assert drawn.count(0) == 0
    assert abs(drawn.count(2) / 4000 - 0.75) < 0.03
    assert sorted(WeightedRandomSampler(from_numpy(np.array([1.0, 1.0, 0.0])), 2, replacement=False)) == [0, 1]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [0, 1, 5, 6])
def test_batches(n, drop_last):
    batches = BatchSampler(SequentialSampler(range(n)), 3, drop_last)
    expected = [list(range(n))[i : i + 3] for i in range(0, n, 3)]
    if drop_last:
        expected = [b for b in expected if len(b) == 3]
    assert list(batches) == expected
    assert len(batches) == len(expected)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomSampler([]), ValueError, "num_samples should be a positive integer value, but got"),
        (lambda: RandomSampler([1], num_samples=1.5), ValueError, "but got num_samples=1.5"),
        (lambda: RandomSampler([1], replacement=1), TypeError, "replacement should be a boolean value"),
        (lambda: BatchSampler([1], 0, False), ValueError, "should be a positive integer value, but got batch_size=0"),
        (lambda: BatchSampler([1], True, False), ValueError, "but got batch_size=True"),
        (lambda: BatchSampler([1], 1, 1), ValueError, "drop_last should be a boolean value, but got drop_last=1"),
        (lambda: WeightedRandomSampler([1.0], 0), ValueError, "but got num_samples=0"),
        (lambda: WeightedRandomSampler([[1.0]], 1), ValueError, r"1d sequence but given weights have shape \(1, 1\)"),
        (lambda: DistributedSampler([1], 2, 2), ValueError, r"Invalid rank 2, rank should be in the interval \[0, 1\]"),
        (lambda: DistributedSampler([1], 0, 0), ValueError, "Invalid num_replicas 0"),
        (lambda: iter(Sampler()), NotImplementedError, "should implement __iter__"),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@given(n=st.integers(0, 40), replicas=st.integers(1, 5), drop_last=st.booleans(), shuffle=st.booleans())
def test_shares_are_even_and_cover_everything(n, replicas, drop_last, shuffle):
    shares = [DistributedSampler(range(n), replicas, r, shuffle, seed=1, drop_last=drop_last) for r in range(replicas)]
    lists = [list(s) for s in shares]
    assert {len(x) for x in lists} == {len(s) for s in shares}
    together = [i for x in zip(*lists, strict=True) for i in x]  # the common order
    if drop_last:
        assert len(set(together)) == len(together) == n // replicas * replicas
    else:
        assert set(together) == set(range(n))
        assert together == [together[i % n] for i in range(len(together))]
    if not shuffle:
        assert together[:n] == list(range(n))[: len(together)]


def test_epochs_reorder_alike_on_all_ranks():
    a, b = (DistributedSampler(range(20), 2, r) for r in range(2))
    orders = []
    for epoch in range(3):
        a.set_epoch(epoch)
        b.set_epoch(epoch)
        assert sorted([*a, *b]) == list(range(20))
        assert list(a) == list(a)
        orders.append(list(a))
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.torch
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [0, 1, 3, 10, 11])
@pytest.mark.parametrize("replicas", [1, 3, 4])
def test_unshuffled_shares_are_torchs(n, replicas, drop_last):
    data = pytest.importorskip("torch.utils.data")
    for rank in range(replicas):
        arguments = dict(num_replicas=replicas, rank=rank, shuffle=False, drop_last=drop_last)
        if n == 0 and not drop_last:  # torch divides by zero there
            continue
        theirs = data.DistributedSampler(range(n), **arguments)
        assert list(DistributedSampler(range(n), **arguments)) == list(theirs)
