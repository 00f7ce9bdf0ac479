"""A residual network that denoises each user's channel in beams and says how far it is off; covariance-aware WMMSE on top.

No language model, no knowledge of other users: what a plain network makes of the same episodes. The mean starts as each beam's
own Wiener estimate (nearly that of `robust_wmmse`) and minimises the squared error, which makes it the posterior's mean. The
covariance of what is left starts as Wiener's, and maximises a Gaussian likelihood of the mean's errors, which makes it the
posterior's covariance. It is written through the regression of each beam's error on those before it, so that it is positive
definite whatever the network says: ``C^-1 = V^-1/2 A^H A V^-1/2``, V diagonal, A lower triangular with ones on its diagonal.

Source: the covariance, Pourahmadi, "Joint mean-covariance models with applications to longitudinal data", Biometrika 86(3), 1999
(modified Cholesky decomposition); loss of a mean and of a variance, Nix, Weigend, "Estimating the mean and variance of the target
probability distribution", ICNN 1994, each for its own outputs here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wirelessgym.spec import TaskSpec

from ._beam_network import ResidualNetwork, Turned
from ._learned_posterior import PosteriorPrecoder, array_sizes
from ._sizes import SizedNetwork

LARGEST_FACTOR = 8.0  # nepers by which a variance may leave Wiener's
LEAST_PRECISION = 0.01  # over V's, in any direction: keeps the covariance within bounds however large A is
LIKELIHOOD_WEIGHT = 0.5  # of the covariance's loss, per beam, beside the mean's, of which 1 is what an unlearned estimate has


class _Network(SizedNetwork):
    """Turned observations to mean and covariance of the turned channel."""

    def __init__(self, sizes: dict[str, object], antennas: int, width: int, blocks: int, correlated: bool) -> None:
        super().__init__(**sizes)
        pairs = antennas * (antennas - 1) // 2 if correlated else 0
        self.parts = [antennas] * 4 + [pairs] * 2
        self.network = ResidualNetwork(3 * antennas + 1, width, blocks, sum(self.parts))

    def forward(self, seen: Turned) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, shape (users, n), complex64; log V, shape (users, n); A, shape (users, n, n), complex64."""
        wiener = seen.wiener()
        gain, real, imaginary, factor, *below = self.network(seen.features()).split(self.parts, -1)
        mean = torch.sigmoid(gain + torch.logit(wiener)) * seen.beams + torch.complex(real, imaginary) * seen.error.sqrt()
        log_variance = (seen.error * wiener).log() + LARGEST_FACTOR * torch.tanh(factor / LARGEST_FACTOR)
        regression = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device).repeat(len(mean), 1, 1)
        if below[0].shape[-1]:
            rows, columns = torch.tril_indices(mean.shape[-1], mean.shape[-1], offset=-1, device=mean.device)
            regression[:, rows, columns] = torch.complex(*below)
        return mean, log_variance, regression


@dataclass(eq=False, kw_only=True)
class DenoiserWMMSE(PosteriorPrecoder):
    """Mean and covariance of each user's channel by a residual network, then covariance-aware WMMSE.

    Args:
        width: of the network.
        blocks: of the network.
        iterations: of WMMSE.
        correlated: whether errors of different beams may be correlated; otherwise the covariance is a variance per beam.
    """

    correlated: bool = True

    def build(self, task: TaskSpec) -> nn.Module:
        """Return fresh weights for the task's array."""
        panel = task.scenario.panel
        return _Network(array_sizes(panel), panel.num_antennas, self.width, self.blocks, self.correlated)

    def estimate(self, network: nn.Module, observed: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """See `PosteriorPrecoder.estimate`."""
        seen = Turned.of(observed, error)
        mean, log_variance, regression = network(seen)
        identity = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device)
        precision = (regression.mH @ regression + LEAST_PRECISION * identity) / (1 + LEAST_PRECISION)
        factor = torch.linalg.cholesky(precision)
        root = torch.linalg.solve_triangular(factor, torch.diag_embed((log_variance / 2).exp()).to(mean.dtype), upper=False)
        return mean * seen.phase, root.mH @ root  # a common phase leaves the covariance as it is

    def channel_loss(self, network: nn.Module, channels: Tensor, observed: Tensor, error: Tensor, progress: float) -> Tensor:
        """Squared error of the mean, over that of a Wiener estimate of white channels, and what the covariance makes of it.

        The latter, the mean's error taken as given, is the negative logarithm of its Gaussian density, per beam.
        """
        seen = Turned.of(observed, error)
        mean, log_variance, regression = network(seen)
        missed = channels * seen.phase.conj() - mean
        squared = missed.abs().square().mean(-1) / (seen.error / (1 + seen.error))[:, 0]
        apart = (regression @ (missed.detach() * (-log_variance / 2).exp())[..., None])[..., 0]
        surprise = (apart.abs().square() + log_variance - seen.error.log()).mean(-1)
        return (squared + LIKELIHOOD_WEIGHT * surprise).mean()
