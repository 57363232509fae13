"""The double of CuPy refuses what CuPy 14.2 refuses; each case names the behaviour it stands for."""

from __future__ import annotations

import operator
import re
import threading

import ml_dtypes
import numpy as np
import pytest

from distgrad import backend
from distgrad.testing.fake_device.accelerator import StrictAccelerator
from distgrad.testing.fake_device.arrays import DeviceArray
from distgrad.testing.fake_device.module import NAMESPACE
from tests.helpers import cupy_namespace

HOST = np.arange(6.0, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def xp(device_double):
    return device_double.module


@pytest.fixture
def x(xp):
    return xp.asarray(HOST)


UNSUPPORTED = re.escape("Unsupported type <class 'numpy.ndarray'>")

# "Universal functions only work with CuPy array or scalar.  They do not accept other objects (e.g. lists or
# numpy.ndarray)", CuPy's user guide, "Differences between CuPy and NumPy".
MIXTURES = {
    "ufunc": lambda xp, x: xp.add(x, HOST),
    "ufunc, host first": lambda xp, x: xp.add(HOST, x),
    "ufunc on a host array alone": lambda xp, x: xp.exp(HOST),
    "ufunc, array without dimensions": lambda xp, x: xp.multiply(x, np.array(2.0, np.float32)),
    "ufunc out": lambda xp, x: xp.add(x, x, out=HOST.copy()),
    "ufunc positional out": lambda xp, x: xp.add(x, x, HOST.copy()),
    "operator": lambda xp, x: x + HOST,
    "reflected operator": lambda xp, x: HOST + x,
    "reflected operator, array without dimensions": lambda xp, x: np.array(2.0) * x,
    "operator, array without dimensions": lambda xp, x: x * np.array(2.0),
    "comparison": lambda xp, x: x < HOST,
    "equality": lambda xp, x: x == HOST,
    "matmul": lambda xp, x: x @ HOST.T,
    "reflected matmul": lambda xp, x: HOST.T @ x,
    "in place": lambda xp, x: operator.iadd(x, HOST),
    "in place on the host": lambda xp, x: operator.iadd(HOST.copy(), x),
    "function": lambda xp, x: xp.matmul(x, HOST.T),
    "function on a host array alone": lambda xp, x: xp.sum(HOST),
    "list of arrays": lambda xp, x: xp.concatenate([x, HOST]),
    "where": lambda xp, x: xp.where(x > 0, x, HOST),
    "einsum": lambda xp, x: xp.einsum("ij,ij->", x, HOST),
    "method": lambda xp, x: x.dot(HOST.T),
    "method out": lambda xp, x: x.sum(0, out=np.zeros(3, np.float32)),
    "clip": lambda xp, x: x.clip(HOST, None),
    "copyto": lambda xp, x: xp.copyto(x, HOST),
    "linalg": lambda xp, x: xp.linalg.norm(HOST),
    "set_": lambda xp, x: xp.put_along_axis(x, np.zeros((2, 1), int), 1.0, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXTURES)
def test_host_and_device_do_not_mix(xp, x, name):
    with pytest.raises(TypeError, match=UNSUPPORTED):
        MIXTURES[name](xp, x)
    np.testing.assert_array_equal(x.get(), HOST)


def test_a_list_is_no_operand(xp, x):
    for call in (
        lambda: operator.add(x, [1.0]),
        lambda: xp.add(x, [1.0]),
        lambda: xp.sum([1.0]),
        lambda: xp.exp([1.0]),
    ):
        with pytest.raises(TypeError, match="Unsupported type <class 'list'>"):
            call()


# TypeError: Implicit conversion to a NumPy array is not allowed (cupy.ndarray.__array__).
@pytest.mark.parametrize("convert", [np.asarray, np.array, np.ascontiguousarray, lambda x: HOST.copy().__iadd__(x)])
def test_numpy_gets_no_device_array(x, convert):
    with pytest.raises(TypeError):
        convert(x)


def test_the_refusal_says_what_to_do(x):
    with pytest.raises(TypeError, match=re.escape("Please use `.get()` to construct a NumPy array explicitly.")):
        np.asarray(x)
    host = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="Implicit conversion"):
        host[...] = x
    with pytest.raises(TypeError, match=r"buffer|bytes-like"):
        memoryview(x)


# CuPy would dispatch these to itself (NEP 13 and 18); here the module must be the array's own.
@pytest.mark.parametrize("call", [np.exp, np.sum, np.add.reduce, lambda x: np.add(x, 1), lambda x: np.where(x, 1, 2)])
def test_numpys_functions_refuse_device_arrays(x, call):
    with pytest.raises(TypeError, match="own module"):
        call(x)


def test_numbers_and_numpy_scalars_are_operands(xp, x):
    for result in (x * 2, 2 * x, x * np.float32(2), np.float32(2) * x, xp.multiply(np.float32(2), x), x + x):
        assert type(result) is DeviceArray
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result.get(), HOST * 2)
    assert (x * np.float64(2)).dtype == np.float64  # NumPy's promotion (NEP 50)
    assert (1.0 / (x + 1)).dtype == np.float32
    assert ((x > 2) & (x < 5)).get().sum() == 2
    assert (x == np.array(2.0)).get().sum() == 1  # comparison alone unpacks an array without dimensions
    assert not (x == None).get().any()  # noqa: E711 - CuPy answers elementwise


