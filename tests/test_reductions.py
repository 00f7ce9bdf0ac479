"""What becomes of metrics over the steps of episodes of different lengths."""

from types import SimpleNamespace

import numpy as np
import torch
from toy_task import USERS, Toy

from wirelessgym import make_task, rollout
from wirelessgym.metrics import Metric
from wirelessgym.rollouts import Transition, per_episode

TASK = SimpleNamespace(
    metrics=(
        Metric("rate", "bit", True, "", ""),
        Metric("share", "1", True, "", "", ratio=("part", "whole")),
        Metric("per_user", "bit", True, "", ""),
    )
)


def step(live, **metrics):
    live = torch.tensor(live)
    values = {name: torch.tensor(value) for name, value in metrics.items()}
    return Transition(None, values, live, ~live, ~live)


def test_means_are_over_the_steps_that_an_episode_lasted_and_ratios_have_sums():
    absent = float("nan")
    steps = [
        step([True, True], rate=[1.0, 5.0], part=[1.0, 2.0], whole=[4.0, 2.0], per_user=[[1.0, absent], [2.0, 3.0]]),
        step([True, False], rate=[3.0, 99.0], part=[2.0, 99.0], whole=[4.0, 99.0], per_user=[[4.0, absent], [99.0, 99.0]]),
    ]
    found = per_episode(TASK, steps)
    assert found["rate"].tolist() == [2.0, 5.0]
    assert found["part"].tolist() == [3.0, 2.0] and found["whole"].tolist() == [8.0, 2.0]
    np.testing.assert_equal(found["per_user"], [[2.5, absent], [2.0, 3.0]])
    assert "share" not in found


def test_where_all_episodes_last_means_are_means_and_sums_are_sums_too():
    steps = [step([True], rate=[1.0], part=[1.0], whole=[4.0]), step([True], rate=[2.0], part=[2.0], whole=[5.0])]
    found = {name: value.tolist() for name, value in per_episode(TASK, steps).items()}
    assert found == {"rate": [1.5], "part": [3.0], "whole": [9.0]}


def test_a_rollout_of_one_step_has_one_value_per_episode():
    task = make_task(Toy, horizon=1)
    metrics = rollout(task, lambda obs: obs["received"], *task.reset(range(3), 1))
    assert metrics["nmse"].shape == (3, 1) and metrics["error"].shape == (3, 1, USERS)


def test_sums_of_vectors_leave_out_absent_entries_and_what_comes_after_the_end():
    absent = float("nan")
    steps = [
        step([True, True], part=[[1.0, absent], [1.0, 1.0]], whole=[1.0, 1.0]),
        step([True, False], part=[[2.0, absent], [5.0, 5.0]], whole=[1.0, 1.0]),
    ]
    assert per_episode(TASK, steps)["part"].tolist() == [[3.0, 0.0], [1.0, 1.0]]
