"""Recurrent layers: what they give, against steps written out and against PyTorch; sequences of several lengths."""

from __future__ import annotations

import numpy as np
import pytest

import distgrad
from distgrad import nn
from distgrad.nn.utils import rnn


def test_a_long_short_term_memory_is_its_equations() -> None:
    layer = nn.LSTM(2, 3)
    x = distgrad.randn(4, 1, 2)
    output, (h, c) = layer(x)
    state, cell = distgrad.zeros(1, 3), distgrad.zeros(1, 3)
    for t in range(4):
        gates = x[t] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + state @ layer.weight_hh_l0.T + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        state = o.sigmoid() * cell.tanh()
        assert distgrad.allclose(output[t], state, atol=1e-6)
    assert distgrad.allclose(h[0], state, atol=1e-6)
    assert distgrad.allclose(c[0], cell, atol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_packed_sequences_give_what_each_gives_alone(kind: str) -> None:
    layer = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=True)
    sequences = [distgrad.randn(n, 2) for n in (2, 4, 1)]
    packed, last = layer(rnn.pack_sequence(sequences, enforce_sorted=False))
    last = last[0] if kind == "LSTM" else last
    for k, (found, s) in enumerate(zip(rnn.unpack_sequence(packed), sequences, strict=True)):
        alone, end = layer(s)
        end = end[0] if kind == "LSTM" else end
        assert distgrad.allclose(found, alone, atol=1e-6)
        assert distgrad.allclose(last[:, k], end, atol=1e-6)


@pytest.mark.parametrize(("kind", "cell"), [("RNN", "RNNCell"), ("LSTM", "LSTMCell"), ("GRU", "GRUCell")])
def test_a_cell_is_one_step_of_its_layer(kind: str, cell: str) -> None:
    layer, one = getattr(nn, kind)(2, 3), getattr(nn, cell)(2, 3)
    one.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = distgrad.randn(5, 2)
    found = one(x)
    found = found[0] if kind == "LSTM" else found
    assert distgrad.allclose(found, layer(x[None])[0][0], atol=1e-6)
    assert distgrad.allclose(one(x[0])[0] if kind == "LSTM" else one(x[0]), found[0], atol=1e-6)


def test_a_batch_first_is_the_same_transposed() -> None:
    a, b = nn.GRU(2, 3), nn.GRU(2, 3, batch_first=True)
    b.load_state_dict(a.state_dict())
    x = distgrad.randn(4, 2, 2)
    assert distgrad.equal(a(x)[0].transpose(0, 1), b(x.transpose(0, 1))[0])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.LSTM(3, 0), ValueError, "hidden_size must be greater than zero"),
        (lambda: nn.LSTM(3, 4, 0), ValueError, "num_layers must be greater than zero"),
        (lambda: nn.LSTM(3, 4, dropout=2), ValueError, "dropout should be a number"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "smaller than hidden_size"),
        (lambda: nn.GRU(3, 4, proj_size=2), ValueError, "only supported for LSTM"),
        (lambda: nn.RNN(3, 4, nonlinearity="x"), ValueError, "Unknown nonlinearity 'x'"),
        (lambda: nn.LSTM(3, 4)(distgrad.zeros(2, 2, 5)), RuntimeError, "Expected 3, got 5"),
        (lambda: nn.LSTM(3, 4)(distgrad.zeros(2, 2, 2, 3)), ValueError, "Expected input to be 2D or 3D, got 4D"),
        (lambda: nn.LSTM(3, 4)(distgrad.zeros(0, 2, 3)), RuntimeError, "sequence length to be larger than 0"),
        (lambda: nn.LSTM(3, 4)(distgrad.zeros(2, 2, 3).double()), ValueError, "does not match weight dtype"),
        (lambda: nn.GRU(3, 4)(distgrad.zeros(2, 2, 3), distgrad.zeros(1, 3, 4)), RuntimeError, "Expected hidden size"),
        (lambda: nn.GRU(3, 4)(distgrad.zeros(2, 3), distgrad.zeros(1, 3, 4)), RuntimeError, "unbatched 2-D"),
        (lambda: nn.GRUCell(3, 4)(distgrad.zeros(2, 4)), RuntimeError, "inconsistent input_size"),
        (lambda: rnn.pack_padded_sequence(distgrad.ones(3, 2, 1), [1, 3]), RuntimeError, "sorted in decreasing order"),
        (lambda: rnn.pack_padded_sequence(distgrad.ones(3, 2, 1), [3]), RuntimeError, "equal to batch_size"),
        (lambda: rnn.pack_padded_sequence(distgrad.ones(3, 2, 1), [3, 0]), RuntimeError, "greater than 0"),
        (lambda: rnn.pad_sequence([]), RuntimeError, "empty list"),
    ],
)
def test_what_makes_no_layer_or_does_not_fit_is_told(make, error, text) -> None:
    with pytest.raises(error, match=text):
        make()


def test_writing_to_a_result_is_seen_or_harmless() -> None:
    x = distgrad.randn(3, 2, 2)
    for kind in ("RNN", "GRU"):
        layer = getattr(nn, kind)(2, 3)
        layer(x)[0].sum().backward()
        wanted = layer.weight_hh_l0.grad.clone()
        layer.zero_grad()
        layer(x)[0].add_(1).sum().backward()
        assert distgrad.equal(layer.weight_hh_l0.grad, wanted)
    out, _ = nn.LSTM(2, 3)(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.mul_(2).sum().backward()


def test_padding_and_packing_undo_each_other() -> None:
    given = [distgrad.randn(n, 2) for n in (3, 1, 4)]
    padded = rnn.pad_sequence(given, batch_first=True)
    assert [a.tolist() for a in rnn.unpad_sequence(padded, distgrad.tensor([3, 1, 4]), True)] == [
        a.tolist() for a in given
    ]
    packed = rnn.pack_padded_sequence(padded, [3, 1, 4], batch_first=True, enforce_sorted=False)
    again, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=7.0, total_length=5)
    assert lengths.tolist() == [3, 1, 4]
    assert distgrad.equal(again[1, 0], given[1][0])
    assert (again[1, 1:] == 7).all()
    left = rnn.pad_sequence(given, True, -1.0, padding_side="left")
    assert distgrad.equal(left[1, 3:], given[1])
    x = distgrad.randn(4, 3, 2, dtype=distgrad.float64, requires_grad=True)
    assert distgrad.autograd.gradcheck(
        lambda a: rnn.pad_packed_sequence(rnn.pack_padded_sequence(a, [3, 1, 4], enforce_sorted=False))[0], [x]
    )


def test_states_and_weights_are_drawn_within_their_bounds() -> None:
    for layer in (nn.LSTM(3, 16), nn.GRUCell(3, 16)):
        for p in layer.parameters():
            assert np.abs(p.numpy(force=True)).max() <= 0.25
