"""Sionna's clustered models (UMa, UMi, RMa, InH, CDL) drawn per episode.

This is the only file that uses names which Sionna keeps private; they were read in Sionna 2.2 and the tests in
``tests/physics/test_sionna_agreement.py`` compare what is made of them with Sionna's public path, so that a change is noticed.

Sionna draws a whole batch from one global generator, which ties every row to the batch size and to what ran before. While a batch
is drawn here, Sionna's random functions are replaced by ones that give each episode its own generator; the global generators of
Sionna, torch and numpy are neither read nor advanced.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sionna.phy.channel.utils as channel_utils
import torch
from sionna.phy.channel import gen_single_sector_topology
from sionna.phy.channel.tr38901 import (
    CDL,
    InH,
    PanelArray,
    RMa,
    UMa,
    UMi,
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
from wirelessgym.channel.randomness import uniform
from wirelessgym.channel.same_bits import SameBitsTorch
from wirelessgym.scenario import Panel, Scenario

_RANDOM_MODULES = (cdl, channel_coefficients, lsp, rays, system_level_scenario, tdl, uma_scenario, channel_utils)
_LOCK = threading.Lock()  # the replacement is process-wide, so one thread draws at a time
USER_PANEL = Panel(rows=1, columns=1)
SYSTEM_LEVEL = {"uma": UMa, "umi": UMi, "rma": RMa, "inh": InH}
POLARISATION_SLANTS = {"single": (0.0,), "dual": (-math.pi / 4, math.pi / 4)}


@contextmanager
def episode_randomness(rows: Sequence[torch.Generator]) -> Iterator[None]:
    """Let every random draw inside Sionna come from the episodes' own generators.

    A draw of shape [n, ...] is made as one draw of shape [n / len(rows), ...] per generator. What is computed from the draws has
    the same bits whatever the batch, see `SameBitsTorch`.
    """

    def stacked(draw: Callable[..., Tensor], size: Sequence[int]) -> Tensor:
        first, *rest = (int(n) for n in size)
        if first % len(rows):
            raise RuntimeError(f"Sionna drew {first} rows for {len(rows)} episodes; is this Sionna 2.2?")
        each = first // len(rows)
        return torch.cat([draw((each, *rest), generator=g) for g in rows])

    def rand(size: Sequence[int], *, dtype: Any = None, device: Any = None, generator: Any = None) -> Tensor:
        return stacked(lambda s, generator: torch.rand(s, dtype=dtype, generator=generator), size)

    def normal(
        size: Sequence[int], *, mean: Any = 0.0, std: Any = 1.0, dtype: Any = None, device: Any = None, generator: Any = None
    ) -> Tensor:
        return stacked(lambda s, generator: torch.randn(s, dtype=dtype, generator=generator), size) * std + mean

    def randint(
        low: int, high: int, size: Sequence[int], *, dtype: Any = None, device: Any = None, generator: Any = None
    ) -> Tensor:
        return stacked(lambda s, generator: torch.randint(low, high, s, dtype=dtype, generator=generator), size)

    def sample_bernoulli(shape: Sequence[int], p: Any, precision: Any = None, device: Any = None) -> Tensor:
        return rand(shape) < p

    replacements = {
        "rand": rand,
        "normal": normal,
        "randint": randint,
        "sample_bernoulli": sample_bernoulli,
        "torch": SameBitsTorch(),
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


def system_level_model(scenario: Scenario, precision: str = "single") -> Any:
    """Return Sionna's system-level model of a scenario, whose users have one vertical omnidirectional antenna."""
    settings: dict[str, Any] = {
        "carrier_frequency": scenario.carrier_frequency_hz,
        "ut_array": panel_array(USER_PANEL, scenario.carrier_frequency_hz, precision),
        "bs_array": panel_array(scenario.panel, scenario.carrier_frequency_hz, precision),
        "direction": "downlink",
        "enable_pathloss": scenario.path_loss,
        "enable_shadow_fading": scenario.shadowing,
        "spec_version": scenario.spec_version,
        "precision": precision,
        "device": "cpu",
    }
    if scenario.model in ("uma", "umi"):
        settings["o2i_model"] = "low"
    return SYSTEM_LEVEL[scenario.model](**settings)


def place_users(model: Any, scenario: Scenario, num_users: int, rows: Sequence[torch.Generator]) -> None:
    """Drop users and draw the large-scale parameters of a batch; call within `episode_randomness`."""
    topology = _office(scenario, num_users, rows) if scenario.model == "inh" else _sector(scenario, num_users, len(rows))
    sight = {"los": True, "nlos": False, "mixed": "random"}[scenario.sight]
    model.reset_topology()
    model.set_topology(*topology, los=sight)


def _sector(scenario: Scenario, num_users: int, batch: int) -> tuple[Tensor, ...]:
    drop, (slow, fast) = scenario.drop, scenario.speed_mps
    users, station, orientation, tilt, velocity, indoor = gen_single_sector_topology(
        batch,
        num_users,
        scenario.model,
        min_bs_ut_dist=drop.min_distance_m,
        isd=drop.inter_site_distance_m,
        bs_height=drop.bs_height_m,
        min_ut_height=drop.ut_height_m,
        max_ut_height=drop.ut_height_m,
        indoor_probability=drop.indoor_probability,
        min_ut_velocity=slow,
        max_ut_velocity=fast,
        precision="single",
        device="cpu",
    )
    # Sionna turns users at random; an upright antenna keeps the mean channel power at one.
    return users, station, torch.zeros_like(orientation), tilt, velocity, indoor


