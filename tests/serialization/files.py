"""Files as tests make them, and what they compare."""

from __future__ import annotations

import io
import json
from collections import OrderedDict

import numpy as np

from distgrad import backend, dtypes, from_numpy
from distgrad.autograd import Size, Tensor
from distgrad.serialization import load, save


def through(obj, **kwargs):
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return load(file, **kwargs)


def raw_file(header, data=b"", pad=True):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    if pad:
        text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert (a.requires_grad, a.dtype, a.device) == (b.requires_grad, b.dtype, b.device)
        same(a._data, b._data)
    elif isinstance(a, (np.ndarray, np.generic)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert [type(key) for key in a] == [type(key) for key in b]
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert repr(a) == repr(b)


def everything():
    learned = from_numpy(np.arange(4, dtype=np.float32))
    learned.requires_grad = True
    return {
        "model": OrderedDict([("0.weight", learned), ("0.bias", from_numpy(np.zeros((0, 3))))]),
        "optimizer": {
            "state": {0: {"step": from_numpy(np.asarray(3.0, np.float32)), "exp_avg": from_numpy(np.ones(4))}, 1: {}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0, 1], "maximize": False, "fused": None}],
        },
        "epoch": 3,
        "text": 'ünï "cödé"\n\\u0000',
        "numbers": [1, -(2**70), 0.1, -0.0, float("nan"), float("inf"), float("-inf"), 1e-310, 2 - 3j, True],
        "keys": {1: "a", "1": "b", 2.5: "c", None: "d", (1, "x"): "e", True + 1: "f"},
        "sizes": (Size((2, 3)), dtypes.bfloat16, dtypes.bool_, backend.CPU, (), [], {}),
        "arrays": [np.arange(6).reshape(2, 3)[:, ::2], np.float32(1.5), np.asarray(7, np.int8), np.empty((0,), bool)],
    }
