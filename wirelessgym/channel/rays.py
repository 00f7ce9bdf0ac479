"""Rays: everything that an episode's channel is made of, so that any slot can be synthesised at any time.

The channel of one user at time t, receive antenna m, port p, element n and frequency f is

    h(t, m, p, n, f) = sum_g e^{-j 2 pi f tau_g} sum_{r in g} gain_{m p r} e^{j 2 pi nu_r t} a_n(r),

with groups g (clusters, or the sub-clusters of the two strongest), rays r, Doppler shift nu and the base station panel's steering
vector a; the user panel's is in the gain (3GPP TR 38.901 V19.2, eq. (7.5-22), (7.5-28), (7.5-29)). It is exact: no interpolation
in time, space or frequency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wirelessgym.fields import Rows

# Rays of a split cluster's three sub-clusters and their delays in units of the cluster delay spread: TR 38.901, table 7.5-5.
SUB_CLUSTERS = ((0, 1, 2, 3, 4, 5, 6, 7, 18, 19), (8, 9, 10, 11, 16, 17), (12, 13, 14, 15))
SUB_CLUSTER_DELAYS = (0.0, 1.28, 2.56)


@dataclass(frozen=True)
class Rays(Rows):
    """Rays of a batch of episodes.

    Attributes:
        gain: complex amplitude, shape (batch, users, rx, ports, clusters, rays), complex64, square root of power gain. rx counts
            the user's antennas; ports are the base station's polarisations, or all its antennas where they fade independently.
        horizontal: phase advance from column to column, cycles, shape (batch, users, clusters, rays), float32.
        vertical: phase advance from row to row, cycles, same shape, float32.
        doppler_hz: Doppler shift, same shape, float64: phases stay exact over hours.
        delay_s: delay of each group, shape (batch, users, groups), float32. With groups = clusters + 4 the first two clusters are
            split in three sub-clusters each; otherwise groups = clusters.
    """

    gain: Tensor
    horizontal: Tensor
    vertical: Tensor
    doppler_hz: Tensor
    delay_s: Tensor

    @property
    def num_split(self) -> int:
        """Clusters that are split in sub-clusters: the two strongest of the system-level models, otherwise none."""
        return (self.delay_s.shape[-1] - self.gain.shape[-2]) // 2

    def scaled(self, factor: Tensor) -> Rays:
        """Return rays whose channel is ``factor`` (batch, users) times as large."""
        return replace(self, gain=self.gain * factor[:, :, None, None, None, None])

    def power(self) -> Tensor:
        """Sum of the rays' powers, per pair of antennas, shape (batch, users), float32.

        It is the channel's power on average over initial phases, or over times or places far enough apart: its local mean.
        """
        power = torch.view_as_real(self.gain).square()  # exact in every bit: no row depends on its place
        return power.sum(-1).sum(-1).sum(-1).mean(-1).mean(-1)  # axis by axis: the order of sums is fixed

    def ray_delay_s(self) -> Tensor:
        """Delay of every ray, shape (batch, users, clusters, rays), float64."""
        delay = self.delay_s.double()
        num_rays, split = self.gain.shape[-1], self.num_split
        whole = delay[..., 3 * split :, None].expand(*delay.shape[:-1], -1, num_rays)
        if not split:
            return whole
        sub_cluster = sub_cluster_masks(num_rays).argmax(0).to(delay.device)
        return torch.cat([delay[..., : 3 * split].unflatten(-1, (split, 3))[..., sub_cluster], whole], -2)


def independent_rays(gain: Tensor, doppler_hz: Tensor, delay_s: Tensor) -> Rays:
    """Return rays of antennas that fade independently, so that no direction matters.

    Args:
        gain: shape (batch, users, rx, tx, taps, rays), complex64.
        doppler_hz: shape (batch, users, taps, rays), float64.
        delay_s: shape (batch, users, taps), float32.
    """
    still = torch.zeros(doppler_hz.shape)
    return Rays(gain, still, still, doppler_hz, delay_s)


def sub_cluster_masks(num_rays: int) -> Tensor:
    """Return which ray belongs to which sub-cluster, shape (3, rays), float32 of zeros and ones."""
    masks = torch.zeros(3, num_rays)
    for mask, members in zip(masks, SUB_CLUSTERS, strict=True):
        mask[list(members)] = 1
    return masks
