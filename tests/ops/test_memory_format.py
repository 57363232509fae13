"""The order of elements in memory, as users ask for it."""

from __future__ import annotations

import pytest

import distgrad as dg


@pytest.mark.parametrize(("kind", "shape", "strides"), [
    (dg.channels_last, (2, 3, 4, 5), (60, 1, 15, 3)),
    (dg.channels_last_3d, (2, 3, 2, 4, 5), (120, 1, 60, 15, 3)),
    (dg.contiguous_format, (2, 3, 4, 5), (60, 20, 5, 1)),
])  # fmt: skip
def test_every_way_to_ask(kind: dg.memory_format, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    x = dg.randn(shape).transpose(0, 1).clone().transpose(0, 1).requires_grad_()
    ways = x.contiguous(memory_format=kind), x.clone(memory_format=kind), x.to(memory_format=kind), x.double(kind)
    for y in ways:
        assert y.stride() == strides
        assert y.is_contiguous(memory_format=kind)
        assert dg.equal(y.to(x.dtype), x)
    assert dg.zeros_like(x, memory_format=kind).stride() == strides
    again = ways[0].contiguous(memory_format=kind)
    assert again is ways[0]
    (ways[0] * 2).sum().backward()
    assert x.grad is not None
    assert bool((x.grad == 2).all())


def test_what_cannot_be() -> None:
    x = dg.zeros(2, 3)
    assert x.clone(memory_format=dg.preserve_format).stride() == (3, 1)
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last format"):
        x.contiguous(memory_format=dg.channels_last)
    with pytest.raises(RuntimeError, match="preserve memory format is unsupported"):
        x.contiguous(memory_format=dg.preserve_format)
    with pytest.raises(TypeError, match="must be torch.memory_format, not str"):
        x.contiguous(memory_format="channels_last")
    assert repr(dg.channels_last) == "torch.channels_last"
