"""Recurrent layers: over sequences whose steps are computed one from the other."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

from ..._arguments import kind_of
from ...autograd import Tensor
from ...ops import creation
from ...ops.joining import cat, stack
from ...ops.nn import recurrent
from .. import functional as F, init
from ..base.module import Module
from ..parameter import Parameter
from .packed_sequence import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU share; ``mode`` is ``"LSTM"``, ``"GRU"``, ``"RNN_TANH"`` or ``"RNN_RELU"``.

    For the other arguments see :class:`LSTM`.

    >>> [name for name, _ in nn.RNNBase("GRU", 2, 3).named_parameters()]
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout) if isinstance(dropout, (int, float)) else dropout
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check()
        gates = _GATES[mode] * hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                size = input_size if layer == 0 else (proj_size or hidden_size) * (1 + bidirectional)
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gates, size), "weight_hh": (gates, proj_size or hidden_size)
                }  # fmt: skip
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    made = Parameter(creation.empty(*shape, device=device, dtype=dtype))
                    self.register_parameter(f"{name}_l{layer}{suffix}", made)
                self._all_weights.append([f"{name}_l{layer}{suffix}" for name in shapes])
        self.reset_parameters()

    def _check(self) -> None:
        p = self.dropout
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if p > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={p} and num_layers={self.num_layers}",
                stacklevel=4,
            )
        for name in ("input_size", "hidden_size"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} should be of type int, got: {type(getattr(self, name)).__name__}")
        for name in ("hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if self.mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + str(self.mode))

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Nothing: no kernel here wants the parameters side by side in memory."""

    def reset_parameters(self) -> None:
        """Draw all parameters anew, uniform on ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False
        }  # fmt: skip
        return text + "".join(f", {n}={getattr(self, n)}" for n, value in usual.items() if getattr(self, n) != value)

    # --- what is given ----------------------------------------------------------------------------------------------

    def _rows(self, input: Any) -> tuple[Tensor, tuple[int, ...], bool]:
        """The rows of all steps, how many there are of each, and whether the input is a batch."""
        name = self._get_name()
        if isinstance(input, PackedSequence):
            rows, sizes, batched = input.data, tuple(input.batch_sizes.tolist()), True
        else:
            if not isinstance(input, Tensor):
                raise TypeError(f"{name}: argument 'input' must be Tensor or PackedSequence, not {kind_of(input)}")
            if input.ndim not in (2, 3):
                raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.ndim}D instead")
            batched = input.ndim == 3
            if not batched:
                input = input.unsqueeze(1)
            elif self.batch_first:
                input = input.transpose(0, 1)
            steps, n = input.shape[:2]
            if steps == 0:
                raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
            rows, sizes = input.reshape(steps * n, input.shape[2]), (n,) * steps
        weight = self.weight_ih_l0
        if rows.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({rows.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({rows.dtype})"
            )
        if rows.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {rows.shape[-1]}"
            )
        return rows, sizes, batched

    def _states(self, hx: Any, rows: Tensor, sizes: tuple[int, ...], batched: bool) -> list[Tensor]:
        """The states to start from, each (layers * directions, N, size)."""
        several = self.mode == "LSTM"
        n = self.num_layers * (1 + self.bidirectional)
        shapes = [(n, sizes[0], size) for size in (self.proj_size or self.hidden_size, self.hidden_size)[: 1 + several]]
        if hx is None:
            return [creation.zeros(*shape, dtype=rows.dtype, device=rows.device) for shape in shapes]
        given = list(hx) if several else [hx]
        ranks, wanted = [s.ndim for s in given], 3 if batched else 2
        if any(rank != wanted for rank in ranks):
            kind = "batched 3-D" if batched else "unbatched 2-D"
            names = "hx and cx" if several else "hx"
            got = f"({ranks[0]}-D, {ranks[-1]}-D) tensors" if several else f"{ranks[0]}-D tensor"
            raise RuntimeError(f"For {kind} input, {names} should also be {wanted}-D but got {got}")
        given = given if batched else [s.unsqueeze(1) for s in given]
        for i, (state, shape) in enumerate(zip(given, shapes, strict=True)):
            if tuple(state.shape) != shape:
                which = f"hidden[{i}]" if several else "hidden"
                raise RuntimeError(f"Expected {which} size {shape}, got {list(state.shape)}")
        return given

    # --- what is computed -------------------------------------------------------------------------------------------

    def _direction(
        self, rows: Tensor, states: list[Tensor], names: list[str], sizes: tuple[int, ...], back: bool
    ) -> tuple[Tensor, ...]:
        """One layer in one direction: the rows, and the last states."""
        given = [getattr(self, name) for name in names]  # one may be computed: parametrized, pruned
        weights, rest = given[:2], given[2:]
        weights += rest[:2] if self.bias else [None, None]
        if self.mode == "LSTM":
            return recurrent.lstm(rows, *states, *weights, rest[-1] if self.proj_size else None, sizes, back)
        if self.mode == "GRU":
            return recurrent.gru(rows, *states, *weights, sizes, back)
        return recurrent.rnn(rows, *states, *weights, self.mode == "RNN_RELU", sizes, back)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        rows, sizes, batched = self._rows(input)
        states = self._states(hx, rows, sizes, batched)
        packed = isinstance(input, PackedSequence)
        if packed and hx is not None and input.sorted_indices is not None:
            states = [s.index_select(1, input.sorted_indices) for s in states]
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outs = []
            for back in (False, True)[: 1 + self.bidirectional]:
                k = len(last)
                out, *ends = self._direction(rows, [s[k] for s in states], self._all_weights[k], sizes, back)
                outs.append(out)
                last.append(tuple(ends))
            rows = outs[0] if len(outs) == 1 else cat(outs, 1)
            if self.dropout and layer < self.num_layers - 1:
                rows = F.dropout(rows, self.dropout, self.training)
        ends = [stack(parts) for parts in zip(*last, strict=True)]
        if packed:
            if input.unsorted_indices is not None:
                ends = [s.index_select(1, input.unsorted_indices) for s in ends]
            output: Any = PackedSequence(rows, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        else:
            output = rows.view(len(sizes), sizes[0], rows.shape[1])
            if not batched:
                output, ends = output.squeeze(1), [s.squeeze(1) for s in ends]
            elif self.batch_first:
                output = output.transpose(0, 1)
        return output, tuple(ends) if self.mode == "LSTM" else ends[0]


class RNN(RNNBase):
    """h ← tanh(W_ih x + b_ih + W_hh h + b_hh), step by step (Elman 1990, doi:10.1207/s15516709cog1402_1).

    ``rnn(input, hx)`` and the arguments are those of :class:`LSTM` without ``proj_size``, but ``hx`` and the last
    states are one tensor, and:

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``; ValueError else.

    >>> rnn = nn.RNN(3, 4, batch_first=True)
    >>> output, h = rnn(torch.ones(2, 5, 3))
    >>> output.shape, h.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self_nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            self_nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if self_nonlinearity not in modes:
            raise ValueError(f"Unknown nonlinearity '{self_nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(modes[self_nonlinearity], *args, **kwargs)
        self.nonlinearity = self_nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; with the gate of
    forgetting of Gers et al. 2000): c ← σ(f) c + σ(i) tanh(g), h ← σ(o) tanh(c), where each of i, f, g and o is
    W_i x + b_i + V_i h + d_i with its own weights.

    ``lstm(input, hx)``: (L, N, input_size), with ``batch_first`` (N, L, input_size), without batch (L, input_size), or
    a :class:`~distgrad.nn.utils.rnn.PackedSequence`; and states (h, c), by default zero, each of
    (layers · directions, N, size).  It gives the h of all steps, of the last layer, in the form of the input, and the
    last states.

    Args:
        input_size, hidden_size: the sizes of x and c.
        num_layers: layers one upon the other.
        bias: whether there are b and d.
        batch_first: see above.
        dropout: with what probability, in training, each output of a layer but the last is dropped.
        bidirectional: also from the last step to the first, in parallel; h is then twice as large.
        proj_size: not 0: h is multiplied by a matrix (proj_size, hidden_size) (Sak et al. 2014, arXiv:1402.1128).
        device, dtype: of the parameters; by default the CPU and the default dtype.

    Attributes:
        weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0: of the first layer, gates one below the other, in the order
            i, f, g, o.  ``weight_hr_l0`` with projection, ``…_l1`` of the second layer, ``…_reverse`` backwards.

    Raises:
        ValueError: arguments that make no layer, an input of another rank or dtype.
        RuntimeError: sizes of input or states that do not fit.

    >>> lstm = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    >>> output, (h, c) = lstm(torch.ones(5, 2, 3))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 2, 8]), torch.Size([4, 2, 4]), torch.Size([4, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078): h ← (1 - z) n + z h, with r and z the sigmoids of
    W x + b + V h + d, and n = tanh(W x + b + r (V h + d)), each with its own weights.

    ``gru(input, hx)`` and the arguments are those of :class:`LSTM` without ``proj_size``, but ``hx`` and the last
    states are one tensor; the weights are in the order r, z, n.

    >>> gru = nn.GRU(3, 4)
    >>> output, h = gru(torch.ones(5, 3))
    >>> output.shape, h.shape
    (torch.Size([5, 4]), torch.Size([1, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share: one step of a recurrent layer.

    >>> nn.GRUCell(2, 3).weight_ih.shape
    torch.Size([9, 2])
    """

    kind: ClassVar[str]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        for name, shape in (("weight_ih", (gates, input_size)), ("weight_hh", (gates, hidden_size))):
            self.register_parameter(name, Parameter(creation.empty(*shape, device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(
                name, Parameter(creation.empty(gates, device=device, dtype=dtype)) if bias else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, uniform on ±1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}" + (f", bias={self.bias}" if self.bias is not True else "")
        shape = getattr(self, "nonlinearity", "tanh")
        return text if shape == "tanh" else f"{text}, nonlinearity={shape}"

    def _step(self, operation: Any, input: Tensor, states: Any, *options: Any) -> tuple[Tensor, ...]:
        """The states after one step, from a row or several."""
        name = self._get_name()
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        n = input.shape[0] if input.ndim == 2 else 1
        if states[0] is None:
            made = creation.zeros(n, self.hidden_size, dtype=input.dtype, device=input.device)
            states = [made] * len(states)
        elif any(s.ndim not in (1, 2) for s in states):
            raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {states[0].ndim}D instead")
        rows = input if input.ndim == 2 else input.unsqueeze(0)
        states = [s if s.ndim == 2 else s.unsqueeze(0) for s in states]
        if rows.shape[1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {rows.shape[1]} expected {self.input_size}")
        for i, s in enumerate(states):
            if s.shape[0] != n:
                raise RuntimeError(f"Input batch size {n} doesn't match hidden{i} batch size {s.shape[0]}")
            if s.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {s.shape[1]}, expected {self.hidden_size}"
                )
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        ends = operation(rows, *states, *weights, *options, (n,), False)[1:]
        return tuple([s if input.ndim == 2 else s.squeeze(0) for s in ends])


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: of (N, input_size) and h (N, hidden_size), by default zero, the next h.

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``; RuntimeError else, at the call.

    >>> nn.RNNCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(recurrent.rnn, input, [hx], self.nonlinearity == "relu")[0]


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: of (N, input_size) and a pair (h, c), each (N, hidden_size), by default zero, the next
    pair.

    >>> h, c = nn.LSTMCell(3, 4)(torch.ones(2, 3))
    >>> h.shape
    torch.Size([2, 4])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        def operation(rows: Tensor, h: Tensor, c: Tensor, *rest: Any) -> Any:
            return recurrent.lstm(rows, h, c, *rest[:4], None, *rest[4:])

        h, c = self._step(operation, input, (None, None) if hx is None else hx)
        return h, c


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`: of (N, input_size) and h (N, hidden_size), by default zero, the next h.

    >>> nn.GRUCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(recurrent.gru, input, [hx])[0]
