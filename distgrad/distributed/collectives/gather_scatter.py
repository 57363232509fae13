"""PyTorch's collectives on a tensor for each rank: gather, scatter, reduce_scatter, all_to_all and their like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distgrad import backend
from distgrad.autograd import Tensor
from distgrad.distributed.collectives.in_place import raw, run
from distgrad.distributed.collectives.work import Work, incoming, outgoing
from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.communication.reduction import ReduceOp
from distgrad.distributed.process_groups.default_group import ProcessGroup
from distgrad.distributed.process_groups.subgroups import member, one_rank

__all__ = [
    "all_gather", "all_gather_into_tensor", "all_to_all", "all_to_all_single", "gather", "reduce_scatter",
    "reduce_scatter_tensor", "scatter",
]  # fmt: skip


def all_gather(
    tensor_list: Sequence[Tensor], tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Write rank ``r``'s ``tensor`` into ``tensor_list[r]``.

    Args:
        tensor_list: one tensor a rank, of that rank's shape; shapes may differ between ranks, the dtype may not.

    >>> parts = [torch.empty(2)]                   # one for each rank
    >>> dist.all_gather(parts, torch.tensor([1.0, 2.0]))
    >>> parts
    [tensor([1., 2.])]
    """
    array, arrays = raw(tensor), _raw_list(tensor_list, "tensor_list")
    _check_dtypes(tensor, tensor_list)
    comm = member(group, "all_gather")
    if comm is None:
        return None
    _check_length(comm, tensor_list, "tensor_list")
    _check_shape(array, arrays[comm.rank], f"tensor_list[{comm.rank}]", "the gathered tensor")
    targets, finish = _incoming(comm, tensor_list)
    source = outgoing(comm, array)
    if any(a.shape != array.shape for a in arrays):
        return run(comm.Iallgatherv(source, targets), finish, async_op)
    table = backend.array_module(source).empty((comm.size, *source.shape), source.dtype)

    def distribute() -> None:
        for row, target in zip(table, targets, strict=True):
            target[...] = row
        finish()

    return run(comm.Iallgather(source, table), distribute, async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: ProcessGroup | None = None, async_op: bool = False
) -> Work | None:
    """Write the ranks' ``input_tensor`` into ``output_tensor``, one behind the other.

    Args:
        output_tensor: of shape ``(size * n, ...)`` or ``(size, n, ...)`` for an input of shape ``(n, ...)``.

    >>> whole = torch.empty(2)
    >>> dist.all_gather_into_tensor(whole, torch.tensor([1.0, 2.0]))
    >>> whole
    tensor([1., 2.])
    """
    array, out = raw(input_tensor, "input_tensor"), raw(output_tensor, "output_tensor")
    comm = member(group, "all_gather_into_tensor")
    if comm is None:
        return None
    if output_tensor.dtype is not input_tensor.dtype:
        raise TypeError(
            f"output tensor must have the same type as input tensor, got {output_tensor.dtype} and {input_tensor.dtype}"
        )
    if out.size != comm.size * array.size:
        raise ValueError(
            f"output tensor size must be equal to world_size times input tensor size: {out.size} elements are not "
            f"{comm.size} times {array.size}"
        )
    (target,), finish = _incoming(comm, [output_tensor])
    source = outgoing(comm, array)
    return run(comm.Iallgather(source, target.reshape(comm.size, *source.shape)), finish, async_op)


