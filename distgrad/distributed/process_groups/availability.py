"""What a training script asks before it chooses a backend; PyTorch's names."""

from __future__ import annotations

import importlib.util
import os

from distgrad import registry
from distgrad.distributed.process_groups.default_group import get_local_rank, is_initialized

__all__ = [
    "get_node_local_rank", "is_backend_available", "is_gloo_available", "is_mpi_available", "is_nccl_available",
    "is_torchelastic_launched", "is_ucc_available", "is_xccl_available",
]  # fmt: skip

_OVER_MPI = {"mpi", "shared"}


def is_mpi_available() -> bool:
    """Whether mpi4py is installed, which the ``mpi`` and ``shared`` backends need.

    >>> import importlib.util
    >>> dist.is_mpi_available() == (importlib.util.find_spec("mpi4py") is not None)
    True
    """
    return importlib.util.find_spec("mpi4py") is not None


def is_gloo_available() -> bool:
    """False: no backend is made on Gloo.

    >>> dist.is_gloo_available()
    False
    """
    return False


def is_nccl_available() -> bool:
    """False: no backend is made on NCCL.

    >>> dist.is_nccl_available() in (False, True)
    True
    """
    return False


def is_ucc_available() -> bool:
    """False: no backend is made on UCC.

    >>> dist.is_ucc_available()
    False
    """
    return False


def is_xccl_available() -> bool:
    """False: no backend is made on XCCL.

    >>> dist.is_xccl_available()
    False
    """
    return False


def is_backend_available(backend: str) -> bool:
    """Whether a communicator of that name (in any case) is installed, with what it needs.

    >>> dist.is_backend_available("serial")
    True
    """
    name = backend.lower()
    return name in registry.names("communicator") and (name not in _OVER_MPI or is_mpi_available())


def is_torchelastic_launched() -> bool:
    """Whether this process was started by torchrun, which says so in ``TORCHELASTIC_RUN_ID``.

    >>> dist.is_torchelastic_launched()
    False
    """
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This rank's number among those on its node.

    Args:
        fallback_rank: what to return before ``init_process_group`` where ``LOCAL_RANK`` is not set either.

    Raises:
        RuntimeError: none of the three tells.

    >>> dist.get_node_local_rank()
    0
    """
    if is_initialized():
        return get_local_rank()
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return fallback_rank
    raise RuntimeError(
        "the local rank is not known before init_process_group(), and LOCAL_RANK is not in the environment: "
        "call that first, or pass fallback_rank"
    )
