"""Plug in an agent of your own: any function of the observation, compared with two that are built in."""

import argparse

import torch

import wirelessgym


def my_agent(obs):
    """Matched filter for the strongest user, nothing for the others."""
    csi = obs["csi"]  # (batch, users, antennas), complex64
    strongest = csi.norm(dim=-1).argmax(-1, keepdim=True)
    only = torch.zeros(csi.shape[:2]).scatter(1, strongest, 1.0)[..., None] * csi
    return only / only.norm(dim=(1, 2), keepdim=True) * obs["tx_power"].sqrt()[:, None, None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200)
    episodes = parser.parse_args().episodes
    wirelessgym.compare("precoding", agents=["mrt", "rzf", my_agent], scenario="uma-nlos-32", episodes=episodes, seed=7)
