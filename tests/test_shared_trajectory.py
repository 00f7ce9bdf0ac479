"""A trajectory that agents share saves time and changes nothing."""

import pytest
import torch
from toy_task import Toy

from wirelessgym import make_task
from wirelessgym.rollouts import Rollout, Trajectory


def guess(_, obs):
    return 0.5 * obs["received"]


@pytest.mark.parametrize("early_end", [False, True])
def test_steps_along_a_shared_trajectory_are_those_that_a_rollout_takes_itself(early_end):
    task = make_task(Toy, horizon=4, early_end=early_end)
    state, obs = task.reset(range(6), 1)
    shared = Trajectory(task, state, obs)
    alone = list(Rollout(task, state, obs).play(guess))
    for _ in range(2):  # the second walks over what the first has laid
        together = list(Rollout(task, state, obs, shared).play(guess))
        assert len(together) == len(alone) == 4
        for one, other in zip(together, alone, strict=True):
            assert torch.equal(one.live, other.live)
            assert torch.equal(one.terminated | one.truncated, other.terminated | other.truncated)
            for name, value in other.metrics.items():
                assert torch.equal(one.metrics[name][one.live], value[other.live])
        for one, other in zip(together[:-1], alone[:-1], strict=True):  # nobody looks beyond the horizon
            assert torch.equal(one.terminated, other.terminated)
            assert all(torch.equal(one.obs[name], value) for name, value in other.obs.items())
    lasted = torch.stack([step.live for step in alone], 1).sum(1)
    assert lasted.tolist() == ([2, 3, 4, 1, 2, 3] if early_end else [4] * 6)
