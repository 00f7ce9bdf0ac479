"""Train a network by gradient through the environment: no labels, the sum rate on the true channel is the loss.

The channel, the rate and the network share one graph, so ``step.reward.mean().backward()`` is all there is to it. The
network sees noisy channels and learns how far to trust them; its precoder has the optimal structure (powers and
regularisations per user), of which regularised zero-forcing is the case of equal numbers.

    python examples/04_train_by_gradient.py --seconds 45
"""

import argparse
import time

import torch
from torch import Tensor, nn

import wirelessgym
from wirelessgym.capacity import structured_precoder
from wirelessgym.checkpoint import load_checkpoint, save_checkpoint

SCENARIO = "uma-hard-16"


class StructureNet(nn.Module):
    """Two numbers per user from what is known of it: its gain, its channel's error, how much others are like it."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2))

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        """Precoders, shape (batch, users, antennas), complex64."""
        csi = obs["csi"]
        gram = (csi @ csi.mH).abs().square()
        gain = csi.abs().square().sum(-1)
        snr = (obs["tx_power"] / obs["noise_power"])[:, None] * gain
        error = obs["csi_noise_power"][:, None] * csi.shape[-1] / gain
        leakage = (gram.sum(-1) - gram.diagonal(dim1=-2, dim2=-1)) / gain * (obs["tx_power"] / obs["noise_power"])[:, None]
        share = gain / gain.sum(-1, keepdim=True)
        power, regularisation = self.layers(torch.stack([snr, error, leakage, share], -1).log()).softmax(1).unbind(-1)
        return structured_precoder(csi, power, regularisation, obs["noise_power"], obs["tx_power"])


def train(seconds: float, episodes: int) -> StructureNet:
    torch.manual_seed(0)
    task = wirelessgym.make_task("precoding", SCENARIO)
    net = StructureNet()
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    start, seed = time.monotonic(), 1_000  # the comparison below uses another seed
    while time.monotonic() - start < seconds:
        state, obs = task.reset(range(episodes), seed=seed)
        for _ in range(task.horizon):
            state, step = task.step(state, net(obs))
            loss = -step.reward.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            obs = step.obs
        print(f"{time.monotonic() - start:4.0f} s  sum rate {-loss.item():.2f} bit/s/Hz")
        seed += 1
    return net


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--batch", type=int, default=64, help="episodes drawn at once")
    parser.add_argument("--episodes", type=int, default=200, help="held-out episodes")
    parser.add_argument("--save", help="folder for the trained weights")
    parser.add_argument("--load", help="folder of weights to compare instead of training")
    options = parser.parse_args()
    if options.load:
        load_checkpoint(net := StructureNet(), options.load)
    else:
        net = train(options.seconds, options.batch)
    if options.save:
        print(save_checkpoint(net, options.save))
    wirelessgym.compare(
        "precoding", agents=["rzf", "wmmse", "robust_wmmse", net], scenario=SCENARIO, episodes=options.episodes, seed=7
    )
