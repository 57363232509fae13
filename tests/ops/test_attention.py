"""Attention block by block: against its formula in NumPy, beside PyTorch, and how much memory it takes."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

import distgrad
from distgrad.autograd import gradcheck, gradgradcheck
from distgrad.nn import functional as F
from distgrad.nn.attention import SDPBackend, sdpa_kernel
from distgrad.ops.nn import attention

rng = np.random.default_rng(5)
SHAPES: dict[str, Any] = {
    "heads": ((2, 4, 7, 3), (2, 4, 9, 3), (2, 4, 9, 5), {}),
    "broadcast": ((2, 4, 7, 3), (1, 4, 9, 3), (2, 1, 9, 5), {}),
    "another rank": ((4, 7, 3), (2, 4, 9, 3), (1, 4, 9, 5), {}),
    "no heads": ((9, 3), (5, 3), (5, 2), {}),
    "groups": ((2, 4, 7, 3), (2, 2, 9, 3), (2, 2, 9, 5), {"enable_gqa": True}),
    "groups of two sizes": ((2, 4, 7, 3), (2, 1, 9, 3), (2, 2, 9, 5), {"enable_gqa": True}),
    "long": ((2, 2, 40, 3), (2, 2, 23, 3), (2, 2, 23, 3), {}),
}
MASKS: dict[str, Any] = {
    "none": lambda h, n, s: None,
    "causal": lambda h, n, s: "causal",
    "added": lambda h, n, s: rng.standard_normal((n, s)),
    "added to keys": lambda h, n, s: rng.standard_normal((1, s)),
    "added to queries": lambda h, n, s: rng.standard_normal((n, 1)),
    "added by head": lambda h, n, s: rng.standard_normal((h, n, s)),
    "seen": lambda h, n, s: rng.random((n, s)) > 0.3,
    "seen keys": lambda h, n, s: rng.random((1, s)) > 0.3,
    "nothing seen": lambda h, n, s: np.zeros((n, s), bool),
}  # fmt: skip
BLOCKS = [(2**18, 16, 2**21), (30, 2, 0), (64, 4, 2**21)]  # their scores, fewest queries, and the weights kept


def set_blocks(monkeypatch: pytest.MonkeyPatch, blocks: tuple[int, int, int]) -> None:
    for name, value in zip(("_SCORES", "_FEWEST", "_KEPT"), blocks, strict=True):
        monkeypatch.setattr(attention, name, value)


def inputs(name: str, mask: str) -> tuple[list[np.ndarray], Any, dict[str, Any]]:
    *shapes, options = SHAPES[name]
    arrays = [rng.standard_normal(s) for s in shapes]
    q, k = shapes[:2]
    made = MASKS[mask](q[-3] if len(q) > 2 else 1, q[-2], k[-2])
    return (arrays, None, {**options, "is_causal": True}) if isinstance(made, str) else (arrays, made, options)


def by_formula(q: Any, k: Any, v: Any, mask: Any, is_causal: bool = False, enable_gqa: bool = False) -> np.ndarray:
    if enable_gqa:
        k, v = (x.repeat(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    if is_causal:
        mask = np.tril(np.ones(scores.shape[-2:], bool))
    if mask is not None:
        scores = np.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
    return np.nan_to_num(weights) @ v


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_every_block_gives_what_the_formula_says(
    name: str, mask: str, blocks: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "no heads" and mask == "added by head":
        pytest.skip("adds a dimension, as the torch test shows")
    set_blocks(monkeypatch, blocks)
    arrays, m, options = inputs(name, mask)
    found = F.scaled_dot_product_attention(
        *map(distgrad.tensor, arrays), None if m is None else distgrad.tensor(m), **options
    )
    np.testing.assert_allclose(found.numpy(), by_formula(*arrays, m, **options), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mask", ["causal", "added", "seen"])
@pytest.mark.parametrize("groups", [False, True])
def test_gradients_of_blocks_by_finite_differences(groups: bool, mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_blocks(monkeypatch, (4, 2, 0))
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 2), (1, 2, 2), (1, 2, 1))]
    m = MASKS[mask](1, 3, 2)
    options = {"enable_gqa": groups, "is_causal": isinstance(m, str)}
    given = [distgrad.tensor(a, requires_grad=True) for a in arrays]
    if not isinstance(m, str):
        given.append(distgrad.tensor(m, requires_grad=m.dtype != bool))

    def attended(*args: Any) -> Any:
        distgrad.manual_seed(3)
        return F.scaled_dot_product_attention(*args, dropout_p=0.3, **options)

    assert gradcheck(attended, given)
    assert gradgradcheck(attended, given)


def test_the_sizes_of_blocks_change_nothing_that_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    q, k, v = (distgrad.tensor(rng.standard_normal((3, 11, 2)), requires_grad=True) for _ in range(3))
    for scores in (2**18, 130, 20):
        set_blocks(monkeypatch, (scores, 2, 0 if scores == 20 else 2**21))
        distgrad.manual_seed(9)
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=0.4)
        found.append([out, *distgrad.autograd.grad((out * out).sum(), (q, k, v))])
    for others in found[1:]:
        for a, b in zip(others, found[0], strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"dropout_p": 0.1}, {"enable_gqa": True}])
def test_memory_grows_with_the_length_and_not_with_its_square(options: dict[str, Any]) -> None:
    """Of n queries and keys: all weights of the 4 heads would take 16 n² bytes once, 64 MiB for the longer n here."""
    most = {}
    for n in (1024, 2048):
        few = 2 if "enable_gqa" in options else 4
        q, k, v = (distgrad.ones(1, h, n, 8, requires_grad=True) for h in (4, few, few))
        tracemalloc.start()
        F.scaled_dot_product_attention(q, k, v, **options).sum().backward()
        most[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    blocks = 6 * attention._SCORES * 4
    assert most[2048] < blocks + 16 * 4 * 2048 * 8 * 4  # and some sixteen arrays of an input's size
    assert most[2048] - most[1024] < 16 * 4 * (2048 - 1024) * 8 * 4


def test_scores_of_any_size_are_weighed_exactly() -> None:
    q = distgrad.tensor([[3e4], [-3e4]], requires_grad=True)
    k = distgrad.tensor([[1.0], [1.0 + 2.0**-10]])
    out = F.scaled_dot_product_attention(q, k, distgrad.tensor([[0.0], [1.0]]), scale=1.0)
    np.testing.assert_allclose(out.tolist(), [[1 / (1 + math.exp(-30000 / 1024))], [0.0]], atol=1e-6)


def test_halves_are_weighed_in_float32() -> None:
    arrays, _, _ = inputs("heads", "none")
    half = [distgrad.tensor(a).half() for a in arrays]
    found = F.scaled_dot_product_attention(*half)
    assert found.dtype is distgrad.float16
    expected = by_formula(*[h.double().numpy() for h in half], None)
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=1e-3, atol=1e-3)


def test_kernels_are_allowed_and_refused() -> None:
    x = distgrad.ones(1, 1, 2, 2)
    assert SDPBackend.MATH in distgrad.nn.attention._cur_sdpa_kernel_backends()
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION), pytest.raises(RuntimeError, match="No viable backend"):
        F.scaled_dot_product_attention(x, x, x)
    with sdpa_kernel([]), pytest.raises(RuntimeError, match="No viable backend"):
        F.scaled_dot_product_attention(x, x, x)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        assert F.scaled_dot_product_attention(x, x, x).tolist() == x.tolist()
        for call in (
            lambda: F.scaled_dot_product_attention(x[0], x[0], x[0]),
            lambda: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
            lambda: F.scaled_dot_product_attention(x, x, x, distgrad.ones(2, 2, requires_grad=True)),
        ):
            with pytest.raises(RuntimeError, match=r"No available kernel\. Aborting execution"):
                call()
        with sdpa_kernel(SDPBackend.MATH):
            assert distgrad.nn.attention._cur_sdpa_kernel_backends() == [SDPBackend.MATH]
    with pytest.raises(AssertionError, match="got str"), sdpa_kernel("math"):  # type: ignore[arg-type]
        pass
    order = [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]
    with sdpa_kernel(order, set_priority=True):
        assert distgrad.nn.attention._cur_sdpa_kernel_backends() == order
    with sdpa_kernel(order):
        assert distgrad.nn.attention._cur_sdpa_kernel_backends() == order[::-1]


@pytest.mark.torch
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", SHAPES)
def test_values_gradients_and_second_gradients_are_pytorchs(
    name: str, mask: str, blocks: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    if name == "no heads" and mask == "added by head":
        pytest.skip("PyTorch takes no mask of more dimensions there")
    set_blocks(monkeypatch, blocks)
    arrays, m, options = inputs(name, mask)
    results = []
    for t in (distgrad, torch):
        kernel = t.nn.attention.sdpa_kernel(t.nn.attention.SDPBackend.MATH)
        given = [t.tensor(a, requires_grad=True) for a in arrays]
        if m is not None:
            given.append(t.tensor(m, requires_grad=m.dtype != bool))
        wanted = [x for x in given if x.requires_grad]
        # PyTorch's other kernel has no second derivative
        with kernel:
            out = t.nn.functional.scaled_dot_product_attention(*given, **options)
        first = t.autograd.grad((out * out).sum(), wanted, create_graph=True)
        second = t.autograd.grad(sum((g * g).sum() for g in first), wanted, allow_unused=True)
        results.append([out, *first, *[w * 0 if s is None else s for w, s in zip(wanted, second, strict=True)]])
    for ours, theirs in zip(*results, strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.torch
def test_kernels_have_pytorchs_names() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.attention.SDPBackend.__members__
    assert {n: int(b) for n, b in theirs.items()} == {b.name: int(b) for b in SDPBackend}
    assert [repr(b) for b in theirs.values()] == [repr(b) for b in SDPBackend]
