"""Mapping and demapping are Sionna's, and log-likelihood ratios are calibrated."""

import pytest
import torch
from sionna.phy.mapping import Demapper, Mapper

from wirelessgym.link.qam import demodulate, modulate


@pytest.mark.parametrize("bits_per_symbol", [2, 4, 6])
def test_symbols_and_ratios_are_sionnas(bits_per_symbol, generator):
    bits = torch.rand(7, 60 * bits_per_symbol, generator=generator) < 0.5
    symbols = modulate(bits, bits_per_symbol)
    torch.testing.assert_close(symbols, Mapper("qam", bits_per_symbol)(bits.float()))
    variance = torch.rand(symbols.shape, generator=generator) + 0.02
    noisy = symbols + variance.sqrt() * torch.randn(symbols.shape, dtype=torch.complex64, generator=generator)
    theirs = Demapper("app", "qam", bits_per_symbol)(noisy, variance)
    torch.testing.assert_close(demodulate(noisy, variance, bits_per_symbol), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits_per_symbol", [2, 4, 6])
def test_without_noise_every_sign_is_right(bits_per_symbol, generator):
    bits = torch.rand(2, 120 * bits_per_symbol, generator=generator) < 0.5
    ratios = demodulate(modulate(bits, bits_per_symbol), torch.full((2, 120), 1e-3), bits_per_symbol)
    assert torch.equal(ratios > 0, bits)


def test_rows_do_not_see_each_other(generator):
    symbols = torch.randn(9, 672, dtype=torch.complex64, generator=generator)
    variance = torch.rand(9, 672, generator=generator) + 0.05
    together = demodulate(symbols, variance, 6)
    assert all(torch.equal(demodulate(symbols[row : row + 1], variance[row : row + 1], 6)[0], together[row]) for row in range(9))
