"""Data sets and collating."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import distgrad as dg
from distgrad import Tensor, backend, from_numpy
from distgrad.ops.creation import from_array
from distgrad.random import Generator
from distgrad.utils.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    default_convert,
    random_split,
)
from distgrad.utils.data.dataset import take_batch


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i


class Count(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def rows():
    return from_numpy(np.arange(12.0).reshape(6, 2)), from_numpy(np.arange(6))


def test_a_tensor_data_set_is_rows():
    x, y = rows()
    data = TensorDataset(x, y)
    assert len(data) == 6
    a, b = data[2]
    assert (a.tolist(), b.item()) == ([4.0, 5.0], 2)
    assert data[[0, 5]][1].tolist() == [0, 5]
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors: \[\[6, 2\], \[2\]\]"):
        TensorDataset(x, from_numpy(np.zeros(2)))
    with pytest.raises(TypeError, match="got ndarray"):
        TensorDataset(np.zeros(2))
    with pytest.raises(TypeError, match="without dimensions"):
        TensorDataset(from_numpy(np.zeros(())))


def test_concatenation_and_chains():
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset)
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1]
    assert [both[i] for i in (-1, -5)] == [1, 0]
    for i in (5, -6):
        with pytest.raises(IndexError, match=f"index {i} is out of range for a data set of length 5"):
            both[i]
    with pytest.raises(ValueError, match="should not be an empty iterable"):
        ConcatDataset([])
    with pytest.raises(ValueError, match="does not support IterableDataset"):
        ConcatDataset([Count(1)])
    chain = Count(2) + Count(3)
    assert isinstance(chain, ChainDataset)
    assert list(chain) == [0, 1, 0, 1, 2]
    with pytest.raises(TypeError, match="only supports IterableDataset, got Squares"):
        list(ChainDataset([Squares(1)]))
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]


def test_stacks():
    assert StackDataset(Squares(3), Squares(3))[2] == (4, 4)
    named = StackDataset(a=Squares(3), b=TensorDataset(rows()[1][:3]))
    assert named[1]["a"] == 1
    assert len(named) == 3
    with pytest.raises(ValueError, match=r"Size mismatch between datasets: \[3, 2\]"):
        StackDataset(Squares(3), Squares(2))
    with pytest.raises(ValueError, match="all as keywords"):
        StackDataset()


def test_random_split_deals_out_everything_once():
    g = Generator().manual_seed(3)
    parts = random_split(Squares(10), [7, 3], generator=g)
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    again = random_split(Squares(10), [7, 3], generator=Generator().manual_seed(3))
    assert [p.indices for p in again] == [p.indices for p in parts]
    assert [len(p) for p in random_split(Squares(11), [0.5, 0.25, 0.25], generator=g)] == [6, 3, 2]
    with pytest.warns(UserWarning, match="split at index 1 is 0"):
        random_split(Squares(1), [1.0, 0.0], generator=g)
    for lengths in ([3, 3], [11, -1], [0.5, 0.6], [9.5, 0.5]):
        with pytest.raises(ValueError, match="Sum of input lengths does not equal"):
            random_split(Squares(10), lengths, generator=g)
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        random_split(Squares(10), [-0.5, 1.5], generator=g)


def test_a_batch_is_one_indexing_operation_per_tensor():
    data = TensorDataset(*rows())
    x, y = take_batch(Subset(Subset(data, [5, 4, 3, 2]), [3, 0]), [1, 0, -1])
    assert x.tolist() == [[10, 11], [4, 5], [10, 11]]
    assert y.tolist() == [5, 2, 5]
    x._data[...] = 0
    assert data[5][0].tolist() == [10, 11]  # a copy, not a view
    assert [t.shape[0] for t in take_batch(data, [])] == [0, 0]
    with pytest.raises(IndexError, match="data set of 6 samples"):
        take_batch(data, [0, 6])
    assert take_batch(Squares(3), [0]) is None

    class Augmented(TensorDataset):
        pass

    assert take_batch(Augmented(*rows()), [0]) is None


def test_batches_stay_on_their_device(device_double):
    there = backend.resolve("cuda:1")
    data = TensorDataset(from_array(backend.to_device(np.arange(6.0), there)))
    (x,) = take_batch(data, [4, 1])
    assert str(x.device) == "cuda:1"
    assert x.tolist() == [4, 1]


# ------------------------------------------------------------------------------------------------------------ collating


def test_collate_by_type():
    Point = namedtuple("Point", "x y")
    one = from_numpy(np.ones(2))
    out = default_collate(
        [
            (one, np.zeros(3, np.int16), 1, 2.5, True, "a", {"k": 1}, Point(1, [2.0]), np.float32(1)),
            (one, np.zeros(3, np.int16), 2, 3.5, False, "b", {"k": 2}, Point(3, [4.0]), np.float32(2)),
        ]
    )
    assert type(out) is list
    assert (out[0].shape, out[0].dtype) == ((2, 2), dg.float64)
    assert (out[1].shape, out[1].dtype) == ((2, 3), dg.int16)
    assert (out[2].tolist(), out[2].dtype) == ([1, 2], dg.int64)
    assert (out[3].tolist(), out[3].dtype) == ([2.5, 3.5], dg.float64)
    assert (out[4].tolist(), out[4].dtype) == ([True, False], dg.bool)
    assert list(out[5]) == ["a", "b"]
    assert out[6]["k"].tolist() == [1, 2]
    assert type(out[7]) is Point
    assert out[7].x.tolist() == [1, 3]
    assert out[7].y[0].tolist() == [2, 4]
    assert (out[8].tolist(), out[8].dtype) == ([1, 2], dg.float32)
    ordered = default_collate([OrderedDict(a=1, b=2)] * 2)
    assert type(ordered) is OrderedDict
    assert type(default_collate([defaultdict(list, {"a": 1})] * 2)) is defaultdict


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (
            [object()],
            TypeError,
            "batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class 'object'>",
        ),
        ([None], TypeError, "found <class 'NoneType'>"),
        ([np.array(["x"])], TypeError, "found <U1"),
        ([[1], [1, 2]], RuntimeError, "each element in list of batch should be of equal size"),
        ([from_numpy(np.ones(2)), from_numpy(np.ones(3))], RuntimeError, r"got \[2\] at entry 0 and \[3\] at entry 1"),
        ([from_numpy(np.ones(2)), 3], TypeError, "expected Tensor as element 1 in argument 0, but got int"),
        ([dg.ones(2, requires_grad=True)], RuntimeError, "must not require grad"),
    ],
)
def test_what_cannot_be_collated(batch, error, message):
    with pytest.raises(error, match=message):
        default_collate(batch)


NUMBERS = [
    ([0, 0.5, 1], "float32", [0.0, 0.5, 1.0]),
    ([0.5, 1, True], "float64", [0.5, 1.0, 1.0]),
    ([True, 2], "int64", [1, 2]),
    ([1, True], "int64", [1, 1]),
    ([True, 0.5], "float32", [1.0, 0.5]),
    ([True, False], "bool", [True, False]),
    ([2**40, 1], "int64", [2**40, 1]),
    ([1, 2 + 1j], "complex64", [1, 2 + 1j]),
    ([np.float32(1), 2], "float32", [1.0, 2.0]),
    ([1, np.float64(0.5)], "float64", [1.0, 0.5]),
    ([np.int64(1), np.float32(2.5)], "float32", [1.0, 2.5]),
    ([np.uint8(3), 300], "int64", [3, 300]),
    ([np.uint8(3), np.int16(-300)], "int16", [3, -300]),
    ([np.float16(1), np.float64(1e10)], "float64", [1.0, 1e10]),
    ([1, dg.tensor(2.5)], "float32", [1.0, 2.5]),
    ([dg.tensor(1), dg.tensor(2.5)], "float32", [1.0, 2.5]),
    ([np.arange(2), np.array([0.5, 1])], "float64", [[0, 1], [0.5, 1]]),
]


@pytest.mark.parametrize(("batch", "kind", "values"), NUMBERS, ids=repr)
def test_numbers_of_several_types_become_the_type_that_holds_them(batch, kind, values):
    for found in (
        default_collate(batch),
        default_collate([(x, 0) for x in batch])[0],
        default_collate([{"x": x} for x in batch])["x"],
    ):
        assert str(found.dtype) == f"torch.{kind}"
        assert found.tolist() == values


@pytest.mark.torch
@pytest.mark.parametrize(("batch", "kind", "values"), NUMBERS, ids=repr)
def test_numbers_of_several_types_as_in_pytorch(batch, kind, values):
    import torch
    from torch.utils.data import default_collate as theirs

    found = theirs([torch.tensor(x.tolist()) if isinstance(x, Tensor) else x for x in batch])
    assert (str(found.dtype), found.tolist()) == (f"torch.{kind}", values)


def test_convert_leaves_structure_alone():
    out = default_convert({"x": np.ones(2), "s": "text", "n": 3, "t": (np.float32(1), None)})
    assert isinstance(out["x"], Tensor)
    assert (out["s"], out["n"]) == ("text", 3)
    assert out["t"][0].item() == 1
    assert out["t"][1] is None
