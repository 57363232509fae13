"""distgrad: distributed, multi-device training on NumPy, CuPy and MPI, with PyTorch's names.

``import distgrad as torch`` is meant to be enough for a PyTorch script within the feature set.
"""

from __future__ import annotations

import importlib as _importlib
import math as _math
import os as _os
import typing as _typing
import warnings as _warnings

from . import autograd, cuda, fft, linalg, nn, ops as _ops, optim, random, settings as _settings
from ._names import absent as _absent
from .autograd import (
    Size,
    Tensor,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .autograd.anomaly_mode import (
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
)
from .autograd.coo import (
    layout,
    sparse_coo,
    strided,
)
from .autograd.memory_format import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    memory_format,
    preserve_format,
)
from .autograd.sparse import (
    sparse_coo_tensor,
)
from .backend.devices import device
from .dtypes import (
    bfloat16,
    bool_ as bool,
    can_cast,
    complex64,
    complex64 as cfloat,
    complex128,
    complex128 as cdouble,
    dtype,
    finfo,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    float16 as half,
    float32,
    float32 as float,
    float64,
    float64 as double,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int16 as short,
    int32,
    int32 as int,
    int64,
    int64 as long,
    promote_types,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .ops.angles import *
from .ops.arithmetic import *
from .ops.assigning import *
from .ops.conversion import *
from .ops.creation import *
from .ops.distinct import *
from .ops.division import *
from .ops.drawing import *
from .ops.einsum import *
from .ops.elementwise import *
from .ops.extremes import *
from .ops.in_place import publish as _publish_in_place
from .ops.index_writes import *
from .ops.indexing import *
from .ops.infinities import *
from .ops.joining import *
from .ops.linalg.building import *
from .ops.linalg.decompositions import cholesky, qr, svd
from .ops.linalg.determinants import det, logdet, slogdet
from .ops.linalg.norms import cdist, dist, norm
from .ops.linalg.products import *
from .ops.linalg.solving import inverse, matrix_power, pinverse
from .ops.nn.activation import celu, erf, erfc, relu, selu
from .ops.nn.losses import (
    cosine_similarity,
    pairwise_distance,
)
from .ops.nn.piecewise import threshold
from .ops.nn.softmax import log_softmax, softmax
from .ops.ordering import *
from .ops.out import publish_all as _publish_out
from .ops.pairs import *
from .ops.positions import *
from .ops.powers import *
from .ops.quantiles import *
from .ops.ranges import *
from .ops.rearranging import *
from .ops.reduction import *
from .ops.replacing import *
from .ops.rounding import *
from .ops.running import *
from .ops.scatter_reducing import *
from .ops.scattering import *
from .ops.selection import *
from .ops.shape import *
from .ops.sparse_products import *
from .ops.special import *
from .ops.splitting import *
from .ops.statistics import *
from .ops.tensor_types import *
from .ops.windows import *
from .printing import (
    set_printoptions,
)
from .random import (
    Generator,
    default_generator,
    initial_seed,
    manual_seed,
    seed,
)
from .settings import *
from .version import __version__ as __version__

_publish_in_place()
_publish_out(globals(), vars(linalg), vars(fft), vars(nn.functional))

# PyTorch is silent where floating point overflows or divides by 0; NumPy's warnings are, too, but only from our own
# files.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"distgrad([._]|$)")

e, inf, nan, pi = _math.e, _math.inf, _math.nan, _math.pi

if _typing.TYPE_CHECKING:
    from . import distributed as distributed, func as func, utils as utils
    from .func import vmap as vmap
    from .hookspecs import hookimpl as hookimpl
    from .serialization import load as load, save as save

# What a program may do without, imported when first asked for: ``import distgrad`` costs at most what numpy does.
_LATER = {
    "accelerator": "accelerator", "backends": "backends", "distributed": "distributed",
    "distributions": "distributions", "func": "func", "hookimpl": "hookspecs",
    "load": "serialization", "profiler": "profiler", "registry": "registry", "save": "serialization",
    "sparse": "sparse", "testing": "testing", "utils": "utils", "version": "version", "vmap": "func",
}  # fmt: skip


# PyTorch's functions that are Tensor's methods or in nn.functional, under their names there.
_METHODS = frozenset({
    "adjoint", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "detach", "fix", "is_complex",
    "is_floating_point", "is_signed", "negative",
})  # fmt: skip
_FUNCTIONAL = frozenset({
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "group_norm", "hardshrink", "layer_norm", "max_pool1d", "max_pool2d",
    "max_pool3d", "pixel_shuffle", "pixel_unshuffle", "prelu", "rms_norm",
})  # fmt: skip


def __getattr__(name: str) -> _typing.Any:
    if name in _METHODS or (name[-1:] == "_" and not name.startswith("_") and hasattr(Tensor, name)):  # torch.sin_(x)
        return _ops.out.as_function(name)
    if name in _FUNCTIONAL:
        return getattr(nn.functional, name)
    if name not in _LATER:
        if name.startswith("_"):  # probes of the interpreter and of tools
            raise AttributeError(f"module 'distgrad' has no attribute '{name}'")
        raise _absent("distgrad", name, "function, type or module", __all__)
    module = _importlib.import_module("." + _LATER[name], __name__)
    found = module if name == _LATER[name] else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Generator", "Size", "Tensor", "autograd", "bfloat16", "bool", "can_cast", "cdist", "cdouble", "celu", "cfloat",
    "channels_last", "channels_last_3d", "cholesky", "complex128", "complex64", "contiguous_format",
    "cosine_similarity", "cuda", "default_generator", "det", "device", "dist", "distributed", "double", "dtype", "e",
    "enable_grad", "erf", "erfc", "fft", "finfo", "float", "float16", "float32", "float64", "float8_e4m3fn",
    "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "func",
    "get_default_dtype", "half", "hookimpl", "iinfo", "inf", "inference_mode", "initial_seed", "int", "int16",
    "int32", "int64", "int8", "inverse", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_grad_enabled",
    "is_inference_mode_enabled", "layout", "linalg", "load", "log_softmax", "logdet", "long", "manual_seed",
    "matrix_power", "memory_format", "nan", "nn", "no_grad", "norm", "optim", "pairwise_distance", "pi", "pinverse",
    "preserve_format", "promote_types", "qr", "random", "relu", "save", "seed", "selu", "set_default_dtype",
    "set_grad_enabled", "set_printoptions", "short", "slogdet", "softmax", "sparse_coo", "sparse_coo_tensor",
    "strided", "svd", "threshold", "uint16", "uint32", "uint64", "uint8", "utils", "vmap",
]  # fmt: skip
__all__ += _ops.angles.__all__
__all__ += _ops.arithmetic.__all__
__all__ += _ops.assigning.__all__
__all__ += _ops.conversion.__all__
__all__ += _ops.creation.__all__
__all__ += _ops.distinct.__all__
__all__ += _ops.division.__all__
__all__ += _ops.drawing.__all__
__all__ += _ops.einsum.__all__
__all__ += _ops.elementwise.__all__
__all__ += _ops.extremes.__all__
__all__ += _ops.index_writes.__all__
__all__ += _ops.indexing.__all__
__all__ += _ops.infinities.__all__
__all__ += _ops.joining.__all__
__all__ += _ops.linalg.building.__all__
__all__ += _ops.linalg.products.__all__
__all__ += _ops.ordering.__all__
__all__ += _ops.pairs.__all__
__all__ += _ops.positions.__all__
__all__ += _ops.powers.__all__
__all__ += _ops.quantiles.__all__
__all__ += _ops.ranges.__all__
__all__ += _ops.rearranging.__all__
__all__ += _ops.reduction.__all__
__all__ += _ops.replacing.__all__
__all__ += _ops.rounding.__all__
__all__ += _ops.running.__all__
__all__ += _ops.scatter_reducing.__all__
__all__ += _ops.scattering.__all__
__all__ += _ops.selection.__all__
__all__ += _ops.shape.__all__
__all__ += _ops.sparse_products.__all__
__all__ += _ops.special.__all__
__all__ += _ops.splitting.__all__
__all__ += _ops.statistics.__all__
__all__ += _ops.tensor_types.__all__
__all__ += _ops.windows.__all__
__all__ += _settings.__all__
__all__.sort()

if "DISTGRAD_TRACE" in _os.environ:
    _importlib.import_module(".profiler", __name__).start_from_environment(_os.environ["DISTGRAD_TRACE"])
