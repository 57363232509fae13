"""The functions of CuPy's double: CuPy's names and parameters (``cupy_namespace.json``), NumPy's work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import DeviceArray, Home, unsupported

NAMESPACE: dict[str, Any] = json.loads(Path(__file__).with_name("cupy_namespace.json").read_text(encoding="utf-8"))

# Functions that start no kernel, so that work on arrays of any device.
VIEWS = {
    "array", "array_split", "asanyarray", "asarray", "broadcast_arrays", "broadcast_to", "copy", "diagonal", "dsplit",
    "expand_dims", "flip", "fliplr", "flipud", "hsplit", "imag", "lib.stride_tricks.as_strided",
    "lib.stride_tricks.sliding_window_view", "moveaxis", "ndim", "ravel", "real", "reshape", "rollaxis", "rot90",
    "shape", "size", "split", "squeeze", "swapaxes", "transpose", "vsplit",
}  # fmt: skip
FROM_HOST = {"array", "asanyarray", "asarray"}  # the explicit ways to the device
SYNCHRONISING = {
    "allclose",
    "array_equal",
    "array_equiv",
    "count_nonzero",
}  # NumPy gives a Python number, CuPy an array
AN_ARRAY = {"a", "arr", "array", "ary", "m", "v", "x", "y", "M"}  # first parameters whose methods CuPy calls


class _Ufunc:
    """One of CuPy's ufuncs."""

    def __init__(self, home: Home, name: str, has_at: bool) -> None:
        self.home, self.name, self._has_at = home, f"cupy_{name}", has_at
        self._numpys = getattr(np, name)
        self.nin = getattr(self._numpys, "nin", 1)
        self.nout = getattr(self._numpys, "nout", 1)
        self.nargs = self.nin + self.nout

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind", **wrong: Any) -> Any:
        if wrong:
            raise TypeError(f"Wrong arguments {wrong}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for {self.name!r}: {len(args)}")
        ins = [self.home.scalar_or_array(x) for x in args[: self.nin]]
        outs = args[self.nin :] or (out if isinstance(out, tuple) else () if out is None else (out,))
        for x in outs:
            if x is not None and not isinstance(x, DeviceArray):
                raise unsupported(x)
        if not isinstance(self._numpys, np.ufunc):  # a plain function in NumPy (sinc, i0, fix), so without these
            result = self._numpys(*ins)
            if not outs:
                return self.home.new(np.asarray(result, dtype))
            self.home.host(outs[0])[...] = result
            return outs[0]
        hosts = tuple(None if x is None else self.home.host(x) for x in outs) or (None,) * self.nout
        result = self._numpys(*ins, out=hosts, dtype=dtype, casting=casting)
        return self.home.wrap(result, list(outs))

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if self.name not in ("cupy_add", "cupy_multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        method = array.sum if self.name == "cupy_add" else array.prod
        return method(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        if self.name not in ("cupy_add", "cupy_multiply"):
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        return (array.cumsum if self.name == "cupy_add" else array.cumprod)(axis, dtype, out)

    def at(self, a: DeviceArray, indices: Any, b: Any = None) -> None:
        if not self._has_at:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        index, _ = self.home.index(indices)
        self._numpys.at(self.home.host(a), index, self.home.uploaded(b))

    def outer(self, first: Any, second: Any, **kwargs: Any) -> Any:
        x, y = self.home.module.asarray(first), self.home.module.asarray(second)
        return self(x.reshape(x.shape + (1,) * y.ndim), y.reshape((1,) * x.ndim + y.shape), **kwargs)


class _Function:
    """One of CuPy's functions, with CuPy's parameters and NumPy's work."""

    def __init__(self, home: Home, name: str, parameters: list[str]) -> None:
        self.home, self.name, self._parameters = home, name, parameters
        self._numpys: Any = np
        for part in name.split("."):
            self._numpys = getattr(self._numpys, part)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        names = self._parameters
        if not any(n.startswith("**") for n in names):
            wrong = [key for key in kwargs if key not in names]
            if wrong:
                raise TypeError(f"{self.name}() got an unexpected keyword argument {wrong[0]!r}; it has {names}")
        if len(args) > len(names) and not any(n.startswith("*") for n in names):
            raise TypeError(f"{self.name}() takes {len(names)} positional arguments but {len(args)} were given")
        if args and names[0] in AN_ARRAY and self.name not in FROM_HOST and isinstance(args[0], (list, tuple)):
            raise unsupported(args[0])
        take = self.home.uploaded if self.name in FROM_HOST else self.home.host
        if self.name not in VIEWS:
            self.home.check(args)
            self.home.check(list(kwargs.values()))
        given = [self.home.uploaded(x) if self.name == "take" and i == 1 else take(x) for i, x in enumerate(args)]
        named = {key: take(x) for key, x in kwargs.items() if key != "blocking"}
        result = self._numpys(*given, **named)
        if self.name == "diagonal":
            result.flags.writeable = True  # CuPy's view can be written to
        if self.name in SYNCHRONISING:
            result = np.asarray(result)
        copies = self.name in ("array", "copy") and kwargs.get("copy", True)
        return self.home.wrap(result, [] if copies else [*args, *kwargs.values()])


class Special:
    """The double's ``cupyx.scipy.special``: SciPy's ufuncs, of which CuPy has these that distgrad uses."""

    names = (
        "betainc", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "gammainc", "gammaincc", "gammaln", "i0", "i0e",
        "i1", "i1e", "j0", "j1", "k0", "k0e", "k1", "k1e", "log_ndtr", "ndtr", "ndtri", "xlog1py", "y0", "y1", "zeta",
    )  # fmt: skip

    def __init__(self, home: Home) -> None:
        self._home = home

    def __getattr__(self, name: str) -> Any:
        if name not in self.names:
            raise AttributeError(f"module 'cupyx.scipy.special' has no attribute {name!r} that the double knows")
        from scipy import special

        return _Special(self._home, name, getattr(special, name))


class _Special(_Ufunc):
    """One of CuPy's special functions: in float32 or float64, whatever it is given but bfloat16."""

    def __init__(self, home: Home, name: str, scipys: Any) -> None:
        self.home, self.name, self._has_at = home, f"cupyx_scipy_special_{name}", False
        self._numpys = scipys
        self.nin, self.nout = getattr(scipys, "nin", 2), getattr(scipys, "nout", 1)  # SciPy's zeta is no ufunc
        self.nargs = self.nin + self.nout

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for x in args:
            if isinstance(x, DeviceArray) and x.dtype.kind not in "biuf":  # bfloat16's kind is V, complex numbers' c
                raise TypeError(f"Wrong type ({x.dtype}) of arguments for {self.name}")
        return super().__call__(*args, **kwargs)


class Module:
    """The double's ``cupy``, or a part of it such as ``cupy.linalg``."""

    def __init__(self, home: Home, path: str = "") -> None:
        self._home, self._path = home, path
        self.ndarray = DeviceArray

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}" if self._path else name
        entry = NAMESPACE.get(path)
        found: Any
        if path == "asnumpy":
            found = self._home.to_host
        elif entry == "numpy":
            found = getattr(np.linalg if self._path == "linalg" else np, name)
        elif isinstance(entry, str):
            found = _Ufunc(self._home, path, entry == "ufunc.at")
        elif isinstance(entry, list):
            found = _Function(self._home, path, entry)
        elif any(known.startswith(path + ".") for known in NAMESPACE):
            found = Module(self._home, path)
        else:
            raise AttributeError(f"module 'cupy{'.' + self._path if self._path else ''}' has no attribute {name!r}")
        setattr(self, name, found)
        return found
