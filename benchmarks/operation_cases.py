"""A call of every operation for the table of ``operations.py``, written once for PyTorch's API.

Of the inputs ``i`` of a call ``i.t`` is the library, ``i.F`` its ``nn.functional``; the others are made by ``inputs``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

# Where a function is found, how it is called, and the names of those that are called so.
SHARED: list[tuple[str, Callable[..., Any], str]] = [
    ("t", lambda f, i: f(i.x), (
        "abs atan asinh sinh cos cosh deg2rad rad2deg exp exp2 expm1 frac floor ceil trunc round sign sgn sin "
        "sinc tan tanh neg positive signbit isfinite isinf isposinf isneginf isreal isnan square sigmoid erf "
        "erfc real conj conj_physical clone max min median nanmedian aminmax var_mean std_mean flipud ravel "
        "argwhere nonzero norm any all amax amin argmax argmin count_nonzero mean nanmean std var prod sum "
        "nansum msort nan_to_num zeros_like ones_like diff logical_not angle atleast_1d atleast_2d atleast_3d"
    )),
    ("t", lambda f, i: f(i.p), (
        "acos asin atanh erfinv log log10 log1p log2 lgamma logit reciprocal rsqrt sqrt"
    )),
    ("t", lambda f, i: f(i.x, i.y), (
        "add mul sub atan2 eq ne ge gt le lt fmax fmin maximum minimum isclose allclose equal logaddexp "
        "logaddexp2 hypot logical_and logical_or logical_xor dist dot vdot inner complex broadcast_tensors"
    )),
    ("t", lambda f, i: f(i.x, i.p), (
        "div true_divide fmod remainder floor_divide rsub heaviside xlogy"
    )),
    ("t", lambda f, i: f(i.m, i.w), (
        "mm matmul tensordot"
    )),
    ("t", lambda f, i: f(i.m), (
        "fliplr rot90 t trace tril triu diag diagonal"
    )),
    ("t", lambda f, i: f(i.small), (
        "svd qr"
    )),
    ("t", lambda f, i: f(i.x, dim=0), (
        "cumsum cumprod logcumsumexp logsumexp softmax log_softmax cummax cummin"
    )),
    ("t", lambda f, i: f(i.m, 1), (
        "sort argsort unbind"
    )),
    ("t", lambda f, i: f((i.x, i.y)), (
        "cat stack hstack vstack dstack column_stack"
    )),
    ("t", lambda f, i: f(i.m, 2, 1), (
        "chunk tensor_split"
    )),
    ("t", lambda f, i: f(i.i, i.j), (
        "bitwise_and bitwise_or bitwise_xor"
    )),
    ("F", lambda f, i: f(i.x), (
        "relu relu6 hardswish leaky_relu elu celu selu silu hardsigmoid logsigmoid mish softsign tanhshrink "
        "softshrink hardshrink hardtanh gelu softplus"
    )),
    ("F", lambda f, i: f(i.x, i.y), (
        "l1_loss mse_loss smooth_l1_loss huber_loss poisson_nll_loss kl_div"
    )),
    ("F", lambda f, i: f(i.x, i.sg), (
        "soft_margin_loss hinge_embedding_loss"
    )),
    ("F", lambda f, i: f(i.m, i.w), (
        "cosine_similarity pairwise_distance linear"
    )),
    ("x", lambda f, i: f(), (
        "bfloat16 double half int long bool"
    )),
    ("t.fft", lambda f, i: f(i.x), (
        "fft rfft ifft irfft fftn rfftn ifftn irfftn fftshift ifftshift"
    )),
    ("t.fft", lambda f, i: f(i.m), (
        "fft2 rfft2 ifft2 irfft2"
    )),
    ("t.linalg", lambda f, i: f(i.spd), (
        "cholesky eigh eigvalsh"
    )),
    ("t.linalg", lambda f, i: f(i.m), (
        "norm matrix_norm vector_norm diagonal"
    )),
    ("t.linalg", lambda f, i: f(i.small), (
        "det qr slogdet inv matrix_rank svd svdvals"
    )),
    ("F", lambda f, i: f(i.img, 2), (
        "avg_pool2d max_pool2d"
    )),
    ("F", lambda f, i: f(i.sig, 2), (
        "avg_pool1d max_pool1d"
    )),
    ("F", lambda f, i: f(i.vol, 2), (
        "avg_pool3d max_pool3d"
    )),
    ("F", lambda f, i: f(i.sig, 4), (
        "adaptive_avg_pool1d adaptive_max_pool1d"
    )),
    ("F", lambda f, i: f(i.img, 4), (
        "adaptive_avg_pool2d adaptive_max_pool2d"
    )),
]  # fmt: skip

# A call of its own.
OWN: dict[str, Callable[..., Any]] = {
    "acosh": lambda i: i.t.acosh(i.p + 1), "arange": lambda i: i.t.arange(i.n),
    "clamp_max": lambda i: i.t.clamp_max(i.x, 0.5), "clamp_min": lambda i: i.t.clamp_min(i.x, 0.5),
    "clamp": lambda i: i.t.clamp(i.x, -0.5, 0.5), "addmm": lambda i: i.t.addmm(i.v, i.m, i.w),
    "addmv": lambda i: i.t.addmv(i.v, i.m, i.u), "addbmm": lambda i: i.t.addbmm(i.c[0], i.c, i.d),
    "baddbmm": lambda i: i.t.baddbmm(i.c, i.c, i.d), "bmm": lambda i: i.t.bmm(i.c, i.d),
    "mv": lambda i: i.t.mv(i.m, i.v), "addr": lambda i: i.t.addr(i.m, i.v, i.u),
    "addcmul": lambda i: i.t.addcmul(i.x, i.y, i.p), "addcdiv": lambda i: i.t.addcdiv(i.x, i.y, i.p),
    "broadcast_to": lambda i: i.t.broadcast_to(i.v, (i.s, i.s)),
    "block_diag": lambda i: i.t.block_diag(i.c[0], i.c[-1]), "cartesian_prod": lambda i: i.t.cartesian_prod(i.v, i.u),
    "cdist": lambda i: i.t.cdist(i.r, i.r), "cholesky": lambda i: i.t.cholesky(i.spd),
    "contiguous": lambda i: i.m.t().contiguous(), "cross": lambda i: i.t.cross(i.three, i.three.flip(0), dim=1),
    "diag_embed": lambda i: i.t.diag_embed(i.v), "diagonal_scatter": lambda i: i.t.diagonal_scatter(i.m, i.v),
    "expand": lambda i: i.v.expand(i.s, i.s), "expand_as": lambda i: i.v.expand_as(i.m),
    "flip": lambda i: i.t.flip(i.m, (0, 1)), "imag": lambda i: i.z.imag, "isin": lambda i: i.t.isin(i.i, i.i[:10]),
    "kthvalue": lambda i: i.t.kthvalue(i.m, 2), "linspace": lambda i: i.t.linspace(0, 1, i.n),
    "logspace": lambda i: i.t.logspace(0, 1, i.n), "masked_fill": lambda i: i.t.masked_fill(i.x, i.b, 0.5),
    "masked_scatter": lambda i: i.t.masked_scatter(i.x, i.b, i.y),
    "masked_select": lambda i: i.t.masked_select(i.x, i.b),
    "meshgrid": lambda i: i.t.meshgrid(i.v, i.u, indexing="ij"), "softmin": lambda i: i.F.softmin(i.x, 0),
    "conv_transpose1d": lambda i: i.F.conv_transpose1d(i.sig, i.ker1.transpose(0, 1)),
    "conv_transpose2d": lambda i: i.F.conv_transpose2d(i.img, i.ker2.transpose(0, 1)),
    "conv1d": lambda i: i.F.conv1d(i.sig, i.ker1), "conv2d": lambda i: i.F.conv2d(i.img, i.ker2),
    "conv3d": lambda i: i.F.conv3d(i.vol, i.ker3), "group_norm": lambda i: i.F.group_norm(i.img, 2),
    "instance_norm": lambda i: i.F.instance_norm(i.img), "layer_norm": lambda i: i.F.layer_norm(i.m, (i.s,)),
    "rms_norm": lambda i: i.F.rms_norm(i.m, (i.s,)), "pad": lambda i: i.F.pad(i.img, (1, 1, 1, 1)),
    "unfold": lambda i: i.x.unfold(0, 2, 2), "nn.functional.unfold": lambda i: i.F.unfold(i.img, 2),
    "interpolate": lambda i: i.F.interpolate(i.img, scale_factor=2),
    "margin_ranking_loss": lambda i: i.F.margin_ranking_loss(i.x, i.y, i.sg),
    "multilabel_soft_margin_loss": lambda i: i.F.multilabel_soft_margin_loss(i.m, (i.w > 0).float()),
    "glu": lambda i: i.F.glu(i.even), "prelu": lambda i: i.F.prelu(i.x, i.quarter),
    "scaled_dot_product_attention": lambda i: i.F.scaled_dot_product_attention(i.c, i.d, i.c),
    "threshold": lambda i: i.F.threshold(i.x, 0.1, 20.0),
    "batch_norm": lambda i: i.F.batch_norm(i.img, None, None, training=True), "to": lambda i: i.x.to(i.t.float64),
    "topk": lambda i: i.t.topk(i.m, 2), "narrow": lambda i: i.t.narrow(i.m, 0, 0, i.s // 2),
    "outer": lambda i: i.t.outer(i.v, i.u), "permute": lambda i: i.t.permute(i.m, (1, 0)),
    "pow": lambda i: i.t.pow(i.p, 2.5), "roll": lambda i: i.t.roll(i.m, 1, 0), "split": lambda i: i.t.split(i.m, 2),
    "split_with_sizes": lambda i: i.t.split_with_sizes(i.m, (1, i.s - 1)), "__radd__": lambda i: 2.0 + i.x,
    "__rdiv__": lambda i: 2.0 / i.p, "__rmul__": lambda i: 2.0 * i.x, "__rmatmul__": lambda i: i.w @ i.m,
    "__rmod__": lambda i: 2.0 % i.p, "__rpow__": lambda i: 2.0 ** i.x, "__rsub__": lambda i: 2.0 - i.x,
    "select": lambda i: i.t.select(i.m, 0, 1), "select_scatter": lambda i: i.t.select_scatter(i.m, i.v, 0, 1),
    "hsplit": lambda i: i.t.hsplit(i.even2, 2), "vsplit": lambda i: i.t.vsplit(i.even2, 2),
    "dsplit": lambda i: i.t.dsplit(i.even3, 2), "lerp": lambda i: i.t.lerp(i.x, i.y, 0.3),
    "einsum": lambda i: i.t.einsum("ij,jk->ik", i.m, i.w),
    "unravel_index": lambda i: i.t.unravel_index(i.i, (i.n, 2)), "reshape": lambda i: i.t.reshape(i.m, (-1,)),
    "reshape_as": lambda i: i.x.reshape_as(i.y), "view": lambda i: i.m.view(-1),
    "view_as": lambda i: i.x.view_as(i.y), "flatten": lambda i: i.t.flatten(i.m),
    "unflatten": lambda i: i.t.unflatten(i.x, 0, (-1, 2)) if i.n % 2 == 0 else i.x,
    "gather": lambda i: i.t.gather(i.m, 1, i.k), "index_fill": lambda i: i.t.index_fill(i.m, 0, i.rows, 0.5),
    "index_select": lambda i: i.t.index_select(i.m, 0, i.rows),
    "index_add": lambda i: i.t.index_add(i.m, 0, i.rows, i.w), "__getitem__": lambda i: i.m[i.rows],
    "index_put": lambda i: i.t.index_put(i.m, (i.rows,), i.w), "unique": lambda i: i.t.unique(i.i),
    "put": lambda i: i.t.put(i.x, i.i, i.y), "take": lambda i: i.t.take(i.x, i.i),
    "scatter": lambda i: i.t.scatter(i.m, 1, i.k, i.w), "float": lambda i: i.h.float(),
    "full_like": lambda i: i.t.full_like(i.x, 0.5), "ones": lambda i: i.t.ones(i.n),
    "zeros": lambda i: i.t.zeros(i.n), "full": lambda i: i.t.full((i.n,), 0.5), "eye": lambda i: i.t.eye(i.s),
    "scatter_add": lambda i: i.t.scatter_add(i.m, 1, i.k, i.w), "bucketize": lambda i: i.t.bucketize(i.x, i.steps),
    "movedim": lambda i: i.t.movedim(i.m, 0, 1), "repeat": lambda i: i.v.repeat(i.s, 1),
    "squeeze": lambda i: i.t.squeeze(i.m), "fill": lambda i: i.t.fill(i.x, 0.5),
    "take_along_dim": lambda i: i.t.take_along_dim(i.m, i.k, 1), "tile": lambda i: i.t.tile(i.v, (i.s, 1)),
    "unsqueeze": lambda i: i.t.unsqueeze(i.x, 0), "transpose": lambda i: i.t.transpose(i.m, 0, 1),
    "T": lambda i: i.m.T, "H": lambda i: i.m.H, "mT": lambda i: i.m.mT, "mH": lambda i: i.m.mH,
    "triu_indices": lambda i: i.t.triu_indices(i.s, i.s), "tril_indices": lambda i: i.t.tril_indices(i.s, i.s),
    "kron": lambda i: i.t.kron(i.v, i.u), "logdet": lambda i: i.t.logdet(i.spd),
    "where": lambda i: i.t.where(i.b, i.x, i.y), "one_hot": lambda i: i.F.one_hot(i.rows, i.s),
    "embedding": lambda i: i.F.embedding(i.rows, i.m),
    "cosine_embedding_loss": lambda i: i.F.cosine_embedding_loss(i.m, i.w, i.sg[:i.s]),
    "nll_loss": lambda i: i.F.nll_loss(i.m, i.rows),
    "gaussian_nll_loss": lambda i: i.F.gaussian_nll_loss(i.x, i.y, i.p),
    "triplet_margin_loss": lambda i: i.F.triplet_margin_loss(i.m, i.w, i.m + 1),
    "repeat_interleave": lambda i: i.t.repeat_interleave(i.x, 2),
    "pixel_shuffle": lambda i: i.F.pixel_shuffle(i.img, 2),
    "pixel_unshuffle": lambda i: i.F.pixel_unshuffle(i.img2, 2), "diagflat": lambda i: i.t.diagflat(i.v),
    "vecdot": lambda i: i.t.linalg.vecdot(i.m, i.w), "matrix_power": lambda i: i.t.linalg.matrix_power(i.small, 3),
    "solve": lambda i: i.t.linalg.solve(i.small, i.small2),
    "solve_triangular": lambda i: i.t.linalg.solve_triangular(i.lower, i.small2, upper=False),
    "cross_entropy": lambda i: i.F.cross_entropy(i.m, i.rows),
    "binary_cross_entropy": lambda i: i.F.binary_cross_entropy(i.p, i.q),
    "binary_cross_entropy_with_logits": lambda i: i.F.binary_cross_entropy_with_logits(i.x, i.q),
    "normalize": lambda i: i.F.normalize(i.m), "quantile": lambda i: i.t.quantile(i.m, 0.3, dim=1),
    "index_copy": lambda i: i.t.index_copy(i.m, 0, i.rows, i.w),
    "scatter_reduce": lambda i: i.t.scatter_reduce(i.m, 1, i.k, i.w, "amax"),
    "bitwise_not": lambda i: i.t.bitwise_not(i.i), "as_strided": lambda i: i.t.as_strided(i.x, (i.n // 2,), (2,)),
    "polar": lambda i: i.t.polar(i.p, i.x),
}  # fmt: skip
_MODULES = {"F": "nn.functional.", "t.fft": "fft.", "t.linalg": "linalg."}
_OF_MODULES = {
    "nn.functional": (
        "softmin conv_transpose1d conv_transpose2d conv1d conv2d conv3d group_norm instance_norm layer_norm "
        "rms_norm pad interpolate margin_ranking_loss multilabel_soft_margin_loss glu prelu "
        "scaled_dot_product_attention threshold batch_norm embedding one_hot cosine_embedding_loss nll_loss "
        "gaussian_nll_loss triplet_margin_loss pixel_shuffle pixel_unshuffle cross_entropy binary_cross_entropy "
        "binary_cross_entropy_with_logits normalize"
    ),
    "linalg": "vecdot matrix_power solve solve_triangular",
}  # fmt: skip


def _called(where: str, form: Callable[..., Any], name: str) -> Callable[..., Any]:
    found = operator.attrgetter(f"{where}.{name}")
    return lambda i: form(found(i), i)


def calls() -> dict[str, Callable[..., Any]]:
    """The call of each operation on its :func:`inputs`, by its name as PyTorch's: ``exp``, ``nn.functional.relu``."""
    whole = {name: f"{module}.{name}" for module, names in _OF_MODULES.items() for name in names.split()}
    table = {whole.get(name, name): call for name, call in OWN.items()}
    for where, form, names in SHARED:
        table |= {_MODULES.get(where, "") + name: _called(where, form, name) for name in names.split()}
    return table


