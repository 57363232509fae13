"""Pruning: weights that are multiplied by a mask before each call of their module.

The parameter becomes ``<name>_orig``, the mask is the buffer ``<name>_mask``, and a hook before forward sets ``<name>``
to their product.  A further pruning of the same parameter works on what the former ones left.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from ...autograd import Tensor, no_grad
from ...ops.creation import ones_like, zeros_like
from ...ops.drawing import rand
from ...ops.joining import cat
from ..base.hooks import forward_pre_hooks
from ..base.module import Module

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured", "PruningContainer",
    "RandomStructured", "RandomUnstructured", "custom_from_mask", "global_unstructured", "identity", "is_pruned",
    "l1_unstructured", "ln_structured", "random_structured", "random_unstructured", "remove",
]  # fmt: skip


def _found(module: Module, name: str) -> tuple[int, Any] | None:
    """The key and the method of the hook that prunes ``name``."""
    for key, hook in forward_pre_hooks(module).items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return key, hook
    return None


class BasePruningMethod(ABC):
    """A way to prune: subclass, set ``PRUNING_TYPE`` and write :meth:`compute_mask`.

    Attributes:
        PRUNING_TYPE: ``"unstructured"`` where a further pruning sees the elements that are left, ``"structured"`` where
            it sees the channels that are left along ``dim``, ``"global"`` where it sees all.
    """

    _tensor_name: str
    PRUNING_TYPE: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for elements of importance ``t``, which is 0 also where ``default_mask`` is; both of one shape."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        if not hasattr(self, "_tensor_name"):
            raise AssertionError(f"Module {module} has to be pruned")
        mask, orig = getattr(module, self._tensor_name + "_mask"), getattr(module, self._tensor_name + "_orig")
        return mask.to(orig.dtype) * orig

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune the parameter ``name`` of ``module`` by ``cls(*args, **kwargs)``; return the hook.

        Args:
            importance_scores: what to judge the elements by; by default the parameter.

        Raises:
            AssertionError: they are of another shape.
        """
        former = _found(module, name)
        if former is not None:
            del module._hooks.forward_pre[former[0]]  # type: ignore[union-attr]
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        if former is not None:
            container = former[1] if isinstance(former[1], PruningContainer) else PruningContainer(former[1])
            container.add_pruning_method(method)
            method = container
        orig = getattr(module, name)
        if importance_scores is None:
            importance_scores = orig
        elif importance_scores.shape != orig.shape:
            raise AssertionError(f"importance_scores should have the same shape as parameter {name} of {module}")
        if former is None:
            module.register_parameter(name + "_orig", orig)
            del module._parameters[name]
            default = ones_like(orig)
        else:
            default = getattr(module, name + "_mask").detach().clone()
        try:
            with no_grad():
                mask = method.compute_mask(importance_scores.detach(), default)
            module.register_buffer(name + "_mask", mask)
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if former is None:
                del module._parameters[name + "_orig"]
                module.register_parameter(name, orig)
            raise
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """``t`` pruned, by itself."""
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        scores = t if importance_scores is None else importance_scores
        default = ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default)

    def remove(self, module: Module) -> None:
        """Make the pruned values the parameter's own, and take away mask and original."""
        name = self._tensor_name
        weight = self.apply_mask(module).detach()
        if hasattr(module, name):
            delattr(module, name)
        orig = module._parameters[name + "_orig"]
        orig.data = weight  # type: ignore[union-attr]
        del module._parameters[name + "_orig"], module._buffers[name + "_mask"]
        setattr(module, name, orig)


class PruningContainer(BasePruningMethod):
    """Several methods, of which each sees what those before left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """Add a method for the same parameter.

        TypeError for something else, ValueError for another parameter.
        """
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        if method is not None:
            self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, i: int) -> BasePruningMethod:
        return self._pruning_methods[i]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """What the last method leaves of what ``default_mask`` does."""
        method: Any = self._pruning_methods[-1]
        mask = default_mask.clone()
        where: Any
        if method.PRUNING_TYPE == "unstructured":
            where = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    "Pruning methods of PRUNING_TYPE 'structured' need to have the attribute `dim` defined."
                )
            dim = method.dim % t.ndim
            left = default_mask.sum([d for d in range(t.ndim) if d != dim]) != 0
            where = (*[slice(None)] * dim, left)
        elif method.PRUNING_TYPE == "global":
            where = (slice(None),) * t.ndim
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask[where] = method.compute_mask(t[where], default_mask[where])
        return mask


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if (whole and float(amount) < 0) or (not whole and not 0.0 <= float(amount) <= 1.0):
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")


def _count(amount: Any, of: int) -> int:
    """How many ``amount`` is of so many; ValueError for more than there are."""
    if isinstance(amount, numbers.Integral):
        if int(amount) > of:
            raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={of}")
        return int(amount)
    return round(float(amount) * of)


class Identity(BasePruningMethod):
    """Prunes nothing, but makes mask and original."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """``default_mask``."""
        return default_mask


class _Amount(BasePruningMethod):
    """A method that takes an amount: a share of the elements or channels, or their number."""

    def __init__(self, amount: float) -> None:
        _check_amount(amount)
        self.amount = amount


class RandomUnstructured(_Amount):
    """Prunes elements at random.  ``amount``: their share, or their number."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Zero at so many elements."""
        return _without(default_mask, rand(t.shape, device=t.device), _count(self.amount, t.numel()), False)


class L1Unstructured(_Amount):
    """Prunes the elements of least size.  ``amount``: their share, or their number."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Zero at so many elements."""
        return _without(default_mask, t.abs(), _count(self.amount, t.numel()), False)


