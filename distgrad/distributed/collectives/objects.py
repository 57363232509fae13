"""PyTorch's collectives on Python objects.  No pickle: what comes over the wire is data and is never executed.

Objects may be None, numbers, text, bytes, tensors, arrays, and lists, tuples, dicts and sets of such
(:mod:`distgrad.distributed.collectives.object_codec`); anything else is a TypeError that names it, before anything is
sent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distgrad.distributed.collectives.object_codec import decode, encode
from distgrad.distributed.collectives.point_to_point import receive_from_any
from distgrad.distributed.communication.communicator import OBJECTS_TAG, Communicator
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.distributed.process_groups.subgroups import member, one_rank

__all__ = [
    "all_gather_object", "broadcast_object_list", "gather_object", "recv_object_list", "scatter_object_list",
    "send_object_list",
]  # fmt: skip


def all_gather_object(object_list: list[Any], obj: Any, group: ProcessGroup | None = None) -> None:
    """Write rank ``r``'s ``obj`` into ``object_list[r]``.

    >>> found = [None]                             # one for each rank
    >>> dist.all_gather_object(found, {"rank": dist.get_rank()})
    >>> found
    [{'rank': 0}]
    """
    comm = member(group, "all_gather_object")
    if comm is None:
        return
    _check_list(comm, object_list, "object_list")
    data = _bytes(obj)
    lengths = np.empty((comm.size, 1), np.int64)
    comm.Allgather(np.array([data.size], np.int64), lengths)
    parts = [np.empty(int(n), np.uint8) for n in lengths[:, 0]]
    comm.Iallgatherv(data, parts).Wait()
    for r, part in enumerate(parts):
        object_list[r] = decode(part.tobytes())


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    group_dst: int | None = None,
) -> None:
    """Write rank ``r``'s ``obj`` into ``object_gather_list[r]`` on rank ``dst`` (default 0); others give no list.

    >>> found = [None]
    >>> dist.gather_object("mine", found, dst=0)
    >>> found
    ['mine']
    """
    comm = member(group, "gather_object")
    if comm is None:
        return
    root = one_rank(group, "dst", dst, group_dst, 0)
    if comm.rank == root:
        if not object_gather_list:
            raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
        _check_list(comm, object_gather_list, "object_gather_list")
    elif object_gather_list:
        raise ValueError("Argument ``gather_list`` must NOT be specified on non-destination ranks.")
    data = _bytes(obj)
    length, lengths = np.array([data.size], np.int64), list(np.zeros((comm.size, 1), np.int64))
    comm.Igatherv(length, lengths if comm.rank == root else None, root).Wait()
    parts = [np.empty(int(n[0]), np.uint8) for n in lengths]
    comm.Igatherv(data, parts if comm.rank == root else None, root).Wait()
    if object_gather_list:
        for r, part in enumerate(parts):
            object_gather_list[r] = decode(part.tobytes())


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: ProcessGroup | None = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """Replace the objects of ``object_list`` by those of rank ``src`` (default 0); the lists are equally long.

    Args:
        device: accepted for PyTorch's sake.

    >>> objects = ["from rank 0", 1]
    >>> dist.broadcast_object_list(objects, src=0)
    >>> objects
    ['from rank 0', 1]
    """
    comm = member(group, "broadcast_object_list")
    if comm is None:
        return
    root = one_rank(group, "src", src, group_src, 0)
    data = _bytes(object_list) if comm.rank == root else np.empty(0, np.uint8)
    length = np.array([data.size], np.int64)
    comm.Bcast(length, root)
    if comm.rank != root:
        data = np.empty(int(length[0]), np.uint8)
    comm.Bcast(data, root)
    if comm.rank != root:
        _overwrite(comm, object_list, data, root)


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: ProcessGroup | None = None,
    group_src: int | None = None,
) -> None:
    """Write ``scatter_object_input_list[r]`` of rank ``src`` (default 0) into rank ``r``'s output list, at 0.

    >>> out = [None]
    >>> dist.scatter_object_list(out, ["for rank 0"], src=0)
    >>> out
    ['for rank 0']
    """
    comm = member(group, "scatter_object_list")
    if comm is None:
        return
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    root = one_rank(group, "src", src, group_src, 0)
    parts = lengths = None
    if comm.rank == root:
        if scatter_object_input_list is None:
            raise ValueError("source rank must provide non-None scatter_object_input_list")
        _check_list(comm, scatter_object_input_list, "scatter_object_input_list")
        parts = [_bytes(obj) for obj in scatter_object_input_list]
        lengths = [np.array([part.size], np.int64) for part in parts]
    length = np.zeros(1, np.int64)
    comm.Iscatterv(lengths, length, root).Wait()
    data = np.empty(int(length[0]), np.uint8)
    comm.Iscatterv(parts, data, root).Wait()
    scatter_object_output_list[0] = decode(data.tobytes())


def send_object_list(
    object_list: list[Any],
    dst: int | None = None,
    group: ProcessGroup | None = None,
    device: Any = None,
    group_dst: int | None = None,
    use_batch: bool = False,
) -> None:
    """Give the objects to rank ``dst``, which calls :func:`recv_object_list` with a list as long.

    Args:
        device, use_batch: accepted for PyTorch's sake.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     objects = ["from 0", {"lr": 0.1}] if dist.get_rank() == 0 else [None, None]
    ...     if dist.get_rank() == 0:
    ...         dist.send_object_list(objects, dst=1)
    ...     else:
    ...         _ = dist.recv_object_list(objects, src=0)
    ...     dist.destroy_process_group()
    ...     return objects
    ...
    >>> threads.run(2, main)[1]
    ['from 0', {'lr': 0.1}]
    """
    comm = member(group, "send_object_list")
    if comm is None:
        return
    peer = one_rank(group, "dst", dst, group_dst)
    if peer == comm.rank:
        raise ValueError(
            "Invalid destination rank: destination rank should not be the same as the rank of the current process."
        )
    data = _bytes(object_list)
    comm.Send(np.array([data.size], np.int64), peer, OBJECTS_TAG)
    comm.Send(data, peer, OBJECTS_TAG)


def recv_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: ProcessGroup | None = None,
    device: Any = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> int:
    """Replace the objects of ``object_list`` by those that rank ``src`` (none given: any rank) sends.

    Returns:
        the sender's number in the default group; -1 on a rank outside ``group``.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     objects = ["from 0", {"lr": 0.1}] if dist.get_rank() == 0 else [None, None]
    ...     if dist.get_rank() == 0:
    ...         dist.send_object_list(objects, dst=1)
    ...     else:
    ...         _ = dist.recv_object_list(objects, src=0)
    ...     dist.destroy_process_group()
    ...     return objects
    ...
    >>> threads.run(2, main)[1]
    ['from 0', {'lr': 0.1}]
    """
    comm = member(group, "recv_object_list")
    if comm is None:
        return -1
    anyone = src is None and group_src is None
    peer = receive_from_any(comm, OBJECTS_TAG) if anyone else one_rank(group, "src", src, group_src)
    length = np.zeros(1, np.int64)
    comm.Recv(length, peer, OBJECTS_TAG)
    data = np.empty(int(length[0]), np.uint8)
    comm.Recv(data, peer, OBJECTS_TAG)
    _overwrite(comm, object_list, data, peer)
    return get_group(group).ranks[peer]


def _bytes(value: Any) -> np.ndarray:
    return np.frombuffer(bytearray(encode(value)), np.uint8)


def _overwrite(comm: Communicator, object_list: list[Any], data: np.ndarray, source: int) -> None:
    objects = decode(data.tobytes())
    if len(objects) != len(object_list):
        raise ValueError(
            f"rank {comm.rank} expects {len(object_list)} objects, rank {source} gave {len(objects)}: the lists must "
            "be equally long"
        )
    object_list[:] = objects


def _check_list(comm: Communicator, objects: Any, name: str) -> None:
    if not isinstance(objects, list) or len(objects) != comm.size:
        found = f"{len(objects)} of them" if isinstance(objects, list) else type(objects).__name__
        raise ValueError(f"{name} must be a list of one object for each of the {comm.size} ranks, got {found}")
