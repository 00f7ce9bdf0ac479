"""Sequential Monte Carlo detection: a tree search whose paths represent the whole posterior, not its likeliest part.

The search is that of `list_mmse`, but of the less likely children some are kept for all, with weights that make up for the others
(optimal resampling). So it is a list detector where few vectors are likely, and a Monte Carlo estimate where many are. At the end
every user's probabilities are those that follow exactly from the other users' symbols, averaged over the paths (Rao-Blackwell).

Sources: Dong, Wang, Doucet, "A new class of soft MIMO demodulation algorithms", IEEE Trans. Signal Process. 51(11), 2003,
sections III and IV; Fearnhead, Clifford, "On-line inference for hidden Markov models via particle filters", J. R. Stat. Soc. B
65(4), 2003, section 3.2; Casella, Robert, "Rao-Blackwellisation of sampling schemes", Biometrika 83(1), 1996.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Obs
from wirelessgym.options import require_at_least_one
from wirelessgym.spec import TaskSpec
from wirelessgym.subcarriers import over_subcarriers

from ._detection import from_logits, in_chunks, points_of, sufficient_statistics
from ._tree import Paths, resampled, search


@dataclass(frozen=True)
class SMC(Agent):
    """Detect with the posterior mean over paths that are sampled, without random numbers, from the posterior of all vectors.

    Args:
        paths: kept at each level; all of them make it exact.
        soft: whether symbols are posterior means (small error) or the likeliest points (few symbol errors).

    Raises:
        ValueError: for fewer than one path.
    """

    paths: int = 256
    soft: bool = True
    tasks = ("detection",)

    def __post_init__(self) -> None:
        require_at_least_one(self, "paths")

    @over_subcarriers
    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return symbols, shape (batch, slots, users), complex64, and log-likelihood ratios where asked for.

        Raises:
            ValueError: if the noise power is hidden.
        """
        points = points_of(task, obs["received"])
        return from_logits(task, log_marginals(obs, points, self.paths), points, self.soft)


def log_marginals(obs: Obs, points: Tensor, paths: int) -> Tensor:
    """Log-probability of each user's points, averaged over the paths of a search.

    Args:
        obs: an observation.
        points: shape (points,), complex64.
        paths: kept at each level of the search.

    Returns:
        Shape (batch, slots, users, points), float32.

    Raises:
        ValueError: if the noise power is hidden.
    """
    found = [
        given_others(search(gram, collected, points, paths, resampled), gram, collected, points)
        for gram, collected in in_chunks(sufficient_statistics(obs, "smc", torch.complex128), paths * len(points))
    ]
    return torch.cat(found).unflatten(0, obs["received"].shape[:2])


def given_others(found: Paths, gram: Tensor, collected: Tensor, points: Tensor) -> Tensor:
    """Log-probability of each user's points given the other users' symbols, averaged over the paths.

    Args:
        found: the paths.
        gram: ``H^H H / noise_power``, shape (vectors, users, users).
        collected: ``H^H y / noise_power``, shape (vectors, users).
        points: shape (points,).

    Returns:
        Shape (vectors, users, points), float32.
    """
    gain = gram.diagonal(dim1=-2, dim2=-1).real.float()[:, None]
    symbols = points[found.symbols]
    heard = collected.to(symbols.dtype)[:, None] - symbols @ gram.mT.to(symbols.dtype) + gain * symbols
    heard, plane = torch.view_as_real(heard), torch.view_as_real(points)
    logits = 2 * heard @ plane.mT - gain[..., None] * points.abs().square()
    weights = torch.softmax(found.log_weights, -1)
    probabilities = (weights[..., None, None] * torch.softmax(logits, -1)).sum(1)
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
