"""Reinforcement learning finds the power split and the regulariser of a precoder, under noisy channel knowledge.

Eight users, near and far, on 16 antennas, known at 10 dB. The precoder has the optimal structure (Bjornson, Bengtsson,
Ottersten, IEEE Signal Process. Mag. 31(4), 2014): a power and a regularisation per user, sixteen numbers in all. Equal
numbers give regularised zero-forcing, which is where PPO starts. It never sees the true channels, only rewards.

    python examples/05_ppo_regulariser.py --seconds 240

Measured after 240 s on one core, 500 held-out episodes: PPO 14.71 +- 0.19 bit/s/Hz, RZF 10.81 +- 0.19, paired difference
+3.90 +- 0.08 (95 % intervals). Robust WMMSE, a formula, stays ahead with 15.18.
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

import wirelessgym
from wirelessgym.agent import Agent
from wirelessgym.capacity import structured_precoder
from wirelessgym.fields import Obs
from wirelessgym.metrics import user_rates
from wirelessgym.rl import StableBaselinesVecEnv

TRAINING_SEED, TEST_SEED = 1_000, 7  # row j of the training environment has seed 1000 + j


def features(obs: Obs) -> tuple[Tensor, Tensor]:
    """What the policy sees, shape (batch, 2 users + users^2), and the order of users in it: strongest first."""
    csi = obs["csi"]
    order = csi.abs().square().sum(-1).argsort(-1, descending=True)
    csi = csi.take_along_dim(order[..., None], 1)
    gain = csi.abs().square().sum(-1)
    alike = (csi @ csi.mH).abs().square() / (gain[:, :, None] * gain[:, None, :])
    users, antennas = csi.shape[1:]
    snr = (obs["tx_power"] / obs["noise_power"])[:, None] * gain / users
    error = obs["csi_noise_power"][:, None] * antennas / gain
    return torch.cat([snr.log10(), error.log10(), alike.flatten(1)], 1), order


def structure(action: Tensor, order: Tensor) -> Tensor:
    """Powers and regularisations in (0, 1], shape (batch, users, 2), from actions in [-1, 1]; equal where these are."""
    ordered = torch.exp(4 * (action.unflatten(-1, (-1, 2)) - 1))
    return torch.empty_like(ordered).scatter_(1, order[..., None].expand_as(ordered), ordered)


def expected_rate(obs: Obs) -> Tensor:
    """Sum rate that equal numbers would have if the known channel were the true one, shape (batch,)."""
    equal = torch.ones(obs["csi"].shape[:2])
    w = structured_precoder(obs["csi"], equal, equal, obs["noise_power"], obs["tx_power"])
    return user_rates(obs["csi"], w, obs["noise_power"]).sum(-1)


class Compact(gym.vector.VectorWrapper):
    """The environment as the policy wants it: features in, actions around zero out.

    No action changes what comes later, so every step stands for itself: a stream without episodes, learned with
    gamma = 0. Rewards are counted from `expected_rate`, which depends on the observation alone: the best policy stays.
    """

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        super().__init__(env)
        users = env.single_action_space.shape[0]
        self.single_observation_space = gym.spaces.Box(-10, 10, (2 * users + users**2,), np.float32)
        self.single_action_space = gym.spaces.Box(-1, 1, (2 * users,), np.float32)

    def observe(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Features, shape (num_envs, n)."""
        obs = {key: torch.from_numpy(value) for key, value in arrays.items()}
        obs["csi"] = torch.view_as_complex(obs["csi"])
        seen, self.order = features(obs)
        self.expected = expected_rate(obs).numpy()
        return seen.numpy()

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict]:
        """Start new episodes."""
        obs, _ = self.env.reset(seed=seed)
        return self.observe(obs), {}

    def step(self, actions: np.ndarray) -> tuple:
        """Take actions of shape (num_envs, 2 users)."""
        expected = self.expected
        obs, reward, *_ = self.env.step(structure(torch.from_numpy(actions), self.order).numpy())
        never = np.zeros(self.num_envs, np.bool_)
        return self.observe(obs), reward - expected, never, never, {}


@dataclass(frozen=True)
class LearnedStructure(Agent):
    """Precodes with the policy's powers and regularisations."""

    policy: BasePolicy
    tasks = ("precoding",)

    def act(self, task: wirelessgym.Task, obs: Obs) -> Tensor:
        """Precoders, shape (batch, users, antennas), complex64."""
        seen, order = features(obs)
        action, _ = self.policy.predict(seen.numpy(), deterministic=True)
        power, regularisation = structure(torch.from_numpy(action), order).unbind(-1)
        return structured_precoder(obs["csi"], power, regularisation, obs["noise_power"], obs["tx_power"])

    @property
    def num_parameters(self) -> int:
        """Weights of policy and value function."""
        return sum(p.numel() for p in self.policy.parameters())


class Clock(BaseCallback):
    """Ends training after some seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.start = seconds, time.monotonic()

    def left(self) -> float:
        """Share of the time that is left."""
        return max(1 - (time.monotonic() - self.start) / self.seconds, 0.0)

    def _on_step(self) -> bool:
        return self.left() > 0


def train(scenario: str, seconds: float, num_envs: int) -> PPO:
    torch.set_num_threads(1)  # small networks: more threads only wait for each other
    env = gym.make_vec("wirelessgym/Precoding-v0", num_envs, scenario=scenario, action="structure")
    env.reset(seed=TRAINING_SEED)
    clock = Clock(seconds)
    model = PPO(
        "MlpPolicy",
        StableBaselinesVecEnv(Compact(env)),
        learning_rate=lambda _: 1e-3 * clock.left(),
        n_steps=16,
        batch_size=512,
        gamma=0.0,
        gae_lambda=0.0,
        policy_kwargs={"log_std_init": -1.0, "net_arch": [128, 128]},
        seed=TRAINING_SEED,
        device="cpu",
    )
    model.learn(10**9, callback=clock)
    print(f"trained on {model.num_timesteps} steps in {seconds:.0f} s")
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240, help="training time")
    parser.add_argument("--num-envs", type=int, default=128, help="links stepped together")
    parser.add_argument("--episodes", type=int, default=500, help="held-out episodes")
    parser.add_argument("--scenario", default="uma-hard-16")
    options = parser.parse_args()
    model = train(options.scenario, options.seconds, options.num_envs)
    wirelessgym.compare(
        "precoding",
        agents=["mrt", "rzf", "wmmse", "robust_wmmse", LearnedStructure(model.policy)],
        scenario=options.scenario,
        episodes=options.episodes,
        seed=TEST_SEED,
        reference="rzf",
    )


if __name__ == "__main__":
    main()
