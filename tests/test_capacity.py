"""Water-filling, capacity bounds and the structure of optimal precoders against closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wirelessgym import make_agent, make_task
from wirelessgym.capacity import (
    dpc_sum_capacity,
    interference_free_rate,
    shares,
    structure_of,
    structured_precoder,
    unit_rows,
    water_filling,
)


def rayleigh(batch: int, users: int, antennas: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, users, antennas, dtype=dtype, generator=generator)


def watts(value: float, batch: int) -> Tensor:
    return torch.full((batch,), value, dtype=torch.float64)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12), st.floats(1e-3, 1e3))
def test_water_fills_to_one_level_above_every_floor_it_covers(gains: list[float], power: float) -> None:
    gain = torch.tensor([gains], dtype=torch.float64)
    filling = water_filling(gain, watts(power, 1))
    assert filling.min() >= 0
    assert filling.sum() == pytest.approx(power, rel=1e-9)
    levels = (filling + 1 / gain)[filling > 0]
    assert torch.allclose(levels, levels[:1].expand_as(levels), rtol=1e-9)
    assert bool((1 / gain[filling == 0] >= levels[0] * (1 - 1e-9)).all())


def test_no_power_goes_where_there_is_no_gain() -> None:
    filling = water_filling(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), torch.ones(2))
    assert torch.equal(filling, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


def test_capacity_of_one_user_is_shannons() -> None:
    csi = rayleigh(16, 1, 8)
    expected = torch.log2(1 + 2.0 * csi.abs().square().sum((-2, -1)) / 0.3)
    assert torch.allclose(dpc_sum_capacity(csi, watts(0.3, 16), watts(2.0, 16)), expected, rtol=1e-9)
    assert torch.allclose(interference_free_rate(csi, watts(0.3, 16), watts(2.0, 16)), expected, rtol=1e-9)


def test_capacity_of_orthogonal_users_is_that_of_water_filling() -> None:
    generator = torch.Generator().manual_seed(2)
    gains = torch.rand(8, 6, dtype=torch.float64, generator=generator) + 0.01
    basis = torch.linalg.qr(rayleigh(8, 6, 6))[0]
    csi = basis * gains.sqrt()[..., None]
    expected = torch.log2(1 + water_filling(gains / 0.1, watts(1.0, 8)) * gains / 0.1).sum(-1)
    capacity = dpc_sum_capacity(csi, watts(0.1, 8), watts(1.0, 8))
    assert torch.allclose(capacity, expected, rtol=1e-6)


def test_capacity_of_two_users_is_the_best_split_of_uplink_power() -> None:
    csi, shares = rayleigh(10, 2, 2), torch.linspace(0, 1, 2001, dtype=torch.float64)
    gram = csi.conj() @ csi.mT / 0.1
    one, two = gram[:, 0, 0].real[:, None], gram[:, 1, 1].real[:, None]
    coupling = one * two - gram[:, 0, 1].abs().square()[:, None]
    best = torch.log2(1 + shares * one + (1 - shares) * two + shares * (1 - shares) * coupling).amax(-1)
    assert torch.allclose(dpc_sum_capacity(csi, watts(0.1, 10), watts(1.0, 10)), best, atol=1e-6)


@pytest.mark.parametrize("snr_db", [-10, 10, 30])
def test_capacity_lies_below_the_interference_free_rate(snr_db: float) -> None:
    csi, noise = rayleigh(64, 6, 6), watts(10 ** (-snr_db / 10), 64)
    capacity = dpc_sum_capacity(csi, noise, watts(1.0, 64))
    assert bool((capacity <= interference_free_rate(csi, noise, watts(1.0, 64)) + 1e-9).all())


@pytest.mark.parametrize(("users", "antennas"), [(8, 32), (8, 8), (16, 4), (8, 2)])
def test_capacity_has_converged_after_the_default_iterations(users: int, antennas: int) -> None:
    near_far = torch.randn(32, users, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(6)).exp()
    csi, noise, power = near_far * rayleigh(32, users, antennas), watts(0.01, 32), watts(1.0, 32)
    longer = dpc_sum_capacity(csi, noise, power, iterations=300)
    shorter = dpc_sum_capacity(csi, noise, power)
    assert bool((shorter <= longer + 1e-9).all())
    assert (longer - shorter).max() < 0.01


def test_single_precision_capacity_agrees_with_double() -> None:
    csi = rayleigh(64, 8, 16)
    double = dpc_sum_capacity(csi, watts(0.01, 64), watts(1.0, 64))
    single = dpc_sum_capacity(csi.to(torch.complex64), watts(0.01, 64).float(), watts(1.0, 64).float())
    assert torch.allclose(single.double(), double, rtol=1e-5)


def test_users_without_a_channel_change_no_bound() -> None:
    csi, noise, power = rayleigh(16, 4, 8), watts(0.1, 16), watts(1.0, 16)
    padded = torch.cat([csi[:, :2], torch.zeros_like(csi), csi[:, 2:]], 1)
    for bound in (dpc_sum_capacity, interference_free_rate):
        assert torch.allclose(bound(padded, noise, power), bound(csi, noise, power), atol=1e-3)


def parallel(batch: int, subcarriers: int, users: int, antennas: int) -> Tensor:
    """Channels on subcarriers of unequal strength."""
    strength = torch.linspace(0.1, 2, subcarriers, dtype=torch.float64)[:, None, None]
    return strength * rayleigh(batch, subcarriers * users, antennas).unflatten(1, (subcarriers, users))


@pytest.mark.parametrize("power", [0.05, 1.0, 100.0])
def test_one_user_fills_subcarriers_like_water(power: float) -> None:
    csi, noise = parallel(16, 5, 1, 4), watts(0.3, 16)
    gains = csi.abs().square().sum((-2, -1)) / 0.3
    expected = torch.log2(1 + water_filling(gains, watts(power, 16)) * gains).sum(-1) / 5
    for bound in (dpc_sum_capacity, interference_free_rate):
        assert torch.allclose(bound(csi, noise, watts(power, 16)), expected, rtol=1e-6)


def test_capacity_of_two_subcarriers_is_the_best_split_of_power_between_them() -> None:
    csi, share = parallel(8, 2, 3, 4), torch.linspace(0, 1, 201, dtype=torch.float64).repeat(8)
    first, second = csi.repeat_interleave(201, 0).unbind(1)
    noise = watts(0.1, len(share))
    split = dpc_sum_capacity(first, noise, 0.3 * share, 60) + dpc_sum_capacity(second, noise, 0.3 * (1 - share), 60)
    best = split.view(8, 201).amax(-1) / 2
    assert torch.allclose(dpc_sum_capacity(csi, noise[:8], watts(0.3, 8), iterations=60), best, rtol=1e-4)


def test_capacity_of_equal_subcarriers_is_that_of_one_with_its_share_of_the_power() -> None:
    csi, noise = rayleigh(8, 4, 6), watts(0.1, 8)
    wide = csi[:, None].expand(-1, 7, -1, -1)
    for bound in (dpc_sum_capacity, interference_free_rate):
        assert torch.allclose(bound(wide, noise, watts(7.0, 8)), bound(csi, noise, watts(1.0, 8)), rtol=1e-4)


@pytest.mark.parametrize("power", [0.1, 10.0])
def test_capacity_over_subcarriers_has_converged_after_the_default_iterations(power: float) -> None:
    csi, noise = parallel(16, 12, 8, 8), watts(0.1, 16)
    longer = dpc_sum_capacity(csi, noise, watts(power, 16), iterations=300)
    shorter = dpc_sum_capacity(csi, noise, watts(power, 16))
    assert bool((shorter <= longer + 1e-9).all())
    assert (longer - shorter).max() < 0.01


def test_power_and_regularisation_are_shared_by_users_and_subcarriers() -> None:
    csi, noise = parallel(5, 3, 2, 4), watts(0.2, 5)
    power, regularisation = torch.rand(2, 5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    together = structured_precoder(csi, power, regularisation, noise, watts(3.0, 5))
    assert torch.allclose(together.abs().square().sum((1, 2, 3)), watts(3.0, 5))
    spent = 3 * power / power.sum((1, 2), keepdim=True)
    assert torch.allclose(together.abs().square().sum(-1), spent)
    weight = 3 * regularisation / regularisation.sum((1, 2), keepdim=True)
    for s in range(3):
        inner = torch.eye(4, dtype=torch.complex128) + (csi[:, s].mT * weight[:, None, s] / 0.2) @ csi[:, s].conj()
        directions = unit_rows(torch.linalg.solve(inner, csi[:, s].mT).mT)
        assert torch.allclose(together[:, s], directions * spent[:, s].sqrt()[..., None])


def test_structured_precoder_is_equation_four_written_over_antennas() -> None:
    generator = torch.Generator().manual_seed(3)
    csi = rayleigh(5, 3, 7)
    power, regularisation = torch.rand(2, 5, 3, dtype=torch.float64, generator=generator)
    precoder = structured_precoder(csi, power, regularisation, watts(0.2, 5), watts(3.0, 5))
    power = 3 * power / power.sum(-1, keepdim=True)
    regularisation = 3 * regularisation / regularisation.sum(-1, keepdim=True)
    for row in range(5):
        inner = torch.eye(7, dtype=torch.complex128)
        for user in range(3):
            inner = inner + regularisation[row, user] / 0.2 * torch.outer(csi[row, user], csi[row, user].conj())
        for user in range(3):
            direction = torch.linalg.solve(inner, csi[row, user])
            expected = power[row, user].sqrt() * direction / direction.norm()
            assert torch.allclose(precoder[row, user], expected, atol=1e-10)


def test_structured_precoder_uses_all_power_and_ignores_scale() -> None:
    csi, noise, power = rayleigh(6, 4, 8), watts(0.1, 6), watts(5.0, 6)
    shares = torch.rand(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    one = structured_precoder(csi, *shares, noise, power)
    assert torch.allclose(one.abs().square().sum((-2, -1)), power)
    assert torch.allclose(one, structured_precoder(csi, 7 * shares[0], 0.01 * shares[1], noise, power), atol=1e-10)
    zeros = torch.zeros(6, 4, dtype=torch.float64)
    assert torch.equal(
        structured_precoder(csi, zeros, zeros, noise, power),
        structured_precoder(csi, zeros + 1, zeros + 1, noise, power),
    )


def test_rows_of_zeros_share_equally_whatever_stands_in_the_others() -> None:
    weights = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    expected = torch.tensor([[2.0, 2.0, 2.0], [0.0, 1.5, 4.5]], dtype=torch.float64)
    assert torch.allclose(shares(weights, watts(6.0, 2)), expected)


def test_a_user_without_power_gets_no_beam_and_finite_gradients() -> None:
    csi = rayleigh(2, 3, 4)
    power = torch.tensor([[1.0, 0.0, 2.0]], dtype=torch.float64).expand(2, -1).clone().requires_grad_()
    precoder = structured_precoder(csi, power, torch.ones(2, 3, dtype=torch.float64), watts(0.1, 2), watts(1.0, 2))
    assert bool((precoder[:, 1] == 0).all())
    (gradient,) = torch.autograd.grad(precoder.abs().square().cumsum(-1).sum(), power)
    assert bool(gradient.isfinite().all())


def test_structured_precoder_has_finite_gradients_beside_a_user_without_a_channel() -> None:
    csi = rayleigh(2, 3, 4)
    csi[:, 1] = 0
    csi.requires_grad_()
    shares = torch.rand(2, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).requires_grad_()
    structured_precoder(csi, shares[0], shares[1], watts(0.1, 2), watts(1.0, 2)).abs().square().cumsum(-1).sum().backward()
    for gradient in (csi.grad, shares.grad):
        assert gradient is not None
        assert bool(torch.isfinite(torch.view_as_real(gradient) if gradient.is_complex() else gradient).all())


def test_structure_of_a_stationary_point_of_the_sum_rate_gives_it_back() -> None:
    task = make_task("precoding", scenario="rayleigh-32", num_users=4, panel={"rows": 1, "columns": 4}, snr_db=10)
    _, obs = task.reset(range(8))
    obs = {name: value.to(torch.complex128 if value.is_complex() else torch.float64) for name, value in obs.items()}
    csi, budget = obs["csi"], (obs["noise_power"], obs["tx_power"])
    stationary = make_agent("wmmse", iterations=3000).act(task, obs)
    power, regularisation = structure_of(csi, stationary, *budget)
    assert torch.allclose(power.sum(-1), obs["tx_power"]) and torch.allclose(regularisation.sum(-1), obs["tx_power"])
    again = structured_precoder(csi, power, regularisation, *budget)
    assert torch.allclose((csi.conj() @ again.mT).abs(), (csi.conj() @ stationary.mT).abs(), atol=1e-3)


def test_structure_of_an_optimum_gives_the_optimum_back() -> None:
    # Two orthogonal users: maximum-ratio beams with water-filling powers are optimal.
    csi = torch.tensor([[[2.0, 0, 0], [0, 1j, 0]]], dtype=torch.complex128)
    gains = csi.abs().square().sum(-1) / 0.5
    optimum = unit_rows(csi) * water_filling(gains, watts(1.0, 1)).sqrt()[..., None]
    again = structured_precoder(csi, *structure_of(csi, optimum, watts(0.5, 1), watts(1.0, 1)), watts(0.5, 1), watts(1.0, 1))
    assert torch.allclose(again, optimum, atol=1e-12)