def gather(
    tensor: Tensor,
    gather_list: Sequence[Tensor] | None = None,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Write rank ``r``'s ``tensor`` into ``gather_list[r]`` on rank ``dst`` (default 0); the others give no list.

    >>> parts = [torch.empty(2)]                   # one for each rank, on rank 0
    >>> dist.gather(torch.tensor([1.0, 2.0]), parts, dst=0)
    >>> parts
    [tensor([1., 2.])]
    """
    array = raw(tensor)
    if gather_list:
        _raw_list(gather_list, "gather_list")
        _check_dtypes(tensor, gather_list)
    comm = member(group, "gather")
    if comm is None:
        return None
    root = one_rank(group, "dst", dst, group_dst, 0)
    _check_given(comm.rank == root, gather_list, "gather_list", "destination")
    source = outgoing(comm, array)
    if comm.rank != root:
        return run(comm.Igatherv(source, None, root), lambda: None, async_op)
    assert gather_list is not None
    _check_length(comm, gather_list, "gather_list")
    _check_shape(array, gather_list[root]._data, f"gather_list[{root}]", "the gathered tensor")
    targets, finish = _incoming(comm, gather_list)
    return run(comm.Igatherv(source, targets, root), finish, async_op)


def scatter(
    tensor: Tensor,
    scatter_list: Sequence[Tensor] | None = None,
    src: int | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Write ``scatter_list[r]`` of rank ``src`` (default 0) into rank ``r``'s ``tensor``; the others give no list.

    >>> out = torch.empty(2)
    >>> dist.scatter(out, [torch.tensor([1.0, 2.0])], src=0)
    >>> out
    tensor([1., 2.])
    """
    array = raw(tensor)
    if scatter_list:
        _raw_list(scatter_list, "scatter_list")
        _check_dtypes(tensor, scatter_list)
    comm = member(group, "scatter")
    if comm is None:
        return None
    root = one_rank(group, "src", src, group_src, 0)
    _check_given(comm.rank == root, scatter_list, "scatter_list", "source")
    send = None
    if comm.rank == root:
        assert scatter_list is not None
        _check_length(comm, scatter_list, "scatter_list")
        _check_shape(array, scatter_list[root]._data, f"scatter_list[{root}]", "the receiving tensor")
        send = [outgoing(comm, t._data) for t in scatter_list]
    (target,), finish = _incoming(comm, [tensor])
    return run(comm.Iscatterv(send, target, root), finish, async_op)


def reduce_scatter(
    output: Tensor,
    input_list: Sequence[Tensor],
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Write ``op`` over the ranks' ``input_list[r]``, taken in rank order, into rank ``r``'s ``output``.

    >>> out = torch.empty(2)
    >>> dist.reduce_scatter(out, [torch.tensor([1.0, 2.0])])
    >>> out
    tensor([1., 2.])
    """
    array = raw(output, "output")
    _raw_list(input_list, "input_list")
    _check_dtypes(output, input_list)
    comm = member(group, "reduce_scatter")
    if comm is None:
        return None
    _check_length(comm, input_list, "input_list")
    _check_shape(array, input_list[comm.rank]._data, f"input_list[{comm.rank}]", "the output")
    return _reduce_scatter(comm, output, [outgoing(comm, t._data) for t in input_list], op, async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: ReduceOp = ReduceOp.SUM,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """:func:`reduce_scatter` of one ``input``, of shape ``(size * n, ...)`` or ``(size, n, ...)``, cut evenly.

    >>> out = torch.empty(2)
    >>> dist.reduce_scatter_tensor(out, torch.tensor([1.0, 2.0]))
    >>> out
    tensor([1., 2.])
    """
    array, whole = raw(output, "output"), raw(input, "input")
    comm = member(group, "reduce_scatter_tensor")
    if comm is None:
        return None
    if output.dtype is not input.dtype:
        raise TypeError(f"input tensor must have the same type as the output, got {input.dtype} and {output.dtype}")
    if whole.size != comm.size * array.size:
        raise ValueError(
            f"input tensor must be the same size as output size times world size: {whole.size} elements are not "
            f"{comm.size} times {array.size}"
        )
    return _reduce_scatter(comm, output, list(outgoing(comm, whole).reshape(comm.size, -1)), op, async_op)


def all_to_all(
    output_tensor_list: Sequence[Tensor],
    input_tensor_list: Sequence[Tensor],
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Write rank ``r``'s ``input_tensor_list[rank]`` into this rank's ``output_tensor_list[r]``; sizes may differ.

    >>> out = [torch.empty(2)]
    >>> dist.all_to_all(out, [torch.tensor([1.0, 2.0])])
    >>> out
    [tensor([1., 2.])]
    """
    outs = _raw_list(output_tensor_list, "output_tensor_list")
    ins = _raw_list(input_tensor_list, "input_tensor_list")
    if output_tensor_list and input_tensor_list:
        _check_dtypes(output_tensor_list[0], [*output_tensor_list, *input_tensor_list])
    comm = member(group, "all_to_all")
    if comm is None:
        return None
    _check_length(comm, output_tensor_list, "output_tensor_list")
    _check_length(comm, input_tensor_list, "input_tensor_list")
    _check_shape(ins[comm.rank], outs[comm.rank], f"output_tensor_list[{comm.rank}]", "what this rank gives itself")
    targets, finish = _incoming(comm, output_tensor_list)
    return run(comm.Ialltoallv([outgoing(comm, a) for a in ins], targets), finish, async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Sequence[int] | None = None,
    input_split_sizes: Sequence[int] | None = None,
    group: ProcessGroup | None = None,
    async_op: bool = False,
) -> Work | None:
    """Cut ``input`` along its first dimension, give piece ``r`` to rank ``r``, and join what comes in ``output``.

    Args:
        output_split_sizes, input_split_sizes: rows from and for each rank; None or empty: the same from and for all.

    >>> out = torch.empty(2)
    >>> dist.all_to_all_single(out, torch.tensor([1.0, 2.0]))
    >>> out
    tensor([1., 2.])
    """
    raw(output, "output")
    whole = raw(input, "input")
    _check_dtypes(output, [input])
    comm = member(group, "all_to_all_single")
    if comm is None:
        return None
    (target,), finish = _incoming(comm, [output])
    send = _split(comm, outgoing(comm, whole), input_split_sizes, "input")
    recv = _split(comm, target, output_split_sizes, "output")
    if send[comm.rank].size != recv[comm.rank].size:
        raise ValueError(
            f"rank {comm.rank} gives itself {send[comm.rank].size} elements and expects {recv[comm.rank].size}"
        )
    return run(comm.Ialltoallv(send, recv), finish, async_op)


def _reduce_scatter(
    comm: Communicator, output: Tensor, send: Sequence[np.ndarray], op: ReduceOp, async_op: bool
) -> Work | None:
    (target,), finish = _incoming(comm, [output])
    return run(comm.Ireduce_scatter(send, target, op), finish, async_op)


def _incoming(comm: Communicator, tensors: Sequence[Tensor]) -> tuple[list[np.ndarray], Callable[[], None]]:
    """Arrays for what will be written into ``tensors``, and what is to be done once it has been."""
    pairs = [incoming(comm, t._data) for t in tensors]

    def finish() -> None:
        for tensor, (_, copy_back) in zip(tensors, pairs, strict=True):
            if copy_back is not None:
                copy_back()
            tensor._bump()

    return [buffer for buffer, _ in pairs], finish


def _split(comm: Communicator, array: np.ndarray, sizes: Sequence[int] | None, name: str) -> list[np.ndarray]:
    rows = array.shape[0] if array.ndim else 0
    if not sizes:
        if rows % comm.size:
            raise ValueError(f"the {name}'s first dimension, {rows}, does not divide into {comm.size} equal pieces")
        sizes = [rows // comm.size] * comm.size
    if len(sizes) != comm.size:
        raise ValueError(f"{name}_split_sizes needs one size for each of the {comm.size} ranks, got {len(sizes)}")
    if sum(sizes) != rows or min(sizes) < 0:
        raise ValueError(f"{name}_split_sizes {list(sizes)} do not add up to the {name}'s first dimension, {rows}")
    bounds = np.cumsum([0, *sizes])
    return [array[bounds[r] : bounds[r + 1]] for r in range(comm.size)]


def _raw_list(tensors: Any, name: str) -> list[backend.Array]:
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` to be a list of Tensors, "
            f"got {type(tensors).__name__}"
        )
    return [raw(t, f"{name}[{i}]") for i, t in enumerate(tensors)]


def _check_length(comm: Communicator, tensors: Sequence[Tensor], name: str) -> None:
    if len(tensors) != comm.size:
        raise ValueError(f"{name} needs one tensor for each of the {comm.size} ranks, got {len(tensors)}")


def _check_dtypes(tensor: Tensor, others: Sequence[Tensor]) -> None:
    for other in others:
        if other.dtype is not tensor.dtype:
            raise ValueError(
                f"Invalid usage of tensors with different dtypes Found {tensor.dtype} and {other.dtype}; "
                "they must be equal"
            )


def _check_shape(array: backend.Array, other: backend.Array, name: str, what: str) -> None:
    if array.shape != other.shape:
        raise ValueError(
            f"{name} has shape {tuple(other.shape)}, {what} {tuple(array.shape)}; they must be equal"
        )


def _check_given(wanted: bool, tensors: Sequence[Tensor] | None, name: str, role: str) -> None:
    if wanted and not tensors:
        raise ValueError(f"Argument ``{name}`` must be specified on {role} rank.")
    if not wanted and tensors:
        raise ValueError(f"Argument ``{name}`` must NOT be specified on non-{role} ranks.")
