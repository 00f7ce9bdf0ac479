"""Sionna's random numbers per episode, and what its clustered models keep to themselves.

This file and ``sionna_shortcuts.py`` alone use names which Sionna keeps private; they were read in Sionna 2.2 and the tests in
``tests/physics/test_sionna_agreement.py`` compare what is made of them with Sionna's public path, so that a change is noticed.

Sionna draws a whole batch from one global generator, which ties every row to the batch size and to what ran before. While a batch
is drawn here, Sionna's random functions are replaced by ones that give each episode its own generator; the global generators of
Sionna, torch and numpy are neither read nor advanced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sionna.phy.channel.utils as channel_utils
import torch
from sionna.phy.channel.tr38901 import (
    PanelArray,
    cdl,
    channel_coefficients,
    lsp,
    rays,
    system_level_scenario,
    tdl,
    uma_scenario,
)
from torch import Tensor

from wirelessgym.channel.clusters import Clusters, LineOfSight
from wirelessgym.channel.same_bits import same_bits_torch
from wirelessgym.scenario import Panel

_RANDOM_MODULES = (cdl, channel_coefficients, lsp, rays, system_level_scenario, tdl, uma_scenario, channel_utils)
_LOCK = threading.Lock()  # the replacement is process-wide, so one thread draws at a time


@contextmanager
def episode_randomness(rows: Sequence[torch.Generator]) -> Iterator[None]:
    """Let every random draw inside Sionna come from the episodes' own generators.

    A draw of shape [n, ...] is made as one draw of shape [n / len(rows), ...] per generator. What is computed from the draws has
    the same bits whatever the batch, see `wirelessgym.channel.same_bits`.
    """

    def filled(size: Sequence[int], dtype: Any, draw: Callable[..., Tensor], *limits: int) -> Tensor:
        first = int(size[0])
        if first % len(rows):
            raise RuntimeError(f"Sionna drew {first} rows for {len(rows)} episodes; is this Sionna 2.2?")
        result = torch.empty(*(int(n) for n in size), dtype=dtype)
        for part, own in zip(result.view(len(rows), -1), rows, strict=True):
            draw(part, *limits, generator=own)
        return result

    def rand(size: Sequence[int], *, dtype: Any = None, device: Any = None, generator: Any = None) -> Tensor:
        return filled(size, dtype, Tensor.uniform_)

    def normal(
        size: Sequence[int], *, mean: Any = None, std: Any = None, dtype: Any = None, device: Any = None, generator: Any = None
    ) -> Tensor:
        drawn = filled(size, dtype, Tensor.normal_)
        drawn = drawn if std is None else drawn * std
        return drawn if mean is None else drawn + mean

    def randint(
        low: int, high: int, size: Sequence[int], *, dtype: Any = None, device: Any = None, generator: Any = None
    ) -> Tensor:
        return filled(size, dtype or torch.int64, Tensor.random_, low, high)

    def sample_bernoulli(shape: Sequence[int], p: Any, precision: Any = None, device: Any = None) -> Tensor:
        return rand(shape) < p

    replacements = {
        "rand": rand,
        "normal": normal,
        "randint": randint,
        "sample_bernoulli": sample_bernoulli,
        "torch": same_bits_torch,
    }
    with _LOCK:
        originals = [(m, name, vars(m)[name]) for m in _RANDOM_MODULES for name in replacements if name in vars(m)]
        try:
            for module, name, _ in originals:
                setattr(module, name, replacements[name])
            yield
        finally:
            for module, name, original in originals:
                setattr(module, name, original)


def panel_array(panel: Panel, carrier_frequency_hz: float, precision: str = "single") -> Any:
    """Return Sionna's array for a panel."""
    return PanelArray(
        num_rows_per_panel=panel.rows,
        num_cols_per_panel=panel.columns,
        polarization=panel.polarisation,
        polarization_type="V" if panel.polarisation == "single" else "cross",
        antenna_pattern=panel.element,
        carrier_frequency=carrier_frequency_hz,
        element_vertical_spacing=panel.spacing_wavelengths,
        element_horizontal_spacing=panel.spacing_wavelengths,
        precision=precision,
        device="cpu",
    )


