"""The generator: streams, states, what the samplers return, and their distributions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from distgrad import dtypes, random
from distgrad.dtypes import as_dtype
from distgrad.random import Generator

FLOATS = [dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64]
COMPLEX = [dtypes.complex64, dtypes.complex128]

# Each draws from a generator in another way; together they use every path through the bit source.
DRAWS = {
    "uniform": lambda g: g.uniform((5,), dtypes.float32),
    "uniform half": lambda g: g.uniform((5,), dtypes.bfloat16),
    "normal": lambda g: g.normal((5,), dtypes.float32),
    "normal double": lambda g: g.normal((5,), dtypes.float64),
    "complex": lambda g: g.normal((5,), dtypes.complex64),
    "exponential": lambda g: g.exponential((5,), dtypes.float32),
    "integers": lambda g: g.integers(0, 1000, (5,), dtypes.int32),
    "permutation": lambda g: g.permutation(7),
    "bernoulli": lambda g: g.bernoulli((5,), 0.3),
    "bernoulli of an array": lambda g: g.bernoulli((5,), np.full(5, 0.3)),
    "multinomial": lambda g: g.multinomial(np.arange(9.0), 5),
    "multinomial again": lambda g: g.multinomial(np.arange(9.0), 5, replacement=True),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_and_a_state_repeat_the_stream(name):
    draw = DRAWS[name]
    g = Generator().manual_seed(7)
    first = draw(g)
    state = g.get_state()
    second = draw(g)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(draw(g.set_state(state)), second)
    assert g.initial_seed() == 7
    np.testing.assert_array_equal(draw(g.manual_seed(7)), first)
    np.testing.assert_array_equal(draw(Generator().manual_seed(7)), first)
    assert not np.array_equal(draw(Generator().manual_seed(8)), first)


def test_a_state_taken_between_halves_of_a_word_continues_exactly():
    g = Generator().manual_seed(0)
    g.uniform((3,), dtypes.float32)  # an odd number of 32-bit draws leaves one spare in the bit source
    h = g.clone_state()
    np.testing.assert_array_equal(g.uniform((4,), dtypes.float32), h.uniform((4,), dtypes.float32))


def test_keyed_streams_are_pure_functions_of_their_key_and_all_differ():
    keys = [*itertools.product(range(3), range(3)), *((a,) for a in range(3)), *itertools.product(range(2), repeat=3)]
    seen = [Generator().manual_seed(5).normal((8,), dtypes.float64)]
    for key in keys:
        x = Generator.keyed(5, *key).normal((8,), dtypes.float64)
        np.testing.assert_array_equal(x, Generator.keyed(5, *key).normal((8,), dtypes.float64))
        seen.append(x)
    assert len({x.tobytes() for x in seen}) == len(keys) + 1
    assert len(set(np.concatenate(seen).tolist())) == 8 * len(seen)
    state = Generator.keyed(5, 1, 2).get_state()
    np.testing.assert_array_equal(Generator().set_state(state).permutation(9), Generator.keyed(5, 1, 2).permutation(9))


@pytest.mark.parametrize("counters", [(), (1, 2, 3, 4), (-1,), (2**64,), (1.0,), (True,)])
def test_keyed_refuses_counters_it_cannot_keep_apart(counters):
    with pytest.raises(ValueError, match="counter"):
        Generator.keyed(1, *counters)


def test_seeds_are_64_bits():
    assert Generator().manual_seed(-1).initial_seed() == 2**64 - 1
    assert Generator().manual_seed(2**64 - 1).initial_seed() == 2**64 - 1
    for wrong in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="must be in"):
            Generator().manual_seed(wrong)
    with pytest.raises(ValueError, match="a seed must be an integer, got 'x'"):
        Generator().manual_seed("x")  # type: ignore[arg-type]
    g = Generator()
    assert g.seed() == g.initial_seed() != Generator().seed()


def test_a_damaged_state_is_refused():
    g = Generator()
    with pytest.raises(TypeError, match=r"RNG state must be a torch.ByteTensor, got float64"):
        g.set_state(np.zeros(120))
    with pytest.raises(RuntimeError, match=r"Expected a Generator state of size 120 but found .* to be 3"):
        g.set_state(np.zeros(3, np.uint8))
    with pytest.raises(RuntimeError, match="damaged"):
        g.set_state(np.zeros(120, np.uint8))
    state = g.get_state()
    state[12 * 8] = 9  # the buffer holds four words
    with pytest.raises(RuntimeError, match="damaged"):
        g.set_state(state)


def test_device_is_checked():
    assert str(Generator("cpu").device) == "cpu"
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        Generator("tpu")


@pytest.mark.parametrize("dtype", FLOATS + COMPLEX, ids=repr)
def test_floating_samples_have_their_dtype_and_moments(dtype):
    g, n = Generator().manual_seed(1), 40000
    wide = np.complex128 if dtype.is_complex else np.float64
    for x, mean, variance in (
        (g.uniform(n, dtype), 0.5, 1 / 12),
        (g.uniform(n, dtype, -1, 3), 1, 16 / 12),
        (g.normal(n, dtype), 0, 1),
        (g.normal(n, dtype, 2.0, 0.5), 2, 0.25),
    ):
        assert x.shape == (n,)
        assert x.dtype == dtype.np
        x = x.astype(wide)
        parts = [x.real, x.imag] if dtype.is_complex else [x]
        is_normal = abs(variance - 1 / 12) > 1e-9 and abs(variance - 16 / 12) > 1e-9
        for i, part in enumerate(parts):
            expected = 0 if is_normal and i else mean  # a normal's mean is real
            assert abs(part.mean() - expected) < 0.03
            share = 0.5 if is_normal and dtype.is_complex else 1
            assert abs(part.var() - variance * share) < 0.03 * variance + 0.005
    for shape in ((), (0,), (2, 0, 3), (2, 3)):
        assert g.uniform(shape, dtype).shape == g.normal(shape, dtype).shape == shape
        assert isinstance(g.uniform(shape, dtype), np.ndarray)


@pytest.mark.parametrize("dtype", FLOATS, ids=repr)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 1.01), (-5.0, -4.99), (3.0, 3.0)])
def test_uniform_stays_below_its_upper_bound(dtype, low, high):
    x = Generator().manual_seed(3).uniform(20000, dtype, low, high)
    bottom = float(dtype.np.type(low))
    x = x.astype(np.float64)
    assert (x >= bottom).all()
    assert ((x < high) | (x == bottom)).all()


@pytest.mark.parametrize("dtype", FLOATS, ids=repr)
def test_exponential(dtype):
    x = Generator().manual_seed(1).exponential(40000, dtype, 2.0)
    assert x.dtype == dtype.np
    assert (x >= 0).all()
    assert abs(x.astype(np.float64).mean() - 0.5) < 0.02


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if not d.is_complex], ids=repr)
def test_integers_cover_their_range_evenly(dtype):
    low, high = (0, 2) if dtype is dtypes.bool_ else (3, 10)
    x = Generator().manual_seed(1).integers(low, high, (100, 100), dtype)
    assert x.shape == (100, 100)
    assert x.dtype == dtype.np
    values, counts = np.unique(x.astype(np.int64), return_counts=True)
    assert values.tolist() == list(range(low, high))
    assert (abs(counts - 10000 / (high - low)) < 0.1 * 10000 / (high - low)).all()


def test_integers_refuse_what_the_dtype_does_not_hold():
    g = Generator()
    assert g.integers(-128, 128, (4,), dtypes.int8).dtype == np.int8
    assert g.integers(0, 2**64, (4,), dtypes.uint64).dtype == np.uint64
    for low, high, dtype, why in (
        (3, 3, dtypes.int64, "'from' to be less than 'to', but got from=3 >= to=3"),
        (0, 257, dtypes.uint8, r"to - 1 = 256 is out of bounds for torch.uint8, which holds \[0, 255\]"),
        (-1, 5, dtypes.uint8, "from = -1 is out of bounds"),
        (0, 4098, dtypes.float16, "to - 1 = 4097 is out of bounds"),
    ):
        with pytest.raises(RuntimeError, match=why):
            g.integers(low, high, (2,), dtype)
    with pytest.raises(NotImplementedError, match="complex64"):
        g.integers(0, 2, (2,), dtypes.complex64)


def test_permutation_permutes():
    g = Generator().manual_seed(2)
    assert sorted(g.permutation(100).tolist()) == list(range(100))
    assert g.permutation(100).dtype == np.int64
    assert g.permutation(0).shape == (0,)
    assert g.permutation(256, dtypes.uint8).dtype == np.uint8
    with pytest.raises(RuntimeError, match=r"a permutation of 300 does not fit torch.uint8"):
        g.permutation(300, dtypes.uint8)
    with pytest.raises(RuntimeError, match="n >= 0, got -1"):
        g.permutation(-1)


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.1, 0.5, 0.9, 1 - 1e-6, 1.0])
def test_bernoulli_is_exact_below_its_16_bits(p):
    n = 4_000_000
    mask = Generator().manual_seed(4).bernoulli((n,), p)
    assert mask.dtype == np.bool_
    assert mask.shape == (n,)
    assert abs(int(mask.sum()) - n * p) <= 5 * (n * p * (1 - p)) ** 0.5
    assert p in (0.0, 1.0) or 0 < mask.sum() < n  # 1e-6 is below the 16 bits' step, and still happens


def test_bernoulli_of_an_array_and_keep_mask():
    g = Generator().manual_seed(0)
    mask = g.bernoulli((20000, 3), np.array([0.0, 0.25, 1.0], np.float32))
    np.testing.assert_allclose(mask.mean(0), [0, 0.25, 1], atol=0.02)
    keep = g.keep_mask((3, 5, 1000), 0.2)
    assert keep.shape == (3, 5, 1000)
    assert abs(keep.mean() - 0.8) < 0.02
    assert g.keep_mask((), 0.5).shape == ()
    assert g.keep_mask((0, 2), 0.5).shape == (0, 2)


def test_multinomial_follows_its_weights():
    g, w = Generator().manual_seed(0), np.array([0.0, 1.0, 3.0, 0.0])
    drawn = g.multinomial(w, 20000, replacement=True)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20000, w / 4, atol=0.02)
    first = [int(g.multinomial(w, 2)[0]) for _ in range(4000)]
    assert set(first) == {1, 2}
    assert abs(np.mean(np.array(first) == 2) - 0.75) < 0.03
    assert sorted(g.multinomial(w, 2).tolist()) == [1, 2]
    for weights, count, why in (
        (w, 3, "cannot sample 3 without replacement: only 2 of 4 weights are above zero"),
        (w, 0, "num_samples=0"),
        (-w, 1, "element < 0"),
        (0 * w, 1, r"sum of probabilities <= 0"),
        (w.reshape(2, 2), 1, "one dimension"),
    ):
        with pytest.raises(RuntimeError, match=why):
            g.multinomial(weights, count)


def test_bad_arguments_name_what_was_given():
    g = Generator()
    cases = [
        (RuntimeError, "found from=2 > to=1", lambda: g.uniform(2, dtypes.float32, 2, 1)),
        (RuntimeError, "finite range", lambda: g.uniform(2, dtypes.float32, 0, float("inf"))),
        (NotImplementedError, "not implemented for torch.int64", lambda: g.uniform(2, dtypes.int64)),
        (RuntimeError, "std >= 0.0, but found std -1", lambda: g.normal(2, dtypes.float32, 0, -1)),
        (RuntimeError, "std nan", lambda: g.normal(2, dtypes.float32, 0, float("nan"))),
        (NotImplementedError, "complex64", lambda: g.exponential(2, dtypes.complex64)),
        (RuntimeError, "found lambda=0", lambda: g.exponential(2, dtypes.float32, 0)),
        (RuntimeError, "got p=1.5", lambda: g.bernoulli(2, 1.5)),
        (RuntimeError, "got p=-1.0", lambda: g.bernoulli(2, np.array([0.5, -1.0]))),
        (ValueError, "dropout probability has to be between 0 and 1, but got 2", lambda: g.keep_mask(2, 2)),
    ]
    for error, match, call in cases:
        with pytest.raises(error, match=match):
            call()


def reseed_and_raise():
    random.seed()
    raise KeyError("inside")


def test_the_default_generator():
    state = random.get_rng_state()
    try:
        assert random.manual_seed(11) is random.default_generator
        assert random.initial_seed() == 11
        first = random.default_generator.permutation(20)
        before = random.get_rng_state()
        with random.fork_rng():
            random.default_generator.permutation(5)
            random.manual_seed(99)
        np.testing.assert_array_equal(random.get_rng_state(), before)
        assert random.initial_seed() == 11
        with pytest.raises(KeyError, match="inside"), random.fork_rng():
            reseed_and_raise()
        np.testing.assert_array_equal(random.get_rng_state(), before)
        with random.fork_rng(enabled=False):
            random.manual_seed(11)
        np.testing.assert_array_equal(random.default_generator.permutation(20), first)
    finally:
        random.set_rng_state(state)


def test_default_generators_of_two_processes_differ_until_seeded():
    assert random.Generator().initial_seed() == 67280421310721  # PyTorch's
    assert random.default_generator.initial_seed() != 67280421310721


def test_the_stream_of_a_seed_does_not_change():
    """Recorded: a change here changes every user's results."""
    g = Generator().manual_seed(0)
    assert g.get_state().tolist()[:16] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    recorded = [
        [34, 11, 611, 241, 365, 111], [0, 7, 6, 1, 2, 3, 5, 4], [False] * 7 + [True], [0.946544, 0.400034, 0.195051],
        [1.414548, -2.415647, 0.152303],
    ]  # fmt: skip
    got = [g.integers(0, 1000, (6,)).tolist(), g.permutation(8).tolist(), g.bernoulli((8,), 0.3).tolist()]
    got.append([round(float(x), 6) for x in g.uniform((3,), as_dtype("float32"))])
    got.append([round(float(x), 6) for x in Generator.keyed(0, 1, 2).normal((3,), as_dtype("float32"))])
    assert got == recorded
