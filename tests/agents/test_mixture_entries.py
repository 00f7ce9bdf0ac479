"""Parts of fitted mixtures and of precoding by them, each against its formula written out entry by entry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from wirelessgym.agents._covariance_wmmse import covariance_wmmse, expected_rate_bound
from wirelessgym.agents._covariances import Full, Kronecker, Toeplitz
from wirelessgym.agents._expectation import fit_mixture
from wirelessgym.agents._mixture import Mixture
from wirelessgym.agents._steering import Grid

SIZE = 5


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def covariances(components: int, size: int = SIZE, seed: int = 0) -> Tensor:
    root = gaussian(components, size, size, seed=seed)
    return root @ root.mH / size + 0.05 * torch.eye(size)


def test_a_mixture_gives_back_the_covariances_that_it_was_made_of() -> None:
    given = covariances(3)
    mixture = Mixture.of(torch.tensor([0.2, 0.5, 0.3]), given)
    torch.testing.assert_close(mixture.covariances(), given, rtol=0, atol=1e-5)
    assert mixture.size == SIZE


def test_log_likelihoods_are_those_of_gaussian_densities() -> None:
    weights, matrices, y = torch.tensor([0.2, 0.8]), covariances(2), gaussian(3, 4, SIZE, seed=1)
    error = torch.tensor([[0.1], [0.5], [2.0]]).expand(3, 4)
    found = Mixture.of(weights, matrices).log_likelihoods(y, error)
    for row in range(3):
        for user in range(4):
            for k in range(2):
                total = matrices[k] + error[row, user] * torch.eye(SIZE)
                exponent = (y[row, user].conj() @ torch.linalg.solve(total, y[row, user])).real
                expected = math.log(weights[k]) - exponent - torch.linalg.slogdet(total).logabsdet
                assert found[row, user, k].item() == pytest.approx(expected.item(), abs=1e-3)


def test_a_component_without_weight_has_no_say() -> None:
    matrices, y, error = covariances(3), gaussian(2, 4, SIZE, seed=2), torch.tensor([0.1, 0.4])
    without = Mixture.of(torch.tensor([0.4, 0.6]), matrices[:2]).posterior(y, error)
    for found, expected in zip(Mixture.of(torch.tensor([0.4, 0.6, 0.0]), matrices).posterior(y, error), without, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_singular_covariance_leaves_nothing_unknown_where_it_has_no_power() -> None:
    direction = torch.linalg.qr(gaussian(SIZE, SIZE, seed=3))[0][:, :1]
    mean, left = Mixture.of(torch.ones(1), (2.0 * direction @ direction.mH)[None]).posterior(
        gaussian(1, 2, SIZE, seed=4), torch.tensor([0.5])
    )
    torch.testing.assert_close(left[0, 0], 2.0 * 0.5 / 2.5 * direction @ direction.mH, rtol=0, atol=1e-5)
    torch.testing.assert_close(mean[0] @ direction.conj() * direction[:, 0], mean[0], rtol=0, atol=1e-5)


def test_one_components_fit_is_the_sample_covariance_and_a_thousandth_of_the_mean_power() -> None:
    h = gaussian(400, SIZE, seed=5) * torch.tensor([1.0, 2.0, 0.5, 1.5, 1.0])
    said: list[tuple[int, float]] = []
    fit = fit_mixture(h, 1, Full(), torch.Generator().manual_seed(0), turns=3, report=lambda *both: said.append(both))
    floor = 1e-3 * h.abs().square().mean()
    expected = h.mT @ h.conj() / 400 + floor * torch.eye(SIZE)
    torch.testing.assert_close(Full().matrices(fit.parameters)[0], expected, rtol=1e-4, atol=1e-5)
    assert fit.weights.tolist() == [1.0]
    inverse = torch.linalg.inv(expected)
    exponent = torch.einsum("bi,ij,bj->b", h.conj(), inverse, h).real.mean()
    likelihood = -torch.linalg.slogdet(expected).logabsdet - exponent - floor * inverse.diagonal().real.sum()
    assert fit.likelihoods == pytest.approx([likelihood.item()] * 3, rel=1e-4)
    assert said == [(1, fit.likelihoods[0]), (2, fit.likelihoods[1]), (3, fit.likelihoods[2])]


def test_a_fit_is_the_same_in_chunks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    h = gaussian(300, SIZE, seed=6)
    whole = fit_mixture(h, 3, Full(), torch.Generator().manual_seed(0), turns=4)
    monkeypatch.setattr("wirelessgym.agents._expectation.LARGEST_CHUNK", 70 * SIZE**2)
    parts = fit_mixture(h, 3, Full(), torch.Generator().manual_seed(0), turns=4)
    assert parts.likelihoods == pytest.approx(whole.likelihoods, rel=1e-4)
    torch.testing.assert_close(parts.weights, whole.weights, rtol=0, atol=1e-3)


def test_channels_that_point_elsewhere_are_told_apart_from_the_start() -> None:
    beams = torch.zeros(600, SIZE, dtype=torch.complex64)
    beams[:400, 0], beams[400:, 3] = gaussian(400, seed=7), 5 * gaussian(200, seed=8)
    fit = fit_mixture(beams + 0.01 * gaussian(600, SIZE, seed=9), 2, Full(), torch.Generator().manual_seed(0), turns=5)
    assert sorted(fit.weights.tolist()) == pytest.approx([1 / 3, 2 / 3], abs=0.02)


def test_a_kronecker_product_is_recovered_from_any_start() -> None:
    kind = Kronecker(num_rows=2, num_columns=3)
    columns, rows = covariances(1, 3, seed=10), covariances(1, 2, seed=11)
    truth = torch.kron(columns[0], rows[0])[None]
    elsewhere = kind.estimated(covariances(1, 6, seed=12), None)
    torch.testing.assert_close(kind.matrices(kind.estimated(truth, elsewhere)), truth, rtol=0, atol=1e-4)


def test_a_toeplitz_search_goes_on_from_where_it_was() -> None:
    grid = Grid(rows=2, columns=3, row_points=4, column_points=6)
    sample = covariances(2, 6, seed=13)
    once = Toeplitz(grid, turns=6).estimated(sample, None)
    twice = Toeplitz(grid, turns=3)
    again = twice.estimated(sample, twice.estimated(sample, None))
    torch.testing.assert_close(again["spectrum"], once["spectrum"], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(twice.estimated(sample, None)["spectrum"], once["spectrum"], rtol=1e-2)


def test_a_toeplitz_step_is_the_root_of_heard_over_expected_power_in_each_direction() -> None:
    grid = Grid(rows=1, columns=3, row_points=1, column_points=5)
    antennas = covariances(2, 3, seed=18)
    waves = torch.exp(2j * math.pi * torch.arange(5)[:, None] / 5 * torch.arange(3))  # (directions, antennas)
    dft = torch.exp(-2j * math.pi * torch.arange(3)[:, None] / 3 * torch.arange(3)) / math.sqrt(3)
    beams = dft @ antennas @ dft.mH
    found = Toeplitz(grid, turns=1).estimated(beams, None)["spectrum"]
    for k in range(2):
        flat = antennas[k].diagonal().real.mean() / 5
        inverse = torch.linalg.inv(flat * waves.mT @ waves.conj() + 1e-3 * torch.eye(3))
        for direction, wave in enumerate(waves):
            heard = (wave.conj() @ inverse @ antennas[k] @ inverse @ wave).real
            expected = (wave.conj() @ inverse @ wave).real
            assert found[k, direction, 0].item() == pytest.approx((flat * (heard / expected).sqrt()).item(), rel=1e-3)


def test_a_mixture_may_have_as_many_components_as_there_are_channels() -> None:
    fit = fit_mixture(gaussian(3, SIZE, seed=19), 3, Full(), torch.Generator().manual_seed(0), turns=2)
    assert fit.weights.sum().item() == pytest.approx(1.0, abs=1e-5)


def known() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean = gaussian(3, 4, 6, seed=14, dtype=torch.complex128)
    root = gaussian(3, 4, 6, 6, seed=15, dtype=torch.complex128)
    power = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    return mean, 0.05 * root @ root.mH, 0.1 * torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), power


def test_the_bound_of_the_expected_rate_written_out() -> None:
    mean, covariance, noise, power = known()
    w = gaussian(3, 4, 6, seed=16, dtype=torch.complex128) * power.sqrt()[:, None, None]
    found = expected_rate_bound(mean, covariance, w, noise)
    for row in range(3):
        for k in range(4):
            heard = [(mean[row, k].conj() @ w[row, j]).abs().square() for j in range(4)]
            blurred = sum((w[row, j].conj() @ covariance[row, k] @ w[row, j]).real for j in range(4))
            disturbance = sum(heard) - heard[k] + blurred + noise[row]
            assert found[row, k].item() == pytest.approx(torch.log2(1 + heard[k] / disturbance).item(), rel=1e-9)


def test_all_power_is_used_and_one_iteration_from_a_start_climbs_but_not_from_where_it_rests() -> None:
    mean, covariance, noise, power = known()
    start = gaussian(3, 4, 6, seed=17, dtype=torch.complex128)
    once = covariance_wmmse(mean, covariance, noise, power, 1, start=start)
    torch.testing.assert_close(once.abs().square().sum((-2, -1)), power)
    scaled = start * (power / start.abs().square().sum((-2, -1))).sqrt()[:, None, None]
    before, after = (expected_rate_bound(mean, covariance, w, noise).sum(-1) for w in (scaled, once))
    assert bool((after > before + 0.1).all())
    assert not torch.allclose(once, covariance_wmmse(mean, covariance, noise, power, 1), rtol=1e-2)
    rest = covariance_wmmse(mean, covariance, noise, power, 2000)
    torch.testing.assert_close(covariance_wmmse(mean, covariance, noise, power, 1, start=rest), rest, rtol=0, atol=1e-5)


@pytest.mark.parametrize("snr", [1e-6, 1e6])
def test_single_precision_is_enough_from_minus_60_to_60_db(snr: float) -> None:
    mean, covariance, _, power = known()
    w, exact = (
        covariance_wmmse(mean.to(kind), 0.0 * covariance.to(kind), (power / snr).to(kind).real, power.to(kind).real, 20)
        for kind in (torch.complex64, torch.complex128)
    )
    assert bool(torch.view_as_real(w).isfinite().all())
    rates = [expected_rate_bound(mean, 0.0 * covariance, one.to(mean.dtype), power / snr).sum(-1) for one in (w, exact)]
    torch.testing.assert_close(rates[0], rates[1], rtol=0.02, atol=1e-6)
