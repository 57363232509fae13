"""Parameters that are functions of others: what an optimizer changes is behind, what the layer uses is computed.

A parametrized module is given a class of its own, whose base is the module's, and there a property for each
parametrized tensor.  The tensors behind it, and the modules that compute it, are in ``module.parametrizations[name]``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from ...autograd import Tensor, no_grad
from ..base.module import Module
from ..modules.containers import ModuleDict, ModuleList
from ..parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "transfer_parametrizations_and_params", "type_before_parametrizations",
]  # fmt: skip

_cache: dict[tuple[int, str], Tensor] = {}
_caching = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once, when it is first read, and keep it until the context ends.

    >>> class Double(nn.Module):
    ...     def forward(self, x):
    ...         print("computed")
    ...         return 2 * x
    ...
    >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(1, 1), "bias", Double(), unsafe=True)
    >>> with nn.utils.parametrize.cached():
    ...     layer.bias is layer.bias
    ...
    computed
    True
    """
    global _caching
    _caching += 1
    try:
        yield
    finally:
        _caching -= 1
        if not _caching:
            _cache.clear()


def _keep(owner: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        owner.register_parameter(name, tensor)
    else:
        owner.register_buffer(name, tensor)


def _same_kind(found: Any, wanted: Tensor, what: str) -> None:
    """ValueError where ``found`` cannot stand in the place of ``wanted``."""
    if not isinstance(found, Tensor):
        raise ValueError(f"{what} must return a tensor. Got {type(found).__name__}.")
    if found.dtype != wanted.dtype:
        raise ValueError(
            f"{what} may not change the dtype of the tensor, unless the `unsafe` flag is enabled.\n"
            f"original dtype: {wanted.dtype}\nnew dtype: {found.dtype}"
        )
    if found.shape != wanted.shape:
        raise ValueError(
            f"{what} may not change the shape of the tensor, unless the `unsafe` flag is enabled.\n"
            f"original shape: {wanted.shape}\nnew shape: {found.shape}"
        )


def _undone(module: Module, value: Any) -> Any:
    """What ``module`` computes ``value`` from; ``value`` itself where it does not say."""
    if not hasattr(module, "right_inverse"):
        return value
    try:
        return module.right_inverse(value)
    except NotImplementedError:
        return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in the order in which they are applied, and what the first is applied to.

    Args:
        modules: at least one.
        original: the tensor that is parametrized.
        unsafe: do not check that shape and dtype stay as they are.

    Attributes:
        original: what the first takes; ``original0``, ``original1``, … where its ``right_inverse`` gives several.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shaped = original.detach()
        new: Any = original
        with no_grad():
            for module in reversed(list(self)):
                new = _undone(module, new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got "
                f"{type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            one: Any = new
            if one.dtype != original.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {one.dtype}"
                )
            if new is not original:
                original.data = one.data
            _keep(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element "
                        f"{i} of the sequence with type {type(part).__name__}."
                    )
                held = part
                if isinstance(original, Parameter):
                    held = Parameter(part.detach().clone(), original.requires_grad)
                _keep(self, f"original{i}", held.requires_grad_(original.requires_grad))
        if not unsafe:
            _same_kind(self(), shaped, "A parametrization")

    def _originals(self) -> list[Tensor]:
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set what is behind the tensor so that it becomes ``value``: by each parametrization's ``right_inverse``, the
        last one's first.

        Raises:
            RuntimeError: one of them has none.  ValueError: what they give is of another number, shape or dtype.
        """
        with no_grad():
            new: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                new = module.right_inverse(new)
            if self.is_tensor:
                if not isinstance(new, Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {type(new).__name__}")
                self._set(self.original, new)
                return
            if not isinstance(new, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}.")
            if len(new) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of "
                    f"length {len(new)}."
                )
            for i, (held, part) in enumerate(zip(self._originals(), new, strict=True)):
                if not isinstance(part, Tensor):
                    raise ValueError(f"Tensor {i} returned by `right_inverse` is a {type(part).__name__}")
                self._set(held, part)

    def _set(self, held: Tensor, new: Tensor) -> None:
        if held.dtype != new.dtype:
            raise ValueError(
                f"The tensor returned by `right_inverse` has dtype {new.dtype} while `original` has dtype {held.dtype}"
            )
        if held.shape == new.shape:
            held.copy_(new)
        else:
            held.data = new.detach().clone()

    def forward(self) -> Tensor:
        """The tensor, computed."""
        first, *others = self
        found = first(*self._originals())
        for module in others:
            found = module(found)
        return found


def _own_class(module: Module) -> None:
    """Give ``module`` a class of its own, that properties can be added to."""
    base = type(module)

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        made = object.__new__(base)
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        _own_class(made)
        for name in made.parametrizations:
            _own_property(made, name)
        return made

    def __getstate__(self: Any) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(): save that, make the module "
            "and parametrize it anew, and load it."
        )

    fields = {"__deepcopy__": __deepcopy__, "__getstate__": __getstate__, "__module__": base.__module__}
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), fields)


def _own_property(module: Module, name: str) -> None:
    def read(self: Any) -> Tensor:
        if not _caching:
            return self.parametrizations[name]()
        key = (id(self), name)
        found = _cache.get(key)
        if found is None:
            found = _cache[key] = self.parametrizations[name]()
        return found

    def write(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(read, write))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer of ``module`` by ``parametrization(original)`` from now on; return the module.

    What stood there becomes ``module.parametrizations[tensor_name].original``, after ``parametrization.right_inverse``
    if there is one, which may give several tensors.  A second parametrization is applied to what the first gives.
    To assign to the tensor is to set the originals by ``right_inverse``.

    Args:
        unsafe: do not check that shape and dtype stay as they are.

    Raises:
        ValueError: there is no such tensor, or shape or dtype would change.

    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    ...
    >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight == layer.weight.T).all())
    True
    >>> list(layer.state_dict())
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        now = getattr(module, tensor_name)
        if not unsafe:
            found = parametrization(now)
            _same_kind(found, now, "A parametrization")
            if hasattr(parametrization, "right_inverse"):
                with contextlib.suppress(NotImplementedError):
                    _same_kind(parametrization.right_inverse(found), now, "parametrization.right_inverse")
        parts = module.parametrizations[tensor_name]
        parts.append(parametrization)
        parts.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        parts = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _own_class(module)
            module.parametrizations = ModuleDict()
        _own_property(module, tensor_name)
        module.parametrizations[tensor_name] = parts
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of ``module``, or the one of this name, is parametrized.

    >>> nn.utils.parametrize.is_parametrized(nn.Linear(1, 1))
    False
    """
    parts = module.__dict__.get("_modules", {}).get("parametrizations")
    if not isinstance(parts, ModuleDict):
        return False
    return len(parts) > 0 if tensor_name is None else tensor_name in parts


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrized tensor a plain parameter or buffer again; return the module.

    Args:
        leave_parametrized: with the value that was computed; else with that of the original.

    Raises:
        ValueError: it is not parametrized; or its several originals cannot take its place.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 1))
    >>> type(nn.utils.parametrize.remove_parametrizations(layer, "weight")).__name__, list(layer.state_dict())
    ('Linear', ['bias', 'weight'])
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parts = module.parametrizations[tensor_name]
    if leave_parametrized:
        with no_grad():
            value = parts().detach()
        held = parts._originals()[0]
        if parts.is_tensor:
            held.data = value
        else:
            wanted = any(p.requires_grad for p in parts._originals())
            held = Parameter(value, wanted) if isinstance(held, Parameter) else value
    elif parts.is_tensor:
        held = parts.original
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _keep(module, tensor_name, held)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module had before it was parametrized.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 1))
    >>> nn.utils.parametrize.type_before_parametrizations(layer) is nn.Linear
    True
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrize the tensors of ``to_module`` as those of ``from_module`` are, with copies of what is behind them;
    return ``to_module``.

    >>> layer, other = nn.utils.parametrizations.weight_norm(nn.Linear(2, 1)), nn.Linear(2, 1)
    >>> made = nn.utils.parametrize.transfer_parametrizations_and_params(layer, other)
    >>> bool((made.weight == layer.weight).all())
    True
    """
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        given = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            with no_grad():
                _keep(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for part in given:
            register_parametrization(to_module, name, copy.deepcopy(part), unsafe=True)
        made = to_module.parametrizations[name]
        with no_grad():
            for mine, theirs in zip(made._originals(), given._originals(), strict=True):
                mine.data = theirs.detach().clone()
    return to_module