def _office(scenario: Scenario, num_users: int, rows: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
    """An office of 120 m x 50 m with one station in the middle of a long wall (TR 38.901, table 7.2-2)."""
    drop, batch = scenario.drop, len(rows)
    bs_height, ut_height = drop.bs_height_m or 3.0, drop.ut_height_m or 1.0
    place = uniform((num_users, 2), rows)
    users = torch.cat(
        [place * torch.tensor([50.0, 120.0]) - torch.tensor([0.0, 60.0]), torch.full((batch, num_users, 1), ut_height)], -1
    )
    speed = uniform((num_users,), rows, *scenario.speed_mps)
    heading = uniform((num_users,), rows, 0.0, 2 * math.pi)
    velocity = torch.stack((speed * heading.cos(), speed * heading.sin(), torch.zeros_like(speed)), -1)
    station = torch.tensor([0.0, 0.0, bs_height]).expand(batch, 1, 3)
    tilt = torch.tensor([0.0, math.atan2(bs_height - ut_height, 25.0), 0.0]).expand(batch, 1, 3)
    return users, station, torch.zeros(batch, num_users, 3), tilt, velocity, torch.ones(batch, num_users, dtype=torch.bool)


def draw_system_level(model: Any, scenario: Scenario, num_users: int, rows: Sequence[torch.Generator]) -> Clusters:
    """Draw topology, large-scale parameters and rays of one batch (TR 38.901, section 7.5, steps 1 to 10)."""
    with episode_randomness(rows), torch.no_grad():
        place_users(model, scenario, num_users, rows)
        drawn = model._ray_sampler(model._lsp)
        phases = drawn.phases if drawn.phases is not None else model._cir_sampler._step_10(drawn.aoa.shape)
    return system_level_clusters(model, drawn, phases, direct_ray=scenario.sight != "nlos")


def system_level_clusters(model: Any, drawn: Any, phases: Tensor, *, direct_ray: bool) -> Clusters:
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
        angles=(
            torch.deg2rad(site.los_zod[:, 0]),
            torch.deg2rad(site.los_aod[:, 0]),
            torch.deg2rad(site.los_zoa[:, 0]),
            torch.deg2rad(site.los_aoa[:, 0]),
        ),
        distance_m=site.distance_3d[:, 0].double(),
    )
    return Clusters(
        departure=(drawn.zod[:, 0], drawn.aod[:, 0]),
        arrival=(drawn.zoa[:, 0], drawn.aoa[:, 0]),
        power=drawn.powers[:, 0],
        delay_s=drawn.delays[:, 0],
        cross_polarisation=drawn.xpr[:, 0],
        phases=phases[:, 0, ..., :2],
        orientation=site.bs_orientations.expand(-1, site.num_ut, -1),
        velocity_mps=site.ut_velocities,
        amplitude=amplitude,
        strongest=drawn.strongest_cluster_indices[:, 0],
        cluster_delay_spread_s=site.get_param("cDS")[:, 0] * 1e-9,
        line_of_sight=los if direct_ray else None,
    )


def cdl_model(scenario: Scenario, bearing: Tensor | None = None) -> Any:
    """Return Sionna's clustered delay line of a scenario, its panel turned by ``bearing`` (links,) radian."""
    slow, fast = scenario.speed_mps
    orientation = None if bearing is None else torch.nn.functional.pad(bearing[:, None], (0, 2))
    return CDL(
        scenario.model[-1].upper(),
        scenario.delay_spread_s,
        scenario.carrier_frequency_hz,
        ut_array=panel_array(USER_PANEL, scenario.carrier_frequency_hz),
        bs_array=panel_array(scenario.panel, scenario.carrier_frequency_hz),
        bs_orientation=orientation,
        ut_orientation=torch.zeros(3),
        min_speed=slow,
        max_speed=fast,
        spec_version=scenario.spec_version,
        precision="single",
        device="cpu",
    )


def draw_cdl(model: Any, num_users: int, rows: Sequence[torch.Generator], bearing: Tensor) -> Clusters:
    """Draw one batch of a clustered delay line; each user is a link of its own, seen at ``bearing`` (batch, users) radian."""
    batch = len(rows)
    links = batch * num_users
    with episode_randomness(rows), torch.no_grad():
        velocity = model._get_velocity(links)
        drawn = model._create_rays(links)
        phases = model._cir_gen._step_10(drawn.aoa.shape)

    def users(x: Tensor) -> Tensor:
        return x.reshape(batch, num_users, *x.shape[3:])

    los = None
    if model._has_los:
        angles = (model._los_zod, model._los_aod, model._los_zoa, model._los_aoa)
        shape = (batch, num_users)
        los = LineOfSight(
            present=torch.ones(shape, dtype=torch.bool),
            k_factor=model._k_factor.expand(shape),
            angles=tuple(a.expand(shape) for a in angles),
            distance_m=torch.zeros(shape, dtype=torch.float64),
        )
    return Clusters(
        departure=(users(drawn.zod), users(drawn.aod)),
        arrival=(users(drawn.zoa), users(drawn.aoa)),
        power=users(drawn.powers),
        delay_s=users(drawn.delays),
        cross_polarisation=users(drawn.xpr),
        phases=users(phases)[..., :2],
        orientation=torch.nn.functional.pad(bearing[..., None], (0, 2)),
        velocity_mps=velocity.reshape(batch, num_users, 3),
        amplitude=torch.ones(batch, num_users),
        strongest=None,
        cluster_delay_spread_s=None,
        line_of_sight=los,
    )
