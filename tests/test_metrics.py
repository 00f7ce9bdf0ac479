"""Rates, energies and decibels against their definitions, written out entry by entry."""

import math

import pytest
import torch

from wirelessgym.metrics import decibels, energy, from_decibels, inner, user_rates


def test_every_other_users_beam_is_interference_at_a_user():
    # Two users, two antennas, beams along the antennas: user 0 hears both beams, user 1 only its own.
    h = torch.tensor([[[1.0, 2.0], [0.0, 3.0]]], dtype=torch.complex64)
    w = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]], dtype=torch.complex64)
    rates = user_rates(h, w, torch.tensor([0.5]))
    expected = torch.tensor([[math.log2(1 + 4 / (4 + 0.5)), math.log2(1 + 9 / 0.5)]])
    torch.testing.assert_close(rates, expected)


def test_rates_are_those_of_the_formula_user_by_user(generator):
    h, w = (torch.randn(3, 4, 5, dtype=torch.complex64, generator=generator) for _ in range(2))
    noise_power = torch.tensor([0.1, 1.0, 10.0])
    rates = user_rates(h, w, noise_power)
    for row in range(3):
        for k in range(4):
            heard = [abs(complex((h[row, k].conj() * w[row, j]).sum())) ** 2 for j in range(4)]
            sinr = heard[k] / (sum(heard) - heard[k] + float(noise_power[row]))
            assert float(rates[row, k]) == pytest.approx(math.log2(1 + sinr), rel=1e-5)


def test_the_rate_of_a_user_alone_is_shannons_however_quiet_it_is(generator):
    h = torch.randn(1, 1, 64, dtype=torch.complex64, generator=generator)
    for noise_power in (1e-12, 1.0, 100.0):
        rate = user_rates(h, h, torch.tensor([noise_power]))
        assert float(rate) == pytest.approx(math.log1p(float(energy(h)) ** 2 / noise_power) / math.log(2), rel=1e-5)


def test_inner_products_conjugate_the_first_factor_and_broadcast(generator):
    a, b = (torch.randn(2, 3, 7, dtype=torch.complex64, generator=generator) for _ in range(2))
    torch.testing.assert_close(inner(a, b), (a.conj() * b).sum(-1))
    torch.testing.assert_close(inner(a[:, :, None], b[:, None]), a.conj() @ b.mT)


def test_energy_is_the_sum_of_squared_magnitudes_of_each_row(generator):
    x = torch.randn(3, 2, 4, 5, dtype=torch.complex64, generator=generator)
    torch.testing.assert_close(energy(x), torch.stack([torch.linalg.vector_norm(row) ** 2 for row in x]))
    assert energy(torch.tensor([3 + 4j, 1j])).tolist() == [25, 1]


def test_ten_decibels_are_a_factor_of_ten_and_nothing_is_minus_infinity():
    assert from_decibels(10) == pytest.approx(10) and from_decibels(-3) == pytest.approx(0.5012, rel=1e-3)
    assert from_decibels(0) == 1
    torch.testing.assert_close(decibels(torch.tensor([0.1, 1.0, 100.0])), torch.tensor([-10.0, 0.0, 20.0]))
    assert -400 < float(decibels(torch.tensor(0.0))) < -370
