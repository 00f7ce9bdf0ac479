"""Step an environment: 64 links at once, zero-forcing by hand."""

import gymnasium as gym
import numpy as np

import wirelessgym  # noqa: F401  (registers the environments)

env = gym.make_vec("wirelessgym/Precoding-v0", num_envs=64, scenario="uma-nlos-32")
obs, info = env.reset(seed=7)
for _ in range(10):
    csi = obs["csi"].view(np.complex64)[..., 0]  # (links, users, antennas); complex numbers arrive as (re, im)
    inverse = np.linalg.pinv(csi).conj().swapaxes(1, 2)  # row k is heard by user k alone
    precoder = inverse / np.linalg.norm(inverse, axis=(1, 2), keepdims=True) * np.sqrt(obs["tx_power"])[:, None, None]
    obs, reward, terminated, truncated, info = env.step(precoder[..., None].view(np.float32))
    print(f"sum rate {reward.mean():.2f} bit/s/Hz")
