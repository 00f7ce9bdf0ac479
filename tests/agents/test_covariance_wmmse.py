"""WMMSE with error covariances: what it becomes without errors, that it climbs, and where it comes to rest."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from wirelessgym.agents._covariance_wmmse import STEPS, covariance_wmmse, expected_rate_bound

from wirelessgym.capacity import unit_rows
from wirelessgym.registry import make_agent, make_task

USERS, SIZE = 4, 6
PLAIN = (1.0,)


def known(batch: int = 8, error: float = 0.1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means, covariances of mean power ``error`` per entry, noise and transmit powers; complex128."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(batch, USERS, SIZE, dtype=torch.complex128, generator=generator)
    root = torch.randn(batch, USERS, SIZE, SIZE, dtype=torch.complex128, generator=generator)
    power = torch.full((batch,), 2.0, dtype=torch.float64)
    return mean, error / SIZE * root @ root.mH, 0.1 * power, power


def test_without_errors_it_is_wmmse() -> None:
    mean, covariance, noise, power = known()
    task = make_task("precoding", scenario="rayleigh-32")
    for iterations in (1, 5, 60):
        expected = make_agent("wmmse", iterations=iterations).act(task, {"csi": mean, "noise_power": noise, "tx_power": power})
        assert torch.allclose(covariance_wmmse(mean, 0 * covariance, noise, power, iterations, steps=PLAIN), expected, atol=1e-9)


def test_the_bound_is_the_rate_where_nothing_is_unknown() -> None:
    from wirelessgym.metrics import user_rates

    mean, covariance, noise, power = known()
    w = covariance_wmmse(mean, covariance, noise, power)
    assert torch.allclose(expected_rate_bound(mean, 0 * covariance, w, noise), user_rates(mean, w, noise))


def test_the_bound_lies_below_the_expected_rate_of_channels_with_that_mean_and_covariance() -> None:
    from wirelessgym.metrics import user_rates

    mean, covariance, noise, power = known(batch=4, error=0.3)
    w = covariance_wmmse(mean, covariance, noise, power)
    root = torch.linalg.cholesky(covariance)
    white = torch.randn(2000, *mean.shape, 1, dtype=mean.dtype, generator=torch.Generator().manual_seed(1))
    channels = (mean + (root @ white)[..., 0]).flatten(0, 1)
    rates = user_rates(channels, w.repeat(2000, 1, 1), noise.repeat(2000)).unflatten(0, (2000, 4)).mean(0)
    bound = expected_rate_bound(mean, covariance, w, noise)
    assert bool((bound <= rates + 1e-9).all())  # equal for users that get no power
    assert bound.sum() < 0.95 * rates.sum()


@pytest.mark.parametrize("error", [0.01, 0.3, 3.0])
def test_the_bound_never_falls_from_one_plain_iteration_to_the_next(error: float) -> None:
    mean, covariance, noise, power = known(error=error)
    counts = (1, 2, 3, 5, 10, 20, 50, 100)
    precoders = [covariance_wmmse(mean, covariance, noise, power, n, steps=PLAIN) for n in counts]
    bounds = [expected_rate_bound(mean, covariance, w, noise).sum(-1) for w in precoders]
    assert all(bool((later >= earlier - 1e-9).all()) for earlier, later in pairwise(bounds))
    assert (bounds[-1] - bounds[0]).mean() > 0.05


@pytest.mark.parametrize("error", [0.01, 0.3, 3.0])
def test_long_steps_get_in_16_iterations_as_far_as_plain_ones_in_40(error: float) -> None:
    mean, covariance, noise, power = known(batch=64, error=error)

    def reached(iterations: int, steps: tuple[float, ...]) -> Tensor:
        w = covariance_wmmse(mean, covariance, noise, power, iterations, steps=steps)
        return expected_rate_bound(mean, covariance, w, noise).sum(-1)

    plain = reached(40, PLAIN)
    assert reached(16, STEPS).mean() > 0.9995 * plain.mean()
    assert bool((reached(16, STEPS) > 0.98 * plain).all())
    assert reached(16, PLAIN).mean() < 0.9995 * plain.mean() or error > 1, "else this shows nothing"
    assert bool((reached(1000, STEPS) > 0.98 * reached(1000, PLAIN)).all()), "they come to rest, too"


def test_precoders_to_begin_with_may_have_any_phase() -> None:
    mean, covariance, noise, power = known()
    start = known(seed=9)[0]
    w = covariance_wmmse(mean, covariance, noise, power, start=start)
    assert torch.allclose(covariance_wmmse(mean, covariance, noise, power, start=start * 1j), w)
    assert not torch.allclose(covariance_wmmse(mean, covariance, noise, power, iterations=2), w)


def test_it_comes_to_rest_where_gradient_ascent_finds_no_way_up() -> None:
    mean, covariance, noise, power = known(batch=4)
    w = covariance_wmmse(mean, covariance, noise, power, 3000).requires_grad_()
    bound = expected_rate_bound(mean, covariance, _scaled(w, power), noise).sum()
    (gradient,) = torch.autograd.grad(bound, w)
    assert gradient.abs().max() < 1e-4
    reached = bound.item()
    climber = (w + 1e-2 * unit_rows(mean)).detach().requires_grad_()
    optimiser = torch.optim.Adam([climber], lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = -expected_rate_bound(mean, covariance, _scaled(climber, power), noise).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert -loss.item() < reached + 1e-6
    assert -loss.item() > reached - 0.05


def _scaled(w: Tensor, power: Tensor) -> Tensor:
    return w * (power / w.abs().square().sum((-2, -1))).sqrt()[:, None, None]


def test_only_ratios_of_powers_matter() -> None:
    mean, covariance, noise, power = known()
    w = covariance_wmmse(mean, covariance, noise, power)
    assert torch.allclose(covariance_wmmse(mean, covariance, 4 * noise, 4 * power), 2 * w)
    assert torch.allclose(covariance_wmmse(3 * mean, 9 * covariance, 9 * noise, power), w)


def test_orthonormal_coordinates_and_the_order_and_phase_of_users_change_nothing_else() -> None:
    mean, covariance, noise, power = known()
    w = covariance_wmmse(mean, covariance, noise, power)
    basis = torch.linalg.qr(known(seed=5)[1][0, 0])[0]
    turned = covariance_wmmse(mean @ basis.mT, basis @ covariance @ basis.mH, noise, power)
    assert torch.allclose(turned, w @ basis.mT)
    order, phase = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 1j, -1, -1j])[:, None]
    other = covariance_wmmse(mean[:, order] * phase, covariance[:, order], noise, power)
    assert torch.allclose(other, w[:, order] * phase)


def test_absent_users_get_nothing_and_disturb_nobody() -> None:
    mean, covariance, noise, power = known()
    gap = torch.zeros_like(mean[:, :1])
    padded = (
        torch.cat([mean[:, :2], gap, mean[:, 2:]], 1),
        torch.cat([covariance[:, :2], gap[..., None].expand(-1, -1, -1, SIZE), covariance[:, 2:]], 1),
    )
    w = covariance_wmmse(*padded, noise, power)
    assert bool((w[:, 2] == 0).all())
    assert torch.allclose(w[:, [0, 1, 3, 4]], covariance_wmmse(mean, covariance, noise, power))
    nobody = covariance_wmmse(0 * mean, 0 * covariance, noise, power)
    assert bool((nobody == 0).all())


def test_gradients_of_its_rate_are_those_of_finite_differences() -> None:
    mean, covariance, noise, power = known(batch=1)
    root = torch.linalg.cholesky(covariance)

    def bound(mean: Tensor, root: Tensor) -> Tensor:
        return covariance_wmmse(mean, root @ root.mH, noise, power, 3).abs().square().sum(-1)

    assert torch.autograd.gradcheck(bound, (mean.requires_grad_(), root.requires_grad_()))


def test_gradients_are_finite_with_absent_users() -> None:
    mean, covariance, noise, power = known()
    mean[0, 1], covariance[0, 1] = 0, 0
    mean.requires_grad_()
    covariance_wmmse(mean, covariance, noise, power).real.sum().backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None
    assert bool(torch.view_as_real(mean.grad).isfinite().all())


def test_gradients_are_finite_where_users_fall_silent() -> None:
    mean, covariance, noise, power = (x.to(torch.complex64 if x.is_complex() else torch.float32) for x in known(batch=64))
    mean[:, 1] = mean[:, 0] * torch.logspace(-0.5, -4, 64)[:, None]  # in one direction: the weaker one's precoder shrinks away
    mean.requires_grad_()
    w = covariance_wmmse(mean, covariance, noise, power)
    assert bool((w[:, 1] == 0).all(-1).any())
    expected_rate_bound(mean, covariance, w, noise).sum().backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None
    assert bool(torch.view_as_real(mean.grad).isfinite().all())
