"""What received symbols tell of the channels that they came through: soft decisions serve as pilots.

Each received vector is ``y_t = sum_k x_tk h_k + n_t`` with the same channels in all slots. With decisions of mean x and variance
v in place of the symbols, all slots together are a linear observation of all channels, in noise of covariance
``noise_power I + sum_k v_tk E[h_k h_k^H]``, and the channels' estimate of least mean square error follows. A slot's own decisions
come from what it received: believing them twice would confirm their errors, so that each slot gets an estimate from the others.

Sources: iterative channel estimation with soft symbols, Wang, Poor, "Iterative (turbo) soft interference cancellation and
decoding for coded CDMA", IEEE Trans. Commun. 47(7), 1999, section III (soft symbols); Valenti, Woerner, "Iterative channel
estimation and decoding of pilot symbol assisted turbo codes over flat-fading channels", IEEE J. Sel. Areas Commun. 19(9), 2001;
leaving one observation out of an inverse: Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, eq. (5.12).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

LARGEST_GROUP = 8  # slots that inform each other: their joint covariance is inverted
LARGEST_INVERSE = 512  # rows of that
LARGEST_CHUNK = 2**22  # complex numbers that are held at once for one of the larger intermediate results


@dataclass(frozen=True)
class Reestimate:
    """The channels as each slot's vector should be detected with, and how they depend on the estimate from before.

    Attributes:
        symbols: mean of the decisions, shape (batch, slots, users), complex64.
        covariance: of the channels' errors before, shape (batch, users, antennas, antennas).
        inverse: of the received vectors' joint covariance, shape (batch, slots * antennas, slots * antennas).
        pooled: ``sum_s conj(x_sk) inverse_st``, shape (batch, users, slots, antennas, antennas).
        own: inverses of the inverse's diagonal blocks, shape (batch, slots, antennas, antennas).
        unknown: what the channels' errors make of unit-energy symbols in each slot, a covariance, shape (batch, slots, antennas,
            antennas).
    """

    symbols: Tensor
    covariance: Tensor
    inverse: Tensor
    pooled: Tensor
    own: Tensor
    unknown: Tensor

    def channels(self, received: Tensor, mean: Tensor) -> Tensor:
        """Return each slot's estimate of the channels, shape (batch, slots, users, antennas); affine in ``mean``.

        Args:
            received: shape (batch, slots, antennas).
            mean: of the channels before, shape (batch, users, antennas).
        """
        left = received - self.symbols @ mean
        weighed = (self.inverse @ left.flatten(1)[..., None]).view(left.shape)
        without = (self.own @ weighed[..., None])[:, None]  # what is taken out again of each slot's own
        told = (self.symbols.mH @ weighed)[:, :, None] - (self.pooled @ without)[..., 0]  # (batch, users, slots, antennas)
        return mean[:, None] + (told @ self.covariance.mT).transpose(1, 2)


def told_by_data(
    received: Tensor, mean: Tensor, covariance: Tensor, noise_power: Tensor, symbols: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Each slot's channels given the decisions in the others, with bounded memory.

    Args:
        received: shape (batch, slots, antennas).
        mean: this and all that follows as in `reestimate`.
        covariance: see there.
        noise_power: see there.
        symbols: see there.
        variance: see there.

    Returns:
        Means, shape (batch, slots, users, antennas), and what errors make of unit-energy symbols, a covariance, shape (batch,
        slots, antennas, antennas).
    """
    antennas = mean.shape[-1]
    rows = max(1, LARGEST_CHUNK // (min(symbols.shape[1], LARGEST_GROUP) * symbols.shape[2] * antennas**2))
    found = []
    for start in range(0, len(mean), rows):
        row = slice(start, start + rows)
        for part in groups(symbols.shape[1], antennas):
            known = reestimate(mean[row], covariance[row], noise_power[row], symbols[row, part], variance[row, part])
            found.append((known.channels(received[row, part], mean[row]), known.unknown))
    each = len(groups(symbols.shape[1], antennas))
    together = [[torch.cat(x, 1) for x in zip(*found[i : i + each], strict=True)] for i in range(0, len(found), each)]
    channels, unknown = (torch.cat(x) for x in zip(*together, strict=True))
    return channels, unknown


def groups(slots: int, antennas: int) -> list[slice]:
    """Split the slots into groups of about the same size, whose joint covariance is inverted."""
    largest = max(2, min(LARGEST_GROUP, LARGEST_INVERSE // antennas))
    number = -(-slots // largest)
    edges = [slots * n // number for n in range(number + 1)]
    return [slice(*edge) for edge in pairwise(edges)]


def reestimate(mean: Tensor, covariance: Tensor, noise_power: Tensor, symbols: Tensor, variance: Tensor) -> Reestimate:
    """Use the decisions of all slots but one for the channels in that one.

    Args:
        mean: of the users' channels, shape (batch, users, antennas), complex64.
        covariance: of their errors, shape (batch, users, antennas, antennas).
        noise_power: shape (batch,), positive.
        symbols: means of the decisions, shape (batch, slots, users), complex64; zero for users that take no part.
        variance: of them, same shape, float32.
    """
    batch, slots, users = symbols.shape
    antennas = mean.shape[-1]
    flat = covariance.flatten(2)
    second_moment = flat + (mean[..., None] * mean[..., None, :].conj()).flatten(2)
    noise = (variance.to(flat.dtype) @ second_moment).unflatten(-1, (antennas, antennas))
    noise = noise + noise_power[:, None, None, None] * torch.eye(antennas, dtype=mean.dtype, device=mean.device)
    products = symbols[:, :, None] * symbols[:, None].conj()  # (batch, slots, slots, users)
    joint = (products.flatten(1, 2) @ flat).view(batch, slots, slots, antennas, antennas)
    slot = torch.arange(slots, device=mean.device)
    joint[:, slot, slot] += noise
    joint = joint.transpose(2, 3).reshape(batch, slots * antennas, -1)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(joint))

    blocks = inverse.view(batch, slots, antennas, slots, antennas)
    own = torch.linalg.inv(blocks.diagonal(dim1=1, dim2=3).movedim(-1, 1))
    columns = blocks.permute(0, 1, 3, 2, 4)  # (batch, slots, slots, antennas, antennas)
    pooled = (symbols.mH @ columns.flatten(2)).view(batch, users, slots, antennas, antennas)
    evidence = (pooled.flatten(3) * symbols.mT[..., None]).sum(2).view(covariance.shape)
    known = (covariance @ evidence @ covariance).sum(1)
    spread = (covariance[:, :, None] @ pooled).transpose(1, 2)  # (batch, slots, users, antennas, antennas)
    lost = ((spread @ own[:, :, None]) @ spread.mH).sum(2)
    unknown = (covariance.sum(1) - known)[:, None] + lost
    return Reestimate(symbols, covariance, inverse, pooled, own, (unknown + unknown.mH) / 2)
