"""The whole plugin contract.

A plugin is a module (or any object) with one or more functions that bear the names below and the decorator
:data:`hookimpl`.  It becomes known by an entry point in the group ``distgrad``::

    [project.entry-points.distgrad]
    lion = "distgrad_lion"

An entry point that names a module makes that module a plugin.  One that names a package makes the package a plugin
where its ``__init__`` implements a hook, and otherwise each of its modules whose name has no leading underscore.

Each hook returns a dictionary from registered name to class.  A registered name is lower-case letters, digits and
underscores, begins with a letter, and is unique among all plugins of its kind; so is the class's own name.
"""

from __future__ import annotations

import pluggy

__all__ = ["GROUP", "HOOKS", "distgrad_communicators", "distgrad_losses", "distgrad_optimizers", "hookimpl", "hookspec"]

GROUP = "distgrad"
"""The entry-point group, and pluggy's project name."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

HOOKS = {"optimizer": "distgrad_optimizers", "loss": "distgrad_losses", "communicator": "distgrad_communicators"}
"""Which hook answers for which kind."""


@hookspec
def distgrad_optimizers() -> dict[str, type]:  # type: ignore[empty-body]
    """Optimizers, ``{"lion": Lion}``: subclasses of :class:`distgrad.optim.Optimizer`.

    Called once in a process, when the plugin is loaded: at the first request for a name that its entry point or its
    module bears, or at the first request that needs all plugins (a listing, or a name nobody's module bears).
    Never called in a training loop.
    """


@hookspec
def distgrad_losses() -> dict[str, type]:  # type: ignore[empty-body]
    """Losses, ``{"mse": MSELoss}``: subclasses of :class:`distgrad.nn.Module` called as ``loss(input, target)``.

    A loss of class numbers says ``targets = "classes"`` in its class, one of probabilities ``inputs =
    "probabilities"``, one of targets from 0 to 1 ``target_range = (0.0, 1.0)``: see
    :class:`distgrad.nn.modules.loss.Loss`.

    Called once in a process, when the plugin is loaded, as for :func:`distgrad_optimizers`.
    """


@hookspec
def distgrad_communicators() -> dict[str, type]:  # type: ignore[empty-body]
    """Communicators, ``{"mpi": MPICommunicator}``: classes with the protocol of :mod:`distgrad.distributed`.

    Called once in a process, when the plugin is loaded, as for :func:`distgrad_optimizers`: for
    ``init_process_group("mpi")`` that is then.  Listing plugins loads them all, so the module must not start its
    library (``MPI_Init``) when imported, but when its class is instantiated.
    """
