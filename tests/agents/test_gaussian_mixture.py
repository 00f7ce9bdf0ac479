"""Mixtures against closed forms: posteriors, expectation-maximisation, and covariances of arrays."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from wirelessgym.agents._covariances import Covariances, Full, Kronecker, Toeplitz
from wirelessgym.agents._expectation import fit_mixture
from wirelessgym.agents._mixture import Mixture
from wirelessgym.agents._steering import Grid

from wirelessgym.arrays import to_beams

SIZE = 6


def covariances(components: int, size: int = SIZE, seed: int = 0, rank: int = 2) -> Tensor:
    """Of low rank with a small floor, so that components differ; mean power 1 per entry."""
    root = torch.randn(components, size, rank, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    return root @ root.mH / rank + 0.01 * torch.eye(size)


def drawn(weights: Tensor, matrices: Tensor, count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Channels of a mixture, and which component each is from."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.multinomial(weights, count, replacement=True, generator=generator)
    white = torch.randn(count, matrices.shape[-1], 1, dtype=matrices.dtype, generator=generator)
    return (torch.linalg.cholesky(matrices)[label] @ white)[..., 0], label


def observed(h: Tensor, error: float, seed: int = 2) -> Tensor:
    return h + error**0.5 * torch.randn(h.shape, dtype=h.dtype, generator=torch.Generator().manual_seed(seed))


def test_one_component_is_the_linear_filter_of_least_mean_square_error() -> None:
    matrix = covariances(1)
    y = torch.randn(3, 4, SIZE, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    error = torch.tensor([0.01, 0.3, 5.0])
    mean, covariance = Mixture.of(torch.ones(1), matrix).posterior(y, error)
    for row in range(3):
        gain = matrix[0] @ torch.linalg.inv(matrix[0] + error[row] * torch.eye(SIZE))
        assert torch.allclose(mean[row], y[row] @ gain.mT, atol=1e-4)
        assert torch.allclose(covariance[row], (matrix[0] - gain @ matrix[0]).expand(4, -1, -1), atol=1e-4)


def test_posterior_is_bayes_rule_written_out() -> None:
    weights, matrices = torch.tensor([0.2, 0.5, 0.3]), covariances(3)
    y, error = observed(drawn(weights, matrices, 5)[0], 0.2), 0.2
    density, means, left = [], [], []
    for weight, matrix in zip(weights, matrices, strict=True):
        total = matrix + error * torch.eye(SIZE)
        inverse = torch.linalg.inv(total)
        exponent = torch.einsum("bi,ij,bj->b", y.conj(), inverse, y).real
        density.append(weight * torch.exp(-exponent) / torch.linalg.det(total).real)
        means.append(y @ (matrix @ inverse).mT)
        left.append(matrix - matrix @ inverse @ matrix)
    shares = torch.stack(density) / torch.stack(density).sum(0)
    expected = sum(s[:, None] * m for s, m in zip(shares, means, strict=True))
    second = sum(s[:, None, None] * (c + m[:, :, None] * m.conj()[:, None]) for s, m, c in zip(shares, means, left, strict=True))
    mean, covariance = Mixture.of(weights, matrices).posterior(y[:, None], torch.full((5,), error))
    assert torch.allclose(mean[:, 0], expected, atol=1e-4)
    assert torch.allclose(covariance[:, 0], second - expected[:, :, None] * expected.conj()[:, None], atol=1e-4)


@pytest.mark.parametrize("error", [0.05, 0.5])
def test_the_covariance_says_how_large_the_error_is_and_where(error: float) -> None:
    weights, matrices = torch.tensor([0.6, 0.3, 0.1]), covariances(3)
    h, _ = drawn(weights, matrices, 40_000)
    mean, covariance = Mixture.of(weights, matrices).posterior(observed(h, error)[:, None], torch.full((len(h),), error))
    made = h - mean[:, 0]
    outer = (made[:, :, None] * made.conj()[:, None]).mean(0)
    promised = covariance.mean((0, 1))
    assert (outer - promised).abs().max() < 0.05 * promised.diagonal().real.mean()
    # Where one component stands out the error is smaller, and the covariance knows it.
    power, trace = made.abs().square().sum(-1), covariance[:, 0].diagonal(dim1=-2, dim2=-1).real.sum(-1)
    sure = trace < trace.median()
    assert power[sure].mean().item() == pytest.approx(trace[sure].mean().item(), rel=0.05)


def test_posterior_doesnt_depend_on_chunks_rows_or_the_order_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = Mixture.of(torch.tensor([0.5, 0.5]), covariances(2))
    y = torch.randn(4, 3, SIZE, dtype=torch.complex64, generator=torch.Generator().manual_seed(4))
    y[1, 2] = 0
    error = torch.tensor([0.1, 0.2, 0.1, 0.3])
    mean, covariance = mixture.posterior(y, error)
    order = torch.tensor([2, 0, 1])
    other = mixture.posterior(y[:, order], error)
    assert torch.allclose(other[0], mean[:, order], atol=1e-5) and torch.allclose(other[1], covariance[:, order], atol=1e-5)
    monkeypatch.setattr("wirelessgym.agents._mixture.LARGEST_CHUNK", 1)
    for again, first in zip(mixture.posterior(y, error), (mean, covariance), strict=True):
        assert torch.allclose(again, first, atol=1e-5)
    assert bool((mean[1, 2] == 0).all()) and bool((covariance[1, 2] == 0).all())


def test_a_mixture_of_another_size_is_refused() -> None:
    mixture = Mixture.of(torch.ones(1), covariances(1))
    with pytest.raises(ValueError, match="mixture: expected channels of 6 entries, got 8"):
        mixture.posterior(torch.ones(1, 1, 8, dtype=torch.complex64), torch.ones(1))


def test_gradients_reach_the_observation() -> None:
    mixture = Mixture.of(torch.tensor([0.5, 0.5]), covariances(2))
    y = torch.randn(2, 3, SIZE, dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    y[0, 1] = 0
    y.requires_grad_()
    mean, covariance = mixture.posterior(y, torch.tensor([0.1, 0.2]))
    (mean.abs().square().sum() + covariance.abs().square().sum()).backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    assert bool(torch.view_as_real(y.grad).isfinite().all())


def test_expectation_maximisation_recovers_a_known_mixture() -> None:
    weights, matrices = torch.tensor([0.5, 0.3, 0.2]), covariances(3)
    h, _ = drawn(weights, matrices, 20_000)
    fitted = fit_mixture(h, 3, Full(), torch.Generator().manual_seed(0), turns=40)
    found = Full().matrices(fitted.parameters)
    distance = (found[:, None] - matrices).abs().square().sum((-2, -1)).sqrt()
    match = distance.argmin(0)
    assert sorted(match.tolist()) == [0, 1, 2]
    assert distance[match, torch.arange(3)].max() < 0.1 * matrices.abs().square().sum((-2, -1)).sqrt().min()
    assert torch.allclose(fitted.weights[match], weights, atol=0.02)


ARRAY = Grid(rows=2, columns=3, row_points=4, column_points=6)


@pytest.mark.parametrize("kind", [Full(), Toeplitz(ARRAY), Kronecker(2, 3)], ids=lambda kind: type(kind).__name__)
def test_likelihood_never_falls(kind: Covariances) -> None:
    h, _ = drawn(torch.tensor([0.5, 0.3, 0.2]), covariances(3), 4000)
    likelihoods = fit_mixture(h, 4, kind, torch.Generator().manual_seed(0), turns=25).likelihoods
    assert all(later >= earlier - 1e-4 for earlier, later in pairwise(likelihoods))
    assert likelihoods[-1] > likelihoods[0] + 0.02


def test_a_fit_is_a_function_of_the_generator_alone() -> None:
    h, _ = drawn(torch.tensor([0.5, 0.5]), covariances(2), 500)
    one, same, other = (fit_mixture(h, 3, Full(), torch.Generator().manual_seed(seed), turns=3).likelihoods for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_more_components_than_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="a mixture of 5 components needs as many channels at least, got 3"):
        fit_mixture(torch.ones(3, SIZE, dtype=torch.complex64), 5, Full(), torch.Generator())


def test_half_precision_hardly_moves_a_full_covariance() -> None:
    matrices = covariances(3, size=16)
    kept = Full().matrices({"factor": Full().estimated(matrices, None)["factor"].half()})
    assert torch.linalg.eigvalsh(kept).min() > 0.009
    assert (kept - matrices).abs().max() < 2e-3 * matrices.abs().max()


@pytest.mark.parametrize("kind", [Toeplitz(ARRAY, turns=300), Kronecker(2, 3)], ids=["toeplitz", "kronecker"])
def test_structured_covariances_recover_those_that_have_the_structure(kind: Covariances) -> None:
    spectrum = torch.zeros(1, 6, 4)
    spectrum[0, 1, 2], spectrum[0, 4, 3], spectrum[0, 2, 0] = 0.5, 0.3, 0.2
    if isinstance(kind, Toeplitz):
        truth = kind.matrices({"spectrum": spectrum})
    else:
        columns, rows = covariances(1, 3, seed=1), covariances(1, 2, seed=2)
        truth = torch.kron(columns, rows)
    found = kind.matrices(kind.estimated(truth, None))
    assert (found - truth).abs().max() < 0.03 * truth.abs().max()


def test_plane_waves_by_fourier_transforms_are_plane_waves() -> None:
    grid = Grid(rows=3, columns=5, row_points=6, column_points=8)
    column, row = torch.arange(15) // 3, torch.arange(15) % 3
    p, q = torch.meshgrid(torch.arange(8), torch.arange(6), indexing="ij")
    waves = torch.exp(2j * torch.pi * (column * p[..., None] / 8 + row * q[..., None] / 6))  # (8, 6, 15)
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(2, 15, dtype=torch.complex64, generator=generator)
    assert torch.allclose(grid.correlations(x), torch.einsum("pqn,bn->bpq", waves.conj(), x), atol=1e-4)
    spectrum = torch.rand(2, 8, 6, generator=generator)
    expected = torch.einsum("bpq,pqi,pqj->bij", spectrum.to(waves.dtype), waves, waves.conj())
    assert torch.allclose(grid.covariance(spectrum), expected, atol=1e-4)
    matrix = covariances(2, 15)
    assert torch.allclose(
        grid.quadratic_forms(matrix), torch.einsum("pqi,bij,pqj->bpq", waves.conj(), matrix, waves).real, atol=1e-3
    )


def test_one_spectrum_says_the_covariance_on_arrays_of_any_size() -> None:
    spectrum = torch.rand(1, 16, 8, generator=torch.Generator().manual_seed(7))
    small, large = Grid(2, 4, 8, 16), Grid(4, 8, 8, 16)
    index = torch.arange(32).view(8, 4)[:4, :2].flatten()
    part = large.covariance(spectrum)[:, index[:, None], index]
    assert torch.allclose(small.covariance(spectrum), part, atol=1e-4)


def test_toeplitz_covariances_are_given_in_beams() -> None:
    generator = torch.Generator().manual_seed(8)
    spectrum = torch.rand(1, 6, 4, generator=generator)
    antennas = ARRAY.covariance(spectrum)[0] + 1e-3 * torch.eye(6)
    h = torch.linalg.cholesky(antennas) @ torch.randn(6, 50_000, dtype=torch.complex64, generator=generator)
    beams = to_beams(h.mT, 2, 3)
    sample = beams.mT @ beams.conj() / 50_000
    found = Toeplitz(ARRAY).matrices({"spectrum": spectrum})[0]
    assert (found - sample).abs().max() < 0.05 * sample.abs().max()
