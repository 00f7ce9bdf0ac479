"""Link adaptation: what a transmission is worth, what it leaves behind, and what happens whatever the agent does."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import pytest
import torch
from scipy.stats import binomtest

import wirelessgym
from wirelessgym import make_task
from wirelessgym.check import check_task
from wirelessgym.fields import equal, take
from wirelessgym.link.abstraction import curves
from wirelessgym.link.mcs import CQI_TABLE, LOWEST_MCS, MCS_TABLE

TABLE = curves(672)


def link(**options):
    return make_task("link_adaptation", **{"num_subcarriers": 12, "horizon": 20} | options)


def constant(mcs, batch):
    return torch.full((batch,), mcs)


def played(task, mcs, batch, steps, seed=3):
    """State, observations and metrics (rows, steps) of an agent that always picks one MCS."""
    state, obs = task.reset(range(batch), seed=seed)
    seen, metrics = [obs], []
    for _ in range(steps):
        state, step = task.step(state, constant(mcs, batch))
        seen.append(step.obs)
        metrics.append(step.metrics)
    return state, seen, {key: torch.stack([m[key] for m in metrics], 1) for key in metrics[0]}


def at_sinr(task, sinr_db, mcs, batch, seed=1):
    """A state in which every row has its own coins and a channel of one effective SINR for one MCS, for ever."""
    state, _ = task.reset([0], seed=seed)
    state = take(state, torch.zeros(batch, dtype=torch.int64))
    beta = TABLE.beta[mcs - LOWEST_MCS]
    coins = torch.rand(state.coins.shape, generator=torch.Generator().manual_seed(seed))
    return replace(state, fading=torch.full_like(state.fading, float((-(10 ** (sinr_db / 10)) / beta).exp())), coins=coins)


def test_what_happens_by_itself_is_the_same_for_all_agents():
    task = link()
    (bold, bold_seen, _), (shy, shy_seen, _) = (played(task, mcs, 8, 20) for mcs in (25, 4))
    for entry in ("rays", "fading", "reports", "coins"):
        assert equal(getattr(bold, entry), getattr(shy, entry))
    assert all(torch.equal(one["cqi"], other["cqi"]) for one, other in zip(bold_seen, shy_seen, strict=True))
    assert not torch.equal(bold.transmissions, shy.transmissions)


def test_coins_belong_to_their_slots_however_long_the_episode_is():
    short, long = (link(horizon=horizon).reset([3], seed=9)[0] for horizon in (10, 30))
    assert torch.equal(short.coins[0], long.coins[0, :11])


def test_goodput_is_the_block_or_nothing_and_stays_below_the_spectral_efficiency():
    for mcs in (3, 12, 28):
        _, _, metrics = played(link(snr_db=15), mcs, 16, 20)
        size = TABLE.bits[mcs - LOWEST_MCS] / 672
        assert torch.isin(metrics["goodput"], torch.stack([torch.zeros(()), size])).all()
        assert size <= MCS_TABLE[mcs].spectral_efficiency * 1.02  # block sizes are rounded


def test_a_lost_block_comes_back_with_its_mcs_until_four_transmissions_are_spent():
    task = link(snr_db=-15)
    state, obs = task.reset(range(4), seed=1)
    assert [int(obs[key][0]) for key in ("feedback", "transmissions", "last_mcs")] == [-1, 0, -1]
    for slot in range(8):
        mcs = 28 - slot
        state, step = task.step(state, constant(mcs, 4))
        assert (step.obs["last_mcs"] == (28 if slot < 4 else 24)).all()
        assert (step.obs["feedback"] == 0).all()
        assert (step.obs["transmissions"] == (slot + 1) % 4).all()
        assert (step.metrics["given_up"] == float(slot % 4 == 3)).all()
        assert (step.metrics["first_sent"] == float(slot % 4 == 0)).all()


def test_fewer_transmissions_can_be_asked_for():
    _, seen, metrics = played(link(snr_db=-15, max_transmissions=2), 28, 2, 4)
    assert [int(obs["transmissions"][0]) for obs in seen] == [0, 1, 0, 1, 0]
    assert metrics["given_up"].sum(1).tolist() == [2, 2]


def test_every_block_ends_once_and_takes_its_transmissions():
    state, _, metrics = played(link(), 16, 32, 20)
    under_way = (state.transmissions > 0).float()
    torch.testing.assert_close(metrics["first_sent"].sum(1), metrics["ended"].sum(1) + under_way)
    torch.testing.assert_close(metrics["spent"].sum(1) + state.transmissions, torch.full((32,), 20.0))
    decoded = metrics["goodput"] > 0
    assert torch.equal(metrics["ended"] > 0, decoded | (metrics["given_up"] > 0))


@pytest.mark.parametrize(("mcs", "back_db"), [(5, 2.0), (14, 2.0), (24, 3.0), (14, 5.5)])
def test_after_n_transmissions_the_share_of_lost_blocks_is_that_of_the_curve(mcs, back_db):
    """Lost first and lost again: the coins are such that both together are as likely as the curve for two says."""
    task, batch = link(), 20_000
    row = mcs - LOWEST_MCS
    sinr_db = float(TABLE.mu_db[row, 0]) - back_db
    state = at_sinr(task, torch.tensor(sinr_db), mcs, batch)
    lost = torch.ones(batch, dtype=torch.bool)
    least = 1.0
    for transmissions in (1, 2, 3, 4):
        state, step = task.step(state, constant(mcs, batch))
        lost &= step.obs["feedback"] == 0
        least = min(least, float(TABLE.block_error_rate(torch.tensor(sinr_db), transmissions)[row]))
        assert float(lost.float().mean()) == pytest.approx(least, abs=4 * (least * (1 - least) / batch) ** 0.5 + 1e-3)


def test_energy_of_a_deep_fade_counts_in_the_next_transmission():
    """Retransmissions over a changing channel take the mean of exp(-SINR / beta): a good slot helps a bad one, but not wholly."""
    task, mcs = link(), 14
    mu_db = TABLE.mu_db[mcs - LOWEST_MCS]
    bad, good = (at_sinr(task, sinr_db, mcs, 2000) for sinr_db in (mu_db[1] - 8, mu_db[1]))
    faded = replace(good, fading=torch.cat([bad.fading[:, :1], good.fading[:, 1:]], 1))
    lost = {}
    for name, state in (("good", good), ("faded", faded)):
        state, _ = task.step(replace(state, coins=torch.cat([torch.zeros(2000, 1), state.coins[:, 1:]], 1)), constant(mcs, 2000))
        assert (state.transmissions == 1).all()
        _, step = task.step(state, constant(mcs, 2000))
        lost[name] = float((step.obs["feedback"] == 0).float().mean())
    assert lost["good"] < 0.6 < lost["faded"]


def test_reports_arrive_as_late_as_asked():
    early, late = (link(delay_slots=delay, horizon=40, speed_kmh=60) for delay in (0, 6))
    now, then = early.reset(range(16), seed=2)[0].reports, late.reset(range(16), seed=2)[0].reports
    assert (now[:, :-6] == then[:, 6:]).float().mean() > 0.99  # rounding may move a report across a level
    assert (now == then).float().mean() < 0.9


def test_a_report_promises_a_block_error_rate_of_a_tenth():
    task = link(delay_slots=0, snr_db=(0, 20))
    state, obs = task.reset(range(200), seed=4)
    rate = task.block_error_rate(state)
    of_level = {level: MCS_TABLE.index(scheme) - LOWEST_MCS for level, scheme in enumerate(CQI_TABLE, 1) if level >= 4}
    checked = 0
    for row, cqi in enumerate(obs["cqi"].tolist()):
        if cqi >= 4:
            assert rate[row, of_level[cqi]] <= 0.1001
            checked += 1
        if 3 <= cqi < 15:
            assert rate[row, of_level[cqi + 1]] > 0.0999
    assert checked > 100


def test_old_reports_tell_less_the_faster_the_user_is():
    def off(speed_kmh):
        state, _ = link(speed_kmh=speed_kmh, horizon=40, delay_slots=0).reset(range(64), seed=5)
        reports = state.reports.float()
        return float((reports[:, 4:] - reports[:, :-4]).abs().mean())

    assert off(3.0) < off(30.0) < off(100.0)


def test_the_mean_sinr_through_the_beam_is_the_scenarios():
    for scenario in (None, "uma-nlos-32", "cdl-c-32", "rayleigh-32"):
        state, _ = make_task("link_adaptation", scenario=scenario, snr_db=7.0, horizon=2, num_subcarriers=4).reset(
            range(6), seed=1
        )
        mean = state.rays.gain.abs().square().flatten(1).sum(-1)
        torch.testing.assert_close(mean, torch.full((6,), 10**0.7), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("mcs", "shift_db"), [(8, 0.1), (16, 0.0)])
def test_on_a_flat_channel_codewords_are_lost_as_often_as_the_abstraction_says(mcs, shift_db):
    """The channel stands still and is flat: white noise alone decides, as where the curves were fitted."""
    batch, rounds = 48, 4
    mu_db = float(TABLE.mu_db[mcs - LOWEST_MCS, 0]) + shift_db
    task = make_task(
        "link_adaptation", "rayleigh-32", decoder="ldpc", speed_kmh=0, horizon=rounds, num_subcarriers=1, max_transmissions=1
    )
    state, _ = task.reset(range(batch), seed=6)
    scale = (10 ** (mu_db / 10) / task._sinr(state.rays, 0, 1)[:, 0, 0]).sqrt()
    state = replace(state, rays=state.rays.scaled(scale[:, None]))
    lost = 0
    for _ in range(rounds):
        state, step = task.step(state, constant(mcs, batch))
        lost += int(step.metrics["first_lost"].sum())
    expected = float(TABLE.block_error_rate(torch.tensor(mu_db))[mcs - LOWEST_MCS])
    low, high = binomtest(lost, batch * rounds).proportion_ci(0.999)
    assert low - 0.07 < expected < high + 0.07


def test_codewords_keep_the_contract_and_rows_apart():
    task = make_task("link_adaptation", decoder="ldpc", num_subcarriers=4, horizon=2)
    assert [finding for finding in check_task(task) if not finding.ok] == []
    state, _ = task.reset(range(4), seed=8)
    action = torch.tensor([10, 20, 10, 5])
    for _ in range(2):
        state, step = task.step(state, action)
    for row in range(4):
        alone, _ = task.reset([row], seed=8)
        for _ in range(2):
            alone, mine = task.step(alone, action[row : row + 1])
        assert equal(mine.obs, take(step.obs, [row]))
        assert torch.equal(alone.soft[0], state.soft[row])


def test_a_soft_buffer_is_emptied_when_its_block_ends():
    task = make_task("link_adaptation", decoder="ldpc", snr_db=9.0, horizon=6)
    state, _ = task.reset(range(12), seed=2)
    for _ in range(4):
        state, _ = task.step(state, constant(14, 12))
        kept = state.soft.abs().sum(1) > 0
        assert torch.equal(kept, state.transmissions > 0)


@pytest.mark.parametrize("mcs", [2, 29])
def test_an_mcs_out_of_range_is_refused(mcs):
    task = link()
    state, _ = task.reset(range(3), seed=0)
    with pytest.raises(ValueError, match=rf"mcs: row 1: expected 3 to 28, got {mcs}"):
        task.step(state, torch.tensor([5, mcs, 5]))


def test_what_cannot_be_is_refused():
    task = link()
    state, _ = task.reset([0], seed=0)
    with pytest.raises(TypeError, match="what comes depends on the action, got None"):
        task.advance(state)
    with pytest.raises(ValueError, match="block error rates were fitted for 672, got 100"):
        link(resource_elements=100)
    with pytest.raises(ValueError, match="delay_slots"):
        link(delay_slots=65)


def test_time_beyond_the_horizon_stands_still():
    task = link(horizon=3)
    state, _ = task.reset(range(2), seed=0)
    for _ in range(6):
        state, step = task.step(state, constant(9, 2))
    assert int(state.time_step[0]) == 6
    assert torch.equal(step.obs["cqi"], state.reports[:, -1])


def test_gymnasium_knows_it():
    wirelessgym.register_envs()
    env = gymnasium.make("wirelessgym/LinkAdaptation-v0", horizon=5, num_subcarriers=4)
    obs, _ = env.reset(seed=3)
    assert set(obs) == {"cqi", "feedback", "transmissions", "last_mcs"}
    assert env.action_space.start == 3
    assert env.action_space.n == 26
    total = 0.0
    for _ in range(5):
        obs, reward, _, truncated, _ = env.step(env.action_space.start)
        total += reward
    assert truncated
    assert total > 0
    assert env.unwrapped.spec.id == "wirelessgym/LinkAdaptation-v0"


def test_stable_baselines3_learns_on_it():
    sb3 = pytest.importorskip("stable_baselines3", reason="needs the extra rl")
    wirelessgym.register_envs()
    env = gymnasium.wrappers.FlattenObservation(gymnasium.make("wirelessgym/LinkAdaptation-v0", horizon=8, num_subcarriers=4))
    discrete = gymnasium.wrappers.TransformAction(env, lambda action: action + 3, gymnasium.spaces.Discrete(26))
    model = sb3.DQN("MlpPolicy", discrete, learning_starts=8, batch_size=8, buffer_size=64, seed=1, device="cpu")
    model.learn(24)
    action, _ = model.predict(discrete.reset(seed=1)[0], deterministic=True)
    assert 0 <= int(action) < 26


def test_it_can_be_rendered():
    task = link()
    state, _ = task.reset(range(2), seed=0)
    image = task.render(state, constant(9, 2))
    assert image.ndim == 3
    assert image.std() > 0
