"""Measurement noise: its variance, and that a slot's noise belongs to the slot whatever is measured beside it."""

import torch

from wirelessgym.channel.noise import add_noise_
from wirelessgym.channel.randomness import generators


def noise(rows, slots, deviation=1.0, shape=(50, 40)):
    number = torch.tensor(rows)
    seed = torch.zeros_like(number)
    each = [generators(seed, number, "noise", torch.full_like(number, slot)) for slot in slots]
    h = torch.zeros(len(rows), len(slots), *shape, dtype=torch.complex64)
    return add_noise_(h, torch.full((len(rows),), deviation), list(zip(*each, strict=True)))


def test_noise_is_circular_with_the_variance_that_was_asked_for():
    drawn = noise([0, 1, 2], [4, 5], deviation=0.5)
    real = torch.view_as_real(drawn).flatten(0, -2)
    covariance = real.T @ real / len(real)
    assert real.mean(0).abs().max() < 5 * 0.36 / len(real) ** 0.5
    torch.testing.assert_close(covariance, 0.125 * torch.eye(2), atol=5 * 0.125 * (2 / len(real)) ** 0.5, rtol=0)


def test_a_slots_noise_is_the_same_in_every_window_and_batch():
    together = noise([3, 8, 5], [1, 2, 3])
    assert torch.equal(noise([8], [2, 3]), together[1:2, 1:])
    assert torch.equal(noise([5, 3], [1]), together[[2, 0], :1])
    assert not torch.equal(together[:, 0], together[:, 1])


def test_noise_is_added_in_place_and_none_where_there_is_no_power():
    h = torch.randn(2, 1, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    before = h.clone()
    rows = [[torch.Generator().manual_seed(row)] for row in range(2)]
    assert add_noise_(h, torch.tensor([0.0, 1.0]), rows) is h
    assert torch.equal(h[0], before[0]) and not torch.equal(h[1], before[1])
