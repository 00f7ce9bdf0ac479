"""The fitted mixture: how a fit runs, what it leaves, which arrays it serves, and what it is worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from wirelessgym.agents.gmm_wmmse import GMMWMMSE

from wirelessgym import make_agent, make_task
from wirelessgym.checkpoint import read_card, tensors_digest
from wirelessgym.learned import FIRST_TRAINING_SEED
from wirelessgym.task import Task
from wirelessgym.train import train

NOISY = {"num_users": 6, "csi_snr_db": 0, "horizon": 1}


def entry(scenario: str) -> dict[str, Any]:
    return {"task": "precoding", "scenario": scenario, "batch": 32, "validation_episodes": 8, "overrides": NOISY}


CONFIGURATION = {
    "agent": "gmm_wmmse",
    "steps": 8,
    "task_choice": "round_robin",
    "draw_ahead": False,
    "agent_options": {"components": 4, "plane_wave_components": 3, "turns": 5, "largest_array": 16},
    "tasks": [entry("uma-nlos-16"), entry("uma-nlos-32")],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose mixtures are for 16 antennas and, of plane waves, for all others."""
    out = tmp_path_factory.mktemp("fit") / "run"
    train(CONFIGURATION, out, progress=False)
    return out


@pytest.fixture(scope="module")
def agent(folder: Path) -> GMMWMMSE:
    return GMMWMMSE(checkpoint=str(folder / "last"))


def episodes(scenario: str = "uma-nlos-16", count: int = 16, **overrides: Any) -> tuple[Task, Any, dict[str, torch.Tensor]]:
    task = make_task("precoding", scenario=scenario, **NOISY | overrides)
    return task, *task.reset(range(count), seed=4242)


def gain(agent: Any, other: str, *batch: Any) -> tuple[float, float]:
    """Mean difference in sum rate from another agent on the same episodes, and its standard error."""
    task, state, obs = batch
    mine, theirs = (task.score(state, each.act(task.spec, obs))["sum_rate"] for each in (agent, make_agent(other)))
    return (mine - theirs).mean().item(), (mine - theirs).std().item() / math.sqrt(len(mine))


def test_a_fit_leaves_a_card_that_says_what_it_was_fitted_on(folder: Path, agent: GMMWMMSE) -> None:
    card = read_card(folder / "last")
    assert card["agent"] == "gmm_wmmse"
    assert card["training"]["episodes"] == {"precoding": 128, "precoding-2": 128}
    assert card["training"]["seeds"]["training"] == FIRST_TRAINING_SEED
    assert card["options"]["components"] == agent.components == 4
    assert math.isfinite(card["training"]["validation"]["precoding"]["value"])
    assert agent.num_parameters == card["trainable_parameters"] == 4 + 4 * 16 * 16 * 2 + 3 + 3 * 8 * 16
    assert agent.trained_as == "fitted"


def test_a_fit_is_a_function_of_its_configuration(folder: Path, tmp_path: Path) -> None:
    again = train(CONFIGURATION, tmp_path / "again", progress=False)
    assert again.fingerprint == GMMWMMSE(checkpoint=str(folder / "last")).fingerprint
    other = train(CONFIGURATION | {"seed": 1}, tmp_path / "other", progress=False)
    assert tensors_digest(other.saved_tensors()) != again.fingerprint


