"""Quicker ways to what Sionna's system-level models compute, to the last bit, while a batch is sampled.

Private names of Sionna 2.2 are used here as in ``sionna_hooks.py``; tests compare whole drops with those that Sionna samples by
itself (`without_shortcuts`), so that a change is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from wirelessgym.channel.shuffling import coupling_orders, take_clusters

_LEFT_TO_SIONNA: ContextVar[bool] = ContextVar("left_to_sionna", default=False)
_LARGE_SCALE = ("DS", "ASD", "ASA", "SF", "K", "ZSA", "ZSD")  # in Sionna's order


@contextmanager
def without_shortcuts() -> Iterator[None]:
    """Leave all of it to Sionna, so that tests and benchmarks can compare."""
    token = _LEFT_TO_SIONNA.set(True)
    try:
        yield
    finally:
        _LEFT_TO_SIONNA.reset(token)


@contextmanager
def shortcuts(model: Any) -> Iterator[None]:
    """Let a system-level model take them; call within `sionna_hooks.episode_randomness`, whose lock keeps others off."""
    if _LEFT_TO_SIONNA.get():
        yield
        return
    quick = (
        (model._ray_sampler, "_random_coupling", _random_coupling),
        (model._scenario, "broadcast_params", _broadcast_params),
        (model._lsp_sampler, "_compute_cross_lsp_correlation_matrix", _correlate_large_scale),
    )
    try:
        for owner, name, method in quick:
            setattr(owner, name, partial(method, owner))
        yield
    finally:
        for owner, name, _ in quick:
            delattr(owner, name)


def _random_coupling(
    sampler: Any, aoa: Tensor, aod: Tensor, zoa: Tensor, zod: Tensor, strongest: Tensor, by_delay: Tensor
) -> tuple[Tensor, ...]:
    """Shuffle rays (TR 38.901, section 7.5, step 8) from the draws of Sionna's method, which spends a third of a drop on sorting.

    Args:
        sampler: Sionna's ray sampler.
        aoa: angles, shape (batch, stations, users, clusters, rays).
        aod: likewise.
        zoa: likewise.
        zod: likewise.
        strongest: the two strongest clusters, shape (batch, stations, users, 2).
        by_delay: order of clusters in which draws are used, shape (batch, stations, users, clusters).
    """
    angles = (aoa, aod, zoa, zod)
    keys = (take_clusters(sampler._spatial_normal(x.shape, use_sign_matrix=True), by_delay) for x in angles)
    return tuple(x.gather(-1, coupling_orders(k, strongest)) for x, k in zip(angles, keys, strict=True))


def _broadcast_params(site: Any, in_sight: Any, without_sight: Any, indoors: Any) -> Tensor:
    """Each link's value of a parameter, shape (batch, stations, users), by what lies between its ends."""
    with_sight, without, within = (torch.as_tensor(x, dtype=site.dtype) for x in (in_sight, without_sight, indoors))
    value = torch.where(site.los, with_sight, without)
    return torch.where(site.indoor.unsqueeze(1), within, value) if site.use_indoor_lsp_params else value


def _correlate_large_scale(sampler: Any) -> None:
    """Set the roots of the correlation matrices of large-scale parameters (section 7.5, step 4): links have one of three."""
    site = sampler._scenario
    matrices = []
    for table in (site._params_los, site._params_nlos, site._params_o2i):
        matrix = [[float(m == n) for m in range(len(_LARGE_SCALE))] for n in range(len(_LARGE_SCALE))]
        for m, n in combinations(range(len(_LARGE_SCALE)), 2):
            names = (f"corr{_LARGE_SCALE[i]}vs{_LARGE_SCALE[j]}" for i, j in ((m, n), (n, m)))
            matrix[m][n] = matrix[n][m] = next(table[name] for name in names if name in table)
        matrices.append(matrix)
    order = sampler._standard_lsp_order
    correlation = torch.tensor(matrices, dtype=sampler.dtype).index_select(-2, order).index_select(-1, order)
    roots, _ = torch.linalg.cholesky_ex(correlation, check_errors=False)
    sampler._update_buffer("_cross_lsp_correlation_matrix_sqrt", roots[_broadcast_params(site, 0, 1, 2).long()])
