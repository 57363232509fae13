"""Printing: strings recorded from PyTorch 2.13, and, where torch is installed, random arrays against torch itself."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from distgrad import dtypes, printing
from distgrad.printing import format_tensor, printoptions, set_printoptions


@pytest.fixture(autouse=True)
def _default_options():
    with printoptions():
        yield


def shown(values, np_dtype=np.float32, **suffixes):
    host = np.array(values, dtype=np_dtype)
    return format_tensor(host, dtypes.from_numpy_dtype(host.dtype), **suffixes)


RECORDED = {
    "ints shown as 1.": (shown, ([1, 2, 3],), "tensor([1., 2., 3.])"),
    "0-d": (shown, (3.14159,), "tensor(3.1416)"),
    "0-d whole": (shown, (3,), "tensor(3.)"),
    "widths": (shown, ([4517.2969, 82.6],), "tensor([4517.2969,   82.6000])"),
    "sci": (shown, ([1e-5, 1.0],), "tensor([1.0000e-05, 1.0000e+00])"),
    "big is sci": (shown, ([1e9],), "tensor([1.0000e+09])"),
    "nan inf": (shown, ([1.5, np.nan, np.inf, -np.inf],), "tensor([1.5000,    nan,    inf,   -inf])"),
    "nan among whole": (shown, ([1.0, np.nan, -0.0],), "tensor([1., nan, -0.])"),
    "nan alone": (shown, ([np.nan, 0.0],), "tensor([nan, 0.])"),
    "matrix": (shown, ([[1, 2], [3, 4]], np.int64), "tensor([[1, 2],\n        [3, 4]])"),
    "cube": (shown, (np.arange(4).reshape(2, 2, 1), np.int64),
             "tensor([[[0],\n         [1]],\n\n        [[2],\n         [3]]])"),
    "bool": (shown, ([True, False], np.bool_), "tensor([ True, False])"),
    "int32": (shown, ([1, -20], np.int32), "tensor([  1, -20], dtype=torch.int32)"),
    "float64": (shown, ([0.5], np.float64), "tensor([0.5000], dtype=torch.float64)"),
    "float16": (shown, ([65504.0, 0.1], np.float16), "tensor([6.5504e+04, 9.9976e-02], dtype=torch.float16)"),
    "bfloat16": (shown, ([0.1], ml_dtypes.bfloat16), "tensor([0.1001], dtype=torch.bfloat16)"),
    "complex": (shown, ([1 - 2j, 0.5 + 0j], np.complex64), "tensor([1.0000-2.j, 0.5000+0.j])"),
    "0-d complex": (shown, (1j, np.complex128), "tensor(0.+1.j, dtype=torch.complex128)"),
    "empty": (shown, ([],), "tensor([])"),
    "empty shape": (shown, (np.zeros((0, 3)),), "tensor([], size=(0, 3))"),
    "empty int64": (shown, ([], np.int64), "tensor([], dtype=torch.int64)"),
    "summary": (shown, (np.arange(1001), np.int64), "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    "wrapped": (shown, (np.arange(25) * 0.5,),
                "tensor([ 0.0000,  0.5000,  1.0000,  1.5000,  2.0000,  2.5000,  3.0000,  3.5000,\n"
                "         4.0000,  4.5000,  5.0000,  5.5000,  6.0000,  6.5000,  7.0000,  7.5000,\n"
                "         8.0000,  8.5000,  9.0000,  9.5000, 10.0000, 10.5000, 11.0000, 11.5000,\n"
                "        12.0000])"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_prints_as_recorded_from_pytorch(name):
    function, arguments, expected = RECORDED[name]
    assert function(*arguments) == expected


def test_suffixes_stand_in_pytorchs_order_and_wrap():
    assert shown([5.3671, -17.3012], requires_grad=True) == "tensor([  5.3671, -17.3012], requires_grad=True)"
    assert shown(2.0, grad_fn="MulBackward0", requires_grad=True) == "tensor(2., grad_fn=<MulBackward0>)"
    assert shown(2.0, device="cuda:0") == "tensor(2., device='cuda:0')"
    assert shown(np.zeros(6), np.float64, device="cuda:1", grad_fn="NativeLayerNormBackward0") == (
        "tensor([0., 0., 0., 0., 0., 0.], device='cuda:1', dtype=torch.float64,\n"
        "       grad_fn=<NativeLayerNormBackward0>)"
    )
    assert shown([[1.0], [2.0]], prefix="Buffer(") == "Buffer([[1.],\n        [2.]])"


def test_a_summarised_matrix_shows_its_corners():
    assert shown(np.arange(2000).reshape(4, 500), np.int64) == (
        "tensor([[   0,    1,    2,  ...,  497,  498,  499],\n"
        "        [ 500,  501,  502,  ...,  997,  998,  999],\n"
        "        [1000, 1001, 1002,  ..., 1497, 1498, 1499],\n"
        "        [1500, 1501, 1502,  ..., 1997, 1998, 1999]])"
    )


def test_options_apply_and_are_put_back():
    with printoptions(precision=2, threshold=5, edgeitems=1):
        assert shown([0.123, 4, 5, 6, 7, 8]) == "tensor([0.12,  ..., 8.00])"
    assert shown([0.123]) == "tensor([0.1230])"
    set_printoptions(sci_mode=True)
    assert shown([1.0]) == "tensor([1.0000e+00])"
    set_printoptions(profile="short")
    assert printing.get_printoptions() == {
        "precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80, "sci_mode": None,
    }  # fmt: skip


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="unknown print profile 'long'; the profiles are: default, full, short"):
        set_printoptions(profile="long")


def test_the_default_dtype_decides_what_is_named():
    dtypes.set_default_dtype(dtypes.float64)
    try:
        assert shown([0.5], np.float64) == "tensor([0.5000])"
        assert shown([0.5], np.float32) == "tensor([0.5000], dtype=torch.float32)"
        assert shown([1j], np.complex128) == "tensor([0.+1.j])"
    finally:
        dtypes.set_default_dtype(dtypes.float32)


SHAPES = [
    (), (1,), (5,), (30,), (0,), (3, 0), (2, 3), (2, 3, 4), (1, 1, 2, 2), (1500,), (40, 30), (7, 2, 90), (3, 1, 400),
]  # fmt: skip
NAMES = [
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool", "complex64", "complex128",
]  # fmt: skip


@st.composite
def arrays(draw):
    name, shape = draw(st.sampled_from(NAMES)), draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = int(np.prod(shape))
    spread, whole, special = draw(st.sampled_from([0.5, 3, 12])), draw(st.booleans()), draw(st.booleans())

    def doubles():
        x = rng.standard_normal(size) * 10.0 ** rng.uniform(-spread, spread, size)
        x = np.round(x) if whole else x
        if special and size:
            x[rng.random(size) < 0.2] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0])
        return x

    if name == "bool":
        host = rng.random(size) < 0.5
    elif name.startswith(("int", "uint")):
        info = np.iinfo(name)
        top = min(info.max, int(10**spread))
        host = rng.integers(max(info.min, -top), top, size).astype(name)
    elif name.startswith("complex"):
        host = np.empty(size, name)
        with np.errstate(over="ignore"):
            host.real, host.imag = doubles(), doubles()
    else:
        with np.errstate(over="ignore"):
            host = doubles().astype(dtypes.as_dtype(name).np)
    return host.reshape(shape), dtypes.as_dtype(name)


@pytest.mark.torch
@settings(max_examples=400, deadline=None)
@given(
    array=arrays(),
    requires_grad=st.booleans(),
    options=st.sampled_from(
        [{}, {}, {}, {"precision": 2}, {"edgeitems": 1, "threshold": 10}, {"linewidth": 40}, {"sci_mode": True},
         {"sci_mode": False}, {"edgeitems": 0, "threshold": 4}, {"profile": "short"}, {"threshold": 0}]
    ),
)  # fmt: skip
def test_prints_as_torch(array, requires_grad, options):
    torch = pytest.importorskip("torch")
    host, dtype = array
    theirs = torch.from_numpy(host.view(np.int16) if dtype is dtypes.bfloat16 else host)
    theirs = theirs.view(torch.bfloat16) if dtype is dtypes.bfloat16 else theirs
    requires_grad = requires_grad and dtype.category > 1
    theirs.requires_grad_(requires_grad)
    before = torch._tensor_str.get_printoptions()
    torch.set_printoptions(**options)
    try:
        expected = repr(theirs)
    finally:
        torch.set_printoptions(**before)
    with printoptions(**options):
        assert format_tensor(host, dtype, requires_grad=requires_grad) == expected
