"""Operands of different dtypes: what PyTorch refuses is refused in forward, by name, not answered in another type."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import distgrad as dg
from distgrad import nn
from distgrad.nn import functional as F

DTYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "int64", "bool"]
WORDS = {
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double", "complex64": "ComplexFloat",
    "int64": "Long", "bool": "Bool",
}  # fmt: skip

# name -> (operands' shapes, the operation)
PRODUCTS: dict[str, tuple[list[tuple[int, ...]], Callable[..., Any]]] = {
    "matmul": ([(2, 3), (3, 2)], dg.matmul),
    "@": ([(2, 3), (3, 2)], lambda a, b: a @ b),
    "mm": ([(2, 3), (3, 2)], dg.mm),
    "mv": ([(2, 3), (3,)], dg.mv),
    "dot": ([(3,), (3,)], dg.dot),
    "bmm": ([(2, 2, 3), (2, 3, 2)], dg.bmm),
    "inner": ([(3,), (3,)], dg.inner),
    "tensordot": ([(2, 3), (3, 2)], lambda a, b: dg.tensordot(a, b, 1)),
    "einsum": ([(2, 3), (3, 2)], lambda a, b: dg.einsum("ij,jk->ik", a, b)),
    "einsum of three": ([(2, 3), (3, 4), (4, 2)], lambda a, b, c: dg.einsum("ij,jk,kl->il", a, b, c)),
    "addmm": ([(2, 2), (2, 3), (3, 2)], dg.addmm),
    "addmv": ([(2,), (2, 3), (3,)], dg.addmv),
    "baddbmm": ([(1, 2, 2), (1, 2, 3), (1, 3, 2)], dg.baddbmm),
    "linear": ([(2, 3), (2, 3)], F.linear),
    "linear of one row": ([(3,), (2, 3)], F.linear),
    "linear of a batch": ([(4, 2, 3), (2, 3)], F.linear),
    "linear with bias": ([(2, 3), (2, 3), (2,)], F.linear),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_two_dtypes_is_refused(name: str) -> None:
    shapes, operation = PRODUCTS[name]
    for odd in range(len(shapes)):
        for one, two in itertools.permutations(DTYPES, 2):
            if one == "bool" and len(shapes) > 2:
                continue  # there is no product of bools
            operands = [dg.ones(s).to(getattr(dg, two if i == odd else one)) for i, s in enumerate(shapes)]
            with pytest.raises(RuntimeError) as raised:
                operation(*operands)
            text = str(raised.value).lower()
            assert WORDS[one].lower() in text, (odd, one, two, text)
            assert WORDS[two].lower() in text, (odd, one, two, text)


@pytest.mark.parametrize(("made", "given"), list(itertools.permutations(DTYPES[:4], 2)))
def test_a_layer_of_another_dtype_says_so_in_forward_by_name(made: str, given: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).to(getattr(dg, made))
    with pytest.raises(RuntimeError) as raised:
        model(dg.ones(5, 3).to(getattr(dg, given)))
    assert str(raised.value) == (
        "0: Linear(in_features=3, out_features=4, bias=True): mat1 and mat2 must have the same dtype, but got "
        f"{WORDS[given]} and {WORDS[made]}"
    )


def test_numbers_multiplied_without_a_sum_are_promoted() -> None:
    a, b = dg.ones(2, dtype=dg.float64), dg.ones(2)
    for equation in ("i,j->ij", "i,i->i"):
        assert dg.einsum(equation, a, b).dtype is dg.float64
    assert (
        dg.einsum("i,i,i->", a, b, a).item() == 2.0
    )  # from left to right: what is summed over is of one dtype by then


@pytest.mark.torch
@pytest.mark.parametrize("name", PRODUCTS)
def test_pytorch_refuses_the_same(name: str) -> None:
    import torch

    shapes, _ = PRODUCTS[name]
    theirs: Callable[..., Any] = {
        "@": lambda a, b: a @ b,
        "tensordot": lambda a, b: torch.tensordot(a, b, 1),
        "einsum": lambda a, b: torch.einsum("ij,jk->ik", a, b),
        "einsum of three": lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c),
    }.get(name) or getattr(torch if hasattr(torch, name) else torch.nn.functional, name.split()[0])
    for odd in range(len(shapes)):
        for one, two in itertools.permutations(["float32", "float64", "int64"], 2):
            operands = [torch.ones(s, dtype=getattr(torch, two if i == odd else one)) for i, s in enumerate(shapes)]
            with pytest.raises(RuntimeError):
                theirs(*operands)
