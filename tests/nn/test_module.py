"""Module's contract: what is registered, found, moved, printed and named in errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import distgrad
from distgrad import nn


class Net(nn.Module):
    """Two layers, a parameter and a buffer of its own, and a layer used under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter(distgrad.ones(1))
        self.register_buffer("seen", distgrad.zeros(2))
        self.register_buffer("scratch", distgrad.zeros(2), persistent=False)
        self.body = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.alias = self.first

    def forward(self, x: Any) -> Any:
        return self.body(self.first(x)) * self.scale


NAMES = ["scale", "first.weight", "first.bias", "body.1.weight"]


def test_parameters_and_buffers_are_found_once_in_order() -> None:
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert len(list(net.parameters())) == 4
    assert [n for n, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.scale"]
    twice = [n for n, _ in net.named_parameters(remove_duplicate=False)]
    assert twice == [*NAMES, "alias.weight", "alias.bias"]
    assert [n for n, _ in net.named_buffers()] == ["seen", "scratch"]
    assert [b.shape for b in net.buffers()] == [(2,), (2,)]


def test_modules_are_found_once_in_order() -> None:
    net = Net()
    assert [n for n, _ in net.named_modules()] == ["", "first", "body", "body.0", "body.1"]
    assert [n for n, _ in net.named_children()] == ["first", "body"]
    assert list(net.children()) == [net.first, net.body]
    assert [type(m).__name__ for m in net.modules()] == ["Net", "Linear", "Sequential", "ReLU", "Linear"]
    assert net.get_submodule("body.1") is net.body[1]
    assert net.get_submodule("") is net
    assert net.get_parameter("body.1.weight") is net.body[1].weight
    assert net.get_buffer("seen") is net.seen


def test_assignment_replaces_and_deletion_removes() -> None:
    net = Net()
    new = nn.Parameter(distgrad.zeros(1))
    net.scale = new
    assert net.scale is new
    assert [n for n, _ in net.named_parameters()] == NAMES
    net.scale = None
    assert net.scale is None
    assert "scale" not in net.state_dict()
    del net.scale
    assert not hasattr(net, "scale")
    net.first = None
    assert net.first is None
    net.first = nn.Identity()
    assert isinstance(net.first, nn.Identity)
    net.seen = distgrad.ones(2)
    assert "seen" in dict(net.named_buffers())
    net.plain = 3
    net.plain = nn.Parameter(distgrad.zeros(1))  # what was an ordinary attribute becomes a parameter
    assert "plain" not in vars(net)
    assert "plain" in dict(net.named_parameters())
    net.kept = nn.Buffer(distgrad.ones(1), persistent=False)
    assert "kept" in dict(net.named_buffers())
    assert "kept" not in net.state_dict()
    assert {"first", "seen", "plain", "forward"} <= set(dir(net))


class Early(nn.Module):
    """Assigns before Module.__init__."""

    def __init__(self, value: Any) -> None:
        self.value = value


def linear() -> Any:
    return nn.Linear(2, 3)


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "module before init": (
        lambda: Early(linear()), AttributeError, "cannot assign module before Module.__init__() call",
    ),
    "parameter before init": (
        lambda: Early(nn.Parameter()), AttributeError, "cannot assign parameters before Module.__init__() call",
    ),
    "buffer before init": (
        lambda: nn.Module.register_buffer(Early(3), "a", None), AttributeError,
        "cannot assign buffer before Module.__init__() call",
    ),
    "tensor as parameter": (
        lambda: setattr(linear(), "weight", distgrad.ones(1)), TypeError,
        "cannot assign 'torch.FloatTensor' as parameter 'weight' (torch.nn.Parameter or None expected)",
    ),
    "number as module": (
        lambda: setattr(nn.Sequential(linear()), "0", 3), TypeError,
        "cannot assign 'int' as child module '0' (torch.nn.Module or None expected)",
    ),
    "number as buffer": (
        lambda: setattr(Net(), "seen", 3), TypeError,
        "cannot assign 'int' as buffer 'seen' (torch.nn.Buffer, torch.Tensor or None expected)",
    ),
    "unknown attribute": (lambda: linear().foo, AttributeError, "'Linear' object has no attribute 'foo'"),
    "delete unknown": (lambda: delattr(linear(), "foo"), AttributeError, "'Linear' object has no attribute 'foo'"),
    "dot in parameter": (
        lambda: linear().register_parameter("a.b", None), KeyError, "parameter name can't contain \".\"",
    ),
    "empty buffer name": (
        lambda: linear().register_buffer("", None), KeyError, 'buffer name can\'t be empty string ""',
    ),
    "taken name": (
        lambda: linear().register_parameter("forward", None), KeyError, "attribute 'forward' already exists",
    ),
    "name no string": (
        lambda: linear().register_parameter(3, None), TypeError, "parameter name should be a string. Got int",
    ),
    "parameter no Parameter": (
        lambda: linear().register_parameter("a", distgrad.ones(1)), TypeError,
        "cannot assign 'torch.FloatTensor' object to parameter 'a' (torch.nn.Parameter or None required)",
    ),
    "buffer no tensor": (
        lambda: linear().register_buffer("a", 3), TypeError,
        "cannot assign 'int' object to buffer 'a' (torch Tensor or None required)",
    ),
    "module no Module": (lambda: linear().add_module("a", 3), TypeError, "int is not a Module subclass"),
    "no such submodule": (lambda: linear().get_submodule("a.b"), AttributeError, "Linear has no attribute `a`"),
    "submodule no Module": (lambda: linear().get_submodule("weight"), AttributeError, "`weight` is not an nn.Module"),
    "no such parameter": (lambda: linear().get_parameter("q"), AttributeError, "Linear has no attribute `q`"),
    "parameter no parameter": (
        lambda: linear().get_parameter("in_features"), AttributeError, "`in_features` is not an nn.Parameter",
    ),
    "buffer no buffer": (lambda: linear().get_buffer("weight"), AttributeError, "`weight` is not a buffer"),
    "train(3)": (lambda: linear().train(3), ValueError, "training mode is expected to be boolean"),
    "to(int32)": (
        lambda: linear().to(distgrad.int32), TypeError,
        "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=torch.int32",
    ),
    "to(3.5)": (lambda: linear().to(3.5), TypeError, "to() takes a device, a dtype or a tensor, got float"),
    "to(dtyp=)": (lambda: linear().to(dtyp=3), TypeError, "to() got an unexpected keyword argument 'dtyp'"),
    "no forward": (
        lambda: nn.Module()(3), NotImplementedError, 'Module [Module] is missing the required "forward" function',
    ),
    "Module(3)": (lambda: nn.Module(3), TypeError, "takes no arguments"),
    "parameter of a number": (lambda: nn.Parameter(3), TypeError, "takes a Tensor, an array or None, got int"),
    "parameter of integers": (
        lambda: nn.Parameter(distgrad.ones(2, dtype=distgrad.int64)), RuntimeError,
        "Only Tensors of floating point and complex dtype can require gradients",
    ),
    "hook no function": (lambda: linear().register_forward_hook(3), TypeError, "a hook must be callable, got int"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    run, error, text = REFUSED[case]
    with pytest.raises(error) as caught:
        run()
    assert text in str(caught.value.args[0])


def test_train_and_eval_reach_every_module() -> None:
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_apply_goes_from_the_leaves_up() -> None:
    seen: list[str] = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


def test_gradients_are_cleared_and_switched_off() -> None:
    net = Net()
    net(distgrad.ones(5, 3)).sum().backward()
    grad = net.first.weight.grad
    assert grad is not None
    net.zero_grad(set_to_none=False)
    assert net.first.weight.grad is grad
    assert grad.tolist() == [[0.0] * 3] * 4
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.requires_grad_(False)
    assert not net(distgrad.ones(5, 3)).requires_grad


def test_moving_keeps_the_parameter_objects_and_takes_the_gradients() -> None:
    net = Net()
    net.register_buffer("count", distgrad.zeros(1, dtype=distgrad.int64))
    net(distgrad.ones(5, 3)).sum().backward()
    before = list(net.parameters())
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    for p in net.parameters():
        assert p.grad is not None
        assert p.dtype is p.grad.dtype is distgrad.float64
        assert p.is_leaf
        assert p.requires_grad
    assert net.seen.dtype is distgrad.float64
    assert net.count.dtype is distgrad.int64
    net(distgrad.ones(5, 3, dtype=distgrad.float64)).sum().backward()  # gradients still add up
    for how, dtype in (
        (lambda: net.to("cpu", distgrad.float16), distgrad.float16),
        (lambda: net.to(distgrad.ones(1)), distgrad.float32),
        (lambda: net.to(dtype=distgrad.float64), distgrad.float64),
        (lambda: net.bfloat16(), distgrad.bfloat16),
        (lambda: net.half(), distgrad.float16),
        (lambda: net.float(), distgrad.float32),
        (lambda: net.type(distgrad.float64), distgrad.float64),
    ):
        how()
        assert {p.dtype for p in net.parameters()} == {dtype}


def test_a_move_that_changes_nothing_touches_nothing() -> None:
    net = Net()
    arrays = [p._data for p in net.parameters()]
    net.to("cpu").float().cpu()
    assert all(p._data is a for p, a in zip(net.parameters(), arrays, strict=True))


def test_a_parameter_is_a_tensor_that_shares_memory() -> None:
    values = distgrad.zeros(2, 3)
    p = nn.Parameter(values)
    assert isinstance(p, distgrad.Tensor)
    assert p.is_leaf
    assert p.requires_grad
    values[0, 0] = 5.0
    assert p.tolist() == [[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert type(p + 1) is distgrad.Tensor
    assert not nn.Parameter(values, requires_grad=False).requires_grad
    assert repr(nn.Parameter(distgrad.ones(2))) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert nn.Parameter(distgrad.tensor([2, 3]), requires_grad=False).dtype is distgrad.int64


def test_deepcopy_is_independent() -> None:
    net = Net()
    net(distgrad.ones(1, 3)).sum().backward()
    twin = copy.deepcopy(net)
    assert twin.alias is twin.first  # what was shared stays shared
    assert [n for n, _ in twin.named_parameters()] == NAMES
    with distgrad.no_grad():
        twin.first.weight.fill_(7.0)
    assert not (net.first.weight == 7.0).any()
    assert twin.first.weight.grad is None
    assert twin(distgrad.ones(1, 3)).shape == (1, 2)


def test_printed_form() -> None:
    assert repr(nn.Module()) == "Module()"
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (body): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=4, out_features=2, bias=False)\n"
        "  )\n"
        "  (alias): Linear(in_features=3, out_features=4, bias=True)\n"
        ")"
    )


def test_a_wrong_shape_names_the_layer_its_place_both_shapes_and_the_dimension() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(4x5 and 3x2\)") as caught:
        net(distgrad.ones(4, 5))
    assert str(caught.value) == (
        "1.1: Linear(in_features=3, out_features=2, bias=True): mat1 and mat2 shapes cannot be multiplied (4x5 and 3x2)"
        ": the last dimension (-1) of input [4, 5] is 5, but must be 3 for weight [2, 3] (out_features, in_features)"
    )


def test_a_broken_printed_form_hides_no_error() -> None:
    class Broken(nn.Linear):
        def extra_repr(self) -> str:
            return self.missing

    with pytest.raises(RuntimeError, match=r"^Broken\(…\): mat1 and mat2 shapes cannot be multiplied"):
        Broken(3, 2)(distgrad.ones(4, 5))


class Own(Exception):
    """Somebody's own error."""


def test_only_plain_errors_are_given_the_layer() -> None:
    class Failing(nn.Module):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        def forward(self, x: Any) -> Any:
            raise self.error

    for error in (Own("own"), KeyError("k"), RuntimeError("a", 1), RuntimeError()):
        args = error.args
        with pytest.raises(type(error)) as caught:
            nn.Sequential(Failing(error))(1)
        assert caught.value is error
        assert error.args == args
    for plain in (RuntimeError("text"), ValueError("text"), IndexError("text")):
        with pytest.raises(type(plain), match=r"^0: Failing\(\): text$"):
            nn.Sequential(Failing(plain))(1)


def test_to_a_memory_format_turns_parameters_of_that_many_dimensions() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    x = distgrad.randn(2, 3, 3, 3)
    expected = net.eval()(x).detach().clone()
    weight = net[0].weight
    assert net.to(memory_format=distgrad.channels_last) is net
    assert net[0].weight is weight
    assert weight.stride() == (27, 1, 9, 3)
    assert net[3].weight.stride() == (4, 1)
    assert distgrad.allclose(net(x.to(memory_format=distgrad.channels_last)), expected)
    net(x).sum().backward()
    assert weight.grad.shape == (4, 3, 3, 3)
    assert net.to("cpu", distgrad.float64, memory_format=distgrad.contiguous_format)[0].weight.stride() == (27, 9, 3, 1)
    assert weight.dtype == distgrad.float64
    with pytest.raises(RuntimeError, match="rank 4"):
        nn.Conv3d(1, 1, 2).to(memory_format=distgrad.channels_last)
    with pytest.raises(TypeError, match="memory_format"):
        net.to(memory_form=distgrad.channels_last)