def test_strangers_may_answer_an_operator_themselves(x):
    class Opted:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "mine"

    class Higher:
        __array_priority__ = 1000

        def __radd__(self, other):
            return "mine"

    class Neither:
        def __radd__(self, other):
            return "mine"

    assert x + Opted() == "mine"
    assert x + Higher() == "mine"
    with pytest.raises(TypeError, match="Unsupported type"):
        x + Neither()


def test_reductions_and_full_indices_give_arrays_without_dimensions(xp, x):
    for result in (x.sum(), xp.sum(x), x.max(), x.argmax(), x[1, 2], x.reshape(-1)[3], x.mean(), xp.allclose(x, x)):
        assert type(result) is DeviceArray
        assert result.shape == ()
    assert isinstance(x.sum(0).get(), np.ndarray)
    assert [v.shape for v in x[0]] == [(), (), ()]


def test_explicit_ways_to_the_host_work_and_are_counted(device_double, x):
    before = device_double.transfers
    assert float(x.sum()) == 15.0
    assert int(x.max()) == 5
    assert bool(x.sum() > 1)
    assert x.sum().item() == 15.0
    assert x.tolist() == HOST.tolist()
    assert repr(x) == repr(HOST)
    assert device_double.transfers == before + 6
    with pytest.raises(ValueError, match="size 1"):
        x.item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError):
        range(x.sum().astype(np.int64))  # cupy.ndarray has no __index__
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)
    host = x.get()
    host[...] = -1
    other = HOST.copy()
    uploaded = device_double.module.asarray(other)
    other[...] = -1
    np.testing.assert_array_equal(uploaded.get(), HOST)
    np.testing.assert_array_equal(x.get(), HOST)


def test_views_share_memory_and_know_their_base(xp, x):
    assert x.base is None
    for view in (x[0], x[:, 1:], x.T, x.reshape(3, 2), x.ravel(), x[1, 2], xp.expand_dims(x, 0), x[None].squeeze(0),
                 xp.swapaxes(x, 0, 1), xp.split(x, 3, 1)[2], xp.broadcast_to(x, (2, 2, 3))):  # fmt: skip
        assert view.base is x
    assert x.T.T.base is x
    assert x.T.strides == (4, 12)
    x[1, 2][...] = 50
    x.reshape(-1)[0] = 40
    assert x.T.tolist() == [[40, 3], [1, 4], [2, 50]]
    x[...] = 0
    for copy in (x.copy(), x + 0, x[[0, 1]], x[xp.asarray([0])], x.flatten(), xp.array(x), x.astype(np.float64)):
        assert copy.base is None
        copy[...] = 9
    assert not x.get().any()
    assert x.astype(np.float32, copy=False) is x
    assert xp.asarray(x) is x
    assert x.flags.c_contiguous
    assert not x.T.flags.c_contiguous


def test_out_and_in_place_write_where_told(xp, x):
    out = xp.empty_like(x)
    assert xp.add(x, 1, out=out) is out
    assert xp.matmul(x, x.T, out=xp.empty((2, 2), np.float32)).tolist() == [[5, 14], [14, 50]]
    np.testing.assert_array_equal(out.get(), HOST + 1)
    alias, view = x, x[0]
    x += 1
    x[1] *= 2
    assert alias is x
    assert view.tolist() == [1, 2, 3]
    assert x[1].tolist() == [8, 10, 12]
    assert xp.sum(x, axis=0, out=view) is view
    with pytest.raises(TypeError, match="same_kind"):
        x += 1j


def test_indices_and_values_from_the_host(xp, x):
    """As an index, and as the value at an advanced index, CuPy uploads silently (core.array)."""
    assert x[np.array([1, 0])].tolist() == HOST[[1, 0]].tolist()
    assert x[HOST > 2].tolist() == [3, 4, 5]
    assert x.take(np.array([5, 0])).tolist() == [5, 0]
    assert xp.take(x, np.array([1]), 1).tolist() == [[1], [4]]
    x[np.array([0])] = np.array([[7.0, 8.0, 9.0]])
    assert x[0].tolist() == [7, 8, 9]
    x[x > 7] = 0
    assert x[0].tolist() == [7, 0, 0]
    x[0] = np.array(3.0)  # ndarray.fill unpacks an array without dimensions ...
    with pytest.raises(ValueError, match=r"non-scalar numpy.ndarray cannot be used for fill"):
        x[0] = np.zeros(3)  # ... and refuses others, though a list of numbers would be no better
    with pytest.raises(ValueError, match=r"non-scalar numpy.ndarray cannot be used for fill"):
        x[...] = HOST
    assert x[0].tolist() == [3, 3, 3]


