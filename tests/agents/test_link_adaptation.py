"""Agents of link adaptation: closed forms, Sionna's own loops, and who is ahead of whom."""

from __future__ import annotations

import json

import pytest
import torch
from scipy.stats import norm

from wirelessgym import compare, make_agent, make_task
from wirelessgym.fields import take
from wirelessgym.link.abstraction import cqi_curves, curves
from wirelessgym.link.mcs import CQI_TABLE, LOWEST_MCS, MCS_TABLE
from wirelessgym.registry import agent_module
from wirelessgym.rollouts import Rollout

TABLE = curves(672)


def link(**options):
    return make_task("link_adaptation", **{"num_subcarriers": 12, "horizon": 50} | options)


def sums(task, agent, batch, seed=2**61 + 1):
    """Play whole episodes; every metric summed over rows and steps."""
    state, obs = task.reset(range(batch), seed=seed)
    agent.reset(batch)

    def policy(state, obs):
        return agent.act_on_state(task, state, obs) if agent.needs_state else agent.act(task.spec, obs)

    total = {}
    for step in Rollout(task, state, obs).play(policy):
        total = {key: total.get(key, 0.0) + float(value.sum()) for key, value in step.metrics.items()}
    return total


def observation(cqi, **entries):
    cqi = torch.tensor(cqi)
    blank = {"feedback": -1, "transmissions": 0, "last_mcs": -1} | entries
    return {"cqi": cqi} | {key: torch.full_like(cqi, 0) + torch.as_tensor(value) for key, value in blank.items()}


@pytest.fixture(scope="module")
def sionnas(tmp_path_factory):
    """Sionna's abstraction with this package's curves instead of its own tables."""
    from sionna.sys import PHYAbstraction

    grid = torch.arange(-8, 25, 0.05)
    table = {
        str(LOWEST_MCS + row): {
            "SNR_db": grid.tolist(),
            "CBS": {size: {"BLER": TABLE.block_error_rate(grid)[:, row].tolist()} for size in ("24", "2000", "8448")},
        }
        for row in range(len(TABLE.schemes))
    }
    path = tmp_path_factory.mktemp("tables") / "table.json"
    path.write_text(json.dumps({"category": {"1": {"index": {"1": {"MCS": table}}}}}))
    return PHYAbstraction(
        load_bler_tables_from=str(path), snr_db_interp_min_max_delta=(-8, 25, 0.05), cbs_interp_min_max_delta=(24, 8448, 4000)
    )


def test_one_scheme_for_ever():
    assert (make_agent("fixed_mcs", mcs=7).act(link().spec, observation([0, 9, 15])) == 7).all()
    with pytest.raises(ValueError, match="mcs: expected 3 to 28, got 2"):
        make_agent("fixed_mcs", mcs=2)


def test_the_inner_loop_takes_the_scheme_that_defines_the_report():
    levels = range(4, 16)
    chosen = make_agent("illa").act(link().spec, observation(list(levels)))
    assert chosen.tolist() == [MCS_TABLE.index(CQI_TABLE[level - 1]) for level in levels]
    assert (make_agent("illa").act(link().spec, observation([0, 1, 2])) == LOWEST_MCS).all()


def test_the_inner_loop_grows_bolder_with_its_target():
    obs = observation(list(range(16)))
    timid, usual, bold = (make_agent("illa", target=target).act(link().spec, obs) for target in (1e-6, 0.1, 0.999999))
    assert (timid <= usual).all()
    assert (usual <= bold).all()
    assert timid.sum() < usual.sum() < bold.sum()


def test_the_inner_loop_is_sionnas(sionnas):
    from sionna.sys import InnerLoopLinkAdaptation

    sinr_db = torch.arange(-4, 22, 0.31)
    theirs = InnerLoopLinkAdaptation(sionnas, bler_target=0.1)(
        sinr_eff=(10 ** (sinr_db / 10))[:, None], num_allocated_re=torch.full((len(sinr_db), 1), 672), mcs_category=1
    )[:, 0]
    mine = agent_module("_link").highest_mcs(TABLE, sinr_db, 0.1)
    # Sionna reads its table on a grid of 0.05 dB.
    near_a_threshold = ((TABLE.threshold_db(0.1) - sinr_db[:, None]).abs() < 0.06).any(1)
    assert torch.equal(mine[~near_a_threshold], theirs.long()[~near_a_threshold])
    assert (~near_a_threshold).float().mean() > 0.8


