"""A variational autoencoder as the prior of channels, and covariance-aware WMMSE with the posterior that it implies.

An encoder reads a latent vector off a user's observation; given the latent vector the channel is Gaussian, with a mean and
independent beams (a circulant covariance), both from a decoder. So, given it, mean and covariance after an observation with any
noise are known in closed form. What the latent vector itself leaves open is summed over by importance sampling, which the source
leaves out (it takes the encoder's mean alone, ``samples=1``): that makes the covariance a full one, and corrects the encoder.

Source: Baur, Fesl, Utschick, "Leveraging variational autoencoders for parameterized MMSE estimation", IEEE Trans. Signal
Process. 72, 2024 (arXiv 2307.05352): bound and estimator of the variant VAE-noisy, whose encoder sees observations while its
bound is that of true channels; weights of samples, Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
The networks are residual ones, and channels are turned by the phase of their strongest observed beam, which are choices made
here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wirelessgym.learned import seeded
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
        samples: latent vectors that an estimate sums over.
    """

    blocks: int = 3
    latent: int = 32
    samples: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected an integer >= 1, got {getattr(self, name)}")

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's array."""
        panel = task.scenario.panel
        return _Network(array_sizes(panel), panel.num_antennas, self.width, self.blocks, self.latent, self.samples)

    def estimate(self, network: _Network, observed: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """See `PosteriorPrecoder.estimate`: the LMMSE estimate for each latent vector, weighed."""
        seen = Turned.of(observed, error)
        centre, log_variance = network.encode(seen)
        offsets = network.offsets[None]
        latent = centre[:, None] + (log_variance / 2).exp()[:, None] * offsets
        prior_mean, variance = network.decode(latent)
        total, innovation = variance + seen.error[:, None], seen.beams[:, None] - prior_mean
        # log p(y | z) + log p(z) - log q(z | y), without what all samples have in common
        likelihood = -(innovation.abs().square() / total + total.log()).sum(-1)
        weights = (likelihood - (latent.square() - offsets.square()).sum(-1) / 2).softmax(-1)[..., None]
        means = prior_mean + variance / total * innovation
        mean = (weights * means).sum(1)
        apart = (means - mean[:, None]) * weights.sqrt()
        left = (weights * variance * seen.error[:, None] / total).sum(1)
        return mean * seen.phase, torch.diag_embed(left).to(mean.dtype) + apart.mT @ apart.conj()

    def channel_loss(self, network: _Network, channels: Tensor, observed: Tensor, error: Tensor, progress: float) -> Tensor:
        """Negative evidence lower bound of the true channel, nat per beam, without its constant."""
        seen = Turned.of(observed, error)
        centre, log_variance = network.encode(seen)
        mean, variance = network.decode(centre + (log_variance / 2).exp() * torch.randn_like(centre))
        surprise = ((channels * seen.phase.conj() - mean).abs().square() / variance + variance.log()).sum(-1)
        divergence = (centre.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2
        return (surprise + divergence).mean() / channels.shape[-1]
