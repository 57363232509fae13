"""A call of every operation for the table of ``operations.py``, written once for PyTorch's API.

``t`` is the library, ``F`` its ``nn.functional``.  What else a call names is made by ``inputs`` for ``n`` elements.
"""

from __future__ import annotations

import math
from typing import Any

# A call, with {} for the name, and the names it is timed for; "{}" is the last part of a name such as fft.fft.
SHARED: dict[str, str] = {
    "t.{}(x)": (
        "abs atan asinh sinh cos cosh deg2rad rad2deg exp exp2 expm1 frac floor ceil trunc round sign sgn sin sinc tan "
        "tanh neg positive signbit isfinite isinf isposinf isneginf isreal isnan square sigmoid erf erfc real conj "
        "conj_physical clone max min median nanmedian aminmax var_mean std_mean flipud ravel argwhere nonzero norm "
        "any all amax amin argmax argmin count_nonzero mean nanmean std var prod sum nansum msort nan_to_num "
        "zeros_like ones_like diff logical_not angle atleast_1d atleast_2d atleast_3d"
    ),
    "t.{}(p)": (
        "acos asin atanh erfinv log log10 log1p log2 lgamma logit reciprocal rsqrt sqrt"
    ),
    "t.{}(x, y)": (
        "add mul sub atan2 eq ne ge gt le lt fmax fmin maximum minimum isclose allclose equal logaddexp logaddexp2 "
        "hypot logical_and logical_or logical_xor dist dot vdot inner complex broadcast_tensors"
    ),
    "t.{}(x, p)": "div true_divide fmod remainder floor_divide rsub heaviside xlogy",
    "t.{}(m, w)": "mm matmul tensordot",
    "t.{}(m)": (
        "fliplr rot90 t trace tril triu diag diagonal"
    ),
    "t.{}(small)": "svd qr",
    "t.{}(x, dim=0)": "cumsum cumprod logcumsumexp logsumexp softmax log_softmax cummax cummin",
    "t.{}(m, 1)": "sort argsort unbind",
    "t.{}((x, y))": "cat stack hstack vstack dstack column_stack",
    "t.{}(m, 2, 1)": "chunk tensor_split",
    "t.{}(i, j)": "bitwise_and bitwise_or bitwise_xor",
    "F.{}(x)": (
        "relu relu6 hardswish leaky_relu elu celu selu silu hardsigmoid logsigmoid mish softsign tanhshrink softshrink "
        "hardshrink hardtanh gelu softplus"
    ),
    "F.{}(x, y)": "l1_loss mse_loss smooth_l1_loss huber_loss poisson_nll_loss kl_div",
    "F.{}(x, sg)": "soft_margin_loss hinge_embedding_loss",
    "F.{}(m, w)": "cosine_similarity pairwise_distance linear",
    "x.{}()": "bfloat16 double half int long bool",
    "t.fft.{}(x)": "fft rfft ifft irfft fftn rfftn ifftn irfftn fftshift ifftshift",
    "t.fft.{}(m)": "fft2 rfft2 ifft2 irfft2",
    "t.linalg.{}(spd)": "cholesky eigh eigvalsh",
    "t.linalg.{}(m)": "norm matrix_norm vector_norm diagonal",
    "t.linalg.{}(small)": "det qr slogdet inv matrix_rank svd svdvals",
    "F.{}(img, 2)": "avg_pool2d max_pool2d",
    "F.{}(sig, 2)": "avg_pool1d max_pool1d",
    "F.{}(vol, 2)": "avg_pool3d max_pool3d",
    "F.{}(sig, 4)": "adaptive_avg_pool1d adaptive_max_pool1d",
    "F.{}(img, 4)": "adaptive_avg_pool2d adaptive_max_pool2d",
}  # fmt: skip

