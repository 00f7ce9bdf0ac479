"""The learned detectors against the iterations they unfold, the symmetries of the problem, and their own checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from learned_agents import (
    bfloat16_changes_the_loss_by,
    equal_actions,
    learned,
    parameters_without_gradient,
    survives_a_round_trip,
    train,
    training_task,
)

from wirelessgym import make_agent, make_task
from wirelessgym.check import check_agent
from wirelessgym.modulation import bits_of
from wirelessgym.task import Task

NAMES = ("dnn_detector", "detnet", "oampnet")
HARD: dict[str, Any] = {"num_users": [2, 5], "csi_snr_db": [10, 20], "snr_db": [5, 15]}


def episodes(batch: int = 6, **overrides: Any) -> tuple[Task, Any, dict[str, torch.Tensor]]:
    task = make_task("detection", scenario="uma-nlos-16", horizon=1, **overrides)
    return task, *task.reset(range(batch), seed=5)


@pytest.fixture(scope="module")
def hard() -> tuple[Task, Any, dict[str, torch.Tensor]]:
    """Noisy channels of two to five users, with log-likelihood ratios."""
    return episodes(llrs=True, **HARD)


@pytest.mark.parametrize("version", [1, 2])
def test_oampnet_starts_as_oamp_to_the_last_bit(hard: Any, version: int) -> None:
    task, _, obs = hard
    plain = make_agent("oamp", divergence_free=False, iterations=7).act(task, obs)
    assert equal_actions(learned("oampnet", layers=7, version=version).act(task, obs), plain)
    assert not equal_actions(make_agent("oamp", iterations=7).act(task, obs), plain)


def test_oampnet_fits_any_size_and_constellation() -> None:
    agent = learned("oampnet")
    for overrides in ({"num_users": 4}, {"num_users": 2, "panel": {"rows": 2}}, {"num_users": 3, "modulation": "qpsk"}):
        task, _, obs = episodes(**overrides)
        assert equal_actions(agent.act(task, obs), make_agent("oamp", divergence_free=False).act(task, obs))
    assert agent.num_parameters == 20


def test_oampnets_scalars_do_what_their_names_say(hard: Any) -> None:
    task, _, obs = hard

    def symbols(layer: int, **values: float) -> torch.Tensor:
        agent = learned("oampnet", version=2, layers=3)
        scalars = dict(agent.weights(task).named_parameters())
        with torch.no_grad():
            for name, value in values.items():
                scalars[name][layer] = value
        return agent.act(task, obs)["symbols"]

    as_is = symbols(0)
    torch.testing.assert_close(symbols(2, phi=0.5), as_is / 2)
    assert symbols(2, gamma=0.0).sub(as_is).abs().max() > 1e-3  # the last filter isn't used
    uncertain = symbols(2, theta=30.0)  # a large error variance: all points are equally likely
    assert uncertain.abs().mean() < as_is.abs().mean() / 4
    # The output is phi (eta - xi r), so it is linear in xi.
    torch.testing.assert_close(symbols(2, xi=0.2) - as_is, 2 * (symbols(2, xi=0.1) - as_is), rtol=1e-3, atol=1e-5)
    assert (symbols(2, xi=0.2) - as_is).abs().max() > 0.1


def test_detnets_last_layer_learns() -> None:
    task, state, obs = episodes(batch=64, num_users=4, snr_db=15)
    agent = learned("detnet", layers=4)

    def last_error() -> float:
        return task.score(state, agent.act(task, obs))["nmse"].mean().item()

    before = last_error()
    losses = train(agent, task, state, obs, steps=100, learning_rate=5e-3)
    assert losses[-1] < losses[0] * 0.8
    assert before > 0.9
    assert last_error() < 0.5


# OAMP-Net starts where OAMP stands, which leaves little to gain.
@pytest.mark.parametrize(("name", "learning_rate", "factor"), [("dnn_detector", 1e-3, 0.8), ("oampnet", 1e-2, 0.99)])
def test_a_few_steps_lower_the_error(name: str, learning_rate: float, factor: float) -> None:
    task, state, obs = episodes(batch=16, num_users=4, snr_db=10)
    agent = learned(name)
    losses = train(agent, task, state, obs, steps=20, learning_rate=learning_rate)
    assert losses[-1] < losses[0] * factor


def test_detnets_loss_weighs_layers_by_their_logarithm_and_counts_present_users_only(hard: Any, monkeypatch: Any) -> None:
    task, state, obs = hard
    agent = learned("detnet")
    one_hot = torch.cat([sent_levels(task, state, "real"), sent_levels(task, state, "imag")], -2)
    guess = torch.full_like(one_hot, 1 / 4)
    absent = ~obs["mask"].repeat(1, 2)[:, None, :, None]
    monkeypatch.setattr(type(agent), "_probabilities", lambda *_: [guess, one_hot.masked_fill(absent, 9.0), guess])
    # A guess among four levels is off by (3/4)^2 + 3 (1/4)^2.
    assert agent.loss(task, state, obs).item() == pytest.approx(math.log(3) * 0.75, rel=1e-5)


def test_detnets_certainty_becomes_symbols_and_bits(hard: Any, monkeypatch: Any) -> None:
    task, state, obs = hard
    agent = learned("detnet")
    one_hot = torch.cat([sent_levels(task, state, "real"), sent_levels(task, state, "imag")], -2)
    monkeypatch.setattr(type(agent), "_probabilities", lambda *_: [one_hot])
    action = agent.act(task, obs)
    present = obs["mask"][:, None].expand(state.sent.shape)
    torch.testing.assert_close(action["symbols"], task.constellation[state.sent] * present)
    assert torch.equal(action["llrs"] > 0, bits_of(state.sent, 4))
    assert action["llrs"].abs().min() > 10


def sent_levels(task: Task, state: Any, part: str) -> torch.Tensor:
    """One-hot vectors of the sent levels, (batch, slots, users, 4)."""
    points = task.constellation
    levels = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / math.sqrt(10)
    return ((getattr(points, part)[state.sent][..., None] - levels).abs() < 1e-3).float()


@pytest.mark.parametrize("name", ["dnn_detector", "detnet"])
def test_scaling_receiver_and_channel_together_changes_nothing(hard: Any, name: str) -> None:
    task, state, obs = hard
    agent = learned(name)
    train(agent, task, state, obs, steps=2, learning_rate=1e-2)
    louder = obs | {key: obs[key] * 5 for key in ("received", "csi")}
    plain = make_task("detection", scenario="uma-nlos-16", horizon=1, **HARD)
    torch.testing.assert_close(agent.act(plain, louder), agent.act(plain, obs), rtol=1e-3, atol=1e-4)


def test_detnet_does_not_see_how_the_antennas_are_rotated(hard: Any) -> None:
    task, state, obs = hard
    agent = learned("detnet")
    train(agent, task, state, obs, steps=2, learning_rate=1e-2)
    generator = torch.Generator().manual_seed(3)
    rotation = torch.linalg.qr(torch.randn(16, 16, dtype=torch.complex64, generator=generator))[0]
    rotated = obs | {"received": obs["received"] @ rotation.mT, "csi": rotation @ obs["csi"]}
    assert (agent.act(task, obs)["symbols"] - agent.act(task, rotated)["symbols"]).abs().max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(hard: Any, name: str) -> None:
    task, state, obs = hard
    agent = learned(name, **({"version": 2} if name == "oampnet" else {}))
    # DetNet's first layer sees zeros until its step sizes have moved.
    train(agent, task, state, obs, steps=1, learning_rate=1e-2)
    assert parameters_without_gradient(agent, task) == []


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        (
            "dnn_detector",
            {"num_users": 3},
            "dnn_detector was built for antennas 16, users 5, got antennas 16, users 3; make another",
        ),
        ("detnet", {"num_users": 3}, "detnet was built for users 5, points 16, got users 3, points 16; make another"),
        ("detnet", {"num_users": 5, "modulation": "qpsk"}, "detnet was built for users 5, points 16, got users 5, points 4"),
    ],
)
def test_another_size_is_refused(hard: Any, name: str, other: dict[str, Any], said: str) -> None:
    agent = learned(name)
    agent.act(hard[0], hard[2])
    task, _, obs = episodes(**other)
    with pytest.raises(ValueError, match=said):
        agent.act(task, obs)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_gives_the_same_actions(hard: Any, name: str, tmp_path: Path) -> None:
    task, state, obs = hard
    agent = learned(name)
    train(agent, task, state, obs, steps=2, learning_rate=1e-2)
    assert survives_a_round_trip(agent, task, obs, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_contract_holds_with_noisy_channels_ratios_and_a_varying_number_of_users(hard: Any, name: str) -> None:
    assert [finding.sentence for finding in check_agent(learned(name), hard[0]) if not finding.ok] == []


@pytest.mark.parametrize("name", NAMES)
def test_users_that_take_no_part_get_no_symbols(hard: Any, name: str) -> None:
    task, _, obs = hard
    symbols = learned(name).act(task, obs)["symbols"]
    assert not obs["mask"].all()
    assert symbols.mT[~obs["mask"]].abs().max() < 1e-6


def test_hidden_noise_power_matters_where_it_is_used() -> None:
    for llrs, needing in ((False, {"oampnet"}), (True, {"oampnet", "dnn_detector"})):
        task, _, obs = episodes(noise_power_observable=False, llrs=llrs)
        for name in NAMES:
            if name in needing:
                with pytest.raises(ValueError, match=f"{name} needs the noise power"):
                    learned(name).act(task, obs)
            else:
                learned(name).act(task, obs)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_precise_enough_for_training(hard: Any, name: str) -> None:
    assert bfloat16_changes_the_loss_by(learned(name), *hard) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_training_configuration_fits(name: str) -> None:
    assert training_task(name).scenario.snr_db == (0, 20)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("dnn_detector", {"scale": 0.0}),
        ("detnet", {"layers": 1}),
        ("detnet", {"residual": 1.0}),
        ("oampnet", {"layers": 0}),
        ("oampnet", {"version": 3}),
    ],
)
def test_options_out_of_range_are_refused(name: str, option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}.*expected"):
        make_agent(name, **option)
