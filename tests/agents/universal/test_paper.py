"""The paper's heads: what they see, what they can't, their losses and the sizes they were built for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learned_agents import bfloat16_changes_the_loss_by, equal_actions, learned, parameters_without_gradient, train
from torch import Tensor
from wirelessgym.agents.universal.heads.paper.detection import PatchEncoder

from wirelessgym import make_agent, make_task
from wirelessgym.check import check_agent
from wirelessgym.learned import LearnedAgent
from wirelessgym.task import Task
from wirelessgym.train.config import read_configuration

SMALL: dict[str, dict[str, Any]] = {
    "precoding": {"num_users": [2, 5], "csi_snr_db": [0, 20]},
    "detection": {"num_users": [2, 4]},
    "channel_prediction": {"num_subcarriers": 6, "snr_db": 20, "panel": {"rows": 2}},
}
TASKS = tuple(SMALL)
CONFIGURATIONS = {
    "paper_precoding": ["precoding"],
    "paper_detection": ["detection"],
    "paper_prediction": ["channel_prediction"],
    "paper": list(TASKS),
}
LARGEST_CHECKPOINT_BYTES = 32 * 2**20


def episodes(task_id: str, batch: int = 6, **overrides: Any) -> tuple[Task, Any, dict[str, Tensor]]:
    task = make_task(task_id, scenario="uma-nlos-16", horizon=1, **SMALL[task_id] | overrides)
    return task, *task.reset(range(batch), seed=5)


@pytest.fixture(scope="module")
def played() -> dict[str, tuple[Task, Any, dict[str, Tensor]]]:
    return {task: episodes(task) for task in TASKS}


def paper(**options: Any) -> LearnedAgent:
    return learned("universal", **{"preset": "paper", "backbone": "none", "checkpoint": None} | options)


def head_of(agent: LearnedAgent, task: Task) -> Any:
    weights: Any = agent.weights(task)
    return weights.heads[task.id]


def heard_by(agent: LearnedAgent, task: Task, obs: dict[str, Tensor]) -> Tensor:
    """What the head tells the backbone, outside training."""
    with torch.no_grad():
        tokens: Tensor = head_of(agent, task).eval().encode(task, obs)[0]
    return tokens


@pytest.mark.parametrize("task_id", TASKS)
def test_the_backbone_is_not_told_any_noise_power(played: Any, task_id: str) -> None:
    task, _, obs = played[task_id]
    louder = {key: value * 100 if "noise_power" in key else value for key, value in obs.items()}
    assert not torch.equal(louder["noise_power"], obs["noise_power"])
    assert torch.equal(heard_by(paper(), task, louder), heard_by(paper(), task, obs))
    if task_id != "precoding":  # whose formula for the precoder has the noise power
        assert equal_actions(paper().act(task, louder), paper().act(task, obs))


@pytest.mark.parametrize("task_id", TASKS)
def test_tokens_do_not_change_when_all_that_is_received_is_scaled(played: Any, task_id: str) -> None:
    task, _, obs = played[task_id]
    louder = {key: value * 37.5 if key in ("csi", "received") else value for key, value in obs.items()}
    tokens = heard_by(paper(), task, obs)
    assert tokens.std(1).max() > 1e-3
    torch.testing.assert_close(heard_by(paper(), task, louder), tokens, rtol=1e-3, atol=1e-4)


def test_all_power_is_spent_and_none_of_it_on_users_that_take_no_part(played: Any) -> None:
    task, _, obs = played["precoding"]
    power = paper().act(task, obs).abs().square().sum(-1)
    torch.testing.assert_close(power.sum(-1), obs["tx_power"])
    assert not obs["mask"].all()
    assert (power[~obs["mask"]] == 0).all()
    assert (power[obs["mask"]] > 0).all()


def test_structure_is_answered_in_shares_and_makes_the_same_precoder(played: Any) -> None:
    task, state, obs = played["precoding"]
    wanting = make_task("precoding", scenario="uma-nlos-16", horizon=1, action="structure", **SMALL["precoding"])
    structure = paper().act(wanting, obs)
    torch.testing.assert_close(structure.sum(1), torch.ones(len(structure), 2))
    rates = [t.score(state, paper().act(t, obs))["sum_rate"] for t in (task, wanting)]
    torch.testing.assert_close(*rates)


def test_without_a_backbone_precoders_follow_their_users_whatever_the_order(played: Any) -> None:
    task, _, obs = played["precoding"]
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = obs | {key: obs[key][:, order] for key in ("csi", "mask")}
    agent = paper()
    power = agent.act(task, obs).abs().square().sum(-1)
    assert (power.amax(-1) - power[:, 0]).max() > 1e-4  # users are told apart
    torch.testing.assert_close(agent.act(task, shuffled), agent.act(task, obs)[:, order], rtol=1e-3, atol=1e-5)


def test_users_that_take_no_part_are_as_good_as_left_out(played: Any) -> None:
    task, _, obs = played["precoding"]
    agent = paper()
    padded = agent.act(task, obs)
    for row, count in enumerate(obs["mask"].sum(-1).tolist()):
        alone = {key: value[row : row + 1] for key, value in obs.items()}
        alone |= {key: alone[key][:, obs["mask"][row]] for key in ("csi", "mask")}
        assert alone["csi"].shape[1] == count
        torch.testing.assert_close(agent.act(task, alone)[0], padded[row, obs["mask"][row]], rtol=1e-3, atol=1e-5)


def test_first_phase_is_over_once_the_decoder_answers_wmmse(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task, state, obs = played["precoding"]
    wmmse: Any = make_agent("wmmse", iterations=20)
    structure = torch.stack(wmmse.structure(obs), -1) / obs["tx_power"][:, None, None]
    agent = paper()
    before = agent.loss(task, state, obs, progress=0.49)
    # Half of each share: the decoder's answers count up to a factor.
    monkeypatch.setattr(head_of(agent, task).output, "forward", lambda hidden: torch.logit(structure / 2))
    assert before > 1e-3
    assert agent.loss(task, state, obs, progress=0.49) < 1e-9
    torch.testing.assert_close(agent.act(task, obs), wmmse.act(task, obs), rtol=1e-3, atol=1e-4)


def test_second_phase_is_the_rate_through_the_true_channel(played: Any) -> None:
    task, state, obs = played["precoding"]
    agent = paper()
    rate = task.score(state, agent.act(task, obs))["sum_rate"].mean().item()
    assert agent.loss(task, state, obs, progress=0.5).item() == pytest.approx(-rate, rel=1e-5)


def test_detection_loss_counts_users_that_take_part_only(played: Any) -> None:
    task: Any
    task, state, obs = played["detection"]
    agent = paper()
    symbols = agent.act(task, obs)
    absent = ~obs["mask"][:, None].expand(symbols.shape)
    assert absent.any()
    assert symbols[absent].abs().max() == 0
    wrong = symbols - task.constellation[state.sent]
    assert agent.loss(task, state, obs).item() == pytest.approx(wrong[~absent].abs().square().mean().item(), rel=1e-5)


def test_received_vectors_meet_the_channel_in_the_backbone_and_in_their_order() -> None:
    task, state, obs = episodes("detection", num_users=3)
    agent = paper(backbone="random", layers=1, dtype="float32")
    others = obs | {"csi": obs["csi"].flip(0)}
    assert (agent.act(task, others) - agent.act(task, obs)).abs().max() > 1e-4
    later = obs | {"received": torch.cat([obs["received"][:, :3], obs["received"][:, 3:].flip(0)], 1)}
    change = (agent.act(task, later) - agent.act(task, obs)).abs().amax((0, 2))
    assert change[:3].max() < 1e-5
    assert change[3:].min() > 1e-3
    losses = train(agent, task, state, obs, steps=25, learning_rate=2e-3)
    assert losses[-1] < losses[0] * 0.8
    assert parameters_without_gradient(agent, task) == []


def test_ratios_are_those_of_the_estimate_and_need_the_noise_power() -> None:
    task, _, obs = episodes("detection", llrs=True)
    action = paper().act(task, obs)
    assert isinstance(action, dict)
    plain = make_task("detection", scenario="uma-nlos-16", horizon=1, **SMALL["detection"])
    assert torch.equal(action["symbols"], paper().act(plain, obs))
    hidden, _, blind = episodes("detection", llrs=True, noise_power_observable=False)
    with pytest.raises(ValueError, match="needs the noise power"):
        paper().act(hidden, blind)


def test_prediction_scales_with_the_channel(played: Any) -> None:
    task, _, obs = played["channel_prediction"]
    once, louder = paper().act(task, obs), paper().act(task, obs | {"csi": obs["csi"] * 37.5})
    assert once.abs().max() > 1e-3
    torch.testing.assert_close(louder, once * 37.5, rtol=1e-3, atol=1e-3)


def test_prediction_does_not_depend_on_the_rest_of_the_batch(played: Any) -> None:
    task, _, obs = played["channel_prediction"]
    agent = paper()
    alone = agent.act(task, {key: value[:1] for key, value in obs.items()})
    among_louder = agent.act(task, obs | {"csi": torch.cat([obs["csi"][:1], 10 * obs["csi"][1:]])})
    torch.testing.assert_close(among_louder[:1], alone, rtol=1e-4, atol=1e-5)


def test_each_antenna_is_predicted_from_its_own_past(played: Any) -> None:
    task, _, obs = played["channel_prediction"]
    agent = paper()
    csi = torch.cat([obs["csi"][:, :, :1], obs["csi"][:, :, 1:].conj().resolve_conj()], 2)  # of the same power
    before, after = agent.act(task, obs), agent.act(task, obs | {"csi": csi})
    torch.testing.assert_close(after[:, :, 0], before[:, :, 0], rtol=1e-3, atol=1e-5)
    assert (after[:, :, 1:] - before[:, :, 1:]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("task_id", "progress", "learning_rate"),
    [("precoding", 0.0, 1e-3), ("precoding", 1.0, 1e-3), ("detection", 0.0, 3e-3), ("channel_prediction", 0.0, 3e-3)],
)
def test_a_few_steps_lower_the_loss(played: Any, task_id: str, progress: float, learning_rate: float) -> None:
    task, state, obs = played[task_id]
    agent = paper()
    losses = train(agent, task, state, obs, steps=15, learning_rate=learning_rate, progress=progress)
    assert losses[-1] < losses[0] - 0.05 * abs(losses[0])
    # Without a backbone nothing reads the channel's tokens.
    unheard = {name for name in parameters_without_gradient(agent, task) if "patches." not in name}
    assert unheard == set()


@pytest.mark.parametrize("task_id", TASKS)
def test_bfloat16_is_precise_enough_for_training(played: Any, task_id: str) -> None:
    assert bfloat16_changes_the_loss_by(paper(), *played[task_id]) < 0.02


@pytest.mark.parametrize(
    ("task_id", "other", "said"),
    [
        ("precoding", {"panel": {"rows": 2}}, "precoding head was built for antennas 16, got antennas 8; make another"),
        ("detection", {"num_users": 3}, "detection head was built for antennas 16, users 4, got antennas 16, users 3; make"),
        ("channel_prediction", {"num_past": 12}, "past 16, future 4, subcarriers 6, got past 12, future 4, subcarriers 6; make"),
        ("channel_prediction", {"num_future": 3}, "got past 16, future 3, subcarriers 6; make"),
        ("channel_prediction", {"num_subcarriers": 5}, "got past 16, future 4, subcarriers 5; make"),
    ],
)
def test_another_size_is_refused(played: Any, task_id: str, other: dict[str, Any], said: str) -> None:
    agent = paper()
    agent.act(played[task_id][0], played[task_id][2])
    task, _, obs = episodes(task_id, batch=1, **other)
    with pytest.raises(ValueError, match=said):
        agent.act(task, obs)


@pytest.mark.parametrize(
    ("task_id", "other", "shape"),
    [
        ("precoding", {"num_users": 3}, (2, 3, 16)),
        ("detection", {"num_slots": 2}, (2, 2, 4)),
        ("channel_prediction", {"panel": {"rows": 1}}, (2, 4, 4, 6)),
    ],
)
def test_what_sequences_are_made_of_may_be_any_number(played: Any, task_id: str, other: dict[str, Any], shape: Any) -> None:
    agent = paper()
    agent.act(played[task_id][0], played[task_id][2])
    task, _, obs = episodes(task_id, batch=2, **other)
    assert agent.act(task, obs).shape == shape


@pytest.mark.parametrize(("users", "antennas"), [(3, 16), (4, 16), (5, 8)])
def test_every_entry_of_the_channel_is_in_one_patch(users: int, antennas: int) -> None:
    patches = PatchEncoder(users, antennas, width=8).eval()
    patches.positions.data.zero_()
    patches.mix.layers = torch.nn.ModuleList()  # then patches don't meet
    csi = torch.randn(1, antennas, users, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    before = patches(csi)
    assert before.shape == (1, -(-users // 4) * -(-antennas // 4), 8)
    for antenna, user in [(0, 0), (antennas - 1, users - 1), (antennas // 2, 1)]:
        changed = csi.clone()
        changed[0, antenna, user] += 1
        differing = (patches(changed) - before).abs().amax(-1)[0] > 1e-6
        assert differing.nonzero().flatten().tolist() == [user // 4 * -(-antennas // 4) + antenna // 4]


def test_training_predicts_a_few_antennas_of_each_episode_and_counts_these(played: Any) -> None:
    task, state, obs = played["channel_prediction"]
    agent = paper()
    head = head_of(agent, task).train()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        loss = agent.loss(task, state, obs)
        torch.manual_seed(3)
        tokens, _, context = head.encode(task, obs)
    assert len(tokens) == len(obs["csi"]) * len(context.antennas) < len(obs["csi"]) * obs["csi"].shape[2]
    future = agent.act(task, obs)
    assert future.shape == state.future.shape
    chosen = context.antennas
    error, energy = ((x.abs().square()[:, :, chosen]).sum((1, 2, 3)) for x in (future - state.future, state.future))
    assert loss.item() == pytest.approx((error / energy).mean().item(), rel=1e-4)


def test_past_slots_that_do_not_fill_patches_are_refused() -> None:
    task, _, obs = episodes("channel_prediction", batch=1, num_past=10)
    with pytest.raises(ValueError, match="expected past slots in multiples of 4, got 10"):
        paper().act(task, obs)


@pytest.mark.parametrize("task_id", TASKS)
def test_contract_holds(played: Any, task_id: str) -> None:
    assert [finding.sentence for finding in check_agent(paper(), played[task_id][0]) if not finding.ok] == []


def test_heads_have_the_papers_sizes_where_its_code_tells_them() -> None:
    def parameters(task_id: str, **overrides: Any) -> int:
        task = make_task(task_id, scenario="uma-nlos-128", horizon=1, **overrides)
        return sum(p.numel() for p in head_of(paper(), task).parameters())

    decoders = 256 * 256 + 256 + 256 * 2 + 2
    assert parameters("precoding", num_users=4) - decoders == pytest.approx(2.171e6 - (256 + 1) * 512 - 768 * 2 - 2, abs=600)
    assert parameters("channel_prediction") == pytest.approx(0.351e6 - 2 * 96 * 512 - 512, abs=2e3)
    # From the patches and from received vectors to tokens, between tokens, and back to 8 users' symbols: 512 fewer each.
    narrower = 512 * (2048 + 1) + 512 * (256 + 1) + 768 * 769 - 256 * 257 + 512 * 16
    assert parameters("detection", num_users=8) == pytest.approx(16.053e6 - narrower, abs=1e3)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_training_configurations_fit(name: str) -> None:
    configuration = read_configuration(name)
    assert configuration.agent == "universal"
    assert configuration.agent_options["preset"] == "paper"
    assert [entry.task for entry in configuration.tasks] == CONFIGURATIONS[name]
    assert configuration.task_choice == "random"
    agent = paper()
    for entry in configuration.tasks:
        agent.weights(entry.make())
    assert agent.num_parameters * 4 < LARGEST_CHECKPOINT_BYTES * (3 if "detection" in CONFIGURATIONS[name] else 1)  # not shipped
