"""A rank of a crew (see ``crew.py``): ``crew_member.py SOCKET`` runs what it is told at the socket, till its end."""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
WATCHED = ("distgrad", "distgrad_communicators", "distgrad_losses", "distgrad_optimizers", "mpi4py")
ALSO = ("os", "socket", "subprocess", "threading", "time", "numpy", "signal", "gc")


def main(place: str) -> None:
    for name in ("distgrad.distributed", "distgrad.nn.parallel", "distgrad.optim"):  # what programs replace things in
        importlib.import_module(name)
    for name in ("mpi", "shared"):
        importlib.import_module("distgrad.registry").get("communicator", name)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    asked = connection.makefile("rw", encoding="utf-8")
    asked.write(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["PMI_RANK"])
    asked.write("\n")
    asked.flush()
    for line in asked:
        program, environ, output = json.loads(line)
        left = run(program, environ, output)
        asked.write(json.dumps(left) + "\n")
        asked.flush()


def run(program: list[str], environ: dict[str, str], output: str) -> list[str]:
    """Run a program as Python would, and return what it has left; what it raises ends this rank, as it would."""
    kept = list(sys.argv), list(sys.path), dict(os.environ), set(sys.modules)
    before, hooks, threads = dict(_attributes()), _hooks(), set(threading.enumerate())
    os.environ.update(environ)
    ends = _redirect(output)
    file, *arguments = program
    sys.argv = [file, *arguments]
    lines = Path(file).parent == Path(output).parent  # of code, which Python takes to lie where it is started
    places = filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[0:1] = ["" if lines else str(Path(file).parent), *places]
    with warnings.catch_warnings():
        try:
            runpy.run_path(file, run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
    _put_back(before)
    left = _end(hooks, threads)
    sys.argv, sys.path[:], environment, modules = kept
    os.environ.clear()
    os.environ.update(environment)
    for module in set(sys.modules) - modules:  # the next program reads its own
        if str(getattr(sys.modules[module], "__file__", None)).startswith(str(TESTS)):
            del sys.modules[module]
    gc.collect()
    _back(ends)
    return left


def _end(hooks: list[Any], threads: set[threading.Thread]) -> list[str]:
    """Leave the group as at a program's end, and name what else is left."""
    dist: Any = sys.modules.get("distgrad.distributed")
    if dist is not None and dist.is_initialized():
        dist.destroy_process_group()
    for thread in set(threading.enumerate()) - threads:
        thread.join(5)  # some are still about to end
    names = [f"the thread {thread.name}" for thread in set(threading.enumerate()) - threads]
    return names + (["a hook"] if hooks != _hooks() else [])


def _hooks() -> list[Any]:
    return [sys.excepthook, threading.excepthook, sys.exit, sys.stdout, sys.stderr]


def _attributes() -> Iterator[tuple[tuple[str, ...], Any]]:
    """What programs replace where they pretend: functions and classes of modules, and all that classes have."""
    for name, module in list(sys.modules.items()):
        ours = name.partition(".")[0] in WATCHED
        if not (ours or name in ALSO):
            continue
        for key, value in list(vars(module).items()):
            if callable(value):
                yield (name, key), value
            if ours and isinstance(value, type) and value.__module__ == name:
                for attribute, found in list(vars(value).items()):
                    if attribute not in ("__abstractmethods__", "_abc_impl", "__annotations__"):
                        yield (name, key, attribute), found


def _put_back(before: dict[tuple[str, ...], Any]) -> None:
    """Undo what the program has replaced, as its end would have."""
    now = dict(_attributes())
    for where, value in before.items():
        if now.get(where) is not value:
            owner: Any = sys.modules[where[0]]
            for name in where[1:-1]:
                owner = vars(owner)[name]
            setattr(owner, where[-1], value)


def _redirect(output: str) -> list[int]:
    """Let what this process writes go to files, until :func:`_back`."""
    ends = []
    for stream, what in ((sys.stdout, "out"), (sys.stderr, "err")):
        stream.flush()
        ends.append(os.dup(stream.fileno()))
        file = os.open(f"{output}.{what}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)
    return ends


def _back(ends: list[int]) -> None:
    for stream, end in zip((sys.stdout, sys.stderr), ends, strict=True):
        stream.flush()
        os.dup2(end, stream.fileno())
        os.close(end)


if __name__ == "__main__":
    main(sys.argv[1])
