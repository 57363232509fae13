"""A module's state as a dictionary of tensors, and back."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...autograd import RemovableHandle, Tensor, no_grad
from ..parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

_EXTRA = "_extra_state"


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class IncompatibleKeys(_Keys):
    """Which keys ``load_state_dict(strict=False)`` did not find, and which it had no use for."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"

    __str__ = __repr__


class _StateHooks:
    """Functions around saving and loading."""

    __slots__ = ("load_post", "load_pre", "save_post", "save_pre")

    def __init__(self) -> None:
        self.save_pre: list[Any] = []
        self.save_post: list[Any] = []
        self.load_pre: list[Any] = []
        self.load_post: list[Any] = []


class StateDict:
    """The part of :class:`Module` that saves and loads."""

    if TYPE_CHECKING:
        _parameters: dict[str, Parameter | None]
        _buffers: dict[str, Tensor | None]
        _modules: dict[str, Module | None]
        _non_persistent_buffers_set: set[str]

    _state_hooks: _StateHooks | None
    _version: int = 1

    def state_dict(
        self, *args: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by their dotted paths: detached tensors that share the module's memory.

        Args:
            destination: a dictionary to add to.
            prefix: what is put before every key.
            keep_vars: give the parameters themselves, not detached.
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for details.",
                FutureWarning,
                stacklevel=2,
            )
            given: list[Any] = [*args, *(destination, prefix, keep_vars)[len(args) :]]
            destination, prefix, keep_vars = given
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        local = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local
        hooks = self._state_hooks
        for hook in hooks.save_pre if hooks else ():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook, replaces in hooks.save_post if hooks else ():
            found = hook(self, destination, prefix, local)
            if found is not None and not replaces:
                raise RuntimeError("state_dict post-hook must return None")
            destination = destination if found is None else found
        return destination

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Add this module's own state, without its children's; a subclass may add more."""
        for name, tensor in self._own_state().items():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not StateDict.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def _own_state(self) -> dict[str, Tensor]:
        buffers = {n: b for n, b in self._buffers.items() if n not in self._non_persistent_buffers_set}
        return {n: t for n, t in (*self._parameters.items(), *buffers.items()) if t is not None}

    def get_extra_state(self) -> Any:
        """More to save under ``_extra_state``, for a subclass to write, with :meth:`set_extra_state`."""
        raise RuntimeError(f"{type(self).__name__} saves no extra state: it does not override get_extra_state()")

    def set_extra_state(self, state: Any) -> None:
        """Take what :meth:`get_extra_state` gave."""
        raise RuntimeError(f"{type(self).__name__} takes no extra state: it does not override set_extra_state()")

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of ``state_dict`` into parameters and buffers, in place.

        Args:
            state_dict: as :meth:`state_dict` gives it; tensors may be of another dtype or on another device.
            strict: missing or unexpected keys are an error.
            assign: let the given tensors take the places of the module's, instead of copying their values.

        Returns:
            The missing and the unexpected keys; prints ``<All keys matched successfully>`` where there are none.

        Raises:
            TypeError: ``state_dict`` is no mapping.
            RuntimeError: with all that is missing, unexpected (if ``strict``), of another shape or no tensor.  What
                does fit has been loaded.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        state = OrderedDict(state_dict)  # a hook may change it
        if hasattr(state_dict, "_metadata"):
            state._metadata = state_dict._metadata  # type: ignore[attr-defined]
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        self._load(state, "", assign, missing, unexpected, errors)
        if strict:
            listed = [("Unexpected", unexpected), ("Missing", missing)]
            for what, keys in listed:
                if keys:
                    errors.insert(0, f"{what} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys) + ". ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return IncompatibleKeys(missing, unexpected)

    def _load(
        self, state: dict[str, Any], prefix: str, assign: bool, missing: list[str], unexpected: list[str],
        errors: list[str],
    ) -> None:  # fmt: skip
        local = dict(getattr(state, "_metadata", {}).get(prefix[:-1], {}))
        if assign:
            local["assign_to_params_buffers"] = True
        self._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
        for name, module in self._modules.items():
            if module is not None:
                module._load(state, f"{prefix}{name}.", assign, missing, unexpected, errors)
        incompatible = IncompatibleKeys(missing, unexpected)
        for hook in self._state_hooks.load_post if self._state_hooks else ():
            if hook(self, incompatible) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                    "values, if incompatible_keys need to be modified, it should be done inplace."
                )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Load this module's own state, without its children's; a subclass may rename keys first."""
        for hook in self._state_hooks.load_pre if self._state_hooks else ():
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = self._own_state()
        for name, held in own.items():
            key = prefix + name
            if key not in state_dict:
                missing_keys.append(key)
                continue
            given = state_dict[key]
            if not isinstance(given, Tensor):
                error_msgs.append(
                    f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(given)}"
                )
            elif given.shape != held.shape:
                error_msgs.append(
                    f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, the shape in "
                    f"current model is {held.shape}."
                )
            elif not local_metadata.get("assign_to_params_buffers", False):
                if held.is_meta and not given.is_meta:
                    warnings.warn(
                        f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the "
                        "current model, which is a no-op. (Did you mean to pass `assign=True` to assign items in the "
                        "state dictionary to their corresponding key in the module instead of copying them in place?)",
                        stacklevel=2,
                    )
                with no_grad():
                    held.copy_(given.to(held.device))
            elif isinstance(held, Parameter) and not isinstance(given, Parameter):
                setattr(self, name, Parameter(given, held.requires_grad))
            else:
                setattr(self, name, given)
        has_extra = type(self).set_extra_state is not StateDict.set_extra_state
        extra = prefix + _EXTRA
        if has_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif has_extra:
            missing_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and not (has_extra and key == extra):
                    head, dot, _ = key[len(prefix) :].partition(".")
                    if (dot and head not in self._modules) or (not dot and head not in own):
                        unexpected_keys.append(key)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def _add_state_hook(self, kind: str, hook: Any) -> RemovableHandle:
        if self._state_hooks is None:
            self._state_hooks = _StateHooks()
        hooks = getattr(self._state_hooks, kind)
        hooks.append(hook)
        return RemovableHandle(hooks, hook)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As :meth:`register_state_dict_post_hook`, but what the hook returns, if not None, replaces the dictionary."""
        return self._add_state_hook("save_post", (hook, True))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """As :meth:`register_load_state_dict_pre_hook`, but the hook is given the module only ``with_module``."""
        given = hook if with_module else lambda module, *args: hook(*args)
        return self._add_state_hook("load_pre", given)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before this module's state is saved."""
        return self._add_state_hook("save_pre", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after; it may change the dictionary in place."""
        return self._add_state_hook("save_post", (hook, False))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)``
        before this module's state is loaded; it may change them in place."""
        return self._add_state_hook("load_pre", hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after this module and all below are loaded."""
        return self._add_state_hook("load_post", hook)
