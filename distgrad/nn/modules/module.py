"""Module, and the hooks of all modules: names of ``torch.nn.modules.module``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...autograd import RemovableHandle
from ..base.hooks import add_everywhere as _everywhere, add_registration as _registration
from ..base.module import Module

__all__ = [
    "Module", "register_module_backward_hook", "register_module_buffer_registration_hook",
    "register_module_forward_hook", "register_module_forward_pre_hook", "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook", "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]  # fmt: skip


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before each module's forward, and before the module's own hooks; what it returns, if
    not None, replaces the arguments.

    >>> def see(module, args):
    ...     print(type(module).__name__)
    ...
    >>> with torch.nn.modules.module.register_module_forward_pre_hook(see):
    ...     out = nn.Sequential(nn.ReLU())(torch.ones(1))
    ...
    Sequential
    ReLU
    """
    return _everywhere("forward_pre", hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after each module's forward, and before the module's own hooks; what it
    returns, if not None, replaces the output.

    Args:
        with_kwargs: ``hook(module, args, kwargs, output)``.
        always_call: even where forward raises; ``output`` is None then.

    >>> with torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: out + 1):
    ...     nn.ReLU()(torch.ones(1))
    ...
    tensor([2.])
    """
    return _everywhere("forward", hook, with_kwargs, always_call)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before each module's backward; what it returns, if not None, replaces them.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.nn.modules.module.register_module_full_backward_pre_hook(lambda module, g: (2 * g[0],)):
    ...     nn.ReLU()(x).backward()
    ...
    >>> x.grad
    tensor([2.])
    """
    return _everywhere("backward_pre", hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradients of a module's inputs are complete; what it
    returns, if not None, replaces ``grad_input``.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.nn.modules.module.register_module_full_backward_hook(lambda module, g, out: (3 * g[0],)):
    ...     nn.ReLU()(x).backward()
    ...
    >>> x.grad
    tensor([3.])
    """
    return _everywhere("backward", hook)


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` in the backward pass of the operation that a module's output came
    from; :func:`register_module_full_backward_hook` takes its place.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.nn.modules.module.register_module_backward_hook(lambda module, g, out: (3 * g[0],)):
    ...     nn.ReLU()(x).backward()
    ...
    >>> x.grad
    tensor([3.])
    """
    return _everywhere("node", hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, parameter)`` whenever a module is given a parameter; what it returns, if not None, is
    taken in its place.

    >>> def see(module, name, parameter):
    ...     print(name)
    ...
    >>> with torch.nn.modules.module.register_module_parameter_registration_hook(see):
    ...     layer = nn.Linear(1, 1)
    ...
    weight
    bias
    """
    return _registration("parameter", hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` whenever a module is given a buffer; what it returns, if not None, is taken
    in its place.

    >>> with torch.nn.modules.module.register_module_buffer_registration_hook(lambda module, name, b: b.double()):
    ...     nn.BatchNorm1d(1).running_var
    ...
    tensor([1.], dtype=torch.float64)
    """
    return _registration("buffer", hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` whenever a module is given another; what it returns, if not None, is taken
    in its place.

    >>> with torch.nn.modules.module.register_module_module_registration_hook(lambda module, name, m: nn.Tanh()):
    ...     nn.Sequential(nn.ReLU())
    ...
    Sequential(
      (0): Tanh()
    )
    """
    return _registration("module", hook)
