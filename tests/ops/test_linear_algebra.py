"""Linear algebra and transforms where rows cannot tell: exact values, singular matrices, errors, results' names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import distgrad as dg

inf, nan = math.inf, math.nan


def leaf(values: Any, dtype: Any = None) -> Any:
    return dg.tensor(values, dtype=dtype or dg.float64).requires_grad_()


# --- values that are known ------------------------------------------------------------------------------------------

KNOWN: dict[str, tuple[Callable[[], Any], Any]] = {
    "inv": (lambda: dg.linalg.inv(dg.tensor([[2.0, 1.0], [1.0, 1.0]])), [[1.0, -1.0], [-1.0, 2.0]]),
    "det of nothing": (lambda: dg.linalg.det(dg.zeros(0, 0)), 1.0),
    "slogdet of a singular one": (lambda: dg.linalg.slogdet(dg.zeros(2, 2)).logabsdet, -inf),
    "logdet below 0": (lambda: dg.logdet(dg.tensor([[0.0, 1.0], [1.0, 0.0]])), nan),
    "cholesky": (lambda: dg.linalg.cholesky(dg.tensor([[4.0, 99.0], [2.0, 5.0]])), [[2.0, 0.0], [1.0, 2.0]]),
    "cholesky upper": (
        lambda: dg.linalg.cholesky(dg.tensor([[4.0, 2.0], [99.0, 5.0]]), upper=True),
        [[2.0, 1.0], [0.0, 2.0]],
    ),
    "eigvalsh": (lambda: dg.linalg.eigvalsh(dg.tensor([[2.0, 99.0], [1.0, 2.0]])), [1.0, 3.0]),
    "eigvalsh U": (lambda: dg.linalg.eigvalsh(dg.tensor([[2.0, 1.0], [99.0, 2.0]]), UPLO="u"), [1.0, 3.0]),
    "svdvals": (lambda: dg.linalg.svdvals(dg.tensor([[0.0, 3.0], [-2.0, 0.0]])), [3.0, 2.0]),
    "solve": (lambda: dg.linalg.solve(dg.tensor([[2.0, 1.0], [1.0, 1.0]]), dg.tensor([3.0, 2.0])), [1.0, 1.0]),
    "solve_triangular, singular": (
        lambda: dg.linalg.solve_triangular(dg.tensor([[1.0, 5.0], [0.0, 0.0]]), dg.tensor([[1.0], [1.0]]), upper=False),
        [[1.0], [inf]],
    ),
    "matrix_power 0": (lambda: dg.linalg.matrix_power(dg.tensor([[1, 2], [3, 4]]), 0), [[1, 0], [0, 1]]),
    "matrix_power -1": (lambda: dg.matrix_power(dg.tensor([[2.0, 0.0], [0.0, 4.0]]), -1), [[0.5, 0.0], [0.0, 0.25]]),
    "matrix_rank": (
        lambda: dg.linalg.matrix_rank(dg.tensor([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]])),
        [1, 2],
    ),
    "matrix_rank atol": (lambda: dg.linalg.matrix_rank(dg.diag(dg.tensor([3.0, 1.0, 0.1])), atol=0.5), 2),
    "matrix_rank hermitian": (lambda: dg.linalg.matrix_rank(dg.ones(3, 3), hermitian=True), 1),
    "pinverse": (lambda: dg.pinverse(dg.tensor([[2.0, 0.0], [0.0, 0.0]])), [[0.5, 0.0], [0.0, 0.0]]),
    "norm 1": (lambda: dg.linalg.norm(dg.tensor([[1.0, -2.0], [3.0, 4.0]]), 1), 6.0),
    "norm inf": (lambda: dg.linalg.norm(dg.tensor([[1.0, -2.0], [3.0, 4.0]]), inf), 7.0),
    "norm of nothing": (lambda: dg.linalg.matrix_norm(dg.zeros(2, 0), 2), 0.0),
    "vector_norm 0": (lambda: dg.linalg.vector_norm(dg.tensor([0.0, 3.0, -4.0]), 0), 2.0),
    "cross": (lambda: dg.linalg.cross(dg.tensor([1, 2, 3]), dg.tensor([4, 5, 6])), [-3, 6, -3]),
    "cross, first of size 3": (
        lambda: dg.cross(dg.eye(3)[:, :2], dg.eye(3)[:, 1:]),
        [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]],
    ),
    "vecdot": (lambda: dg.linalg.vecdot(dg.tensor([1j, 2.0]), dg.tensor([1j, 1.0])), 3 + 0j),
    "kron": (lambda: dg.kron(dg.tensor([[1, 2]]), dg.tensor([1, 10])), [[1, 10, 2, 20]]),
    "block_diag of none": (lambda: dg.block_diag(), [[]]),
    "block_diag promotes": (lambda: dg.block_diag(dg.tensor(1), dg.tensor([2.5])), [[1.0, 0.0], [0.0, 2.5]]),
    "cartesian_prod of one": (lambda: dg.cartesian_prod(dg.tensor([1, 2])), [1, 2]),
    "cdist 0": (lambda: dg.cdist(dg.tensor([[0.0, 1.0]]), dg.tensor([[0.0, 2.0], [3.0, 4.0]]), p=0), [[1.0, 2.0]]),
    "cdist of nothing": (lambda: dg.cdist(dg.zeros(1, 0), dg.zeros(2, 0)), [[0.0, 0.0]]),
    "addbmm": (
        lambda: dg.addbmm(dg.ones(1, 1), dg.ones(2, 1, 3), dg.ones(2, 3, 1), beta=0, alpha=2),
        [[12.0]],
    ),
    "addr of integers": (lambda: dg.addr(dg.tensor([[1]]), dg.tensor([2]), dg.tensor([3]), alpha=2), [[13]]),
    "diagflat": (lambda: dg.diagflat(dg.tensor([[1, 2]]), -1), [[0, 0, 0], [1, 0, 0], [0, 2, 0]]),
    "fft": (lambda: dg.fft.fft(dg.tensor([1, 0, 0, 0])), [1 + 0j] * 4),
    "fft cut": (lambda: dg.fft.fft(dg.tensor([1.0, 2.0, 9.0]), n=2), [3 + 0j, -1 + 0j]),
    "fft ortho": (lambda: dg.fft.fft(dg.tensor([2.0, 0, 0, 0]), norm="ortho"), [1 + 0j] * 4),
    "fft forward": (lambda: dg.fft.fft(dg.tensor([4.0, 0, 0, 0]), norm="forward"), [1 + 0j] * 4),
    "rfft": (lambda: dg.fft.rfft(dg.tensor([1.0, 2.0, 3.0, 4.0])), [10 + 0j, -2 + 2j, -2 + 0j]),
    "irfft": (lambda: dg.fft.irfft(dg.tensor([10 + 0j, -2 + 2j, -2 + 0j])), [1.0, 2.0, 3.0, 4.0]),
    "irfft odd": (lambda: dg.fft.irfft(dg.tensor([6.0, 0.0]), n=3), [2.0, 2.0, 2.0]),
    "hfft": (lambda: dg.fft.hfft(dg.tensor([1.0, 1.0])), [2.0, 0.0]),
    "fftfreq": (lambda: dg.fft.fftfreq(5, 0.5), [0.0, 0.4, 0.8, -0.8, -0.4]),
    "rfftfreq": (lambda: dg.fft.rfftfreq(5), [0.0, 0.2, 0.4]),
    "fftshift": (lambda: dg.fft.fftshift(dg.tensor([0, 1, 2, -2, -1])), [-2, -1, 0, 1, 2]),
    "ifftshift": (lambda: dg.fft.ifftshift(dg.tensor([-2, -1, 0, 1, 2])), [0, 1, 2, -2, -1]),
    "angle": (lambda: dg.angle(dg.tensor([-1.0, 0.0, -0.0, nan, inf])), [math.pi, 0.0, 0.0, nan, 0.0]),
    "fmax": (lambda: dg.fmax(dg.tensor([nan, 1.0, nan]), dg.tensor([2.0, nan, nan])), [2.0, 1.0, nan]),
    "fmin of integers": (lambda: dg.fmin(dg.tensor([1, 5]), dg.tensor([3, 2])), [1, 2]),
    "logaddexp": (lambda: dg.logaddexp(dg.tensor([-inf, inf, 0.0]), dg.tensor([-inf, inf, -inf])), [-inf, inf, 0.0]),
    "logaddexp2": (lambda: dg.logaddexp2(dg.tensor([3.0]), dg.tensor([3.0])), [4.0]),
    "heaviside": (lambda: dg.heaviside(dg.tensor([-1.0, 0.0, 2.0]), dg.tensor(0.5)), [0.0, 0.5, 1.0]),
    "hypot": (lambda: dg.hypot(dg.tensor([3e30]), dg.tensor([4e30])), [5e30]),
    "signbit": (lambda: dg.signbit(dg.tensor([-0.0, 0.0, -1.0, inf])), [True, False, True, False]),
    "isposinf of integers": (lambda: dg.isposinf(dg.tensor([1, 2])), [False, False]),
    "isreal": (lambda: dg.isreal(dg.tensor([1 + 0j, 1j])), [True, False]),
    "nan_to_num": (lambda: dg.nan_to_num(dg.tensor([nan, inf, -inf]), 1.0, 2.0), [1.0, 2.0, -dg.finfo(dg.float32).max]),
    "lgamma at poles": (lambda: dg.lgamma(dg.tensor([0.0, -1.0, inf, -inf])), [inf] * 4),
    "digamma at 0": (lambda: dg.digamma(dg.tensor([0.0, -0.0])), [-inf, inf]),
    "logit": (lambda: dg.logit(dg.tensor([0.0, 1.0, 2.0])), [-inf, inf, nan]),
    "logit eps": (lambda: dg.logit(dg.tensor([0.0, 0.5]), eps=0.5), [0.0, 0.0]),
    "sinc": (lambda: dg.sinc(dg.tensor([0.0, 0.5])), [1.0, 2 / math.pi]),
    "erfinv": (lambda: dg.erfinv(dg.tensor([0.0, 1.0, -1.0, 2.0])), [0.0, inf, -inf, nan]),
}


def flat(values: Any) -> list[Any]:
    return [x for part in values for x in flat(part)] if isinstance(values, list) else [values]


@pytest.mark.parametrize("name", KNOWN)
def test_known_values(name: str) -> None:
    call, expected = KNOWN[name]
    found = call().tolist()
    assert len(flat(found)) == len(flat(expected))
    assert flat(found) == pytest.approx(flat(expected), rel=1e-5, abs=1e-5, nan_ok=True)
    assert str(found).count("[") == str(expected).count("[")


# --- gradients at kinks and of singular matrices --------------------------------------------------------------------

GRADIENTS: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    # the cofactors of a singular matrix, which its inverse cannot tell
    "det": (dg.linalg.det, [[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
    "det beside a regular one": (
        lambda x: dg.linalg.det(x).sum(),
        [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]],
        [[[1.0, -1.0], [-1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]],
    ),
    "cdist of equals": (lambda x: dg.cdist(x, x.detach()).sum(), [[1.0, 2.0]], [[0.0, 0.0]]),
    "cdist inf, a tie": (
        lambda x: dg.cdist(x, dg.zeros(1, 2, dtype=dg.float64), inf).sum(),
        [[2.0, -2.0]],
        [[1.0, -1.0]],
    ),
    "vector_norm at 0": (dg.linalg.vector_norm, [0.0, 0.0], [0.0, 0.0]),
    "fmax, a tie": (lambda x: dg.fmax(x[0], x[1]), [1.0, 1.0], [1.0, 0.0]),
    "fmin, NaN": (lambda x: dg.fmin(x[0], x[1]), [nan, 1.0], [0.0, 1.0]),
    "nan_to_num": (lambda x: dg.nan_to_num(x).sum(), [1.0, nan, inf], [1.0, 0.0, 0.0]),
    "logit outside": (lambda x: dg.logit(x, 0.25).sum(), [0.1, 0.5, 0.9], [0.0, 4.0, 0.0]),
    "angle": (lambda x: dg.angle(x).sum(), [-1.0, 2.0], [0.0, 0.0]),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("graph", [False, True])
def test_gradients(name: str, graph: bool) -> None:
    call, values, expected = GRADIENTS[name]
    x = leaf(values)
    (g,) = dg.autograd.grad(call(x), x, create_graph=graph)
    assert flat(g.tolist()) == pytest.approx(flat(expected), abs=1e-12, nan_ok=True)


def test_the_second_derivative_of_sinc_at_0_is_that_of_its_series() -> None:
    x = leaf([0.0])
    (g,) = dg.autograd.grad(dg.sinc(x).sum(), x, create_graph=True)
    (second,) = dg.autograd.grad(g.sum(), x)
    assert second.tolist() == pytest.approx([-(math.pi**2) / 3])


def test_outputs_reached_by_several_edges_add_their_gradients() -> None:
    """The first backward of eigh reads its own results: a second edge to each of them."""
    a = leaf([[2.0, 1.0], [1.0, 3.0]])
    values, vectors = dg.linalg.eigh((a + a.mT) / 2)
    assert dg.autograd.gradgradcheck(lambda x: tuple(dg.linalg.eigh((x + x.mT) / 2)), (a,))
    rebuilt = vectors @ dg.diag(values) @ vectors.mT
    (g,) = dg.autograd.grad((rebuilt * rebuilt).sum(), a)
    assert g.tolist() == [pytest.approx(row) for row in (2 * a).tolist()]


def test_a_write_to_a_result_that_backward_reads_is_noticed() -> None:
    a = leaf([[2.0, 1.0], [1.0, 3.0]])
    _, s, _ = dg.linalg.svd(a)
    with dg.no_grad():
        s.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.sum().backward()


# --- errors ---------------------------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "inv": (
        lambda: dg.linalg.inv(dg.tensor([[1.0, 2.0], [2.0, 4.0]])),
        dg.linalg.LinAlgError,
        "linalg.inv: The diagonal element 2 is zero",
    ),
    "inv in a batch": (
        lambda: dg.linalg.inv(dg.stack([dg.eye(2), dg.ones(2, 2)])),
        dg.linalg.LinAlgError,
        r"\(Batch element 1\): The diagonal element 2",
    ),
    "inv, not square": (
        lambda: dg.linalg.inv(dg.ones(2, 3)),
        RuntimeError,
        "must be batches of square matrices, but they are 2 by 3",
    ),
    "inv, a vector": (lambda: dg.linalg.inv(dg.ones(2)), RuntimeError, "must have at least 2 dimensions"),
    "inv of integers": (
        lambda: dg.linalg.inv(dg.tensor([[1]])),
        RuntimeError,
        "Expected a floating point or complex tensor as input. Got Long",
    ),
    "inv of halves": (
        lambda: dg.linalg.inv(dg.ones(1, 1).half()),
        RuntimeError,
        "Low precision dtypes not supported. Got Half",
    ),
    "cholesky": (
        lambda: dg.linalg.cholesky(dg.tensor([[1.0, 2.0], [2.0, 1.0]])),
        dg.linalg.LinAlgError,
        "leading minor of order 2 is not positive-definite",
    ),
    "cholesky in a batch": (
        lambda: dg.cholesky(dg.stack([dg.eye(2), -dg.eye(2)])),
        dg.linalg.LinAlgError,
        r"cholesky: \(Batch element 1\)",
    ),
    "solve": (
        lambda: dg.linalg.solve(dg.zeros(2, 2), dg.ones(2)),
        dg.linalg.LinAlgError,
        "torch.linalg.solve: The solver failed because the input matrix is singular",
    ),
    "solve, shapes": (
        lambda: dg.linalg.solve(dg.eye(3), dg.ones(2, 1)),
        RuntimeError,
        "Incompatible shapes of A and B",
    ),
    "solve, batches": (
        lambda: dg.linalg.solve(dg.ones(2, 3, 3), dg.ones(3, 3, 2)),
        RuntimeError,
        "must match the size",
    ),
    "solve, types": (lambda: dg.linalg.solve(dg.eye(2), dg.ones(2).double()), RuntimeError, "same dtype"),
    "svd of NaN": (lambda: dg.linalg.svd(dg.full((2, 2), nan)), dg.linalg.LinAlgError, "contained non-finite values"),
    "qr mode": (lambda: dg.linalg.qr(dg.eye(2), mode="x"), RuntimeError, "unrecognized mode 'x'"),
    "qr r": (lambda: dg.linalg.qr(leaf([[1.0]]), mode="r").R.sum().backward(), RuntimeError, "mode='r'"),
    "qr complete": (
        lambda: dg.linalg.qr(leaf([[1.0], [2.0]]), mode="complete").R.sum().backward(),
        RuntimeError,
        "mode='complete' and nrows > ncols",
    ),
    "eigh UPLO": (lambda: dg.linalg.eigh(dg.eye(2), "X"), RuntimeError, "Expected UPLO argument to be 'L' or 'U'"),
    "phases": (
        lambda: dg.linalg.eigh(dg.tensor([[2, 1j], [-1j, 3]]).requires_grad_()).eigenvectors.imag.sum().backward(),
        RuntimeError,
        "ill-defined",
    ),
    "norm of 3 dimensions": (
        lambda: dg.linalg.norm(dg.ones(1, 1, 1), 2),
        RuntimeError,
        "the input must be 1D or 2D. Got 3D",
    ),
    "matrix_norm order": (lambda: dg.linalg.matrix_norm(dg.eye(2), 3), RuntimeError, "Order 3 not supported"),
    "matrix_norm dims": (lambda: dg.linalg.matrix_norm(dg.eye(2), dim=(0, 0)), RuntimeError, "dims must be different"),
    "vector_norm inf of nothing": (
        lambda: dg.linalg.vector_norm(dg.zeros(0), inf),
        RuntimeError,
        "does not have an identity",
    ),
    "cross": (lambda: dg.linalg.cross(dg.ones(2), dg.ones(2)), RuntimeError, "inputs dimension -1 must have length 3"),
    "cross without 3": (lambda: dg.cross(dg.ones(2), dg.ones(2)), RuntimeError, "no dimension of size 3"),
    "block_diag": (
        lambda: dg.block_diag(dg.ones(1, 1, 1)),
        RuntimeError,
        "must have 2 or fewer dimensions. Input 0 has 3",
    ),
    "cartesian_prod": (
        lambda: dg.cartesian_prod(dg.ones(2, 3)),
        RuntimeError,
        r"Expect a 1D vector, but got shape \[2, 3\]",
    ),
    "cdist": (lambda: dg.cdist(dg.ones(1, 2), dg.ones(1, 3)), RuntimeError, "must have the same number of columns"),
    "cdist p": (lambda: dg.cdist(dg.ones(1, 2), dg.ones(1, 2), p=-1), RuntimeError, "non-negative p"),
    "mH": (lambda: dg.ones(2).mH, RuntimeError, "only supported on matrices"),
    "fft norm": (lambda: dg.fft.fft(dg.ones(2), norm="x"), RuntimeError, 'Invalid normalization mode: "x"'),
    "fft n": (lambda: dg.fft.fft(dg.ones(2), n=0), RuntimeError, r"Invalid number of data points \(0\) specified"),
    "fftn dims": (lambda: dg.fft.fftn(dg.ones(2, 2), dim=(0, 0)), RuntimeError, "FFT dims must be unique"),
    "rfft": (lambda: dg.fft.rfft(dg.ones(2) + 0j), RuntimeError, "expects a real input tensor"),
    "complex": (
        lambda: dg.complex(dg.ones(2), dg.ones(2).double()),
        RuntimeError,
        "Expected object of scalar type Float but got scalar type Double",
    ),
    "complex of integers": (
        lambda: dg.complex(dg.tensor([1]), dg.tensor([1])),
        RuntimeError,
        "Expected both inputs to be Half, Float or Double",
    ),
    "fmax": (lambda: dg.fmax(dg.tensor([1j]), dg.tensor([1j])), RuntimeError, "fmax not implemented for complex"),
    "fmax of a number": (lambda: dg.fmax(dg.ones(2), 1), TypeError, "must be Tensor"),
    "heaviside": (lambda: dg.heaviside(dg.ones(2), dg.ones(2).double()), RuntimeError, "different dtypes"),
    "heaviside backward": (lambda: dg.heaviside(leaf([0.0]), leaf([1.0])).sum().backward(), RuntimeError, "derivative"),
    "hypot of integers": (
        lambda: dg.hypot(dg.tensor([1]), dg.tensor([1])),
        NotImplementedError,
        "not implemented for 'Long'",
    ),
    "signbit": (lambda: dg.signbit(dg.tensor([1j])), NotImplementedError, "not implemented for complex"),
    "deg2rad": (lambda: dg.deg2rad(dg.tensor([1j])), RuntimeError, "deg2rad is not supported for complex tensors"),
    "polygamma": (lambda: dg.polygamma(-1, dg.ones(2)), RuntimeError, "does not support negative n"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    call, kind, words = ERRORS[name]
    with pytest.raises(kind, match=words):
        call()


@pytest.mark.torch
@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_of_pytorchs_class(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(globals(), "dg", torch)
    call, kind, _ = ERRORS[name]
    with pytest.raises(Exception) as raised:
        call()
    ours = {dg.linalg.LinAlgError.__name__} if kind.__name__ == "_LinAlgError" else {kind.__name__}
    assert {raised.value.__class__.__name__} & ({"NotImplementedError"} | ours)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Using torch.cross")
@pytest.mark.parametrize("name", KNOWN)
def test_known_values_are_pytorchs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    call, expected = KNOWN[name]
    ours = call()
    monkeypatch.setitem(globals(), "dg", torch)
    theirs = call()
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert flat(theirs.tolist()) == pytest.approx(flat(expected), rel=1e-5, abs=1e-5, nan_ok=True)


# --- names ----------------------------------------------------------------------------------------------------------


def test_results_are_named_and_printed_as_pytorchs() -> None:
    found = dg.linalg.slogdet(dg.eye(2))
    assert repr(found) == "torch.return_types.linalg_slogdet(\nsign=tensor(1.),\nlogabsdet=tensor(0.))"
    assert dg.linalg.qr(dg.eye(2)).__match_args__ == ("Q", "R")
    assert dg.linalg.svd(dg.eye(2)).__match_args__ == ("U", "S", "Vh")
    assert dg.svd(dg.eye(2)).__match_args__ == ("U", "S", "V")
    assert dg.linalg.eigh(dg.eye(2)).__match_args__ == ("eigenvalues", "eigenvectors")
    assert type(dg.slogdet(dg.eye(2))).__name__ == "slogdet"


def test_an_absent_name_says_what_there_could_have_been() -> None:
    with pytest.raises(AttributeError, match="the nearest: "):
        dg.linalg.eighh  # noqa: B018
    with pytest.raises(AttributeError, match="the nearest: "):
        dg.fft.fftt  # noqa: B018


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("deg2rad_", ()), ("rad2deg_", ()), ("sinc_", ()), ("erfinv_", ()), ("lgamma_", ()), ("digamma_", ()),
        ("polygamma_", (1,)), ("logit_", (0.1,)), ("nan_to_num_", ()), ("hypot_", (dg.tensor([1.0, 2.0]),)),
        ("heaviside_", (dg.tensor([1.0, 2.0]),)),
    ],
)  # fmt: skip
def test_in_place_forms(name: str, args: Any) -> None:
    x = dg.tensor([0.25, 0.5])
    expected = getattr(x, name[:-1])(*args).tolist()
    assert getattr(x, name)(*args) is x
    assert x.tolist() == expected
