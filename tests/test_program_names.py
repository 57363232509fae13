"""What programs read and set of a whole process, and what NumPy's functions make of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import distgrad as torch


@pytest.mark.parametrize(
    ("other", "order"),
    [("2.0", 1), ((1, 8), 1), ("2.13", 1), ("2.14.0a0", -1), ((3,), -1), ("2.13.1", -1), ("2.13.0rc1", 1)],
)
def test_the_version_is_compared_as_one(other: Any, order: int) -> None:
    version = torch.__version__
    assert (version > other, version < other) == (order > 0, order < 0)
    assert (version >= other, version <= other) == (order > 0, order < 0)
    assert version != other


def test_the_version_is_read_as_text() -> None:
    major, minor = torch.__version__.split(".")[:2]
    assert (int(major), int(minor)) == (2, 13)
    assert float(f"{major}.{minor}") > 1.0
    assert isinstance(torch.__version__, str)
    assert torch.__version__ == str(torch.__version__)
    assert torch.__version__ in {str(torch.__version__)}
    assert torch.__version__.endswith(torch.version.distgrad)
    with pytest.raises(TypeError):
        assert torch.__version__ < 2.0


def test_without_a_gpu_its_names_say_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert torch.accelerator.current_accelerator() is None
    assert torch.accelerator.device_count() == torch.cuda.memory_allocated() == torch.cuda.max_memory_reserved() == 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for ask in (torch.accelerator.current_device_index, torch.accelerator.synchronize):
        with pytest.raises(RuntimeError, match="when none is available"):
            ask()
    for error in (AssertionError, RuntimeError):
        with pytest.raises(error, match="CuPy"):
            torch.ones(1).cuda()


def test_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before)
    assert torch.get_num_threads() == before
    for wrong in (0, 2.0, True):
        with pytest.raises(RuntimeError):
            torch.set_num_threads(wrong)  # type: ignore[arg-type]


def test_switches_are_kept() -> None:
    torch.set_deterministic_debug_mode("warn")
    assert torch.get_deterministic_debug_mode() == 1
    assert torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    assert torch.get_deterministic_debug_mode() == 0
    with pytest.warns(UserWarning, match="not one of"):
        torch.set_float32_matmul_precision("low")
    assert torch.get_float32_matmul_precision() == "highest"


def test_numpy_makes_tensors_of_tensors() -> None:
    x = torch.ones(2)
    made = np.sqrt(x)
    assert isinstance(made, torch.Tensor)
    assert made.dtype is torch.float32
    assert np.isnan(x).dtype is torch.uint8
    y = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        np.sqrt(y)
    (np.full(2, 3.0) * y).sum().backward()
    assert y.grad is not None
    assert y.grad.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.bool_, np.float16, np.complex64])
def test_the_old_constructor_makes_the_default_dtype(dtype: Any) -> None:
    a = np.ones(2, dtype)
    t = torch.Tensor(a)
    assert t.dtype is torch.float32
    t.fill_(0)
    assert a.tolist() == np.ones(2, dtype).tolist()
    with pytest.raises(TypeError, match="must be a sequence"):
        torch.Tensor(2.5)


def test_the_old_constructor_shares_what_is_of_the_default_dtype() -> None:
    a = np.ones(2, np.float32)
    torch.Tensor(a).fill_(0)
    assert a.tolist() == [0.0, 0.0]


def test_an_array_of_no_dimensions_counts_by_its_dtype() -> None:
    x = torch.ones(2)
    assert (x * np.array(2.0)).dtype is torch.float64
    assert (x * np.float64(2.0)).dtype is torch.float32
    assert (x * torch.tensor(2.0, dtype=torch.float64)).dtype is torch.float32


def test_sequences_repeat_themselves() -> None:
    assert [0] * torch.tensor(2) == [0, 0]
    assert "ab" * torch.tensor(2) == "abab"  # type: ignore[operator]
    with pytest.raises(TypeError):
        (0,) * torch.tensor(2.0)


MASK = torch.tensor([True, False])


@pytest.mark.parametrize(
    ("make", "again"),
    [
        (lambda x: x * 2, False), (lambda x: 2 * x, False), (lambda x: x / 2, False),
        (lambda x: x.masked_fill(MASK, 0), False), (lambda x: torch.where(MASK, x, 0), False),
        (lambda x: x[torch.tensor([0])], False), (lambda x: x.clone().mul_(2), False),
        (lambda x: x.gather(0, torch.tensor([0])), False), (lambda x: x.sort().values, False),
        (lambda x: x + 2, True), (lambda x: 2 - x, True), (lambda x: -x, True), (lambda x: x[0], True),
        (lambda x: x.roll(1), True),
    ],
)  # fmt: skip
def test_a_second_pass_is_refused_where_something_was_saved(make: Any, again: bool) -> None:
    x = torch.ones(2, requires_grad=True)
    y = make(x).sum()
    y.backward()
    if again:
        y.backward()
        return
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    z = make(x).sum()
    z.backward(retain_graph=True)
    z.backward()


def test_names_of_arguments() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert x.swapaxes(axis0=0, axis1=1).shape == (3, 2)
    assert torch.gather(x, 0, torch.tensor([[1]]), sparse_grad=True).item() == 3.0
    assert torch.asarray([1.0], copy=True).tolist() == [1.0]
    a = np.ones(2)
    torch.asarray(a, copy=False).fill_(0)
    assert a.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="alias"):
        torch.asarray([1.0], copy=False)
    with pytest.raises(TypeError, match="tuple of ints, not int"):
        torch.nn.functional.layer_norm(x, 3)  # type: ignore[arg-type]


def test_ten_thousand_million_draws_are_not_made_at_once() -> None:
    sampler = torch.utils.data.RandomSampler([1, 2, 3], replacement=True, num_samples=10**10)
    drawn = iter(sampler)
    assert all(0 <= next(drawn) < 3 for _ in range(100))
