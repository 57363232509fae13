"""Layers that learn their input's size from the first input."""

from __future__ import annotations

from typing import Any

from ...autograd import Tensor, no_grad
from ...ops.creation import tensor
from ..base.module import Module
from ..parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from .batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .linear import Linear
from .normalization import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear", "LazyModuleMixin",
]  # fmt: skip


class LazyModuleMixin(Module):
    """What lazy modules share: at the first call :meth:`initialize_parameters` is given the inputs, and the module
    becomes one of the class ``cls_to_become``.

    >>> layer = nn.LazyLinear(2)
    >>> layer(torch.ones(5, 3)).shape, type(layer).__name__
    (torch.Size([5, 2]), 'Linear')
    """

    cls_to_become: type[Module] | None = None

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(is_lazy(t) for held in (self._parameters, self._buffers) for t in held.values())

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shapes, and draw them; every lazy class writes its own."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        if self.cls_to_become is None:
            return super().__call__(*args, **kwargs)
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        return self(*args, **kwargs)

    def reset_parameters(self) -> None:
        """Draw the parameters anew, if they have their shapes."""
        if not self.has_uninitialized_params() and self._sized():
            super().reset_parameters()  # type: ignore[misc]

    def _sized(self) -> bool:
        return True

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, held in self._own_state().items():
            destination[prefix + name] = held if is_lazy(held) or keep_vars else held.detach()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, held in self._own_state().items():
            given = state_dict.get(prefix + name)
            if is_lazy(held) and isinstance(given, Tensor) and not is_lazy(given):
                with no_grad():
                    held.materialize(given.shape)
            elif is_lazy(given):
                state_dict.pop(prefix + name)
                state_dict[prefix + name] = held
        super()._load_from_state_dict(state_dict, prefix, *rest)


class LazyLinear(LazyModuleMixin, Linear):
    """A :class:`Linear` whose ``in_features`` is the last size of the first input.

    >>> layer = nn.LazyLinear(2)
    >>> layer(torch.ones(5, 3)).shape
    torch.Size([5, 2])
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def _sized(self) -> bool:
        return self.in_features != 0

    def initialize_parameters(self, input: Tensor) -> None:
        """Take ``in_features`` from the input."""
        if self.has_uninitialized_params():
            with no_grad():
                self.in_features = input.shape[-1]
                self.weight.materialize((self.out_features, self.in_features))
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))
                self.reset_parameters()
        elif self.in_features == 0:
            self.in_features = self.weight.shape[-1]


class _LazyConv(LazyModuleMixin):
    """A convolution whose ``in_channels`` is the first input's; the arguments are those of the layer that it becomes
    without ``in_channels``."""

    groups: int
    in_channels: int

    def __init__(self, out_channels: int, *args: Any, **kwargs: Any) -> None:
        made = {name: kwargs.pop(name, None) for name in ("device", "dtype")}
        at = 6 if self._transposed else 5
        bias = kwargs.pop("bias", True)
        if len(args) > at:
            bias, args = args[at], (*args[:at], False, *args[at + 1 :])
        else:
            kwargs["bias"] = False
        groups = kwargs.pop("groups", 1)
        super().__init__(0, 0, *args, **kwargs)
        self.groups = groups if len(args) < at else self.groups
        self.out_channels = out_channels
        self.weight = UninitializedParameter(**made)
        if bias:
            self.bias = UninitializedParameter(**made)

    def _sized(self) -> bool:
        return self.in_channels != 0

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take ``in_channels`` from the input."""
        if self.has_uninitialized_params():
            n = self._n
            if input.ndim not in (n + 1, n + 2):
                raise RuntimeError(
                    f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got "
                    f"input of size: {input.shape}"
                )
            self.in_channels = input.shape[-n - 1]
            if self.in_channels % self.groups:
                raise ValueError("in_channels must be divisible by groups")
            pair = (self.out_channels, self.in_channels)
            first, second = reversed(pair) if self._transposed else pair
            with no_grad():
                self.weight.materialize((first, second // self.groups, *self.kernel_size))
                if self.bias is not None:
                    self.bias.materialize((self.out_channels,))
                self.reset_parameters()
        elif self.in_channels == 0:
            self.in_channels = self.weight.shape[0] if self._transposed else self.weight.shape[1] * self.groups


class _LazyNorm(LazyModuleMixin):
    """A normalization whose ``num_features`` is the first input's number of channels; the other arguments are those of
    the layer that it becomes."""

    _affine = True
    num_features: int

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool | None = None,
        track_running_stats: bool | None = None, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(0, eps, momentum, False, False)
        self.affine = self._affine if affine is None else affine
        self.track_running_stats = self._affine if track_running_stats is None else track_running_stats
        if self.affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if self.track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = tensor(0, device=device)

    def _sized(self) -> bool:
        return self.num_features != 0

    def initialize_parameters(self, input: Tensor) -> None:
        """Take ``num_features`` from the input."""
        if not self.has_uninitialized_params() and self.num_features:
            return
        self._check_input_dim(input)
        lone = "InstanceNorm" in type(self).__name__ and input.ndim == self._dimensions[0]
        self.num_features = input.shape[0 if lone else 1]
        for name in ("weight", "bias", "running_mean", "running_var"):
            held: Any = getattr(self, name)
            if is_lazy(held):
                held.materialize((self.num_features,))
        self.reset_parameters()


def _lazy(base: type[Module], how: type[LazyModuleMixin], shape: str, example: str) -> Any:
    """The lazy form of the layer ``base``."""
    name = f"Lazy{base.__name__}"
    text = f"""{(how.__doc__ or "").strip()}

    See :class:`{base.__name__}`.

    >>> layer = nn.{name}({example})
    >>> _ = layer(torch.ones({shape}))
    >>> type(layer).__name__
    '{base.__name__}'
    """
    fields = {"cls_to_become": base, "__doc__": text, "__module__": __name__}
    if "InstanceNorm" in name:
        fields["_affine"] = False
    return type(name, (how, base), fields)


LazyConv1d = _lazy(Conv1d, _LazyConv, "2, 3, 5", "4, 2")
LazyConv2d = _lazy(Conv2d, _LazyConv, "2, 3, 5, 5", "4, 2")
LazyConv3d = _lazy(Conv3d, _LazyConv, "2, 3, 5, 5, 5", "4, 2")
LazyConvTranspose1d = _lazy(ConvTranspose1d, _LazyConv, "2, 3, 5", "4, 2")
LazyConvTranspose2d = _lazy(ConvTranspose2d, _LazyConv, "2, 3, 5, 5", "4, 2")
LazyConvTranspose3d = _lazy(ConvTranspose3d, _LazyConv, "2, 3, 5, 5, 5", "4, 2")
LazyBatchNorm1d = _lazy(BatchNorm1d, _LazyNorm, "2, 3", "")
LazyBatchNorm2d = _lazy(BatchNorm2d, _LazyNorm, "2, 3, 5, 5", "")
LazyBatchNorm3d = _lazy(BatchNorm3d, _LazyNorm, "2, 3, 5, 5, 5", "")
LazyInstanceNorm1d = _lazy(InstanceNorm1d, _LazyNorm, "2, 3, 5", "")
LazyInstanceNorm2d = _lazy(InstanceNorm2d, _LazyNorm, "2, 3, 5, 5", "")
LazyInstanceNorm3d = _lazy(InstanceNorm3d, _LazyNorm, "2, 3, 5, 5, 5", "")

