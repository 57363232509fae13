"""The conformance kit: what every optimizer, loss and communicator must do, as checks that name what is wrong.

From a shell ``python -m distgrad plugins check NAME``, in a test file the marker and fixture of the pytest plugin::

    @pytest.mark.distgrad("optimizer", "lion")
    def test_conforms(conformance):
        conformance()

and from Python :func:`check_optimizer` and its like, whose :class:`Report` prints as a table.  Where a class needs
settings to be checked by (options, inputs, a check that does not apply), it has them as the class attribute
``conformance``, a dict of the keyword arguments of :class:`Trial`, :class:`LossTrial` or :class:`CommunicatorTrial`.

:func:`assert_close` and :func:`make_tensor` are PyTorch's.  :func:`device_double` puts a strict double of CuPy in the
place of a GPU.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .comparison import assert_close

# Importing these enters their checks into CHECKS.
from .conformance import (
    communicator_checks as _communicators,  # noqa: F401
    loss_checks as _losses,  # noqa: F401
    optimizer_contract as _contract,  # noqa: F401
    optimizer_numbers as _numbers,  # noqa: F401
)
from .conformance.communicator_trial import CommunicatorTrial
from .conformance.loss_trial import LossTrial
from .conformance.optimizer_trial import Trial
from .conformance.report import CHECKS, Check, CheckFailed, NotApplicable, Report, Result, Rows
from .fake_device.accelerator import StrictAccelerator, device_double
from .making import make_tensor

__all__ = [
    "CHECKS", "Check", "CheckFailed", "CommunicatorTrial", "LossTrial", "NotApplicable", "Report", "Result",
    "Rows", "StrictAccelerator", "Trial", "assert_close", "check", "check_communicator", "check_loss",
    "check_optimizer", "device_double", "make_tensor", "subject",
]  # fmt: skip

TRIALS: dict[str, Any] = {"optimizer": Trial, "loss": LossTrial, "communicator": CommunicatorTrial}


def subject(kind: str, plugin: str | type, **settings: Any) -> Any:
    """What the checks of ``kind`` take: the class with its settings.

    Args:
        kind: ``"optimizer"``, ``"loss"`` or ``"communicator"``.
        plugin: a registered name, or the class itself, which then need not be registered.
        settings: they go before those of the class's attribute ``conformance``.

    Raises:
        PluginError: no plugin of that name, or a broken one.
        TypeError: an unknown setting, or a class of another kind.
        ValueError: an unknown kind.
    """
    if kind not in TRIALS:
        raise ValueError(f"unknown kind of plugin {kind!r}; the kinds are: {', '.join(TRIALS)}")
    if isinstance(plugin, str):
        from .. import registry

        plugin = registry.get(kind, plugin)
    return TRIALS[kind](plugin, **{**getattr(plugin, "conformance", {}), **settings})


def check(kind: str, plugin: str | type, told: Callable[[str], None] | None = None, **settings: Any) -> Report:
    """Make every check of a plugin; see :func:`subject` for the arguments.

    Args:
        told: called with each line of the table as soon as it is known, such as ``print``.  It then gets the row of a
            check too that stands still where it cannot be left, on ranks that are processes: this one is then ended.
    """
    made = subject(kind, plugin, **settings)
    name = plugin if isinstance(plugin, str) else plugin.__name__
    note = ""
    with contextlib.suppress(Exception), np.errstate(all="ignore"), warnings.catch_warnings():  # the results say it
        warnings.simplefilter("ignore")
        note = made.note()
    results: list[Result] = []
    rows = Rows(kind)
    if told is not None:
        told(Report(kind, name, note, ()).heading)

    def leave(result: Result) -> None:
        assert told is not None
        told(rows.row(result))
        os._exit(1)

    for one in CHECKS[kind].values():
        results.append(one.run(made, leave if told is not None else None))
        if told is not None:
            told(rows.row(results[-1]))
    report = Report(kind, name, note, tuple(results))
    if told is not None:
        told(report.counts)
    return report


def check_optimizer(plugin: str | type, **settings: Any) -> Report:
    """:func:`check` of an optimizer; the settings are those of :class:`Trial`."""
    return check("optimizer", plugin, **settings)


def check_loss(plugin: str | type, **settings: Any) -> Report:
    """:func:`check` of a loss; the settings are those of :class:`LossTrial`."""
    return check("loss", plugin, **settings)


def check_communicator(plugin: str | type, **settings: Any) -> Report:
    """:func:`check` of a communicator; the settings are those of :class:`CommunicatorTrial`."""
    return check("communicator", plugin, **settings)
