"""Groups of some of the ranks, PyTorch's way: ranks are named by their numbers in the default group."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from distgrad.distributed.communication.communicator import Communicator
from distgrad.distributed.process_groups.default_group import (
    NON_GROUP_MEMBER,
    ProcessGroup,
    get_group,
    is_initialized,
    ours,
    outside,
)

__all__ = [
    "GroupMember", "get_global_rank", "get_group_rank", "get_process_group_ranks", "group", "member", "new_group",
    "new_subgroups", "new_subgroups_by_enumeration", "one_rank",
]  # fmt: skip


class _World(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The default group; None where there is none."""
        return get_group() if is_initialized() else None


class group(metaclass=_World):  # noqa: N801 - PyTorch's name
    """``group.WORLD`` is the default process group."""


class GroupMember(metaclass=_World):
    """``GroupMember.NON_GROUP_MEMBER`` is what :func:`new_group` returns on ranks outside the group."""

    NON_GROUP_MEMBER = NON_GROUP_MEMBER


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any = None,
    sort_ranks: bool = True,
) -> Any:
    """Make a group of ``ranks``.

    Its members call this, all of them the same groups in the same order; other ranks may.

    Args:
        ranks: numbers in the default group; None: all.
        timeout: how long its collectives may wait; None: as long as the default group's.
        backend: None, one of PyTorch's own, or the default group's, whose communicator makes the group's.
        pg_options, device_id: accepted for PyTorch's sake.
        use_local_synchronization: on a rank outside the group, return None instead of ``NON_GROUP_MEMBER``; only
            members ever wait for each other.
        group_desc: a description for the user's own use.
        sort_ranks: number the members by their rank in the default group, else in the order given.

    Returns:
        a :class:`ProcessGroup`; on a rank outside it ``GroupMember.NON_GROUP_MEMBER``.

    Raises:
        ValueError: ranks that do not exist or come twice, or another backend.

    >>> group = dist.new_group([0])
    >>> t = torch.tensor([1.0])
    >>> dist.all_reduce(t, group=group)
    >>> t
    tensor([1.])
    """
    default = get_group()
    if ours(backend) not in (None, default.backend):
        raise ValueError(f"backend must be None or the default group's, {default.backend!r}; got {backend!r}")
    if timeout is not None and not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout}")
    size = default.comm.size
    chosen = list(range(size)) if ranks is None else sorted(ranks) if sort_ranks else list(ranks)
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"ranks list must not contain duplicate entries, got {chosen}")
    for rank in chosen:
        if not 0 <= rank < size:
            raise ValueError(f"Rank {rank} is out of range. Valid ranks are 0 to {size - 1} (world_size={size})")
    if default.comm.rank not in chosen:
        return None if use_local_synchronization else NON_GROUP_MEMBER
    comm = default.comm.Create_group(chosen)
    assert comm is not None
    if timeout is not None:
        comm.timeout = timeout.total_seconds()
    name = ",".join(map(str, chosen))
    made = ProcessGroup(comm, default.backend, None, chosen, name, group_desc or "undefined")
    default.children.append(made)
    return made


def new_subgroups(
    group_size: int | None = None,
    group: ProcessGroup | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Cut the default group into groups of ``group_size`` consecutive ranks; None: as many as the node has.

    Returns:
        this rank's group, and the list of all, in which those of other ranks are ``NON_GROUP_MEMBER``.

    >>> mine, groups = dist.new_subgroups(1)
    >>> mine.size(), len(groups)
    (1, 1)
    """
    default = get_group(group)
    size = default.comm.local_size if group_size is None else group_size
    world = default.comm.size
    if size <= 0:
        raise ValueError(f"The arg 'group_size' ({size}) must be positive")
    if world < size:
        raise ValueError(f"The arg 'group_size' ({size}) must not exceed the world size ({world})")
    if world % size:
        raise ValueError(f"The world size ({world}) must be divisible by 'group_size={size}'")
    lists = [[default.ranks[r] for r in range(lo, lo + size)] for lo in range(0, world, size)]
    return new_subgroups_by_enumeration(lists, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: Sequence[Sequence[int]],
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Make a group of each list of ranks; no rank may be in two.

    Returns:
        this rank's group (None where it is in none), and the list of all, as :func:`new_subgroups` does.

    >>> mine, groups = dist.new_subgroups_by_enumeration([[0]])
    >>> dist.get_process_group_ranks(mine)
    [0]
    """
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    everyone = [rank for ranks in ranks_per_subgroup_list for rank in ranks]
    twice = sorted({rank for rank in everyone if everyone.count(rank) > 1})
    if twice:
        raise ValueError(f"Rank {twice[0]} has appeared in more than one subgroup")
    groups = [new_group(r, timeout, backend, pg_options, group_desc=group_desc) for r in ranks_per_subgroup_list]
    mine = [one for one in groups if not outside(one)]
    return (mine[0] if mine else None), groups


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """The members' numbers in the default group, by their numbers in ``group``.

    >>> dist.get_process_group_ranks(dist.new_group([0]))
    [0]
    """
    return list(get_group(group).ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The number in ``group`` of the rank that is ``global_rank`` in the default group; ValueError where outside.

    >>> dist.get_group_rank(dist.new_group([0]), 0)
    0
    """
    ranks = get_group(group).ranks
    if global_rank not in ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return ranks.index(global_rank)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The number in the default group of the rank that is ``group_rank`` in ``group``.

    >>> dist.get_global_rank(dist.new_group([0]), 0)
    0
    """
    ranks = get_group(group).ranks
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return ranks[group_rank]


def member(group: ProcessGroup | None, what: str) -> Communicator | None:
    """The communicator of ``group`` (None: the default); None, and a warning, on a rank outside it, as in PyTorch."""
    if outside(group):
        warnings.warn(
            f"Running {what} on global rank {get_group().comm.rank} which does not belong to the given group.",
            stacklevel=3,
        )
        return None
    return get_group(group).comm


def one_rank(
    group: ProcessGroup | None, name: str, global_rank: int | None, group_rank: int | None, default: int | None = None
) -> int:
    """A rank in ``group``, given by its number in the default group or in ``group``.

    Args:
        name: ``"src"`` or ``"dst"``, for errors.
        default: the global rank meant where neither is given; None: one must be.
    """
    found = get_group(group)
    if group_rank is None:
        if global_rank is None:
            if default is None:
                raise ValueError(f"Must specify {name} or group_{name}")
            global_rank = default
        if global_rank not in found.ranks:
            inside = ", ".join(map(str, found.ranks))
            raise ValueError(f"{name}={global_rank} does not exist in the group: its ranks are {inside}")
        return found.ranks.index(global_rank)
    if global_rank is not None:
        raise ValueError(f"Can't specify both group_{name} and {name}")
    if not 0 <= group_rank < len(found.ranks):
        raise ValueError(f"group_{name}={group_rank} does not exist: the group's ranks are 0 to {len(found.ranks) - 1}")
    return group_rank
