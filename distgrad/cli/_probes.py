"""Questions that can crash or hang are asked in child processes; each prints one line of JSON.

The programs are text and not modules, so that asking one imports nothing of MPI into this process.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from distgrad.cli._mpirun import clean_environment, first_words

__all__ = ["CUDA_OF_MPI", "SMOKE", "ask"]

_MARK = "distgrad-doctor "

# Two ranks: what MPI gives them, and whether a sum over them is right.
SMOKE = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore", RuntimeWarning)
import numpy as np
import distgrad.distributed as dist
from distgrad import from_numpy
dist.init_process_group("mpi")
from mpi4py import MPI
comm = dist.process_groups.get_group().comm
t = from_numpy(np.full(100_000, comm.rank + 1.0))
dist.all_reduce(t)
small = from_numpy(np.ones(10))
dist.barrier()
began = time.perf_counter()
for _ in range(100):
    dist.all_reduce(small)
seconds = (time.perf_counter() - began) / 100
try:
    node = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    window = MPI.Win.Allocate_shared(8 if node.rank == 0 else 0, 8, comm=node)
    window.Lock_all()
    shared = np.frombuffer(window.Shared_query(0)[0], np.int64)
    if node.rank == 0:
        shared[0] = 42
    window.Sync()
    node.Barrier()
    window.Sync()
    windows = "" if shared[0] == 42 else f"another rank reads {shared[0]} where 42 was written"
    node.Barrier()
    del shared
    window.Unlock_all()
    window.Free()
except Exception as error:
    windows = str(error).splitlines()[0]
from distgrad.distributed.shared_memory import region
memory = region.why_not() or ""
if not any(comm.allgather(memory)):
    mine = None
    if comm.rank == 0:
        mine = region.NodeMemory(8)
        mine.bytes[:] = 42
    handle = comm.bcast(mine.handle if mine else None)
    try:
        mine = mine or region.NodeMemory(8, tuple(handle))
        view = mine.private()
        read = int(view.bytes[0])
        memory = "" if read == 42 else f"rank {comm.rank} reads {read} where 42 was written"
    except OSError as error:
        memory = f"rank {comm.rank} cannot open another rank's memory ({error})"
memory = next(filter(None, comm.allgather(memory)), "")
if comm.rank == 0:
    print("distgrad-doctor " + json.dumps({
        "size": comm.size, "sum": float(t.numpy()[0]), "seconds": seconds, "thread_level": comm.thread_level,
        "windows": windows, "memory": memory, "ft": os.environ.get("OMPI_MCA_mpi_ft_enable", ""),
    }), flush=True)
dist.destroy_process_group()
"""

# Whether the MPI library takes device pointers, by the function that Open MPI and MPICH each have for it.
CUDA_OF_MPI = """
import ctypes, json
from mpi4py import MPI
files = {line.split()[-1] for line in open("/proc/self/maps") if "libmpi" in line}
found = None
for file in sorted(files):
    library = ctypes.CDLL(file)
    if hasattr(library, "MPIX_Query_cuda_support"):
        found = bool(library.MPIX_Query_cuda_support())
    elif hasattr(library, "MPIX_GPU_query_support"):
        answer = ctypes.c_int(0)
        library.MPIX_GPU_query_support(0, ctypes.byref(answer))
        found = bool(answer.value)
    if found is not None:
        break
print("distgrad-doctor " + json.dumps({"cuda": found}), flush=True)
"""


def ask(
    program: str, timeout: float, launcher: tuple[str, ...] = (), settings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run ``program`` with this Python, behind the words of a ``launcher``, and return what it printed.

    ``settings`` is its whole environment; None for this process's, without what a launcher left there.

    Returns:
        its JSON; or ``{"problem": text}`` where it failed, was killed, or took longer than ``timeout`` seconds.
    """
    command = [*launcher, sys.executable, "-c", program]
    job = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=clean_environment() if settings is None else dict(settings),
        start_new_session=True,
    )
    try:
        out, err = job.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
        return {"problem": f"no answer within {timeout:g} s"}
    for line in out.splitlines():
        if line.startswith(_MARK):
            return dict(json.loads(line.removeprefix(_MARK)))
    # Python's last line, else what MPI and its launcher say, whose first words tell most.
    errors = [line.strip() for line in err.splitlines() if re.match(r"(\[rank\d+\]: )?[\w.]*(Error|Exception)\b", line)]
    words = errors[-1] if errors else first_words(err) or first_words(out) or "it said nothing"
    return {"problem": f"exit code {job.returncode}: {words}"}