# A name that calls differently: of its own.
OWN: dict[str, str] = {
    "acosh": "t.acosh(p + 1)", "arange": "t.arange(n)", "clamp_max": "t.clamp_max(x, 0.5)",
    "clamp_min": "t.clamp_min(x, 0.5)", "clamp": "t.clamp(x, -0.5, 0.5)", "addmm": "t.addmm(v, m, w)",
    "addmv": "t.addmv(v, m, u)", "addbmm": "t.addbmm(c[0], c, d)", "baddbmm": "t.baddbmm(c, c, d)",
    "bmm": "t.bmm(c, d)", "mv": "t.mv(m, v)", "addr": "t.addr(m, v, u)", "addcmul": "t.addcmul(x, y, p)",
    "addcdiv": "t.addcdiv(x, y, p)", "broadcast_to": "t.broadcast_to(v, (s, s))",
    "block_diag": "t.block_diag(c[0], c[-1])", "cartesian_prod": "t.cartesian_prod(v, u)", "cdist": "t.cdist(r, r)",
    "cholesky": "t.cholesky(spd)", "contiguous": "m.t().contiguous()",
    "cross": "t.cross(three, three.flip(0), dim=1)", "diag_embed": "t.diag_embed(v)",
    "diagonal_scatter": "t.diagonal_scatter(m, v)", "expand": "v.expand(s, s)", "expand_as": "v.expand_as(m)",
    "flip": "t.flip(m, (0, 1))", "imag": "z.imag", "isin": "t.isin(i, i[:10])", "kthvalue": "t.kthvalue(m, 2)",
    "linspace": "t.linspace(0, 1, n)", "logspace": "t.logspace(0, 1, n)", "masked_fill": "t.masked_fill(x, b, 0.5)",
    "masked_scatter": "t.masked_scatter(x, b, y)", "masked_select": "t.masked_select(x, b)",
    "meshgrid": "t.meshgrid(v, u, indexing='ij')", "softmin": "F.softmin(x, 0)",
    "conv_transpose1d": "F.conv_transpose1d(sig, ker1.transpose(0, 1))",
    "conv_transpose2d": "F.conv_transpose2d(img, ker2.transpose(0, 1))", "conv1d": "F.conv1d(sig, ker1)",
    "conv2d": "F.conv2d(img, ker2)", "conv3d": "F.conv3d(vol, ker3)", "group_norm": "F.group_norm(img, 2)",
    "instance_norm": "F.instance_norm(img)", "layer_norm": "F.layer_norm(m, (s,))", "rms_norm": "F.rms_norm(m, (s,))",
    "pad": "F.pad(img, (1, 1, 1, 1))", "unfold": "x.unfold(0, 2, 2)", "nn.functional.unfold": "F.unfold(img, 2)",
    "interpolate": "F.interpolate(img, scale_factor=2)", "margin_ranking_loss": "F.margin_ranking_loss(x, y, sg)",
    "multilabel_soft_margin_loss": "F.multilabel_soft_margin_loss(m, (w > 0).float())", "glu": "F.glu(even)",
    "prelu": "F.prelu(x, quarter)", "scaled_dot_product_attention": "F.scaled_dot_product_attention(c, d, c)",
    "threshold": "F.threshold(x, 0.1, 20.0)", "batch_norm": "F.batch_norm(img, None, None, training=True)",
    "to": "x.to(t.float64)", "topk": "t.topk(m, 2)", "narrow": "t.narrow(m, 0, 0, s // 2)", "outer": "t.outer(v, u)",
    "permute": "t.permute(m, (1, 0))", "pow": "t.pow(p, 2.5)", "roll": "t.roll(m, 1, 0)", "split": "t.split(m, 2)",
    "split_with_sizes": "t.split_with_sizes(m, (1, s - 1))", "__radd__": "2.0 + x", "__rdiv__": "2.0 / p",
    "__rmul__": "2.0 * x", "__rmatmul__": "w @ m", "__rmod__": "2.0 % p", "__rpow__": "2.0 ** x",
    "__rsub__": "2.0 - x", "select": "t.select(m, 0, 1)", "select_scatter": "t.select_scatter(m, v, 0, 1)",
    "hsplit": "t.hsplit(even2, 2)", "vsplit": "t.vsplit(even2, 2)", "dsplit": "t.dsplit(even3, 2)",
    "lerp": "t.lerp(x, y, 0.3)", "einsum": "t.einsum('ij,jk->ik', m, w)",
    "unravel_index": "t.unravel_index(i, (n, 2))", "reshape": "t.reshape(m, (-1,))", "reshape_as": "x.reshape_as(y)",
    "view": "m.view(-1)", "view_as": "x.view_as(y)", "flatten": "t.flatten(m)",
    "unflatten": "t.unflatten(x, 0, (-1, 2)) if n % 2 == 0 else x", "gather": "t.gather(m, 1, k)",
    "index_fill": "t.index_fill(m, 0, rows, 0.5)", "index_select": "t.index_select(m, 0, rows)",
    "index_add": "t.index_add(m, 0, rows, w)", "__getitem__": "m[rows]", "index_put": "t.index_put(m, (rows,), w)",
    "unique": "t.unique(i)", "put": "t.put(x, i, y)", "take": "t.take(x, i)", "scatter": "t.scatter(m, 1, k, w)",
    "float": "h.float()", "full_like": "t.full_like(x, 0.5)", "ones": "t.ones(n)", "zeros": "t.zeros(n)",
    "full": "t.full((n,), 0.5)", "eye": "t.eye(s)", "scatter_add": "t.scatter_add(m, 1, k, w)",
    "bucketize": "t.bucketize(x, steps)", "movedim": "t.movedim(m, 0, 1)", "repeat": "v.repeat(s, 1)",
    "squeeze": "t.squeeze(m)", "fill": "t.fill(x, 0.5)", "take_along_dim": "t.take_along_dim(m, k, 1)",
    "tile": "t.tile(v, (s, 1))", "unsqueeze": "t.unsqueeze(x, 0)", "transpose": "t.transpose(m, 0, 1)", "T": "m.T",
    "H": "m.H", "mT": "m.mT", "mH": "m.mH", "triu_indices": "t.triu_indices(s, s)",
    "tril_indices": "t.tril_indices(s, s)", "kron": "t.kron(v, u)", "logdet": "t.logdet(spd)",
    "where": "t.where(b, x, y)", "one_hot": "F.one_hot(rows, s)", "embedding": "F.embedding(rows, m)",
    "cosine_embedding_loss": "F.cosine_embedding_loss(m, w, sg[:s])", "nll_loss": "F.nll_loss(m, rows)",
    "gaussian_nll_loss": "F.gaussian_nll_loss(x, y, p)", "triplet_margin_loss": "F.triplet_margin_loss(m, w, m + 1)",
    "repeat_interleave": "t.repeat_interleave(x, 2)", "pixel_shuffle": "F.pixel_shuffle(img, 2)",
    "pixel_unshuffle": "F.pixel_unshuffle(img2, 2)", "diagflat": "t.diagflat(v)", "vecdot": "t.linalg.vecdot(m, w)",
    "matrix_power": "t.linalg.matrix_power(small, 3)", "solve": "t.linalg.solve(small, small2)",
    "solve_triangular": "t.linalg.solve_triangular(lower, small2, upper=False)",
    "cross_entropy": "F.cross_entropy(m, rows)", "binary_cross_entropy": "F.binary_cross_entropy(p, q)",
    "binary_cross_entropy_with_logits": "F.binary_cross_entropy_with_logits(x, q)", "normalize": "F.normalize(m)",
    "quantile": "t.quantile(m, 0.3, dim=1)", "index_copy": "t.index_copy(m, 0, rows, w)",
    "scatter_reduce": "t.scatter_reduce(m, 1, k, w, 'amax')", "bitwise_not": "t.bitwise_not(i)",
    "as_strided": "t.as_strided(x, (n // 2,), (2,))", "polar": "t.polar(p, x)",
}  # fmt: skip


def _whole(name: str, call: str) -> str:
    """The name with the module that the call takes it from."""
    for prefix, module in (("F.", "nn.functional."), ("t.fft.", "fft."), ("t.linalg.", "linalg.")):
        if call.startswith(prefix + name + "("):
            return module + name
    return name


def calls() -> dict[str, str]:
    """The call of each operation, by its name as PyTorch's: ``exp``, ``nn.functional.relu``, ``fft.fft``."""
    shared = [(name, call.format(name)) for call, names in SHARED.items() for name in names.split()]
    return {_whole(name, call): call for name, call in [*OWN.items(), *shared]}


def inputs(t: Any, n: int, grad: bool) -> dict[str, Any]:
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
    return {"t": t, "F": t.nn.functional} | floats | others
