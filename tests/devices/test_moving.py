"""Making tensors on a device, moving them, mixing them, and what comes back to Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distgrad as dg
from distgrad import nn
from distgrad.utils.data import DataLoader, TensorDataset


def where(*tensors: Any) -> set[str]:
    return {str(t.device) for t in tensors}


MAKERS: dict[str, Any] = {
    "tensor": lambda **k: dg.tensor([[1, 2], [3, 4]], **k), "as_tensor": lambda **k: dg.as_tensor(np.ones(3), **k),
    "zeros": lambda **k: dg.zeros(2, 3, **k), "ones": lambda **k: dg.ones(2, **k),
    "full": lambda **k: dg.full((2,), 7.0, **k),
    "eye": lambda **k: dg.eye(3, **k), "arange": lambda **k: dg.arange(1, 9, 2, **k),
    "linspace": lambda **k: dg.linspace(0, 1, 5, **k), "scalar": lambda **k: dg.scalar_tensor(2.5, **k),
    "rand": lambda **k: dg.rand(3, 2, **k), "randn": lambda **k: dg.randn(5, **k),
    "randperm": lambda **k: dg.randperm(6, **k),
    "randint": lambda **k: dg.randint(0, 9, (4,), **k), "float16": lambda **k: dg.randn(3, dtype=dg.float16, **k),
    "bfloat16": lambda **k: dg.randn(3, dtype=dg.bfloat16, **k),
    "complex": lambda **k: dg.randn(3, dtype=dg.complex64, **k),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_bits_are_made_on_every_device(name: str, apart: tuple[str, str]) -> None:
    made = []
    for place in ("cpu", *apart):
        dg.manual_seed(5)
        x = MAKERS[name](device=place)
        assert where(x) == {place}
        assert where(dg.zeros_like(x), dg.empty_like(x), x.new_ones(2), dg.full_like(x, 1)) == {place}
        made.append(x)
    assert {x.dtype for x in made} == {made[0].dtype}
    assert made[1].cpu()._data.tobytes() == made[2].cpu()._data.tobytes() == made[0]._data.tobytes()
    assert dg.cuda.current_device() == 0


@pytest.mark.parametrize("name", ["normal_", "uniform_", "bernoulli_", "random_", "zero_"])
def test_the_same_bits_are_filled_in(name: str, apart: tuple[str, str]) -> None:
    filled = []
    for place in ("cpu", *apart):
        dg.manual_seed(5)
        filled.append(getattr(dg.full((3, 4), 9.0, device=place), name)().cpu()._data.tobytes())
    assert len(set(filled)) == 1


def test_dropout_drops_the_same_on_every_device(device: str) -> None:
    kept = []
    for place in ("cpu", device):
        dg.manual_seed(1)
        kept.append(nn.functional.dropout(dg.ones(40, device=place), 0.5).tolist())
    assert kept[0] == kept[1]


def test_there_and_back(device: str) -> None:
    x = dg.tensor([1.0, 2.0])
    assert where(x.to(device), x.cuda(), x.cuda(0), x.to("cuda"), x.to(dg.device("cuda")), x.to(0)) == {device}
    there = x.to(device, dg.float64)
    assert (there.dtype, where(there)) == (dg.float64, {device})
    assert there.to(device) is there
    assert there.to(device, copy=True) is not there
    assert x.to(there).dtype is dg.float64
    assert where(x.to(there)) == {device}
    assert x.cpu() is x
    assert there.cpu().tolist() == [1.0, 2.0]
    assert (there.is_cuda, there.is_cpu, there.get_device()) == (True, False, 0)
    assert there.type() == "torch.cuda.DoubleTensor"
    there.cpu()[0] = 5.0  # a copy
    assert there.tolist() == [1.0, 2.0]


def test_between_devices(apart: tuple[str, str]) -> None:
    x = dg.tensor([1.0, 2.0], device=apart[0], requires_grad=True)
    y = x.to(apart[1])
    assert where(y) == {apart[1]}
    assert y.tolist() == [1.0, 2.0]
    ((y * 3).sum().cpu() * (x.cpu() * 2).sum()).backward()
    assert x.grad.tolist() == [3 * 6 + 2 * 9] * 2
    assert where(x.grad) == {apart[0]}


def test_gradients_travel_back(device: str) -> None:
    x = dg.tensor([1.0, 2.0], requires_grad=True)
    (x.to(device) * dg.tensor([3.0, 4.0], device=device)).sum().backward()
    assert where(x.grad) == {"cpu"}
    assert x.grad.tolist() == [3.0, 4.0]
    z = dg.tensor([2.0], requires_grad=True)
    (first,) = dg.autograd.grad((z.to(device) ** 3).cpu().sum(), z, create_graph=True)
    (second,) = dg.autograd.grad(first.sum(), z)
    assert (first.tolist(), second.tolist()) == ([12.0], [12.0])


def test_devices_that_are_not_there_are_named_with_those_that_are(device_double: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'cuda:7' was asked for; the devices here are: cpu, cuda:0, cuda:1"):
        dg.ones(1).to("cuda:7")
    for text in ("tpu", "cuda:x", "cuda:-1"):
        with pytest.raises(RuntimeError):
            dg.zeros(1, device=text)


# ------------------------------------------------------------------------------------------------------------ mixing


@pytest.mark.parametrize("on_left", [True, False])
def test_numbers_meet_device_tensors(on_left: bool, device: str) -> None:
    x = dg.tensor([1.0, 2.0], device=device)
    for number in (2, 2.0, True, np.float32(2), np.int64(2), np.float64(2)):
        less = number * 1  # of bools there is no difference
        left = (number + x, number * x, less - x, number / x)
        for out in left if on_left else (x + number, x * number, x - less, x / number):
            assert where(out) == {device}
            assert out.dtype is dg.float32
    assert where(x < 1, x == np.float64(2), x**2, 2**x, x // 2, x % 2) == {device}


def test_a_zero_dimensional_host_tensor_meets_device_tensors(device: str) -> None:
    x = dg.tensor([[1.0, 2.0]], device=device, requires_grad=True)
    s = dg.tensor(3.0, dtype=dg.float64, requires_grad=True)
    for out in (s * x, x * s):
        assert (where(out), out.dtype) == ({device}, dg.float32)
        x.grad = s.grad = None
        (out * out).sum().backward()
        assert where(x.grad, s.grad) == {device, "cpu"}
        assert x.grad.tolist() == [[18.0, 36.0]]
        assert (s.grad.item(), s.grad.dtype) == (30.0, dg.float64)
    y = dg.ones(2, device=device)
    y *= dg.tensor(4.0)
    y[0] = dg.tensor(7.0)
    assert y.tolist() == [7.0, 4.0]
    assert dg.where(y > 5, y, dg.tensor(0.0)).tolist() == [7.0, 0.0]
    assert dg.where(y > 5, dg.tensor(1.0), dg.tensor(0.0, device=device)).tolist() == [1.0, 0.0]


MIXED: dict[str, Any] = {
    "_add": lambda x, y: x + y, "mul": lambda x, y: y * x, "eq": lambda x, y: x == y, "maximum": dg.maximum,
    "matmul": lambda x, y: x @ y.t(), "_where": lambda x, y: dg.where(x > 0, x, y), "_cat": lambda x, y: dg.cat([x, y]),
    "_stack": lambda x, y: dg.stack([y, x]), "linear": lambda x, y: nn.functional.linear(x, y),
    "_mse": lambda x, y: nn.functional.mse_loss(x, y), "_bce": lambda x, y: nn.functional.binary_cross_entropy(x, y),
    "_bce_logits": lambda x, y: nn.functional.binary_cross_entropy_with_logits(x, y),
    "cross_entropy": lambda x, y: nn.functional.cross_entropy(x, dg.tensor([0, 1])),
    "nll_loss": lambda x, y: nn.functional.nll_loss(x, dg.tensor([0, 1])),
    "_einsum": lambda x, y: dg.einsum("ij,ij->i", x, y), "_sub": lambda x, y: x.sub_(y),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_host_and_device_do_not_mix(name: str, device: str) -> None:
    x, y = dg.full((2, 3), 0.5, device=device), dg.full((2, 3), 0.5)
    with pytest.raises(RuntimeError, match=f"two devices, {device} and cpu! .*in {name}"):
        MIXED[name](x, y)


def test_two_devices_do_not_mix(apart: tuple[str, str]) -> None:
    with pytest.raises(RuntimeError, match=f"{apart[1]} and {apart[0]}"):
        dg.ones(2, device=apart[0]) + dg.ones(2, device=apart[1])
    with pytest.raises(RuntimeError, match=f"{apart[1]} and {apart[0]}"):
        dg.ones(2, device=apart[0]) + dg.ones((), device=apart[1])  # only the host's zero-dimensional ones move


def test_arrays_of_numpy_do_not_meet_device_tensors(device: str) -> None:
    with pytest.raises(RuntimeError, match=f"{device} and cpu"):
        dg.ones(2, device=device) * np.ones(2)


def test_copy_and_assignment_between_devices(apart: tuple[str, str]) -> None:
    for place in apart:
        x = dg.zeros(2, 2, device=place)
        x.copy_(dg.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dg.float64))
        assert (x.tolist(), where(x)) == ([[1.0, 2.0], [3.0, 4.0]], {place})
        y = dg.zeros(2, 2)
        y.copy_(x)
        assert y.tolist() == x.tolist()
        x[0] = dg.tensor([8.0, 9.0], device=place)
        x[:, 1] = 5
        assert x.tolist() == [[8.0, 5.0], [3.0, 5.0]]
        with pytest.raises(RuntimeError, match="same device"):
            x[0] = dg.tensor([8.0, 9.0])


# ---------------------------------------------------------------------------------------------------------- indexing


def test_indices_of_the_host_and_of_the_device(apart: tuple[str, str]) -> None:
    for place in apart:
        x = dg.arange(12.0, device=place).reshape(3, 4)
        for at in ("cpu", place):
            i, mask = dg.tensor([2, 0], device=at), dg.tensor([True, False, True], device=at)
            assert x[i].tolist() == [[8.0, 9.0, 10.0, 11.0], [0.0, 1.0, 2.0, 3.0]]
            assert x[mask, 1].tolist() == [1.0, 9.0]
            assert x[dg.tensor(1, device=at)].tolist() == [4.0, 5.0, 6.0, 7.0]
            assert where(x[i], x[mask]) == {place}
            y = x.clone()
            y[i] = 0.0
            y[mask] += 1.0
            assert y.sum(1).tolist() == [4.0, 22.0, 4.0]
        with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
            x[3]
    other, host = dg.tensor([0], device=apart[0]), dg.ones(3)
    with pytest.raises(RuntimeError, match=r"the same device as the indexed tensor \(cpu\), got one on cuda:0"):
        host[other]
    with pytest.raises(RuntimeError, match=r"same device as the indexed tensor \(cpu\)"):
        host[other] = 1.0


def test_views_share_memory_and_versions(device: str) -> None:
    x = dg.zeros(2, 3, device=device)
    for view in (x[0], x.t(), x.reshape(6), x[:, 1:], x.diagonal(), x.unsqueeze(0)):
        before = x._version
        view += 1
        assert x._version == before + 1
    assert x[0].tolist() == [5.0, 5.0, 5.0]
    a = dg.ones(2, device=device, requires_grad=True)
    b = a.exp()
    b[0] = 3.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        b.sum().backward()


# ------------------------------------------------------------------------------------------------ to Python and NumPy


def test_reductions_have_no_dimension_and_stay(device: str) -> None:
    x = dg.tensor([[1.0, 5.0], [3.0, 2.0]], device=device)
    for out in (x.sum(), x.mean(), x.max(), x.argmax(), x.var(), x.norm(), x.prod(), x.all(), x[0, 1], x.trace()):
        assert (out.shape, where(out)) == ((), {device})
        assert isinstance(out.item(), (float, int, bool))
    values, indices = x.max(dim=1)
    assert (values.tolist(), indices.tolist(), where(values, indices)) == ([5.0, 3.0], [1, 0], {device})
    values, indices = dg.tensor(2.0, device=device).max(dim=0)
    assert where(values, indices) == {device}


def test_printing_names_the_device(apart: tuple[str, str]) -> None:
    for place in apart:
        assert repr(dg.tensor([1.0, 2.5], device=place)) == f"tensor([1.0000, 2.5000], device='{place}')"
        x = dg.ones(2, device=place, dtype=dg.float64, requires_grad=True)
        assert repr(x) == f"tensor([1., 1.], device='{place}', dtype=torch.float64, requires_grad=True)"
        assert repr(x * 2) == f"tensor([2., 2.], device='{place}', dtype=torch.float64, grad_fn=<MulBackward0>)"
    assert f"{dg.tensor(1.5, device=apart[1]):.2f}" == "1.50"


def test_numpy_is_refused_and_says_what_to_do(device: str) -> None:
    x = dg.ones(2, device=device)
    for convert in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.array(x, np.float64)):
        with pytest.raises(TypeError, match=f"can't convert {device} device type tensor to numpy. Use Tensor.cpu"):
            convert()
    assert x.cpu().numpy().tolist() == x.numpy(force=True).tolist() == x.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="2 elements cannot be converted"):
        x.item()
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(x)
    assert (float(x[0]), int(x[0]), bool(x[0]), x.sum().item()) == (1.0, 1, True, 2.0)


def test_a_gradient_of_another_device_is_refused(device: str) -> None:
    x = dg.ones(2, device=device, requires_grad=True)
    with pytest.raises(RuntimeError, match=f"different device: the tensor on {device}, the grad on cpu"):
        x.grad = dg.ones(2)


# -------------------------------------------------------------------------------------------------- modules and files


def test_state_dicts_and_files_cross_devices(device: str, tmp_path: Path) -> None:
    there, host = nn.Linear(3, 2, device=device), nn.Linear(3, 2)
    path = tmp_path / "model.safetensors"
    dg.save(there.state_dict(), path)
    for place in ("cpu", device):
        state = dg.load(path, map_location=place)
        assert where(*state.values()) == {place}
        for model, home in ((host, "cpu"), (there, device)):
            assert str(model.load_state_dict(state)) == "<All keys matched successfully>"
            assert where(*model.parameters()) == {home}
    assert host.weight.tolist() == there.weight.tolist()


def test_batches_are_moved(device: str) -> None:
    data = TensorDataset(dg.arange(10.0).reshape(5, 2), dg.arange(5))
    for x, y in DataLoader(data, batch_size=2):
        moved = x.to(device, non_blocking=True)
        assert where(moved, y.to(device)) == {device}
        assert moved.tolist() == x.tolist()
    on_device = TensorDataset(*(t.to(device) for t in data.tensors))
    assert {str(x.device) for x, _ in DataLoader(on_device, batch_size=2, shuffle=True)} == {device}


def test_a_class_that_does_not_exist_makes_the_loss_nan(device: str) -> None:
    for target in ([0, 3], [0, -1]):
        for reduction in ("mean", "sum"):
            x, y = dg.zeros(2, 3, device=device), dg.tensor(target, device=device)
            assert np.isnan(nn.functional.cross_entropy(x, y, reduction=reduction).item())
            assert np.isnan(nn.functional.nll_loss(x, y, reduction=reduction).item())
    x.requires_grad_()
    y = dg.tensor([0, -100], device=device)
    for reduction in ("mean", "sum", "none"):
        nn.functional.cross_entropy(x, y, reduction=reduction).sum().backward()
    assert np.allclose(x.grad.tolist(), [[-2.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
