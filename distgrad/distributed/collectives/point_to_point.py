"""Messages between two ranks, PyTorch's way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from distgrad.autograd import Tensor
from distgrad.distributed.collectives.in_place import raw
from distgrad.distributed.collectives.work import Work, incoming, outgoing
from distgrad.distributed.communication.communicator import MAX_TAG, Communicator, yield_core
from distgrad.distributed.communication.errors import DistTimeoutError
from distgrad.distributed.communication.requests import Request
from distgrad.distributed.process_groups.default_group import ProcessGroup, get_group
from distgrad.distributed.process_groups.subgroups import get_process_group_ranks, member, one_rank

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "receive_from_any", "recv", "send"]


def send(
    tensor: Tensor,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """Give ``tensor`` to rank ``dst`` (``group_dst``: by its number in ``group``), which receives it with ``tag``.

    Args:
        tag: 0 to 16383.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     t = torch.tensor([7.0]) if dist.get_rank() == 0 else torch.empty(1)
    ...     _ = dist.send(t, dst=1) if dist.get_rank() == 0 else dist.recv(t, src=0)
    ...     dist.destroy_process_group()
    ...     return t.item()
    ...
    >>> threads.run(2, main)
    [7.0, 7.0]
    """
    comm = member(group, "send")
    if comm is None:
        return
    peer = one_rank(group, "dst", dst, group_dst)
    _check_not_self(comm, peer, "destination")
    work = isend(tensor, group=group, tag=tag, group_dst=peer)
    assert work is not None
    work.wait()


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """Overwrite ``tensor`` with the one that rank ``src`` (``group_src``; neither: any rank) sends with ``tag``.

    Returns:
        the sender's number in the default group; -1 on a rank outside ``group``.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     t = torch.tensor([7.0]) if dist.get_rank() == 0 else torch.empty(1)
    ...     _ = dist.send(t, dst=1) if dist.get_rank() == 0 else dist.recv(t, src=0)
    ...     dist.destroy_process_group()
    ...     return t.item()
    ...
    >>> threads.run(2, main)
    [7.0, 7.0]
    """
    comm = member(group, "recv")
    if comm is None:
        return -1
    if src is not None or group_src is not None:
        _check_not_self(comm, one_rank(group, "src", src, group_src), "source")
    work = irecv(tensor, src, group, tag, group_src)
    assert work is not None
    work.wait()
    return work.source_rank()


def isend(
    tensor: Tensor,
    dst: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """Start :func:`send`; ``tensor`` must not change until the returned work is complete.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     t = torch.tensor([7.0]) if dist.get_rank() == 0 else torch.empty(1)
    ...     work = dist.isend(t, dst=1) if dist.get_rank() == 0 else dist.irecv(t, src=0)
    ...     work.wait()
    ...     dist.destroy_process_group()
    ...     return t.item()
    ...
    >>> threads.run(2, main)
    [7.0, 7.0]
    """
    array, comm = raw(tensor), member(group, "isend")
    if comm is None:
        return None
    _check_tag(tag)
    return Work(comm.Isend(outgoing(comm, array), one_rank(group, "dst", dst, group_dst), tag))


def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: ProcessGroup | None = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """Start :func:`recv`; the returned work's ``source_rank()`` is what :func:`recv` returns.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     t = torch.tensor([7.0]) if dist.get_rank() == 0 else torch.empty(1)
    ...     work = dist.isend(t, dst=1) if dist.get_rank() == 0 else dist.irecv(t, src=0)
    ...     work.wait()
    ...     dist.destroy_process_group()
    ...     return t.item()
    ...
    >>> threads.run(2, main)
    [7.0, 7.0]
    """
    array, comm = raw(tensor), member(group, "irecv")
    if comm is None:
        return None
    _check_tag(tag)
    buffer, copy_back = incoming(comm, array)

    def finish() -> None:
        if copy_back is not None:
            copy_back()
        tensor._bump()

    ranks = get_group(group).ranks
    if src is None and group_src is None:
        found = _FromAny(comm, buffer, tag)
        return Work(found, finish, lambda: ranks[found.source])
    peer = one_rank(group, "src", src, group_src)
    return Work(comm.Irecv(buffer, peer, tag), finish, lambda: ranks[peer])


class P2POp:
    """One message of a :func:`batch_isend_irecv`.

    Args:
        op: :func:`isend` or :func:`irecv`.
        tensor: what is sent or overwritten.
        peer: the other rank, by its number in the default group; or
        group_peer: by its number in ``group``.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     t = torch.tensor([7.0]) if dist.get_rank() == 0 else torch.empty(1)
    ...     what = dist.isend if dist.get_rank() == 0 else dist.irecv
    ...     for work in dist.batch_isend_irecv([dist.P2POp(what, t, 1 - dist.get_rank())]):
    ...         work.wait()
    ...     dist.destroy_process_group()
    ...     return t.item()
    ...
    >>> threads.run(2, main)
    [7.0, 7.0]
    """

    def __init__(
        self,
        op: Callable[..., Work | None],
        tensor: Tensor,
        peer: int | None = None,
        group: ProcessGroup | None = None,
        tag: int = 0,
        group_peer: int | None = None,
    ) -> None:
        if op not in (isend, irecv):
            raise ValueError(f"Invalid ``op``: it must be distributed.isend or distributed.irecv, got {op!r}")
        raw(tensor)
        self.op, self.tensor, self.group, self.tag = op, tensor, get_group(group), tag
        self.group_peer = one_rank(group, "peer", peer, group_peer)
        self.peer = get_process_group_ranks(group)[self.group_peer]

    def __repr__(self) -> str:
        me, verb = self.group.comm.rank, "isend" if self.op is isend else "irecv"
        source, target = (me, self.group_peer) if self.op is isend else (self.group_peer, me)
        return (
            f"P2POp({verb} pg={self.group.group_name}, group_src={source}, group_dst={target},  "
            f"{self.tensor.shape}, {self.tensor.dtype})"
        )


def batch_isend_irecv(p2p_op_list: Sequence[P2POp]) -> list[Work]:
    """Start all messages, in any order among ranks, and return what to wait for.

    >>> from distgrad_communicators import threads
    >>> def main():
    ...     dist.init_process_group()
    ...     other = 1 - dist.get_rank()
    ...     mine, theirs = torch.tensor([float(dist.get_rank())]), torch.empty(1)
    ...     operations = [dist.P2POp(dist.isend, mine, other), dist.P2POp(dist.irecv, theirs, other)]
    ...     for work in dist.batch_isend_irecv(operations):
    ...         work.wait()
    ...     dist.destroy_process_group()
    ...     return theirs.item()
    ...
    >>> threads.run(2, main)
    [1.0, 0.0]
    """
    if not isinstance(p2p_op_list, list) or not all(isinstance(op, P2POp) for op in p2p_op_list):
        raise ValueError("Invalid ``p2p_op_list``: it must be a list of distributed.P2POp")
    if not p2p_op_list:
        raise ValueError("Invalid ``p2p_op_list``: it is empty")
    if any(op.group is not p2p_op_list[0].group for op in p2p_op_list):
        raise ValueError("All ops need to use the same group.")
    # Receives first: a communicator whose sends wait for them then has somebody to wait for.
    works: list[Work | None] = [None] * len(p2p_op_list)
    for kind, name in ((irecv, "group_src"), (isend, "group_dst")):
        for i, p in enumerate(p2p_op_list):
            if p.op is kind:
                peer: dict[str, Any] = {name: p.group_peer}
                works[i] = p.op(p.tensor, group=p.group, tag=p.tag, **peer)
    return [work for work in works if work is not None]


def receive_from_any(comm: Communicator, tag: int) -> int:
    """Wait until a message with ``tag`` can be received, and return the rank it is from."""
    request = _FromAny(comm, None, tag)
    Work(request).wait()
    return request.source


class _FromAny:
    """A receive from whichever rank's message comes first; without a buffer, only the wait for it."""

    def __init__(self, comm: Communicator, buffer: Any, tag: int) -> None:
        self._comm, self._buffer, self._tag = comm, buffer, tag
        self._request: Request | None = None
        self.source = -1

    def Test(self) -> bool:
        if self.source < 0:
            found = self._comm.Iprobe(None, self._tag)
            if found is None:
                return False
            self.source = found
            if self._buffer is not None:
                self._request = self._comm.Irecv(self._buffer, found, self._tag)
        return self._request is None or self._request.Test()

    def Wait(self) -> None:
        started, limit = time.monotonic(), self._comm.timeout
        while not self.Test():
            if limit is not None and time.monotonic() - started > limit:
                raise DistTimeoutError(f"rank {self._comm.rank} waited {limit:g} s for a message from any rank")
            yield_core()


def _check_not_self(comm: Communicator, peer: int, role: str) -> None:
    if comm.rank == peer:
        raise ValueError(
            f"Invalid {role} rank: {role} rank should not be the same as the rank of the current process ({peer})."
        )


def _check_tag(tag: int) -> None:
    if not 0 <= tag <= MAX_TAG:
        raise ValueError(f"tag must be 0 to {MAX_TAG}, got {tag}")