def test_ufuncs_have_cupys_keywords_and_methods(xp, x):
    """cupy.ufunc.__call__ knows out, dtype and casting; reduce is add's and multiply's, at only some ufuncs'."""
    with pytest.raises(TypeError, match="Wrong arguments"):
        xp.add(x, 1, where=x > 2)
    assert xp.add(x, 1, dtype=np.float64).dtype == np.float64
    assert xp.add.reduce(x).tolist() == [3, 5, 7]
    assert xp.multiply.accumulate(x, 1).tolist() == [[0, 0, 0], [3, 12, 60]]
    with pytest.raises(NotImplementedError, match=r"`cupy_maximum.reduce` is not supported yet"):
        xp.maximum.reduce(x)
    with pytest.raises(NotImplementedError, match=r"`cupy_multiply.at` is not supported yet"):
        xp.multiply.at(x, 0, 2)
    xp.add.at(x, xp.asarray([0, 0]), 1)
    assert x[0].tolist() == [2, 3, 4]
    assert xp.subtract.outer(xp.arange(2), xp.arange(3)).tolist() == [[0, -1, -2], [1, 0, -1]]
    assert [v.tolist() for v in xp.modf(xp.asarray([1.5]))] == [[0.5], [1.0]]


def test_functions_have_cupys_parameters(xp, x):
    for call, name in (
        (lambda: xp.sum(x, initial=1), "initial"),  # NumPy has it, CuPy does not
        (lambda: xp.mean(x, where=x > 0), "where"),
        (lambda: x.sum(initial=0), "initial"),
        (lambda: xp.clip(x, max=1, min=0), "max"),
    ):
        with pytest.raises(TypeError, match=name):
            call()
    for name in ("errstate", "geomspace", "vecdot", "insert", "block", "longdouble"):
        assert hasattr(np, name)
        with pytest.raises(AttributeError, match=f"module 'cupy' has no attribute '{name}'"):
            getattr(xp, name)
    assert xp.float32 is np.float32
    assert xp.newaxis is None
    assert xp.linalg.norm(x).shape == ()
    assert xp.lib.stride_tricks.sliding_window_view(x, 2, 1).shape == (2, 2, 2)
    assert xp.asnumpy(x).tolist() == HOST.tolist()


def test_dtypes(xp):
    b = xp.asarray(np.ones(3, ml_dtypes.bfloat16))
    assert (b + b).dtype == ml_dtypes.bfloat16
    assert isinstance(b.dtype, np.dtype)
    for wrong in ("U3", object, "M8[s]"):  # ValueError: Unsupported dtype
        with pytest.raises(ValueError, match="Unsupported dtype"):
            xp.zeros(2, wrong)


def test_devices_are_apart(device_double, xp):
    """cupy._core._kernel._check_peer_access, without peer access between the devices."""
    here, there = backend.resolve("cuda:0"), backend.resolve("cuda:1")
    assert backend.resolve("cuda") == here
    a = backend.to_device(HOST, here)
    b = backend.to_device(a, there)
    assert [backend.device_of(v) for v in (a, b)] == [here, there]
    assert a.device.id == 0
    assert b.device.id == 1
    for call in (lambda: a + b, lambda: b + 1, lambda: b.sum(), lambda: xp.matmul(a, b), lambda: a[b > 0]):
        with pytest.raises(ValueError, match=r"resides \(1\) is different from the current device \(0\)"):
            call()
    with backend.on(there):
        assert backend.device_of(b + 1) == there
        assert backend.device_of(xp.zeros(2)) == there
        with pytest.raises(ValueError, match=r"resides \(0\) is different from the current device \(1\)"):
            a + 1
    assert b.reshape(-1).device.id == 1  # a view starts no kernel
    assert b.tolist() == a.tolist()
    b.set(HOST + 1)
    assert a.tolist() == HOST.tolist()
    with pytest.raises(RuntimeError, match="devices here are: cpu, cuda:0, cuda:1"):
        backend.resolve("cuda:2")


def test_the_current_device_is_the_threads_own(device_double):
    seen = []
    device_double.set_current(1)
    thread = threading.Thread(target=lambda: seen.append(device_double.current()))
    thread.start()
    thread.join()
    assert (seen, device_double.current()) == ([0], 1)


def test_it_is_an_accelerator_while_the_fixture_lasts(device_double, x):
    assert backend.accelerator() is device_double
    assert isinstance(device_double, StrictAccelerator)
    assert backend.array_module(x) is device_double.module
    assert backend.device_count() == 2
    backend.synchronize()
    assert device_double.synchronizations == 1


def test_the_recorded_namespace_is_cupys():
    cupy = pytest.importorskip("cupy")
    found = cupy_namespace.record()
    if cupy.__version__.startswith("14.2"):  # what was recorded; others may have more
        assert found == NAMESPACE
    assert sorted(set(NAMESPACE) - set(found)) == []


def test_every_recorded_name_is_offered(xp):
    for name in NAMESPACE:
        found = xp
        for part in name.split("."):
            found = getattr(found, part)
    assert len(NAMESPACE) > 400
