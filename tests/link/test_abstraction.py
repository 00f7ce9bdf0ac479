"""Closed forms of the effective SINR, the shape of the fitted curves, and their agreement with simulated codewords."""

import math

import pytest
import torch
from scipy.stats import binomtest, norm
from sionna.sys import EESM

from wirelessgym.link.abstraction import cqi_curves, curves, effective_sinr_db, exponential_mean, phi
from wirelessgym.link.fit import fit_probit, simulate
from wirelessgym.link.ldpc import code_for
from wirelessgym.link.mcs import HIGHEST_MCS, LOWEST_MCS, MCS_TABLE

TABLE = curves(672)


def test_a_flat_channel_has_its_own_sinr():
    sinr_db = torch.linspace(-5, 15, 21)
    sinr = (10 ** (sinr_db / 10))[:, None].expand(-1, 48)
    found = effective_sinr_db(exponential_mean(sinr, TABLE.beta), TABLE.beta)
    torch.testing.assert_close(found, sinr_db[:, None].expand_as(found), rtol=1e-3, atol=1e-3)


def test_a_selective_channel_is_worse_than_its_mean_and_better_than_its_worst(generator):
    sinr = 10 * torch.empty(50, 48).exponential_(generator=generator)
    found = effective_sinr_db(exponential_mean(sinr, TABLE.beta), TABLE.beta)
    assert (found < 10 * sinr.mean(-1, keepdim=True).log10()).all()
    assert (found > 10 * sinr.amin(-1, keepdim=True).log10()).all()


def test_effective_sinr_is_sionnas(generator):
    sinr = 10 * torch.empty(6, 48).exponential_(generator=generator)
    for mcs in range(LOWEST_MCS, HIGHEST_MCS + 1):
        theirs = EESM()(sinr[:, None, :, None, None], torch.full((6, 1), mcs))[:, 0]
        mine = effective_sinr_db(exponential_mean(sinr, TABLE.beta), TABLE.beta)[:, mcs - LOWEST_MCS]
        torch.testing.assert_close(10 ** (mine / 10), theirs, rtol=1e-4, atol=1e-4)


def test_higher_schemes_need_more():
    # Where the modulation changes two schemes carry the same bits, and either may be the better one.
    steps = TABLE.mu_db[:, 0].diff()
    carry_more = TABLE.bits.diff() > 0.01 * TABLE.bits[1:]
    assert (steps[carry_more] > 0).all()
    assert (cqi_curves(672).mu_db[:, 0].diff() > 0).all()


def test_every_scheme_stays_short_of_capacity_by_a_decibel_or_two():
    capacity_db = torch.tensor([10 * math.log10(2 ** (bits / 672) - 1) for bits in TABLE.bits.tolist()])
    gap_db = TABLE.mu_db[:, 0] - capacity_db
    assert (gap_db > 0.3).all()
    assert (gap_db < 4.5).all()


def test_error_rates_fall_with_sinr_and_with_transmissions():
    sinr_db = torch.linspace(-10, 25, 71)
    rates = torch.stack([TABLE.block_error_rate(sinr_db, n) for n in range(1, 5)])
    assert (rates.diff(dim=1) <= 1e-6).all()
    assert (TABLE.mu_db.diff(dim=1) < -0.8).all()
    # Twice the energy alone moves the curve by 3 dB; the second redundancy version brings coding gain on top at high rates.
    assert (TABLE.mu_db[:, 1] - TABLE.mu_db[:, 0] < -2.8).all()
    assert TABLE.mu_db[-1, 1] - TABLE.mu_db[-1, 0] < -5


@pytest.mark.parametrize(("mcs", "transmissions"), [(5, 1), (14, 1), (22, 1), (14, 2), (24, 3)])
def test_curves_agree_with_simulated_codewords(mcs, transmissions, generator):
    code, blocks = code_for(MCS_TABLE[mcs], 672), 128
    row = mcs - LOWEST_MCS
    sinr_db = float(TABLE.mu_db[row, transmissions - 1] + 0.3 * TABLE.sigma_db[row, transmissions - 1])
    lost = simulate(code, sinr_db, transmissions, blocks, generator)
    expected = float(TABLE.block_error_rate(torch.tensor(sinr_db), transmissions)[row])
    # The curve itself was fitted to a few hundred blocks: its half-odds point is known to a twentieth of a decibel.
    low, high = binomtest(lost, blocks).proportion_ci(0.999)
    assert low - 0.07 < expected < high + 0.07


def test_the_fit_finds_the_curve_that_made_its_data():
    sinr_db = torch.linspace(4.5, 5.5, 6).double().numpy()
    lost = 10_000 * norm.cdf((5.1 - sinr_db) / 0.25)
    mu, sigma = fit_probit(sinr_db, lost, 0 * lost + 10_000)
    assert (mu, sigma) == (pytest.approx(5.1, abs=1e-3), pytest.approx(0.25, abs=1e-3))


def test_phi_is_the_normal_distribution_and_rows_are_alike():
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(phi(x), torch.from_numpy(norm.cdf(x.numpy())).float(), rtol=1e-4, atol=1e-7)
    assert all(torch.equal(phi(x[i : i + 1])[0], phi(x)[i]) for i in range(101))


def test_thresholds_are_where_the_target_is_met():
    for target in (0.01, 0.1, 0.5):
        threshold_db = TABLE.threshold_db(target)
        rates = TABLE.block_error_rate(threshold_db).diagonal()
        torch.testing.assert_close(rates, torch.full_like(rates, target), rtol=1e-3, atol=1e-4)


def test_sizes_without_a_table_are_refused():
    with pytest.raises(ValueError, match="block error rates were fitted for 672, got 100"):
        curves(100)


def test_all_schemes_of_the_action_have_a_curve():
    assert TABLE.mu_db.shape == TABLE.sigma_db.shape == (HIGHEST_MCS - LOWEST_MCS + 1, 4)
