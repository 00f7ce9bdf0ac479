"""Random coupling of rays: in each cluster, angles are paired in an order of their own.

A permutation is the order of random keys. A key and its place go into one integer, and numpy sorts short rows of integers with
vector instructions: the order is that of ``torch.argsort``, several times faster.

Source: 3GPP TR 38.901 V19.2, section 7.5, step 8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.channel.rays import SUB_CLUSTERS

_PLACE_BITS = 5  # places of up to 32 rays
_KEY_BITS = 32


def coupling_orders(keys: Tensor, strongest: Tensor) -> Tensor:
    """Return the order of rays in each cluster, shape as ``keys``, int64.

    Args:
        keys: random numbers, shape (..., clusters, rays), float32, rays up to 32.
        strongest: clusters that are split in sub-clusters, shape (..., n), int64: their rays stay within their sub-cluster.
    """
    num_clusters, num_rays = keys.shape[-2:]
    orders = short_argsort(keys).flatten(0, -2)
    first = torch.arange(strongest.shape[:-1].numel(), device=keys.device) * num_clusters
    rows = (strongest.flatten(0, -2) + first[:, None]).flatten()
    places = torch.tensor([ray for members in SUB_CLUSTERS for ray in members], device=keys.device)
    part = torch.empty(num_rays, dtype=torch.int64, device=keys.device)
    for number, members in enumerate(SUB_CLUSTERS):
        part[list(members)] = number
    within = torch.empty(len(rows), num_rays, dtype=torch.int64, device=keys.device)
    within[:, places] = short_argsort(keys.flatten(0, -2)[rows], part)
    orders[rows] = within
    return orders.view(keys.shape)


def short_argsort(keys: Tensor, part: Tensor | None = None) -> Tensor:
    """Stable argsort along the last axis, of at most 32 entries.

    Args:
        keys: shape (..., n), not NaN; float32 is fast.
        part: which part each place belongs to, shape (n,), int64 from 0; parts come one after another, each in its own order.

    Returns:
        Shape (..., n), int64.
    """
    if keys.dtype != torch.float32:
        order = keys.argsort(dim=-1, stable=True)
        return order if part is None else order.gather(-1, part[order].argsort(dim=-1, stable=True))
    bits = keys.contiguous().view(torch.int32)
    rising = (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits).long()  # as integers, negative floats count backwards
    if part is not None:
        rising += part << (_KEY_BITS + 1)
    rising.bitwise_left_shift_(_PLACE_BITS).bitwise_or_(torch.arange(keys.shape[-1], device=keys.device))
    rising.numpy().sort(-1)
    return rising.bitwise_and_(2**_PLACE_BITS - 1)


def take_clusters(x: Tensor, order: Tensor) -> Tensor:
    """Clusters of ``x`` (..., clusters, rays) in another order, shape (..., clusters): whole rows are copied at once."""
    num_clusters = order.shape[-1]
    first = torch.arange(order.shape[:-1].numel(), device=order.device) * num_clusters
    rows = order.reshape(-1, num_clusters) + first[:, None]
    return x.reshape(-1, x.shape[-1]).index_select(0, rows.flatten()).view(x.shape)