def inputs(t: Any, n: int, grad: bool) -> SimpleNamespace:
    """What the calls name: ``x``, ``y`` of n normal numbers, ``p`` between 0.1 and 0.9, matrices, signals, images.

    Those of floating point record gradients where ``grad`` is true.
    """
    t.manual_seed(0)
    s = math.isqrt(n)
    channels = {10: 2}.get(n, 8)
    side = max(2, 2 * round(math.sqrt(n / (4 * channels)) / 2))
    cube = max(2, 2 * round((n / (4 * channels)) ** (1 / 3) / 2))
    batches = max(1, n // 4096)
    block = min(64, max(2, math.isqrt(n // batches)))
    few = min(s, 100)
    floats = {
        "x": t.randn(n), "y": t.randn(n), "p": 0.1 + 0.8 * t.rand(n), "m": t.randn(s, s), "w": t.randn(s, s),
        "v": t.randn(s), "u": t.randn(s), "c": t.randn(batches, block, block), "d": t.randn(batches, block, block),
        "r": t.randn(s, 8), "three": t.randn(max(1, n // 3), 3), "img": t.randn(4, channels, side, side),
        "sig": t.randn(4, channels, max(4, n // (4 * channels))), "vol": t.randn(4, channels, cube, cube, cube),
        "img2": t.randn(4, channels, side, side), "ker1": t.randn(channels, channels, 1 if n == 10 else 3),
        "ker2": t.randn(channels, channels, 1 if n == 10 else 3, 1 if n == 10 else 3),
        "ker3": t.randn(channels, channels, *(1,) * 3 if cube < 3 else (3,) * 3), "even": t.randn(n // 2 * 2),
        "even2": t.randn(s // 2 * 2, s // 2 * 2), "even3": t.randn(2, 2, max(2, n // 8 * 2)),
        "quarter": t.tensor([0.25]), "small": t.randn(few, few) + few * t.eye(few), "small2": t.randn(few, few),
        "lower": t.randn(few, few).tril() + few * t.eye(few), "h": t.randn(n).to(t.float16),
    }  # fmt: skip
    half = t.randn(few, few)
    floats["spd"] = half @ half.t() + few * t.eye(few)
    floats["z"] = t.complex(floats["x"].clone(), floats["y"].clone())
    if channels == 2:
        floats["img"] = t.randn(1, 4, 4, 4)
        floats["ker2"] = t.randn(4, 4, 1, 1)
    for x in floats.values():
        x.requires_grad_(grad)
    others = {
        "n": n, "s": s, "b": t.rand(n) > 0.5, "i": t.randint(0, n, (n,)), "j": t.randint(0, n, (n,)),
        "k": t.randint(0, s, (s, s)), "rows": t.randint(0, s, (s,)), "sg": t.randn(n).sign(), "q": t.rand(n),
        "steps": t.linspace(-2, 2, 50),
    }  # fmt: skip
    return SimpleNamespace(t=t, F=t.nn.functional, **floats, **others)
