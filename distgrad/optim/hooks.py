"""Hooks around an optimizer's steps and state dicts; those around the steps of every optimizer."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ..autograd import RemovableHandle

__all__ = ["Hooked", "hooked", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

Hook = Callable[..., Any]
Hooks = OrderedDict[int, Hook]

EVERY_PRE: Hooks = OrderedDict()
EVERY_POST: Hooks = OrderedDict()
_ids = itertools.count()


def _added(hooks: Hooks, hook: Hook, prepend: bool = False) -> RemovableHandle:
    key = next(_ids)
    hooks[key] = hook
    if prepend:
        hooks.move_to_end(key, last=False)
    return RemovableHandle(hooks, key)


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before each step of every optimizer, as its own pre-hooks are called."""
    return _added(EVERY_PRE, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after each step of every optimizer."""
    return _added(EVERY_POST, hook)


class Hooked:
    """Registers hooks; :func:`hooked` calls those around a step."""

    def __init__(self) -> None:
        self._step_pre: Hooks = OrderedDict()
        self._step_post: Hooks = OrderedDict()
        self._save_pre: Hooks = OrderedDict()
        self._save_post: Hooks = OrderedDict()
        self._load_pre: Hooks = OrderedDict()
        self._load_post: Hooks = OrderedDict()
        self._inside = False  # a step whose hooks are being looked after

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; a pair (args, kwargs) that it returns replaces them.

        ``args`` begins with the optimizer itself, as in PyTorch.
        """
        return _added(self._step_pre, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return _added(self._step_post, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before ``state_dict()``; before the other hooks if ``prepend``."""
        return _added(self._save_pre, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after ``state_dict()``; what it returns, if not None, replaces it."""
        return _added(self._save_post, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; what it returns, if not None, is loaded instead.

        The dict is a shallow copy of the one given.
        """
        return _added(self._load_pre, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return _added(self._load_post, hook, prepend)


def hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` with the hooks around it; a step that calls its parent class's runs them once."""

    @functools.wraps(step)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._inside or not (self._step_pre or self._step_post or EVERY_PRE or EVERY_POST):
            return step(self, *args, **kwargs)
        given = (self, *args)
        for hook in (*EVERY_PRE.values(), *self._step_pre.values()):
            result = hook(self, given, kwargs)
            if result is not None:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(
                        f"a step pre-hook must return None or a pair (args, kwargs), but {hook} returned {result!r}"
                    )
                given, kwargs = result
        self._inside = True
        try:
            result = step(*given, **kwargs)
        finally:
            self._inside = False
        for hook in (*self._step_post.values(), *EVERY_POST.values()):
            hook(self, given, kwargs)
        return result

    return wrapped
