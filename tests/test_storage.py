"""Flat storage: one buffer for parameters, one for gradients; views, gaps, who lives where."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad import backend, storage
from distgrad.storage import flatten


def parameters(*shapes: tuple[int, ...], dtype: Any = distgrad.float64) -> list[Any]:
    return [distgrad.randn(*s, dtype=dtype).requires_grad_() for s in shapes]


def test_values_stay_and_memory_is_one() -> None:
    params = parameters((2, 3), (5,), ())
    before = [p.tolist() for p in params]
    (flat,) = flatten(params)
    assert [p.tolist() for p in params] == before
    for p, (lo, hi), view in zip(params, flat.ranges, flat.views, strict=True):
        assert p._data is view
        assert np.shares_memory(view, flat.data[lo:hi])
        assert lo * 8 % 64 == 0
        assert view.ctypes.data % 64 == 0
    flat.data[...] = 7.0
    assert all((p == 7).all() for p in params)


def test_gradients_are_written_into_their_slots() -> None:
    params = parameters((2, 3), (4,))
    (flat,) = flatten(params)
    (params[0].sum() * 2 + (params[1] * params[1]).sum()).backward()
    for p, slot in zip(params, flat.slots, strict=True):
        assert np.shares_memory(p.grad.numpy(), flat.grad)
        assert p.grad._data is slot
    np.testing.assert_array_equal(flat.slots[0], 2.0)
    params[0].sum().backward()
    np.testing.assert_array_equal(flat.slots[0], 3.0)


def test_gaps_are_zero_in_both_buffers() -> None:
    params = parameters((3,), (3,))
    (flat,) = flatten(params)
    sum(p.sum() for p in params).backward()
    used = np.zeros(len(flat.data), bool)
    for lo, hi in flat.ranges:
        used[lo:hi] = True
    assert not used.all()
    assert not flat.data[~used].any()
    assert not flat.grad[~used].any()


def test_gradients_there_before_move_in() -> None:
    params = parameters((2,), (2,))
    params[0].grad = distgrad.tensor([1.0, 2.0], dtype=distgrad.float64)
    (flat,) = flatten(params)
    assert params[0].grad.tolist() == [1.0, 2.0]
    assert params[0].grad._data is flat.slots[0]
    assert params[1].grad is None


def test_gather_brings_strays_in_and_zeros_for_none() -> None:
    params = parameters((2,), (2,))
    (flat,) = flatten(params)
    sum(p.sum() for p in params).backward()
    params[0].grad = distgrad.tensor([5.0, 6.0], dtype=distgrad.float64)
    params[1].grad = None
    flat.gather(0, 2)
    assert flat.slots[0].tolist() == [5.0, 6.0]
    assert flat.slots[1].tolist() == [0.0, 0.0]


def test_gather_leaves_a_kept_gradient_alone() -> None:
    params = parameters((2,), (2,))
    (flat,) = flatten(params)
    sum(p.sum() for p in params).backward()
    kept = [p.grad for p in params]
    params[0].grad = distgrad.tensor([5.0, 6.0], dtype=distgrad.float64)
    params[1].grad = None  # as where a parameter is unused in the next step
    flat.gather(0, 2)
    assert [g.tolist() for g in kept] == [[1.0, 1.0], [1.0, 1.0]]
    assert [s.tolist() for s in flat.slots] == [[5.0, 6.0], [0.0, 0.0]]
    params[1].sum().backward()
    assert params[1].grad._data is flat.slots[1]
    assert kept[1].tolist() == [1.0, 1.0]


def test_flattening_again_finds_the_same_storage() -> None:
    params = parameters((2,), (3,))
    (flat,) = flatten(params)
    assert flatten(params) == [flat]
    assert flatten(params[1:]) == [flat]
    late = parameters((4,))
    both = flatten([*params, *late])
    assert both[0] is flat
    assert len(both) == 2


def test_a_parameter_that_moved_out_gets_a_new_home() -> None:
    params = parameters((2,), (3,))
    (flat,) = flatten(params)
    params[0].data = distgrad.ones(2, dtype=distgrad.float64)
    assert not flat.holds(0)
    assert flat.holds(1)
    found = flatten(params)
    assert len(found) == 2
    assert params[0].tolist() == [1.0, 1.0]


def test_dtypes_and_devices_apart(device_double) -> None:
    on_device = distgrad.ones(2, device="cuda:0", requires_grad=True)
    found = flatten([*parameters((2,)), *parameters((2,), dtype=distgrad.float32), on_device])
    kinds = [(str(s.dtype), s.device.type) for s in found]
    assert kinds == [("float64", "cpu"), ("float32", "cpu"), ("float32", "cuda")]


@pytest.mark.parametrize("there", ["cuda:1", "cpu"])
def test_a_parameter_on_another_device_takes_its_gradient_there(device_double, there: str) -> None:
    p = distgrad.ones(3, device="cuda:0", requires_grad=True)
    (flat,) = flatten([p])
    p.data = p.data.to(there)
    with backend.on(p.device):
        (p * 2).sum().backward()
    assert str(p.grad.device) == there
    assert p.grad.tolist() == [2.0, 2.0, 2.0]
    assert not flat.grad.any()


def test_one_given_twice_counts_once() -> None:
    (p,) = parameters((2,))
    (flat,) = flatten([p, p])
    assert flat.params == (p,)


def test_another_allocator() -> None:
    asked = []

    def make(n: int, dtype: Any, device: Any) -> Any:
        asked.append((n, str(dtype), str(device)))
        return np.zeros(n, dtype)

    flatten(parameters((3,), (2,)), make)
    assert asked == [(10, "float64", "cpu")] * 2


def test_only_leaves() -> None:
    (p,) = parameters((2,))
    with pytest.raises(ValueError, match="can't put a non-leaf Tensor into flat storage"):
        flatten([p * 2])


def test_empty_parameters_and_aliases() -> None:
    empty, p = parameters((0, 3), (2,))
    alias = p.detach()
    (flat,) = flatten([empty, p])
    assert empty.shape == (0, 3)
    assert flat.ranges[0] == (0, 0)
    assert flat.apart == {1}  # who is seen elsewhere stays there
    alias.fill_(7.0)
    assert p.tolist() == [7.0, 7.0]
    (p * 2).sum().backward()
    assert flat.grad[slice(*flat.ranges[1])].tolist() == [2.0, 2.0]


def test_storage_dies_with_its_parameters() -> None:
    params = parameters((2,))
    ref = weakref.ref(flatten(params)[0])
    del params
    gc.collect()
    assert ref() is None


def test_memory_is_aligned_for_every_dtype() -> None:
    for name in ("float16", "bfloat16", "float32", "float64", "complex128"):
        array = storage.allocate(5, getattr(distgrad, name).np, distgrad.device("cpu"))
        assert array.ctypes.data % 64 == 0
        assert (len(array), array.dtype) == (5, getattr(distgrad, name).np)
        assert not array.astype(np.complex128).any()
