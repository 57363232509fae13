"""An optimizer around another one: groups, state and steps are the inner one's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distgrad.distributed.algorithms.join import Joinable, JoinHook
from distgrad.distributed.process_groups.default_group import ProcessGroup
from distgrad.optim.hooks import Hooked
from distgrad.optim.optimizer import Optimizer

__all__ = ["Wrapping"]


class Wrapping(Optimizer, Joinable):
    """Does what ``optim`` does; under ``Join``, a rank without inputs steps with the others.

    Attributes:
        optim: the optimizer that updates.
    """

    optim: Optimizer
    _group: ProcessGroup

    def __init__(self, optim: Optimizer, group: ProcessGroup) -> None:
        Hooked.__init__(self)
        self.optim, self._group = optim, group
        self.defaults, self.param_groups = optim.defaults, optim.param_groups

    @property
    def state(self) -> Any:
        """This rank's part of the state."""
        return self.optim.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.  Collective."""
        return self.optim.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.optim.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the inner optimizer."""
        self.optim.add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's."""
        return self.optim.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Every rank gives the whole state and takes its part."""
        self.optim.load_state_dict(state_dict)

    @property
    def join_device(self) -> Any:
        """The device of the first parameter."""
        return self.param_groups[0]["params"][0].device

    @property
    def join_process_group(self) -> ProcessGroup:
        """The ranks."""
        return self._group

    def join_hook(self, **kwargs: Any) -> JoinHook:
        """A rank without inputs steps too, with the gradients that a joined model has given it."""
        return _Steps(self)


class _Steps(JoinHook):
    def __init__(self, optimizer: Wrapping) -> None:
        self.optimizer = optimizer

    def main_hook(self) -> None:
        self.optimizer.step()
