"""Bins of beam and delay and the plane waves between them: indices, neighbours, values and chances written out."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from wirelessgym.agents._plane_waves import _exceeded_by_chance, find_plane_waves
from wirelessgym.agents._prediction import to_bins
from wirelessgym.agents._strong_bins import (
    coordinates,
    grid_shape,
    highest_doppler,
    neighbours,
    observed_noise_power,
    predict_bins,
    predict_strong,
    predict_weak,
    strong_bins,
)

from wirelessgym.registry import make_task

SHAPE = (2, 3, 4, 5)  # polarisations, columns, rows, delays
OPTIONS = {"scenario": "rayleigh-32", "num_subcarriers": 6, "horizon": 1}
PANEL = {"panel.columns": 4, "panel.rows": 2, "panel.polarisation": "dual"}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def test_coordinates_count_polarisations_columns_rows_and_delays_in_order() -> None:
    grid = torch.arange(math.prod(SHAPE)).view(SHAPE)
    chosen = torch.arange(math.prod(SHAPE))[None]
    places = [place[0] for place in coordinates(chosen, SHAPE)]
    assert torch.equal(grid[tuple(places)], chosen[0])
    task = make_task("channel_prediction", **OPTIONS, **PANEL)
    assert grid_shape(task.spec) == (2, 4, 2, 6)


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 2, 3, 4), (1, 1, 2, 3)])
def test_neighbours_are_one_step_away_around_the_ends_and_in_the_same_polarisation(place: tuple[int, ...]) -> None:
    grid = torch.arange(math.prod(SHAPE)).view(SHAPE)
    found = neighbours(grid[place].view(1, 1), SHAPE)[0, 0].tolist()
    expected = {
        grid[place[0], (place[1] + c) % 3, (place[2] + r) % 4, (place[3] + d) % 5].item()
        for c, r, d in ((0, 0, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))
    }
    assert found[0] == grid[place].item()
    assert len(expected) == 7 and set(found) == expected


def test_the_strongest_bins_are_chosen_with_their_series_and_those_beside_them() -> None:
    task = make_task("channel_prediction", **{**OPTIONS, "num_subcarriers": 24}, **PANEL)
    csi = gaussian(3, 16, 16, 24)
    start = strong_bins(task.spec, {"csi": csi, "noise_power": torch.full((3,), 0.1)})
    bins = to_bins(task.spec, csi).flatten(2)
    power = bins.abs().square().mean(1)
    assert start.chosen.shape == (3, 160)
    for row in range(3):
        order = power[row].argsort(descending=True)
        assert torch.equal(start.chosen[row], order[:160])
        beside = neighbours(start.chosen[row : row + 1], grid_shape(task.spec))[0]
        torch.testing.assert_close(start.snapshots[row], bins[row].T[beside])
    torch.testing.assert_close(start.series, start.snapshots[:, :, 0])
    assert predict_strong(task.spec, start).shape == (3, 160, 4)
    weak = predict_weak(task.spec, start)
    assert weak.shape == (3, 16 * 24, 4)
    found = to_bins(task.spec, predict_bins(task.spec, {"csi": csi, "noise_power": torch.full((3,), 0.1)})).flatten(2).mT
    for row in range(3):
        expected = weak[row].index_copy(0, start.chosen[row], predict_strong(task.spec, start)[row])
        torch.testing.assert_close(found[row], expected, rtol=1e-3, atol=1e-5)


def test_noise_power_is_as_told_but_never_nothing() -> None:
    task = make_task("channel_prediction", **OPTIONS)
    csi = gaussian(3, 16, 32, 6)
    told = observed_noise_power(task.spec, {"csi": csi, "noise_power": torch.tensor([0.0, 0.5, 2.0])})
    power = to_bins(task.spec, csi[:1]).abs().square().mean().item()
    assert told.tolist() == pytest.approx([1e-9 * power, 0.5, 2.0], rel=1e-3)
    assert observed_noise_power(task.spec, {"csi": 0 * csi, "noise_power": torch.zeros(3)}).tolist() == [1.0] * 3


def test_doppler_shifts_beyond_the_least_are_taken_from_the_scenarios_highest_speed_and_a_margin() -> None:
    fast = make_task("channel_prediction", **OPTIONS, speed_kmh=(30.0, 360.0)).spec
    shift_hz = 100.0 / 299792458.0 * fast.scenario.carrier_frequency_hz
    assert highest_doppler(fast) == pytest.approx(1.15 * shift_hz * fast.scenario.slot_duration_s, rel=1e-3)
    assert highest_doppler(make_task("channel_prediction", **OPTIONS, speed_kmh=3.0).spec) == 0.13


@pytest.mark.parametrize("num_snapshots", [2, 3, 7, 16])
@pytest.mark.parametrize("probability", [0.3, 1e-3, 1e-6])
def test_noise_exceeds_its_threshold_as_often_as_a_chi_square_variable(num_snapshots: int, probability: float) -> None:
    exact = chi2.isf(probability, 2 * num_snapshots) / 2
    assert _exceeded_by_chance(num_snapshots, probability) == pytest.approx(exact, rel=0.06)


def waves(place: Tensor, sizes: list[int]) -> Tensor:
    """Of unit power per entry, (waves, entries)."""
    grid = [torch.arange(size) - (size - 1) / 2 for size in sizes]
    axes = torch.stack(torch.meshgrid(*grid, indexing="ij")).flatten(1)
    return torch.exp(2j * math.pi * (place @ axes))


def test_each_episode_has_its_own_number_of_waves() -> None:
    sizes = [4, 2, 12]
    place = torch.tensor([[[0.11, 0.2, 0.3], [0.4, -0.3, -0.1]]]).expand(3, -1, -1)
    present = torch.tensor([[True, True], [False, True], [False, False]])
    values = waves(place, sizes) * present[..., None]
    snapshots = gaussian(3, 6, 2, seed=1) @ values + 0.05 * gaussian(3, 6, math.prod(sizes), seed=2)
    found = find_plane_waves(snapshots.unflatten(2, sizes), torch.full((3,), 0.05**2), most=8, false_alarms=1e-3)
    assert found.present.sum(1).tolist() == [2, 1, 0]
    off = (found.place[1, 0] - place[1, 1] + 0.5) % 1 - 0.5
    assert bool((off.abs() * torch.tensor(sizes) < 0.02).all())