@dataclass(frozen=True)
class Geometry:
    """Where the base station and the users of a placed model are.

    Attributes:
        line_of_sight: the straight line between them, whether or not something stands in the way.
        user_position_m: shape (batch, users, 3).
        bs_position_m: shape (batch, 3).
    """

    line_of_sight: LineOfSight
    user_position_m: Tensor
    bs_position_m: Tensor


def system_level_rays(model: Any) -> Any:
    """Draw the rays of a placed model with their initial phases; call within `episode_randomness`."""
    sampler = model._ray_sampler
    sampler._random_initial_phases = _none_yet
    try:
        drawn = sampler(model._lsp)
    finally:
        del sampler._random_initial_phases
    drawn.phases = model._cir_sampler._step_10(drawn.aoa.shape)
    return drawn


def _none_yet(by_delay: Tensor) -> None:
    """Stands in for spatially consistent phases: between users that stand some wavelengths apart they are independent."""


def system_level_clusters(model: Any, drawn: Any, *, direct_ray: bool) -> tuple[Clusters, Geometry]:
    """Read what a placed model and its rays say about the one base station's links.

    Whether there is room for a direct ray is the scenario's to say, not the batch's: rows drawn apart must fit together.
    """
    site, large = model._scenario, model._lsp
    amplitude = torch.ones_like(large.sf[:, 0])
    if site.shadow_fading_enabled:
        amplitude = amplitude * large.sf[:, 0].sqrt()
    if site.pathloss_enabled:
        amplitude = amplitude * torch.pow(10.0, -large.pathloss[:, 0] / 20)
    los = LineOfSight(
        present=site.los[:, 0],
        k_factor=large.k_factor[:, 0],
        departure=(torch.deg2rad(site.los_zod[:, 0]), torch.deg2rad(site.los_aod[:, 0])),
        arrival=(torch.deg2rad(site.los_zoa[:, 0]), torch.deg2rad(site.los_aoa[:, 0])),
        distance_m=site.distance_3d[:, 0].double(),
    )
    clusters = Clusters(
        departure=(drawn.zod[:, 0], drawn.aod[:, 0]),
        arrival=(drawn.zoa[:, 0], drawn.aoa[:, 0]),
        power=drawn.powers[:, 0],
        delay_s=drawn.delays[:, 0],
        cross_polarisation=drawn.xpr[:, 0],
        phases=drawn.phases[:, 0],
        orientation=site.bs_orientations.expand(-1, site.num_ut, -1),
        velocity_mps=site.ut_velocities,
        amplitude=amplitude,
        strongest=drawn.strongest_cluster_indices[:, 0],
        cluster_delay_spread_s=site.get_param("cDS")[:, 0] * 1e-9,
        line_of_sight=los if direct_ray else None,
    )
    return clusters, Geometry(los, site.ut_loc, site.bs_loc[:, 0])


@dataclass(frozen=True)
class CdlRays:
    """What a clustered delay line draws for some links.

    Attributes:
        rays: Sionna's rays, whose entries have shape (links, 1, 1, clusters, rays).
        phases: initial phases, radian, shape (links, 1, 1, clusters, rays, 4).
        velocity_mps: shape (links, ..., 3).
        direct: of the direct path: K factor, zenith and azimuth of departure, of arrival; None without one.
    """

    rays: Any
    phases: Tensor
    velocity_mps: Tensor
    direct: tuple[Tensor, ...] | None


def cdl_rays(model: Any, links: int) -> CdlRays:
    """Draw the rays of a clustered delay line in Sionna's order; call within `episode_randomness`."""
    velocity = model._get_velocity(links)
    drawn = model._create_rays(links)
    phases = model._cir_gen._step_10(drawn.aoa.shape)
    direct = None
    if model._has_los:
        direct = (model._k_factor, model._los_zod, model._los_aod, model._los_zoa, model._los_aoa)
    return CdlRays(drawn, phases, velocity, direct)