def _without(mask: Tensor, scores: Tensor, n: int, largest: bool) -> Tensor:
    """``mask`` with zeros where the ``n`` least, or the ``n`` largest, scores are."""
    mask = mask.clone()
    if n:
        mask.view(-1)[scores.reshape(-1).topk(n, largest=largest).indices] = 0
    return mask


class _Structured(_Amount):
    """A method that prunes whole channels along ``dim``."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def scores(self, t: Tensor) -> Tensor:
        """How important each channel is."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Zero at the least important channels."""
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                f"{t.shape} with {t.ndim} dims"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        channels = t.shape[self.dim]
        n = _count(self.amount, channels)
        if n == 0:
            return default_mask
        kept = zeros_like(t)
        kept[(*[slice(None)] * (self.dim % t.ndim), self.scores(t).topk(channels - n).indices)] = 1
        return kept * default_mask.to(kept.dtype)


class RandomStructured(_Structured):
    """Prunes channels at random.  ``amount``: their share, or their number; ``dim``: which dimension they are."""

    def scores(self, t: Tensor) -> Tensor:
        """Random numbers."""
        return rand(t.shape[self.dim], device=t.device)


class LnStructured(_Structured):
    """Prunes the channels of least norm.

    Args:
        amount: their share, or their number.
        n: which norm: a number, ±inf, ``"fro"``.
        dim: which dimension the channels are.
    """

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def scores(self, t: Tensor) -> Tensor:
        """Their norms."""
        rows = t.movedim(self.dim, 0).flatten(1)
        if self.n == "nuc":
            from ...ops.linalg.norms import matrix_norm

            return matrix_norm(t.movedim(self.dim, 0), "nuc")
        return rows.norm(p=2.0 if self.n == "fro" else float(self.n), dim=1)


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Both masks multiplied; AssertionError where they are of different shapes."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module: Module, name: str) -> Module:
    """Give a parameter mask and original, and prune nothing; return the module.

    >>> list(nn.utils.prune.identity(nn.Linear(2, 3), "bias").state_dict())
    ['weight', 'bias_orig', 'bias_mask']
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune elements at random: ``amount`` is their share, or their number; return the module.

    >>> nn.utils.prune.random_unstructured(nn.Linear(2, 3), "weight", amount=1).weight_mask.sum()
    tensor(5.)
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: float, importance_scores: Tensor | None = None) -> Module:
    """Prune the elements of least size, or of least ``importance_scores``; return the module.

    >>> nn.utils.prune.l1_unstructured(nn.Linear(2, 3), "weight", amount=0.5).weight_mask.sum()
    tensor(3.)
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune channels along ``dim`` at random: ``amount`` is their share, or their number; return the module.

    >>> nn.utils.prune.random_structured(nn.Linear(2, 3), "weight", amount=1, dim=0).weight_mask.sum()
    tensor(4.)
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prune the channels along ``dim`` of least ``n``-norm; return the module.

    >>> nn.utils.prune.ln_structured(nn.Linear(2, 3), "weight", amount=1, n=2, dim=1).weight_mask.sum()
    tensor(3.)
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune what ``mask``, of the parameter's shape, has zeros at; return the module.

    >>> nn.utils.prune.custom_from_mask(nn.Linear(1, 2), "bias", torch.tensor([0, 1])).bias_mask
    tensor([0., 1.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]], pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: pairs of a module and a parameter's name.
        pruning_method: a class, as :class:`L1Unstructured`, which ``kwargs`` go to.
        importance_scores: by such pairs, what to judge by instead of the parameter.

    Raises:
        TypeError: what is no list of pairs, a method that is not ``"unstructured"``.

    >>> a, b = nn.Linear(2, 1), nn.Linear(3, 1)
    >>> prune = nn.utils.prune
    >>> prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=2)
    >>> a.weight_mask.sum() + b.weight_mask.sum()
    tensor(3.)
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = importance_scores if importance_scores is not None else {}
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = [(module, name) for module, name in parameters]
    importance = cat([scores.get(pair, getattr(*pair)).reshape(-1) for pair in pairs])
    masks: list[Any] = [getattr(m, name + "_mask", None) for m, name in pairs]
    masks = [ones_like(getattr(*pair)) if k is None else k for k, pair in zip(masks, pairs, strict=True)]
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    with no_grad():
        final = PruningContainer(method).compute_mask(importance.detach(), cat([m.reshape(-1) for m in masks]))
    at = 0
    for module, name in pairs:
        shape = getattr(module, name).shape
        n = math.prod(shape)
        custom_from_mask(module, name, final[at : at + n].view(shape))
        at += n


def remove(module: Module, name: str) -> Module:
    """Make what is left after pruning the parameter's own values, and return the module; ValueError where it is not
    pruned.

    >>> layer = nn.utils.prune.l1_unstructured(nn.Linear(2, 3), "weight", amount=2)
    >>> (nn.utils.prune.remove(layer, "weight").weight == 0).sum()
    tensor(2)
    """
    found = _found(module, name)
    if found is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    found[1].remove(module)
    del module._hooks.forward_pre[found[0]]  # type: ignore[union-attr]
    return module


def is_pruned(module: Module) -> bool:
    """Whether a parameter here or below is pruned.

    >>> nn.utils.prune.is_pruned(nn.Linear(2, 3))
    False
    """
    return any(
        isinstance(hook, BasePruningMethod) for part in module.modules() for hook in forward_pre_hooks(part).values()
    )
