"""What PyTorch's programs set of a whole process: threads, precision of products, determinism, the default device.

The threads are the linear algebra's, which NumPy calls; sums here are made in an order that is always the same and
products of float32 are float32's, so those switches are kept, and read back, and change nothing.

>>> torch.use_deterministic_algorithms(True)
>>> torch.are_deterministic_algorithms_enabled()
True
>>> torch.use_deterministic_algorithms(False)
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from . import backend
from .kernels import setting as kernels

__all__ = [
    "are_deterministic_algorithms_enabled", "get_default_device", "get_deterministic_debug_mode",
    "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads",
    "is_deterministic_algorithms_warn_only_enabled", "is_warn_always_enabled", "set_deterministic_debug_mode",
    "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads", "set_num_threads",
    "set_warn_always", "use_deterministic_algorithms",
]  # fmt: skip

_state: dict[str, Any] = {"precision": "highest", "deterministic": False, "warn_only": False, "warn_always": False}
_PRECISIONS = ("highest", "high", "medium")
_MODES = ("default", "warn", "error")


def _pools() -> list[Any]:
    """The linear algebra's thread pools as threadpoolctl finds them; none where it is not installed."""
    try:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
    except ImportError:
        return []
    return [p for p in ThreadpoolController().lib_controllers if p.user_api == "blas"]


def _usable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_num_threads() -> int:
    """How many threads the linear algebra under NumPy uses.

    Without the package threadpoolctl, which can ask it, what ``OMP_NUM_THREADS`` says, else the number of cores.

    >>> torch.get_num_threads() >= 1
    True
    """
    pools = _pools()
    if pools:
        return max(int(p.num_threads) for p in pools)
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) else _usable()


def set_num_threads(n: int, /) -> None:
    """Let the linear algebra under NumPy, and oneDNN where it is found, use ``n`` threads.

    It takes the package threadpoolctl; without it, a warning says that ``OMP_NUM_THREADS`` must be set before Python
    starts.  RuntimeError: ``n`` is no positive integer.

    >>> torch.set_num_threads(torch.get_num_threads())
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(n).__name__}")
    if n <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    kernels.threads = n
    pools = _pools()
    for pool in pools:
        pool.set_num_threads(n)
    if not pools and n != get_num_threads():
        warnings.warn(
            f"set_num_threads({n}) has no effect without the package threadpoolctl: install it, or set "
            f"OMP_NUM_THREADS={n} before Python starts",
            stacklevel=2,
        )


def get_num_interop_threads() -> int:
    """How many operations run side by side: one, since each is complete when it returns.

    >>> torch.get_num_interop_threads()
    1
    """
    return 1


def set_num_interop_threads(n: int, /) -> None:
    """Taken, and without effect: operations run one after another.  RuntimeError: ``n`` is no positive integer.

    >>> torch.set_num_interop_threads(2)
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise RuntimeError(f"set_num_interop_threads expects an int, but got {type(n).__name__}")
    if n <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` was given, at first ``"highest"``.

    >>> torch.get_float32_matmul_precision()
    'highest'
    """
    return str(_state["precision"])


def set_float32_matmul_precision(precision: Any) -> None:
    """How coarsely products of float32 may be computed: a permission, of which no use is made.

    ``"highest"``, ``"high"`` or ``"medium"``; anything else is warned of and changes nothing, as in PyTorch.

    >>> torch.set_float32_matmul_precision("highest")
    """
    if not isinstance(precision, str):
        found = type(precision).__name__
        raise TypeError(f"set_float32_matmul_precision(): argument 'precision' must be str, not {found}")
    if precision not in _PRECISIONS:
        known = ", ".join(_PRECISIONS)
        warnings.warn(f"{precision} is not one of {known}; the precision stays {_state['precision']}", stacklevel=2)
        return
    _state["precision"] = precision


def use_deterministic_algorithms(mode: Any, *, warn_only: bool = False) -> None:
    """Ask for algorithms that give the same bits each time, which all here do: kept, and without effect.

    TypeError: ``mode`` is no bool.

    >>> torch.use_deterministic_algorithms(False)
    """
    if not isinstance(mode, bool):
        found = type(mode).__name__
        raise TypeError(f"use_deterministic_algorithms(): argument 'mode' (position 1) must be bool, not {found}")
    _state["deterministic"], _state["warn_only"] = mode, bool(warn_only) and mode


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was given.

    >>> torch.are_deterministic_algorithms_enabled()
    False
    """
    return bool(_state["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether only a warning was asked for.

    >>> torch.is_deterministic_algorithms_warn_only_enabled()
    False
    """
    return bool(_state["warn_only"])


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """:func:`use_deterministic_algorithms` by number or name: 0 ``"default"``, 1 ``"warn"``, 2 ``"error"``.

    RuntimeError, TypeError: anything else.

    >>> torch.set_deterministic_debug_mode("default")
    """
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode).__name__}")
    if isinstance(debug_mode, str):
        if debug_mode not in _MODES:
            known = "`default`, `warn`, `error`"
            raise RuntimeError(f"invalid value of debug_mode, expected one of {known}, but got {debug_mode}")
        debug_mode = _MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as :func:`set_deterministic_debug_mode` takes it.

    >>> torch.get_deterministic_debug_mode()
    0
    """
    return (1 if _state["warn_only"] else 2) if _state["deterministic"] else 0


def set_warn_always(b: bool, /) -> None:
    """Taken, and read back: no warning here is given once only but by Python's own filters.

    >>> torch.set_warn_always(False)
    """
    _state["warn_always"] = bool(b)


def is_warn_always_enabled() -> bool:
    """What :func:`set_warn_always` was given.

    >>> torch.is_warn_always_enabled()
    False
    """
    return bool(_state["warn_always"])


def set_flush_denormal(mode: bool) -> bool:
    """False: the processor's treatment of denormal numbers cannot be set from here, and stays as it is.

    >>> torch.set_flush_denormal(False)
    False
    """
    return False


def get_default_device() -> backend.device:
    """Where tensors are made when no device is given.

    >>> torch.get_default_device()
    device(type='cpu')
    """
    return backend.resolve(None)
