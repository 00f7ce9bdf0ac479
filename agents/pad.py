"""Prony-based angular-delay prediction (PAD): a linear recursion of its own for each strong bin of beam and delay.

Source: Yin, Wang, Liu, Gesbert, "Addressing the curse of mobility in massive MIMO with Prony-based angular-delay domain
channel predictions", IEEE J. Sel. Areas Commun. 38(12), 2020 (arXiv 1912.11330), the PAD algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Obs
from wirelessgym.spec import TaskSpec

from ._prediction import check_order, from_bins, num_future, solve_loaded, to_bins

_SAMPLES_AT_ONCE = 400_000  # past slots times bins that are fitted at a time: about 100 MB


@dataclass(frozen=True)
class PAD(Agent):
    """Keep the strongest bins that hold a share of the energy, run Prony's method on each, transform back.

    Exact without noise when every bin has at most ``order`` Doppler shifts, and meant for little noise: each bin is
    fitted separately, to its own few samples.

    Args:
        order: coefficients per bin, fitted to past - order equations. At half of the past slots, the most that Prony's
            method allows, there are no equations to spare and noise makes forecasts explode.
        energy: share of the energy over the past slots that the kept bins hold.
        ridge: regularisation of each bin's equations, over the mean of their diagonal; 0 is the pseudo-inverse.
    """

    order: int = 4
    energy: float = 0.99
    ridge: float = 0.0
    tasks = ("channel_prediction",)

    def act(self, task: TaskSpec, obs: Obs) -> Tensor:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64.

        Raises:
            ValueError: unless 1 <= order < past and 0 < energy <= 1.
        """
        csi = obs["csi"]
        check_order(self.order, csi.shape[1])
        if not 0 < self.energy <= 1:
            raise ValueError(f"energy: expected more than 0 and at most 1, got {self.energy}")
        bins = to_bins(task, csi)
        strong = strongest(bins.abs().square().sum(1).flatten(1), self.energy).view(csi.shape[0], 1, *csi.shape[2:])
        series = (bins * strong).flatten(2)
        parts = torch.split(series, max(1, _SAMPLES_AT_ONCE // series[0].numel()))
        coefficients = torch.cat([prony_coefficients(part, self.order, self.ridge) for part in parts])
        slots = list(series[:, -self.order :].unbind(1))
        for _ in range(num_future(task)):
            slots.append((coefficients * torch.stack(slots[-self.order :], 1)).sum(1))
        return from_bins(task, torch.stack(slots[self.order :], 1).view(len(csi), -1, *csi.shape[2:]))


def prony_coefficients(series: Tensor, order: int, ridge: float) -> Tensor:
    """Fit ``g_t = sum_i a_i g_{t-order+i}`` to every entry separately, by least squares over all windows.

    Args:
        series: shape (batch, past, entries), complex64.
        order: number of coefficients, less than past.
        ridge: loading, over the mean diagonal of each entry's normal equations.

    Returns:
        a, shape (batch, order, entries), complex64; the oldest slot's coefficient first.
    """
    past = series.shape[1]
    exact = series.to(torch.complex128)
    pairs = [exact[:, : past - lag].conj() * exact[:, lag:] for lag in range(order + 1)]
    window = past - order
    upper = {(i, j): pairs[j - i][:, i : i + window].sum(1) for j in range(order + 1) for i in range(j + 1)}
    columns = [[upper[i, j] if i <= j else upper[j, i].conj() for i in range(order)] for j in range(order + 1)]
    products = torch.stack([torch.stack(column, -1) for column in columns], -1)
    normal, right = products[..., :order], products[..., order:]
    mean_diagonal = normal.diagonal(dim1=-2, dim2=-1).real.mean(-1)
    return solve_loaded(normal, right, ridge * mean_diagonal).squeeze(-1).mT.to(series.dtype)


def strongest(energies: Tensor, share: float) -> Tensor:
    """Mark the fewest entries that hold ``share`` of the sum; shape (batch, bins), bool."""
    ordered, order = energies.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(energies, dtype=torch.bool).scatter(-1, order, before < share * energies.sum(-1, keepdim=True))
