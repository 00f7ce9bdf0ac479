"""Constellations, decisions, posteriors and log-likelihood ratios against the standard, Sionna and closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from wirelessgym.modulation import (
    BITS_PER_SYMBOL,
    bits_of,
    constellation,
    generalised_mutual_information,
    llrs,
    llrs_of_logits,
    nearest,
    posterior_mean_variance,
)

NAMES = tuple(BITS_PER_SYMBOL)


def noisy(name: str, variance: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = constellation(name)
    sent = torch.randint(len(points), (count,), generator=generator)
    noise = torch.randn(count, dtype=torch.complex64, generator=generator) * math.sqrt(variance)
    return sent, points[sent] + noise


@pytest.mark.parametrize("name", NAMES)
def test_points_have_zero_mean_and_unit_energy(name: str) -> None:
    points = constellation(name)
    assert points.dtype == torch.complex64
    assert len(points) == 2 ** BITS_PER_SYMBOL[name]
    assert points.mean().abs() < 1e-6
    assert points.abs().square().mean() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_neighbours_differ_in_one_bit(name: str) -> None:
    points = constellation(name)
    labels = bits_of(torch.arange(len(points)), BITS_PER_SYMBOL[name])
    distances = (points[:, None] - points).abs()
    spacing = distances[distances > 0].min()
    flips = (labels[:, None] != labels).sum(-1)
    assert bool((flips[distances.isclose(spacing, rtol=1e-3)] == 1).all())


@pytest.mark.parametrize("name", NAMES)
def test_points_and_labels_are_sionnas(name: str) -> None:
    from sionna.phy.mapping import Constellation, Demapper

    num_bits = BITS_PER_SYMBOL[name]
    assert torch.allclose(constellation(name), Constellation("qam", num_bits)())
    _, received = noisy(name, 0.2, count=200)
    variance = torch.full((200,), 0.2)
    theirs = Demapper("app", "qam", num_bits)(received, variance).view(200, num_bits)
    assert torch.allclose(llrs(received, variance, constellation(name)), theirs, atol=1e-3, rtol=1e-4)


def test_sixteen_qam_follows_the_standards_example() -> None:
    # TS 38.211, 5.1.4: real part (1 - 2 b0)(2 - (1 - 2 b2)), imaginary part the same of b1 and b3, over sqrt(10).
    points = constellation("16qam") * math.sqrt(10)
    assert points[0b0000] == pytest.approx(1 + 1j)
    assert points[0b1011] == pytest.approx(-3 + 3j)
    assert points[0b0101] == pytest.approx(1 - 3j)


def test_unknown_modulation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"expected one of qpsk, 16qam, 64qam, got '8psk'"):
        constellation("8psk")


@pytest.mark.parametrize("name", NAMES)
def test_every_point_is_nearest_to_itself(name: str) -> None:
    points = constellation(name)
    assert torch.equal(nearest(points * 1.01, points), torch.arange(len(points)))


def test_symbols_may_have_any_shape() -> None:
    points = constellation("16qam")
    _, received = noisy("16qam", 0.1, count=24)
    variance = torch.linspace(0.05, 0.2, 24)
    shape = (2, 3, 4)
    pairs = [
        (nearest(received, points), nearest(received.view(shape), points)),
        (llrs(received, variance, points), llrs(received.view(shape), variance.view(shape), points)),
        *zip(
            posterior_mean_variance(received, variance, points),
            posterior_mean_variance(received.view(shape), variance.view(shape), points),
            strict=True,
        ),
    ]
    for one_axis, three_axes in pairs:
        assert three_axes.shape[:3] == shape
        assert torch.allclose(three_axes.flatten(0, 2), one_axis, atol=1e-6)
    ratios, bits = llrs(received, variance, points), bits_of(torch.arange(24) % 16, 4)
    rate = generalised_mutual_information(ratios.view(*shape, 4), bits.view(*shape, 4))
    assert torch.allclose(rate.flatten(), generalised_mutual_information(ratios, bits), atol=1e-6)


def test_posterior_of_qpsk_is_the_hyperbolic_tangent() -> None:
    estimate = torch.tensor([0.3 - 0.8j, -0.1 + 0.02j])
    variance = torch.tensor([0.5, 2.0])
    mean, spread = posterior_mean_variance(estimate, variance, constellation("qpsk"))
    scale = math.sqrt(0.5)
    real = scale * torch.tanh(2 * scale * estimate.real / variance)
    imaginary = scale * torch.tanh(2 * scale * estimate.imag / variance)
    assert torch.allclose(mean, torch.complex(real, imaginary), atol=1e-6)
    assert torch.allclose(spread, 1 - mean.abs().square(), atol=1e-6)


def test_posterior_variance_is_the_error_that_is_made() -> None:
    sent, received = noisy("16qam", 0.1, count=100_000)
    points = constellation("16qam")
    mean, spread = posterior_mean_variance(received, torch.full(received.shape, 0.1), points)
    assert (mean - points[sent]).abs().square().mean() == pytest.approx(spread.mean().item(), rel=0.03)


def test_ratios_of_qpsk_are_linear_in_the_estimate() -> None:
    estimate, variance = torch.tensor([0.3 - 0.8j]), torch.tensor([0.5])
    expected = -4 * math.sqrt(0.5) / variance * torch.view_as_real(estimate)
    assert torch.allclose(llrs(estimate, variance, constellation("qpsk")), expected, rtol=1e-5)


def test_ratios_grow_as_the_noise_falls_down_to_a_variance_of_1e_minus_7() -> None:
    estimate = torch.full((4,), 1e-4 + 1e-4j, dtype=torch.complex64)
    ratios = llrs(estimate, torch.tensor([1e-5, 1e-6, 1e-7, 1e-9]), constellation("qpsk"))[:, 0]
    expected = -4 * math.sqrt(0.5) * 1e-4 / torch.tensor([1e-5, 1e-6, 1e-7, 1e-7])
    assert torch.allclose(ratios, expected, rtol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_ratios_without_noise_name_the_sent_bits_and_stay_finite(name: str) -> None:
    points = constellation(name)
    ratios = llrs(points, torch.zeros(len(points)), points)
    assert bool(ratios.isfinite().all())
    assert torch.equal(ratios > 0, bits_of(torch.arange(len(points)), BITS_PER_SYMBOL[name]))


def test_ratios_of_certain_probabilities_are_their_logarithms() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    expected = torch.tensor([math.log(0.7 / 0.3), math.log(0.6 / 0.4)])
    assert torch.allclose(llrs_of_logits(probabilities.log()), expected, atol=1e-6)


def test_mutual_information_ends_at_all_bits_and_starts_at_none() -> None:
    bits = torch.tensor([[True, False, True, True]])
    certain = torch.where(bits, 50.0, -50.0)
    assert generalised_mutual_information(certain, bits).item() == pytest.approx(4.0)
    assert generalised_mutual_information(torch.zeros(1, 4), bits).item() == pytest.approx(0.0)


def test_true_ratios_carry_more_than_ones_that_claim_too_much() -> None:
    sent, received = noisy("16qam", 0.2, count=20_000)
    points, variance = constellation("16qam"), torch.full((20_000,), 0.2)
    bits, true = bits_of(sent, 4), llrs(received, variance, points)
    rate = generalised_mutual_information(true, bits).mean()
    for factor in (0.5, 2.0):
        assert generalised_mutual_information(factor * true, bits).mean() < rate
    # Below the capacity of the Gaussian channel at this signal-to-noise ratio, and above hard decisions' rate.
    assert 1.5 < rate < math.log2(1 + 1 / 0.2)


def test_mutual_information_of_a_binary_symmetric_channel() -> None:
    flip = 0.11
    bits = torch.tensor([[True]] * 89 + [[False]] * 11)
    ratios = torch.full((100, 1), math.log((1 - flip) / flip))
    entropy = -flip * math.log2(flip) - (1 - flip) * math.log2(1 - flip)
    assert generalised_mutual_information(ratios, bits).mean().item() == pytest.approx(1 - entropy, rel=1e-4)
