"""The loader: batches, orders, threads, failures."""

from __future__ import annotations

import sys
import threading
import time
import traceback

import numpy as np
import pytest

import distgrad as dg
from distgrad import from_numpy, random
from distgrad.random import Generator
from distgrad.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    Subset,
    TensorDataset,
    get_worker_info,
)

WORKERS = [0, 1, 3]


class Numbers(Dataset):
    def __init__(self, n, fails_at=None):
        self.n, self.fails_at = n, fails_at

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i == self.fails_at:
            raise KeyError(f"sample {i} is broken")
        return float(i)


class Stream(IterableDataset):
    def __init__(self, n, share=False):
        self.n, self.share = n, share

    def __len__(self):
        return self.n

    def __iter__(self):
        info = get_worker_info()
        if self.share and info is not None:
            return iter(range(info.id, self.n, info.num_workers))
        return iter(range(self.n))


def lists(loader):
    return [batch.tolist() for batch in loader]


def flat(loader):
    return [x for batch in loader for x in batch.tolist()]


@pytest.mark.parametrize("num_workers", WORKERS)
def test_batches_come_in_order(num_workers):
    loader = DataLoader(Numbers(10), 4, num_workers=num_workers)
    assert lists(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert lists(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3
    loader = DataLoader(Numbers(10), 4, drop_last=True, num_workers=num_workers)
    assert lists(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(loader) == 2
    assert lists(DataLoader(Numbers(0), 4, num_workers=num_workers)) == []


@pytest.mark.parametrize("num_workers", WORKERS)
def test_shuffling_follows_the_generator_whatever_the_workers(num_workers):
    def epoch(workers, seed):
        return lists(DataLoader(Numbers(9), 2, True, num_workers=workers, generator=Generator().manual_seed(seed)))

    assert sorted(x for batch in epoch(num_workers, 1) for x in batch) == list(range(9))
    assert epoch(num_workers, 1) == epoch(num_workers, 1) != epoch(num_workers, 2)
    with random.fork_rng():
        random.manual_seed(0)
        loader = DataLoader(Numbers(9), 9, shuffle=True)
        first, second = lists(loader), lists(loader)
        random.manual_seed(0)
        assert [lists(loader), lists(loader)] == [first, second]
        assert first != second


@pytest.mark.parametrize("num_workers", WORKERS)
def test_tensor_data_sets_have_the_same_batches_by_the_fast_and_the_slow_way(num_workers):
    x, y = from_numpy(np.arange(20.0).reshape(10, 2)), from_numpy(np.arange(10))
    data = TensorDataset(x, y)

    class Slow(Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, i):
            return data[i]

    for dataset in (data, Subset(data, list(range(10)))):
        fast, slow = (
            list(DataLoader(d, 3, True, generator=Generator().manual_seed(1), num_workers=num_workers))
            for d in (dataset, Slow())
        )
        assert len(fast) == len(slow) == 4
        for a, b in zip(fast, slow, strict=True):
            assert type(a) is type(b) is list
            assert [t.tolist() for t in a] == [t.tolist() for t in b]
            assert [t.dtype for t in a] == [t.dtype for t in b]


def test_a_collate_function_and_a_batch_getter_are_used():
    class Fast(Numbers):
        def __getitems__(self, indices):
            return [f"item {i}" for i in indices]

    assert list(DataLoader(Fast(3), 2, collate_fn="+".join)) == ["item 0+item 1", "item 2"]
    data = TensorDataset(from_numpy(np.arange(4)))
    assert list(DataLoader(data, 2, collate_fn=len)) == [2, 2]


def test_samplers_batch_samplers_and_no_batches():
    assert lists(DataLoader(Numbers(5), 2, sampler=[4, 0, 2])) == [[4, 0], [2]]
    loader = DataLoader(Numbers(5), batch_sampler=[[0, 1, 2], [4]])
    assert lists(loader) == [[0, 1, 2], [4]]
    assert (len(loader), loader.batch_size) == (2, None)
    singles = DataLoader(Numbers(3), batch_size=None)
    assert list(singles) == [0.0, 1.0, 2.0]
    assert isinstance(singles.sampler, SequentialSampler)
    assert next(iter(DataLoader([np.ones(2)], batch_size=None))).tolist() == [1, 1]


@pytest.mark.parametrize("num_workers", WORKERS)
def test_streams(num_workers):
    shared = DataLoader(Stream(7, share=True), 2, num_workers=num_workers)
    assert sorted(flat(shared)) == list(range(7))
    assert sorted(flat(shared)) == list(range(7))
    whole = flat(DataLoader(Stream(5), 2, num_workers=num_workers))
    assert sorted(whole) == sorted(
        list(range(5)) * max(1, num_workers)
    )  # each worker walks the whole stream, in PyTorch
    assert list(DataLoader(Stream(3), None, num_workers=min(num_workers, 1))) == [0, 1, 2]
    dropping = DataLoader(Stream(5), 2, drop_last=True, num_workers=min(num_workers, 1))
    assert lists(dropping) == [[0, 1], [2, 3]]
    assert len(dropping) == 2
    with pytest.raises(TypeError):
        len(DataLoader(iter_only()))


def iter_only():
    class NoLength(IterableDataset):
        def __iter__(self):
            return iter([1])

    return NoLength()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_streams_come_in_torchs_order(num_workers):
    data = pytest.importorskip("torch.utils.data")

    class Theirs(data.IterableDataset):
        def __iter__(self):
            info = data.get_worker_info()
            return iter(range(info.id, 11, info.num_workers))

    theirs = [b.tolist() for b in data.DataLoader(Theirs(), 2, num_workers=num_workers)]
    assert lists(DataLoader(Stream(11, share=True), 2, num_workers=num_workers)) == theirs


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_failure_in_a_worker_is_raised_with_its_traceback(num_workers):
    got = []
    with pytest.raises(KeyError, match="sample 5 is broken") as caught:
        got.extend(DataLoader(Numbers(8, fails_at=5), 2, num_workers=num_workers))
    assert [b.tolist() for b in got] == [[0, 1], [2, 3]]
    text = "".join(traceback.format_exception(caught.value))
    assert "in __getitem__" in text
    assert f"raised in DataLoader worker {2 % num_workers} (a thread)" in text


def test_workers_are_threads_with_numbers_and_seeds():
    seen = {}

    class Asking(Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            info = get_worker_info()
            seen[i] = (info.id, info.num_workers, info.seed, info.dataset is self, threading.current_thread().name)
            return i

    started = []
    assert get_worker_info() is None
    list(DataLoader(Asking(), 1, num_workers=2, worker_init_fn=started.append, generator=Generator().manual_seed(1)))
    assert sorted(started) == [0, 1]
    assert [seen[i][:2] for i in range(6)] == [(0, 2), (1, 2)] * 3
    assert seen[1][2] == seen[0][2] + 1
    assert all(seen[i][3] for i in range(6))
    assert seen[0][4].startswith("DataLoader worker 0")
    assert not [t for t in threading.enumerate() if t.name.startswith("DataLoader")]


def test_a_failing_worker_init_is_raised():
    def fails(i):
        raise OSError(f"worker {i} cannot start")

    with pytest.raises(OSError, match="worker 0 cannot start"):
        list(DataLoader(Numbers(4), num_workers=1, worker_init_fn=fails))


def test_only_so_much_is_fetched_ahead():
    fetched = []

    class Counting(Numbers):
        def __getitem__(self, i):
            fetched.append(i)
            return i

    batches = iter(DataLoader(Counting(100), 1, num_workers=2, prefetch_factor=3))
    assert next(batches).tolist() == [0]
    assert len(fetched) <= 7  # 2 workers with 3 each, and one for the batch given out
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("DataLoader")]


def test_persistent_workers_stay():
    loader = DataLoader(Numbers(4), 2, num_workers=2, persistent_workers=True)
    names = set()
    for _ in range(2):
        assert lists(loader) == [[0, 1], [2, 3]]
        names.add(frozenset(t.ident for t in threading.enumerate() if t.name.startswith("DataLoader")))
    assert len(names) == 1
    assert len(next(iter(names))) == 2
    loader._workers.close()


def test_a_hanging_worker_times_out():
    release = threading.Event()

    class Hanging(Numbers):
        def __getitem__(self, i):
            release.wait(60)
            return i

    try:
        with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0.05 seconds"):
            list(DataLoader(Hanging(2), num_workers=1, timeout=0.05))
    finally:
        release.set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(batch_size=0), "batch_size should be a positive integer value, but got batch_size=0"),
        (dict(batch_size=2.5), "but got batch_size=2.5"),
        (dict(num_workers=-1), "num_workers option should be non-negative"),
        (dict(timeout=-1), "timeout option should be non-negative"),
        (dict(prefetch_factor=2), "prefetch_factor option could only be specified in multiprocessing"),
        (dict(prefetch_factor=0, num_workers=1), "prefetch_factor option should be positive, got 0"),
        (dict(persistent_workers=True), "persistent_workers option needs num_workers > 0"),
        (dict(multiprocessing_context="fork"), "workers are threads; got 'fork'"),
        (dict(sampler=[0], shuffle=True), "sampler option is mutually exclusive with shuffle"),
        (dict(batch_sampler=[[0]], batch_size=2), "batch_sampler option is mutually exclusive with batch_size"),
        (dict(batch_size=None, drop_last=True), "batch_size=None option disables auto-batching"),
        (dict(drop_last="yes"), "drop_last should be a boolean value, but got drop_last=yes"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Numbers(3), **arguments)


@pytest.mark.parametrize("arguments", [dict(shuffle=True), dict(sampler=[0]), dict(batch_sampler=[[0]])])
def test_a_stream_has_no_order_to_choose(arguments):
    with pytest.raises(ValueError, match="with IterableDataset: expected unspecified"):
        DataLoader(Stream(3), **arguments)


def test_what_made_the_loader_cannot_be_changed():
    loader = DataLoader(Numbers(3))
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader.batch_size = 3
    loader.note = "anything else can"


class Noisy(Dataset):
    """Draws in each of the ways there are; slowly at times, so that workers overtake each other."""

    def __len__(self):
        return 40

    def __getitem__(self, i):
        if i % 7 == 0:
            time.sleep(0.001)
        drawn = [dg.randn(2), dg.rand(2), dg.randint(1000, (2,)).float(), dg.empty(2).normal_()]
        drawn.append(dg.nn.functional.dropout(dg.ones(2)))
        return dg.cat([*drawn, dg.tensor([float(i), float(dg.initial_seed() % 1000)])])


def epochs(num_workers, **options):
    """Two epochs' batches, and what the main thread draws beside them."""
    dg.manual_seed(3)
    loader = DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=num_workers, **options)
    seen, beside = [], []
    for _ in range(2):
        for batch in loader:
            seen.append(batch.tolist())
            beside.append(dg.nn.functional.dropout(dg.ones(5)).tolist())
    return seen, beside


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 5}])
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_what_workers_draw_follows_from_the_seed(num_workers, options):
    first = epochs(num_workers, **options)
    switches = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(3):
            assert epochs(num_workers, **options) == first
    finally:
        sys.setswitchinterval(switches)
    rows = [tuple(row[:-2]) for batch in first[0] for row in batch]
    assert len(set(rows)) == len(rows)  # no two samples' numbers are the same
    assert len({tuple(row) for row in first[1]}) > 10


def test_a_worker_may_seed_itself_without_the_others_noticing():
    def seed(worker):
        dg.manual_seed(worker)

    dg.manual_seed(3)
    before = dg.get_rng_state()
    loader = DataLoader(Noisy(), batch_size=20, num_workers=2, worker_init_fn=seed, generator=dg.Generator())
    assert [int(batch[0][-1]) for batch in loader] == [0, 1]
    assert (dg.get_rng_state() == before).all()
    assert dg.initial_seed() == 3
