"""Hosts and how many ranks each takes, from a hostfile of either spelling, an option, or a batch system."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["HostError", "from_batch_system", "parse_hostfile", "parse_hosts", "ranks_per_host"]

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z|\[[0-9a-fA-F:]+\]\Z")


class HostError(ValueError):
    """Hosts that make no sense; the message says which and what is expected."""


def parse_hosts(text: str) -> dict[str, int]:
    """``"a,b:2,a"`` is ``{"a": 2, "b": 2}``: a name once is one slot, named again it has one more."""
    hosts: dict[str, int] = {}
    for item in text.split(","):
        name, count = _split(item.strip(), f"--host {text}")
        hosts[name] = hosts.get(name, 0) + count
    return hosts


def parse_hostfile(path: str | Path) -> dict[str, int]:
    """Read Open MPI's ``host slots=2`` and MPICH's ``host:2``, one host a line, ``#`` before comments.

    Raises:
        HostError: the file cannot be read, names no host, or a line is neither; the line is named.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise HostError(f"the hostfile {path} cannot be read: {reason}") from error
    hosts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}, line {number}"
        name, count = _split(words[0], where)
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key not in ("slots", "max_slots", "max-slots") or not value.isdigit() or int(value) < 1:
                raise HostError(f"{where}: {word!r} is neither slots=N nor max_slots=N (after the host's name)")
            if key == "slots":
                count = int(value)
        hosts[name] = hosts.get(name, 0) + count
    if not hosts:
        raise HostError(f"the hostfile {path} names no host; a line is: name slots=2")
    return hosts


def _split(item: str, where: str) -> tuple[str, int]:
    name, colon, count = item.rpartition(":") if not item.endswith("]") else (item, "", "1")
    if not colon:
        name, count = item, "1"
    if not _NAME.match(name) or not count.isdigit() or int(count) < 1:
        raise HostError(f"{where}: {item!r} is not a host, or a host and its number of ranks (name:2)")
    return name, int(count)


def ranks_per_host(hosts: Mapping[str, int], ranks: int) -> dict[str, int]:
    """How many of ``ranks`` each host gets, filled in order.

    Raises:
        HostError: there are not enough slots.
    """
    room = sum(hosts.values())
    if ranks > room:
        names = ", ".join(f"{name} {count}" for name, count in hosts.items())
        raise HostError(f"{ranks} ranks do not fit the {room} slot{'s' * (room > 1)} of the hosts ({names})")
    placed: dict[str, int] = {}
    for name, count in hosts.items():
        placed[name] = min(count, ranks)
        ranks -= placed[name]
    return {name: count for name, count in placed.items() if count}


def from_batch_system(environ: Mapping[str, str], ranks: int) -> int | None:
    """The most ranks a node of this job's allocation gets (Slurm, PBS); None outside of an allocation."""
    if "SLURM_JOB_ID" in environ:
        per_node: Sequence[str] = environ.get("SLURM_TASKS_PER_NODE", "").split(",")  # "4(x2),3"
        counts = [int(found.group(1)) for word in per_node if (found := re.match(r"(\d+)", word))]
        return min(ranks, max(counts, default=ranks))
    if file := environ.get("PBS_NODEFILE"):
        names = Path(file).read_text(encoding="utf-8").split()
        return min(ranks, max((names.count(name) for name in set(names)), default=ranks))
    return None
