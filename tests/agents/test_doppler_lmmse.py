"""Predictors with estimated Doppler spectra: single rays against the linear MMSE bound, shifted grids, symmetries."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from universal_agents import episodes, universal
from wirelessgym.agents._cycle_spinning import spun
from wirelessgym.agents._prediction import from_bins, to_bins

from wirelessgym import make_agent
from wirelessgym.spec import TaskSpec
from wirelessgym.tasks._geometry_bound import geometry_bound

PAST, FUTURE = 16, 4
AGENTS = ["doppler_lmmse", "joint_doppler_lmmse"]


def window(columns: int = 8, rows: int = 4, num_subcarriers: int = 24, **overrides: Any) -> TaskSpec:
    settings = {"panel.columns": columns, "panel.rows": rows, "scenario": "rayleigh-32", **overrides}
    return episodes("channel_prediction", 1, num_subcarriers=num_subcarriers, **settings)[0].spec


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def rays(
    task: TaskSpec, *rays: tuple[float, float, float, float], batch: int = 6, seed: int = 0, slots: int = PAST + FUTURE
) -> Tensor:
    """Plane waves of unit mean power at (cycles per column, row, subcarrier, slot); amplitudes Gaussian, new per polarisation."""
    panel = task.scenario.panel
    polarisations = panel.num_antennas // (panel.rows * panel.columns)
    total = torch.zeros(
        batch, slots, polarisations, panel.columns, panel.rows, task.scenario.num_subcarriers, dtype=torch.complex64
    )
    for index, cycles in enumerate(rays):
        axes = (panel.columns, panel.rows, task.scenario.num_subcarriers, slots)
        tones = [torch.polar(torch.ones(n), 2 * math.pi * c * torch.arange(n)) for c, n in zip(cycles, axes, strict=True)]
        wave = torch.einsum("c,r,k,t->tcrk", *tones)
        total = total + gaussian(batch, 1, polarisations, 1, 1, 1, seed=100 * seed + index) * wave[:, None]
    return total.flatten(2, 4)


def observe(channel: Tensor, noise_power: float) -> dict[str, Tensor]:
    noise = gaussian(*channel[:, :PAST].shape, seed=99) * math.sqrt(noise_power)
    return {"csi": channel[:, :PAST] + noise, "noise_power": torch.full((len(channel),), noise_power)}


def nmse(prediction: Tensor, channel: Tensor) -> float:
    target = channel[:, PAST : PAST + FUTURE]
    return ((prediction - target).abs().square().sum() / target.abs().square().sum()).item()


ON_GRID = (3 / 8, 1 / 4, -5 / 24, 0.06)
OFF_GRID = (3.5 / 8, 1 / 4, -5.5 / 24, 0.06)


def test_without_shifts_it_is_the_universal_agents_start() -> None:
    task, _, obs = episodes("channel_prediction", 3, num_subcarriers=6)
    start = make_agent("doppler_lmmse", shifted_axes=0).act(task, obs)
    torch.testing.assert_close(start, universal().act(task, obs))


@pytest.mark.parametrize("num_axes", [0, 1, 2, 3])
@pytest.mark.parametrize("panel", [{}, {"columns": 1, "rows": 4}, {"panel.polarisation": "dual"}], ids=str)
def test_shifts_are_undone(num_axes: int, panel: dict[str, Any]) -> None:
    task = window(**panel)
    csi = gaussian(2, 3, task.scenario.num_antennas, 24)
    calls = []
    same = spun(task, csi, lambda shifted: calls.append(shifted) or shifted[:, -1:], num_axes)  # type: ignore[func-returns-value]
    torch.testing.assert_close(same, csi[:, -1:], rtol=1e-4, atol=1e-5)
    assert len(calls) == 2 ** min(num_axes, 2 if panel.get("columns") == 1 else 3)


def test_a_shift_by_half_a_bin_puts_a_ray_between_bins_into_one() -> None:
    task = window()
    channel = rays(task, OFF_GRID, batch=1)
    peaks: list[float] = []

    def peak(shifted: Tensor) -> Tensor:
        bins = to_bins(task, shifted).abs().square()
        peaks.append((bins.flatten(1).amax() / bins[:, 0].sum()).item())
        return shifted

    spun(task, channel[:, :1], peak, 2)
    assert max(peaks) == pytest.approx(1, abs=1e-4)
    assert min(peaks) == pytest.approx((2 / math.pi) ** 4, rel=0.05)


def test_the_average_over_shifts_is_the_same_half_a_bin_further() -> None:
    task = window()
    obs = observe(rays(task, ON_GRID, OFF_GRID, (0.1, 0.2, 0.3, -0.03)), 0.05)
    ramp = torch.polar(torch.ones(24), math.pi / 24 * torch.arange(24))
    shifted, still = make_agent("doppler_lmmse"), make_agent("doppler_lmmse", shifted_axes=0)

    def moved(agent: Any) -> float:
        before, after = agent.act(task, obs), agent.act(task, obs | {"csi": obs["csi"] * ramp})
        return float((after * ramp.conj() - before).abs().square().sum() / before.abs().square().sum())

    assert moved(shifted) < 1e-6
    assert moved(still) > 1e-4


def test_shifts_help_between_the_bins_and_do_little_harm_on_them() -> None:
    task = window()
    errors = {}
    for name, ray in {"on": ON_GRID, "off": OFF_GRID}.items():
        channel = rays(task, ray, batch=8)
        obs = observe(channel, 1.0)
        errors[name] = [nmse(make_agent("doppler_lmmse", shifted_axes=axes).act(task, obs), channel) for axes in (0, 2)]
    assert errors["off"][1] < 0.8 * errors["off"][0]
    assert errors["on"][1] < 2.0 * errors["on"][0]
    assert errors["off"][1] == pytest.approx(errors["on"][1], rel=0.3)


@pytest.mark.parametrize(
    ("ray", "noise_power"),
    [(ON_GRID, 0.1), (OFF_GRID, 0.1), ((0.123, -0.217, 0.057, -0.0911), 1.0)],
    ids=["on the grid", "off it", "anywhere"],
)
def test_one_ray_is_foreseen_though_not_better_than_with_known_geometry(ray: tuple[float, ...], noise_power: float) -> None:
    task = window()
    channel = rays(task, ray, batch=8)  # type: ignore[arg-type]
    place = [torch.full((1, 1), cycles, dtype=torch.float64) for cycles in ray]
    error, energy = geometry_bound(
        torch.ones(1, 1, dtype=torch.float64),
        *(place[0], place[1], place[3], place[2]),
        columns=8,
        rows=4,
        num_past=PAST,
        num_future=FUTURE,
        num_subcarriers=24,
        noise_power=torch.tensor([noise_power]),
    )
    bound = (error / energy).item()
    joint = nmse(make_agent("joint_doppler_lmmse").act(task, observe(channel, noise_power)), channel)
    binned = nmse(make_agent("doppler_lmmse").act(task, observe(channel, noise_power)), channel)
    # Estimating the ray's place costs little. Most of the error comes from taking its Doppler shift as spread, as bins do too.
    assert bound < joint < 0.05
    assert joint < 2 * binned


@pytest.mark.parametrize("agent", AGENTS)
def test_the_conjugate_channel_has_the_conjugate_prediction(agent: str) -> None:
    task = window()
    obs = observe(rays(task, ON_GRID, OFF_GRID, (0.1, 0.2, 0.3, -0.03)), 0.1)
    before, after = (make_agent(agent).act(task, obs | {"csi": csi}) for csi in (obs["csi"], obs["csi"].conj().resolve_conj()))
    assert (after.conj() - before).abs().square().sum() < 1e-4 * before.abs().square().sum()


def test_the_joint_prediction_moves_with_the_channel_by_any_part_of_a_bin() -> None:
    task = window()
    obs = observe(rays(task, (0.31, 0.1, 0.2, 0.08), (0.1, -0.2, 0.33, -0.03)), 0.1)
    ramp = torch.polar(torch.ones(24), 2 * math.pi * 0.0137 * torch.arange(24))
    agent = make_agent("joint_doppler_lmmse")
    before, after = agent.act(task, obs), agent.act(task, obs | {"csi": obs["csi"] * ramp})
    assert (after * ramp.conj() - before).abs().square().sum() < 3e-3 * before.abs().square().sum()


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    "setting",
    [
        {"columns": 1, "rows": 1},
        {"columns": 5, "rows": 1, "num_subcarriers": 1, "num_past": 1},
        {"columns": 4, "rows": 3, "num_subcarriers": 7, "panel.polarisation": "dual", "noise_power_observable": False},
        {"num_past": 21, "num_future": 1, "columns": 2, "rows": 2, "num_subcarriers": 6, "speed_kmh": 200.0},
    ],
    ids=str,
)
def test_any_array_bandwidth_window_and_speed_will_do(agent: str, setting: dict[str, Any]) -> None:
    task, state, obs = episodes("channel_prediction", 3, **_setting(setting))
    action = make_agent(agent).act(task, obs)
    task.check_action(action, len(action))
    score = task.score(state, action)
    assert score["squared_error"].sum() < 1.2 * score["target_energy"].sum()


def _setting(setting: dict[str, Any]) -> dict[str, Any]:
    panel = {f"panel.{key}": setting[key] for key in ("columns", "rows") if key in setting}
    return {"num_subcarriers": 12, **{key: value for key, value in setting.items() if key not in ("columns", "rows")}, **panel}


def test_both_polarisations_are_predicted_from_the_same_waves() -> None:
    task = window(columns=4, rows=2, **{"panel.polarisation": "dual"})
    channel = rays(task, (0.123, -0.217, 0.057, -0.0911), (0.4, 0.1, 0.3, 0.03), batch=8)
    joint, binned = (nmse(make_agent(agent).act(task, observe(channel, 0.3)), channel) for agent in AGENTS[::-1])
    assert joint < 0.5 * binned


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_on_clustered_channels_the_joint_prediction_is_the_better_one(snr_db: float) -> None:
    task, state, obs = episodes("channel_prediction", 4, scenario="uma-nlos-32", num_subcarriers=48, snr_db=snr_db)
    joint, shifted, still = (
        task.score(state, agent.act(task, obs))
        for agent in (make_agent("joint_doppler_lmmse"), make_agent("doppler_lmmse"), make_agent("doppler_lmmse", shifted_axes=0))
    )
    assert joint["squared_error"].sum() < shifted["squared_error"].sum() < still["squared_error"].sum()


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_where_there_are_no_plane_waves_bins_are_used(snr_db: float) -> None:
    task, _, obs = episodes("channel_prediction", 3, scenario="rayleigh-32", num_subcarriers=12, snr_db=snr_db)
    joint, binned = (make_agent(agent).act(task, obs) for agent in AGENTS[::-1])
    torch.testing.assert_close(joint, binned)


def test_episodes_with_and_without_plane_waves_may_share_a_batch() -> None:
    with_waves = observe(rays(window(), (0.31, 0.1, 0.2, 0.08), (0.1, -0.2, 0.33, -0.03), batch=2), 0.1)
    noise_only = observe(torch.zeros(2, PAST + FUTURE, 32, 24, dtype=torch.complex64), 0.1)
    both = {key: torch.cat([value, noise_only[key]]) for key, value in with_waves.items()}
    agent = make_agent("joint_doppler_lmmse")
    alone = torch.cat([agent.act(window(), obs) for obs in (with_waves, noise_only)])
    torch.testing.assert_close(agent.act(window(), both), alone, rtol=1e-3, atol=1e-3)


def test_bins_come_back_as_they_were() -> None:
    task = window(**{"panel.polarisation": "dual"})
    h = gaussian(2, 3, task.scenario.num_antennas, 24)
    torch.testing.assert_close(from_bins(task, to_bins(task, h)), h)
