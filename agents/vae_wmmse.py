"""A variational autoencoder as the prior of channels, and covariance-aware WMMSE with the posterior that it implies.

An encoder reads a latent vector off a user's observation; given the latent vector the channel is Gaussian, with a mean and
independent beams (a circulant covariance), both from a decoder. So, given it, mean and covariance after an observation with any
noise are known in closed form. What the encoder leaves open of the latent vector is averaged over, which makes the covariance a
full one; with ``samples=1`` it is the source's quick estimate, at the encoder's mean alone. Weights of samples by importance,
prior and likelihood over the encoder's density, were tried too: at 0 dB they cost 0.3 bit/s/Hz, at 10 dB 0.1, since only four or
five of 32 samples then count.

Source: Baur, Fesl, Utschick, "Leveraging variational autoencoders for parameterized MMSE estimation", IEEE Trans. Signal
Process. 72, 2024 (arXiv 2307.05352): bound and estimator of the variant VAE-noisy, whose encoder sees observations while its
bound is that of true channels. The networks are residual ones, and channels are turned by the phase of their strongest observed
beam, which are choices made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wirelessgym.learned import seeded
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec

from ._beam_network import ResidualNetwork, Turned
from ._learned_posterior import PosteriorPrecoder, array_sizes
from ._sizes import SizedNetwork

LARGEST_LOG = 9.0  # of the decoder's variances: 40 dB, up and down


class _Network(SizedNetwork):
    """Encoder and decoder. Fresh ones ignore each other: the latent is standard normal, channels are white."""

    offsets: Tensor

    def __init__(self, sizes: dict[str, object], antennas: int, width: int, blocks: int, latent: int, samples: int) -> None:
        super().__init__(**sizes)
        self.encoder = ResidualNetwork(3 * antennas + 1, width, blocks, 2 * latent)
        self.decoder = ResidualNetwork(latent, width, blocks, 3 * antennas)
        # The first sample is the encoder's mean. They stay the same, so that equal observations give equal precoders.
        with seeded(0):
            offsets = torch.randn(samples, latent)
        offsets[0] = 0
        self.register_buffer("offsets", offsets, persistent=False)

    def encode(self, seen: Turned) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latent vector, shapes (users, latent)."""
        mean, log_variance = self.encoder(seen.features()).chunk(2, -1)
        return mean, LARGEST_LOG * torch.tanh(log_variance / LARGEST_LOG)

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, complex64, and variances of the turned channel's beams, shapes (..., n)."""
        real, imaginary, log_variance = self.decoder(latent).chunk(3, -1)
        return torch.complex(real, imaginary), (LARGEST_LOG * torch.tanh(log_variance / LARGEST_LOG)).exp()


@dataclass(eq=False, kw_only=True)
class VAEWMMSE(PosteriorPrecoder):
    """Posterior under a variational autoencoder for each user's channel, then covariance-aware WMMSE.

    Args:
        width: of encoder and decoder.
        blocks: of each of them.
        iterations: of WMMSE.
        latent: entries of the latent vector.
        samples: latent vectors that an estimate averages over.
    """

    blocks: int = 3
    latent: int = 32
    samples: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "latent", "samples")

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's array."""
        panel = task.scenario.panel
        return _Network(array_sizes(panel), panel.num_antennas, self.width, self.blocks, self.latent, self.samples)

    def estimate(self, network: _Network, observed: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """See `PosteriorPrecoder.estimate`: LMMSE given each latent vector, then total mean and covariance."""
        seen = Turned.of(observed, error)
        centre, log_variance = network.encode(seen)
        prior_mean, variance = network.decode(centre[:, None] + (log_variance / 2).exp()[:, None] * network.offsets)
        total, innovation = variance + seen.error[:, None], seen.beams[:, None] - prior_mean
        means = prior_mean + variance / total * innovation
        mean = means.mean(1)
        apart = means - mean[:, None]
        left = (variance * seen.error[:, None] / total).mean(1)
        return mean * seen.phase, torch.diag_embed(left).to(mean.dtype) + apart.mT @ apart.conj() / means.shape[1]

    def channel_loss(self, network: _Network, channels: Tensor, observed: Tensor, error: Tensor, progress: float) -> Tensor:
        """Negative evidence lower bound of the true channel, nat per beam, without its constant."""
        seen = Turned.of(observed, error)
        centre, log_variance = network.encode(seen)
        mean, variance = network.decode(centre + (log_variance / 2).exp() * torch.randn_like(centre))
        surprise = ((channels * seen.phase.conj() - mean).abs().square() / variance + variance.log()).sum(-1)
        divergence = (centre.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2
        return (surprise + divergence).mean() / channels.shape[-1]
