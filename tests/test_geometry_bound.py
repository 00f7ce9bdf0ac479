import math

import pytest
import torch

from wirelessgym.tasks import _geometry_bound
from wirelessgym.tasks._geometry_bound import geometry_bound

SIZES = {"columns": 3, "rows": 2, "num_past": 5, "num_future": 2, "num_subcarriers": 4}


def rays(batch, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.rand(batch, count, generator=generator, dtype=torch.float64)  # noqa: E731
    power = draw()
    return {
        "power": power / power.sum(-1, keepdim=True),
        "horizontal": draw() - 0.5,
        "vertical": draw() - 0.5,
        "doppler": 0.3 * (draw() - 0.5),
        "delay": -3 * draw(),
    }


def responses(ray, slots, columns, rows, num_subcarriers):
    """Every ray's unit response, shape (slots * antennas * subcarriers, rays), for one episode."""

    def phases(advance, index):
        return torch.polar(torch.ones((), dtype=torch.float64), 2 * math.pi * advance * index[:, None].double())

    time = phases(ray["doppler"], slots)
    horizontal, vertical = phases(ray["horizontal"], torch.arange(columns)), phases(ray["vertical"], torch.arange(rows))
    delay = phases(ray["delay"], torch.arange(num_subcarriers))
    return torch.einsum("tr,cr,vr,fr->tcvfr", time, horizontal, vertical, delay).flatten(0, 3)


def dense_error(ray, noise_power, columns, rows, num_past, num_future, num_subcarriers):
    """The textbook LMMSE error trace from full covariance matrices."""
    sizes = (columns, rows, num_subcarriers)
    past = responses(ray, torch.arange(num_past), *sizes)
    future = responses(ray, torch.arange(num_past, num_past + num_future), *sizes)
    prior = torch.diag(ray["power"]).to(torch.complex128)
    observed = past @ prior @ past.mH + noise_power * torch.eye(len(past))
    cross = future @ prior @ past.mH
    error = future @ prior @ future.mH - cross @ torch.linalg.solve(observed, cross.mH)
    return error.diagonal().real.sum().item()


@pytest.mark.parametrize("noise_power", [1e-3, 0.1, 10.0])
def test_it_is_the_error_of_the_dense_linear_mmse_predictor(noise_power):
    ray = rays(3, 9)
    error, energy = geometry_bound(**ray, **SIZES, noise_power=torch.full((3,), noise_power))
    expected = [dense_error({k: v[i] for k, v in ray.items()}, noise_power, **SIZES) for i in range(3)]
    assert error.dtype == energy.dtype == torch.float32
    torch.testing.assert_close(error, torch.tensor(expected), rtol=1e-4, atol=0)
    torch.testing.assert_close(energy, torch.full((3,), 2.0 * 3 * 2 * 4))


def test_a_single_ray_is_learnt_from_all_observations_alike():
    ray = rays(4, 1)
    noise = torch.tensor([0.0, 0.1, 1.0, 100.0])
    error, _ = geometry_bound(**ray, **SIZES, noise_power=noise)
    observations = 5 * 3 * 2 * 4
    torch.testing.assert_close(error, 2 * 3 * 2 * 4 / (1 + observations / noise), rtol=1e-4, atol=1e-8)


def test_the_error_grows_with_noise_from_nothing_to_the_targets_energy():
    ray = {k: v.expand(7, -1) for k, v in rays(1, 30).items()}
    error, energy = geometry_bound(**ray, **SIZES, noise_power=torch.logspace(-6, 6, 7))
    assert (error.diff() > 0).all()
    assert error[0] < 1e-3 * energy[0]
    torch.testing.assert_close(error[-1], energy[-1], rtol=1e-3, atol=0)


def test_absent_rays_change_nothing():
    ray = rays(2, 6)
    padded = {k: torch.cat([v, torch.zeros(2, 4) if k == "power" else torch.rand(2, 4)], 1) for k, v in ray.items()}
    noise = torch.tensor([0.01, 0.3])
    torch.testing.assert_close(
        geometry_bound(**padded, **SIZES, noise_power=noise), geometry_bound(**ray, **SIZES, noise_power=noise)
    )


def test_coinciding_rays_are_one_ray_with_the_sum_of_their_powers():
    one = rays(2, 5)
    split = {k: torch.cat([v, v], 1) for k, v in one.items()} | {"power": torch.cat([one["power"] / 2] * 2, 1)}
    noise = torch.tensor([1e-4, 0.3])
    torch.testing.assert_close(
        geometry_bound(**split, **SIZES, noise_power=noise), geometry_bound(**one, **SIZES, noise_power=noise)
    )


def test_whole_cycles_between_neighbours_are_invisible():
    ray = rays(2, 5)
    turned = ray | {"horizontal": ray["horizontal"] + torch.tensor([0, 1, -1, 2, 0]), "delay": ray["delay"] - 3}
    noise = torch.tensor([0.01, 0.3])
    torch.testing.assert_close(
        geometry_bound(**turned, **SIZES, noise_power=noise), geometry_bound(**ray, **SIZES, noise_power=noise)
    )


def test_a_standing_user_is_told_from_a_moving_one_by_its_error():
    ray = rays(1, 40)
    noise = torch.tensor([0.1])
    standing, _ = geometry_bound(**ray | {"doppler": torch.zeros(1, 40)}, **SIZES, noise_power=noise)
    moving, _ = geometry_bound(**ray, **SIZES, noise_power=noise)
    assert standing < moving


def test_the_size_of_the_working_chunk_is_immaterial(monkeypatch):
    ray, noise = rays(7, 12), torch.rand(7, generator=torch.Generator().manual_seed(1)) + 0.01
    whole = geometry_bound(**ray, **SIZES, noise_power=noise)
    monkeypatch.setattr(_geometry_bound, "_PAIRS_AT_ONCE", 3 * 12**2)
    torch.testing.assert_close(geometry_bound(**ray, **SIZES, noise_power=noise), whole, rtol=1e-6, atol=0)


def test_400_close_rays_without_noise_are_still_solvable():
    ray = rays(1, 400) | {"doppler": torch.full((1, 400), 0.01, dtype=torch.float64)}
    error, energy = geometry_bound(**ray, **SIZES, noise_power=torch.zeros(1))
    assert 0 <= error < 1e-6 * energy


def test_an_episode_without_rays_has_nothing_to_err_about():
    silent = {k: 0 * v for k, v in rays(1, 5).items()}
    error, energy = geometry_bound(**silent, **SIZES, noise_power=torch.zeros(1))
    assert error.item() == energy.item() == 0


def test_single_precision_rays_are_reckoned_with_in_double():
    ray = {name: value.float() for name, value in rays(2, 40).items()}
    noise = torch.full((2,), 1e-6)
    exact = geometry_bound(**{name: value.double() for name, value in ray.items()}, **SIZES, noise_power=noise.double())
    torch.testing.assert_close(geometry_bound(**ray, **SIZES, noise_power=noise), exact, rtol=1e-5, atol=0)


def test_no_episodes_have_no_errors():
    error, energy = geometry_bound(**{k: v[:0] for k, v in rays(1, 5).items()}, **SIZES, noise_power=torch.zeros(0))
    assert error.shape == energy.shape == (0,)


def test_tensors_that_do_not_fit_are_refused():
    ray = rays(2, 5)
    with pytest.raises(ValueError, match=r"delay: expected the shape of power, \(2, 5\), got \(2, 4\)"):
        geometry_bound(**ray | {"delay": ray["delay"][:, :4]}, **SIZES, noise_power=torch.ones(2))
    with pytest.raises(ValueError, match=r"noise_power: expected shape \(2,\), got \(\)"):
        geometry_bound(**ray, **SIZES, noise_power=torch.tensor(1.0))