def test_the_outer_loop_is_sionnas(sionnas, generator):
    from sionna.sys import OuterLoopLinkAdaptation

    rows = 6
    theirs = OuterLoopLinkAdaptation(sionnas, num_ut=rows, bler_target=0.1, delta_up=0.7)
    mine = make_agent("olla", step_db=0.7, target=0.1)
    mine.reset(rows)
    known = torch.cat([torch.zeros(1), cqi_curves(672).threshold_db(0.1)])
    for slot in range(30):
        cqi = torch.randint(5, 15, (rows,), generator=generator)
        feedback = torch.randint(0, 2, (rows,), generator=generator) if slot else torch.full((rows,), -1)
        chosen = mine.act(link().spec, observation(cqi.tolist(), feedback=feedback, last_mcs=9))
        reference = theirs(torch.full((rows,), 672), feedback, 10 ** (known[cqi] / 10), mcs_category=1)
        torch.testing.assert_close(mine.offset_db, theirs.offset, rtol=1e-4, atol=1e-4)
        sinr_db = known[cqi] - mine.offset_db
        clear = ((TABLE.threshold_db(0.1) - sinr_db[:, None]).abs() > 0.06).all(1) & (sinr_db > float(TABLE.threshold_db(0.1)[0]))
        assert torch.equal(chosen[clear], reference.long()[clear])


@pytest.mark.parametrize("target", [0.1, 0.3])
def test_the_outer_loop_loses_the_share_of_its_target_on_a_channel_that_stands_still(target):
    task = link(speed_kmh=0, horizon=600)
    agent = make_agent("olla", step_db=0.3, target=target)
    total = sums(task, agent, 24)
    assert total["first_lost"] / total["first_sent"] == pytest.approx(target, abs=0.15 * target)


def test_retransmissions_do_not_move_the_outer_loop():
    agent = make_agent("olla", step_db=1.0, target=0.5)
    agent.reset(1)
    spec = link().spec
    agent.act(spec, observation([9]))
    agent.act(spec, observation([9], feedback=0, transmissions=1, last_mcs=15))
    assert float(agent.offset_db) == 1.0
    agent.act(spec, observation([9], feedback=0, transmissions=2, last_mcs=15))
    agent.act(spec, observation([9], feedback=1, transmissions=0, last_mcs=15))
    assert float(agent.offset_db) == 1.0
    agent.act(spec, observation([9], feedback=1, transmissions=0, last_mcs=15))
    assert float(agent.offset_db) == 0.0


@pytest.mark.parametrize("name", ["olla", "mcs_policy"])
def test_rows_have_memories_of_their_own(name):
    task = link(horizon=12)
    state, obs = task.reset(range(5), seed=3)
    together = make_agent(name)
    together.reset(5)
    alone = [make_agent(name) for _ in range(5)]
    for agent in alone:
        agent.reset(1)
    for _ in range(12):
        action = together.act(task.spec, obs)
        for row, agent in enumerate(alone):
            assert torch.equal(agent.act(task.spec, take(obs, [row]))[0], action[row])
        state, step = task.step(state, action)
        obs = step.obs
    with pytest.raises(ValueError, match="expected 5 rows, as reset\\(\\) was told, got 2"):
        together.act(task.spec, take(obs, [0, 1]))


def test_a_genie_needs_the_state_and_stands_apart():
    with pytest.raises(TypeError, match="a genie acts on the true state"):
        make_agent("genie_mcs").act(link().spec, observation([3]))
    table = compare(
        "link_adaptation", agents=["illa", "genie_mcs"], episodes=8, seed=1, processes=1, show=False, progress=False, horizon=10
    )
    assert {record.agent: record.role for record in table.records if record.agent in ("illa", "genie_mcs")} == {
        "illa": "agent",
        "genie_mcs": "genie",
    }