def test_a_run_is_refused_twice_and_a_resumed_fit_begins_anew(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(CONFIGURATION, folder, progress=False)
    before = GMMWMMSE(checkpoint=str(folder / "last")).fingerprint
    assert train(CONFIGURATION, folder, resume=True, progress=False).fingerprint == before


def test_before_a_fit_it_says_what_is_missing() -> None:
    task, _, obs = episodes(count=2)
    with pytest.raises(ValueError, match="gmm_wmmse: not fitted yet"):
        GMMWMMSE(checkpoint=None).act(task.spec, obs)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"components": 0}, "components: expected an integer >= 1, got 0"),
        ({"covariance": "circulant"}, "covariance: expected full, toeplitz or kronecker, got 'circulant'"),
        ({"white_share": 1.0}, r"white_share: expected a number in \[0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GMMWMMSE(checkpoint=None, **option)


@pytest.mark.parametrize("covariance", ["toeplitz", "kronecker"])
def test_structured_mixtures_beat_robust_wmmse_too(covariance: str, tmp_path: Path) -> None:
    options = CONFIGURATION["agent_options"] | {"covariance": covariance}  # type: ignore[operator]
    agent = train(CONFIGURATION | {"agent_options": options}, tmp_path / "run", progress=False)
    names = {name.partition("/")[2] for name in agent.saved_tensors()}
    assert names == {"weights", "spectrum"} | ({"rows", "columns"} if covariance == "kronecker" else set())
    mean, error = gain(agent, "robust_wmmse", *episodes(count=64))
    assert mean > 3 * error


@pytest.mark.parametrize("scenario", ["uma-nlos-16", "uma-nlos-32"])
def test_it_beats_robust_wmmse_where_knowledge_is_poor(scenario: str, agent: GMMWMMSE) -> None:
    mean, error = gain(agent, "robust_wmmse", *episodes(scenario, count=64))
    assert mean > 3 * error


def test_the_posterior_is_calibrated_on_channels_that_it_has_not_seen(agent: GMMWMMSE) -> None:
    from wirelessgym.arrays import to_beams

    task, state, obs = episodes(count=64)
    mean, covariance = agent.posterior(task.spec, obs)
    made = (mean - to_beams(state.h, 4, 4)).abs().square().sum(-1).mean().item()
    promised = covariance.diagonal(dim1=-2, dim2=-1).real.sum(-1).mean().item()
    assert made == pytest.approx(promised, rel=0.15)
    assert made < 0.5 * 16


@pytest.mark.parametrize(
    "overrides",
    [
        {"panel": {"rows": 3, "columns": 5}},
        {"panel": {"rows": 2, "columns": 4, "polarisation": "dual"}},
        {"panel": {"rows": 8, "columns": 8}},
        {"num_users": (2, 5)},
        {"csi_snr_db": (0, 30)},
    ],
    ids=str,
)
def test_any_array_and_any_number_of_users_is_served(overrides: dict[str, Any], agent: GMMWMMSE) -> None:
    task, _, obs = episodes(count=6, **overrides)
    w = agent.act(task.spec, obs)
    torch.testing.assert_close(w.abs().square().sum((-2, -1)), obs["tx_power"])
    absent = (obs["csi"] == 0).all(-1)
    assert bool((w[absent] == 0).all())


def test_polarisations_without_a_mixture_of_their_own_are_independent(agent: GMMWMMSE) -> None:
    task, _, obs = episodes(count=3, panel={"rows": 2, "columns": 4, "polarisation": "dual"})
    half = make_task("precoding", scenario="uma-nlos-16", **NOISY, panel={"rows": 2, "columns": 4})
    mean, covariance = agent.posterior(task.spec, obs)
    first, within = agent.posterior(half.spec, obs | {"csi": obs["csi"][..., :8]})
    torch.testing.assert_close(mean[..., :8], first, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(covariance[..., :8, :8], within, atol=1e-4, rtol=1e-4)
    assert bool((covariance[..., :8, 8:] == 0).all())


def test_with_perfect_knowledge_it_is_wmmse(agent: GMMWMMSE) -> None:
    task, _, obs = episodes(count=4, csi_snr_db=None)
    assert torch.equal(agent.act(task.spec, obs), make_agent("wmmse").act(task.spec, obs))


def test_the_shipped_mixtures_serve_every_array_and_beat_the_best_agent_without_training() -> None:
    shipped = make_agent("gmm_wmmse")
    for scenario in ("uma-nlos-16", "uma-nlos-32", "uma-nlos-64"):
        mean, error = gain(shipped, "robust_wmmse", *episodes(scenario, count=32))
        assert mean > 3 * error, scenario
    task, _, obs = episodes("uma-nlos-128", count=2)
    assert shipped.act(task.spec, obs).shape == (2, 6, 128)
