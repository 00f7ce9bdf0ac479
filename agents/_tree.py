"""Tree search over the users' symbols: paths grow by one user at a time and are weighed by what is known so far.

With ``gram = H^H H / noise_power`` and unit-energy Gaussian symbols for the users not decided yet, the likelihood of the decided
ones is the tail of ``|z - R x|^2``, where ``R^H R = gram + I`` (the QR decomposition of H on top of a scaled identity) and ``R^H
z = H^H y / noise_power``; adding the decided symbols' energy takes their own Gaussian prior out again. So the weights are the
true posterior's at the end, and MMSE estimates of it before. Users that linear MMSE finds hardest come last.

Sources: Wubben, Bohnke, Kuhn, Kammeyer, "MMSE extension of V-BLAST based on sorted QR decomposition", IEEE VTC Fall 2003, eqs.
(12) to (16); Guo, Nilsson, "Algorithm and implementation of the K-best sphere decoding for MIMO detection", IEEE J. Sel. Areas
Commun. 24(3), 2006, section III; Fearnhead, Clifford, "On-line inference for hidden Markov models via particle filters", J. R.
Stat. Soc. B 65(4), 2003, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Keep = Callable[[Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Paths:
    """What a search kept.

    Attributes:
        symbols: index of each user's point, shape (vectors, paths, users), int64.
        log_weights: log-probability of each path up to a constant per vector, shape (vectors, paths), float32.
    """

    symbols: Tensor
    log_weights: Tensor


def search(gram: Tensor, collected: Tensor, points: Tensor, paths: int, keep: Keep) -> Paths:
    """Search for the symbols of each received vector.

    Rows don't depend on each other: what decides is calculated in real numbers, elementwise, from factors in double precision.

    Args:
        gram: ``H^H H / noise_power``, shape (vectors, users, users), complex128.
        collected: ``H^H y / noise_power``, shape (vectors, users), complex128.
        points: shape (points,), complex64.
        paths: how many to keep of the children of each level, at most.
        keep: `likeliest` or `resampled`.
    """
    users, num_points = gram.shape[-1], len(points)
    identity = torch.eye(users, dtype=gram.dtype, device=gram.device)
    order = torch.linalg.inv(gram + identity).diagonal(dim1=-2, dim2=-1).real.argsort(-1, descending=True)
    gram = gram.gather(1, order[..., None].expand_as(gram)).gather(2, order[:, None].expand_as(gram))
    triangle = torch.linalg.cholesky(gram + identity).mH
    target = torch.linalg.solve_triangular(triangle.mH, collected.gather(1, order)[..., None], upper=False)[..., 0]
    # Signal of each user (last axis but two) and point in each row of the triangle.
    signal = torch.view_as_real(triangle.mT[:, :, None] * points[:, None]).float()
    residual = torch.view_as_real(target).float()[:, None]
    present = gram.diagonal(dim1=-2, dim2=-1).real > 0
    energy = points.abs().square()
    pinned = torch.where(torch.arange(num_points, device=points.device) > 0, -torch.inf, energy)
    log_weights = torch.zeros_like(residual[:, :, 0, 0])
    symbols = order.new_zeros(len(order), 1, 0)
    for level in range(users - 1, -1, -1):
        real, imaginary = (residual[:, :, level, None, part] - signal[:, level, None, :, level, part] for part in (0, 1))
        prior = torch.where(present[:, level, None], energy, pinned)[:, None]  # a user without a channel has one symbol
        children = (log_weights[..., None] - real * real - imaginary * imaginary + prior).flatten(1)
        log_weights, kept = keep(children, paths) if children.shape[1] > paths else (children, _all(children))
        parent, symbol = kept // num_points, kept % num_points
        symbols = torch.cat([symbol[..., None], _rows(symbols, parent)], -1)
        residual = _rows(residual[:, :, :level].flatten(2), parent) - _rows(signal[:, level, :, :level].flatten(2), symbol)
        residual = residual.unflatten(2, (level, 2))
    return Paths(symbols.gather(2, order.argsort(-1)[:, None].expand_as(symbols)), log_weights)


def likeliest(log_weights: Tensor, paths: int) -> tuple[Tensor, Tensor]:
    """Keep the ``paths`` largest of ``log_weights``, shape (vectors, children), as K-best does: weights and places."""
    return log_weights.topk(paths, sorted=False)


def resampled(log_weights: Tensor, paths: int) -> tuple[Tensor, Tensor]:
    """Keep ``paths`` children such that weighted sums over them estimate those over all, with the least variance.

    A child of weight w is kept with probability min(1, w / threshold), and then weighs max(w, threshold); the threshold makes
    ``paths`` the expected number. So the likeliest are kept as they are, as in K-best, and the others are represented by some of
    them. Those are taken at equal steps of the accumulated weight (systematic resampling, with the offset 1/2 instead of a random
    one), in the tree's order, in which neighbours differ in the last decided users only. Source: Fearnhead and Clifford, 2003,
    section 3.2.

    Returns:
        Log-weights and places, shape (vectors, paths); the weight is -inf where fewer were kept.
    """
    children = log_weights.shape[1]
    weights = (log_weights - log_weights.amax(-1, keepdim=True)).exp()
    threshold, largest_below = _threshold(weights, paths)
    chance = torch.where(weights > largest_below, 1, weights / threshold)
    steps = torch.arange(paths, device=weights.device) + 0.5
    places = torch.searchsorted(chance.cumsum(-1), steps.expand(len(weights), -1).contiguous())
    # Rounding may let a child take two steps, or leave none for the last.
    unused = (places == children) | (places.diff(prepend=places[:, :1] - 1) == 0)
    places = places.clamp_max(children - 1)
    kept = log_weights.gather(1, places) - chance.gather(1, places).log()
    return kept.masked_fill(unused, -torch.inf), places


def _threshold(weights: Tensor, paths: int) -> tuple[Tensor, Tensor]:
    """The number t for which ``sum min(1, weights / t) = paths``, and the largest weight not above it; both (vectors, 1)."""
    largest = weights.topk(paths).values
    # Weight of all but the largest; as a difference of sums it would drown in the rounding of the whole.
    rest = (weights.minimum(largest[:, -1:]).sum(-1, keepdim=True) - paths * largest[:, -1:]).clamp_min(0)
    # If the n largest are kept as they are, all others share the places that are left.
    candidates = (largest.flip(-1).cumsum(-1).flip(-1) + rest) / torch.arange(paths, 0, -1, device=weights.device)
    number = (largest <= candidates).float().argmax(-1, keepdim=True)
    return candidates.gather(1, number).clamp_min(torch.finfo(weights.dtype).tiny), largest.gather(1, number)


def _all(children: Tensor) -> Tensor:
    """The places of all children, of the shape of ``children``."""
    return torch.arange(children.shape[1], device=children.device).expand(children.shape)


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows ``index``, shape (vectors, n), of each vector's ``table``, shape (vectors, rows, width)."""
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[-1]))