def test_the_genie_picks_what_delivers_most_on_a_channel_that_stands_still():
    task = link(speed_kmh=0, horizon=1)
    state, obs = task.reset(range(64), seed=5)
    chosen = make_agent("genie_mcs", retransmissions=False).act_on_state(task, state, obs)
    expected = (1 - task.block_error_rate(state)) * TABLE.bits
    torch.testing.assert_close(expected.gather(1, chosen[:, None] - LOWEST_MCS)[:, 0], expected.amax(1))


def test_who_knows_more_delivers_more():
    task = link(horizon=60, speed_kmh=20)
    goodput = {name: sums(task, make_agent(name), 96)["goodput"] for name in ("fixed_mcs", "illa", "olla", "genie_mcs")}
    assert goodput["fixed_mcs"] < goodput["olla"] < goodput["genie_mcs"]
    assert goodput["fixed_mcs"] < goodput["illa"] < goodput["genie_mcs"]


def test_no_agent_is_ahead_of_the_genie_by_knowing_the_delay_away():
    """Without delay and at walking pace reports are as good as the truth, up to their steps."""
    task = link(delay_slots=0, speed_kmh=3, horizon=60)
    informed, genie = (sums(task, make_agent(name), 96)["goodput"] for name in ("illa", "genie_mcs"))
    assert 0.85 * genie < informed < genie


def test_the_untrained_policy_is_the_inner_loop():
    task = link()
    _, obs = task.reset(range(32), seed=4)
    policy = make_agent("mcs_policy")
    policy.reset(32)
    assert torch.equal(policy.act(task.spec, obs), make_agent("illa").act(task.spec, obs))


def test_the_policy_has_no_choice_in_a_retransmission():
    policy = make_agent("mcs_policy")
    policy.reset(2)
    logits = policy.policy(link().spec, observation([4, 12], feedback=0, transmissions=1, last_mcs=20))
    assert logits.shape == (2, 26)
    torch.testing.assert_close(logits.softmax(-1)[:, 20 - LOWEST_MCS], torch.ones(2))


def test_curves_are_normal_distributions_to_the_agents_too():
    threshold_db = TABLE.threshold_db(0.25)
    torch.testing.assert_close(threshold_db, TABLE.mu_db[:, 0] - float(norm.ppf(0.25)) * TABLE.sigma_db[:, 0])


def test_the_shipped_policy_is_ahead_of_the_inner_loop_for_a_fast_user():
    task = make_task("link_adaptation", speed_kmh=100, horizon=60)
    goodput = {
        name: sums(task, make_agent(name, **options), 256, seed=31)["goodput"]
        for name, options in (("illa", {}), ("mcs_policy", {"checkpoint": "shipped"}))
    }
    assert goodput["mcs_policy"] > 1.01 * goodput["illa"]


def test_the_score_function_reaches_the_policys_weights(generator):
    task = link(horizon=5)
    state, obs = task.reset(range(4), seed=2)
    policy = make_agent("mcs_policy")
    policy.weights(task)
    policy.trajectory_loss(task, state, obs, generator).backward()
    gradients = [parameter.grad for parameter in policy.weights(task).parameters()]
    assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def test_the_shipped_table_is_the_one_that_training_episodes_give():
    module = agent_module("lookup_mcs")
    again = module.fitted(make_task("link_adaptation"), range(128), 2**61 + 9)
    shipped = make_agent("lookup_mcs").table
    common = range(3, 11)  # reports that arrive often
    assert all(abs(again[report] - shipped[report]) <= 2 for report in common), again
    for table in ((3,) * 15, (2,) * 16):
        with pytest.raises(ValueError, match="expected 16 schemes from 3 to 28"):
            make_agent("lookup_mcs", table=table)


def test_on_a_standing_channel_the_table_finds_the_scheme_of_most_goodput():
    module = agent_module("lookup_mcs")
    task = link(speed_kmh=0.0, snr_db=12.0)
    table = module.fitted(task, range(256), 2**61)
    tuned = sums(task, make_agent("lookup_mcs", table=table), 256)["goodput"]
    assert tuned > sums(task, make_agent("illa"), 256)["goodput"]
