"""Streams of random numbers: named by all that they are for, keyed by far more bits than torch's seed, and good."""

import copy
import math

import numpy as np
import pytest
import torch

from wirelessgym.channel import mersenne
from wirelessgym.channel.mersenne import keyed_generators, splitmix64
from wirelessgym.channel.randomness import complex_normal, generator, generators, integers, uniform

NUMBERS = torch.arange(4000)


def rows(numbers=NUMBERS, seed=7, purpose="channel", slot=None):
    return generators(torch.full_like(numbers, seed), numbers, purpose, slot)


def first_numbers(named):
    return uniform((4,), named).flatten().tolist()


def test_names_whose_hashes_agree_in_32_bits_have_streams_of_their_own():
    # Episodes 2^32 apart used to share one; seeds of 64 bits that differ in the upper half do in torch.
    low, high = rows(torch.tensor([5])), rows(torch.tensor([5 + 2**32]))
    assert first_numbers(low) != first_numbers(high)
    torch_low, torch_high = (torch.Generator().manual_seed(5 + offset) for offset in (0, 2**32))
    assert first_numbers([torch_low]) == first_numbers([torch_high])
    by_seed = [rows(torch.tensor([5]), seed=seed) for seed in (3, 3 + 2**32, 3 + 2**61)]
    assert len({tuple(first_numbers(named)) for named in by_seed}) == 3


def test_every_part_of_a_name_counts():
    one = torch.tensor([1])
    names = [
        rows(one),
        rows(one + 1),
        rows(one, seed=8),
        rows(one, purpose="channels"),
        rows(one, slot=one),
        rows(one, slot=-one),
        rows(one, purpose=""),
    ]
    assert len({tuple(first_numbers(named)) for named in names}) == len(names)
    assert first_numbers(rows(one, slot=one - 1)) == first_numbers(rows(one)) == first_numbers([generator(7, 1, "channel")])


def test_a_rows_generator_does_not_depend_on_the_rows_beside_it():
    together = [g.get_state() for g in rows()]
    for number in (0, 63, 64, 65, 3999):
        (alone,) = rows(torch.tensor([number]))
        assert torch.equal(alone.get_state(), together[number])


def test_starts_that_differ_in_one_bit_differ_in_half_of_the_states_bits():
    key = np.random.default_rng(0).bytes(16)
    flipped = b"".join((int.from_bytes(key, "little") ^ 1 << bit).to_bytes(16, "little") for bit in range(64))
    one, many = splitmix64(np.frombuffer(key, "<u8").reshape(1, 2)), splitmix64(np.frombuffer(flipped, "<u8").reshape(-1, 2))
    share = np.unpackbits((one ^ many).view(np.uint8), axis=-1).mean(-1)
    assert share.min() > 0.45 and share.max() < 0.55


def test_splitmix64_gives_the_numbers_of_its_reference_implementation():
    # Vigna's splitmix64.c started at 1234567: the step is the golden ratio's.
    found = splitmix64(np.array([[1234567, 0x9E3779B97F4A7C15]], np.uint64))[0, :5]
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert found.tolist() == expected


def test_the_state_is_that_of_a_mersenne_twister_with_these_words():
    (drawn,) = keyed_generators(bytes(range(16)))
    words = splitmix64(np.frombuffer(bytes(range(16)), "<u8").reshape(1, 2)).view("<u4")[0]
    reference = np.random.MT19937()
    reference.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    expected = reference.random_raw(2000) % 2**24
    assert torch.randint(0, 2**24, (2000,), generator=drawn).tolist() == expected.tolist()


def test_a_generators_state_survives_copies():
    (drawn,) = rows(torch.tensor([3]))
    torch.rand(700, generator=drawn)
    again, moved = torch.Generator(), drawn.clone_state()
    again.set_state(copy.deepcopy(drawn.get_state()))
    expected = torch.randn(1000, generator=drawn)
    assert torch.equal(torch.randn(1000, generator=again), expected)
    assert torch.equal(torch.randn(1000, generator=moved), expected)


def test_another_layout_of_torchs_state_is_refused(monkeypatch):
    class Elsewhere(torch.Generator):
        def get_state(self):
            return torch.roll(super().get_state(), 8)

        def manual_seed(self, seed):
            super().manual_seed(seed)
            return self

    mersenne._template.cache_clear()
    monkeypatch.setattr(torch, "Generator", Elsewhere)
    with pytest.raises(RuntimeError, match=r"expected a CPU generator's state of 5056 bytes.*got 5056 bytes of other content"):
        mersenne._template()


def test_numbers_are_uniform_normal_and_independent_between_neighbours():
    draws = complex_normal((64,), rows())
    count = draws.numel()
    assert abs(complex(draws.mean())) < 4 / math.sqrt(count)
    assert float(draws.abs().square().mean()) == pytest.approx(1, abs=4 / math.sqrt(count))
    assert abs(complex((draws * draws).mean())) < 4 / math.sqrt(count)  # circular: no pseudo-variance
    for other in (draws.roll(1, 0), complex_normal((64,), rows(purpose="noise")), complex_normal((64,), rows(seed=8))):
        assert abs(complex((draws.conj() * other).mean())) < 4 / math.sqrt(count)
    firsts = uniform((1,), rows())[:, 0].sort().values
    steps = (torch.arange(len(firsts)) + 0.5) / len(firsts)
    assert float((firsts - steps).abs().max()) < 2 / math.sqrt(len(firsts))  # Kolmogorov-Smirnov, p below 0.001
    assert float(firsts.min()) >= 0 and float(firsts.max()) < 1
    counts = integers(0, 8, (10,), rows()).flatten().bincount()
    assert float(((counts - 5000.0).square() / 5000).sum()) < 26  # chi-squared with 7 degrees of freedom, p below 0.001


def test_streams_of_all_names_are_apart():
    words = np.stack([g.get_state().numpy()[24 : 24 + 8 * 624].view(np.uint64) for g in rows()])
    assert len(np.unique(words[:, 1])) > len(words) - 3  # of 32 bits each: a pair may agree by chance
    assert len({row.tobytes() for row in words}) == len(words)
