"""System-level models: users dropped in a sector or an office, with path loss, shadowing and correlated large-scale parameters.

Source: 3GPP TR 38.901 V19.2, sections 7.2 (layouts), 7.4 (path loss, sight) and 7.5 (fast fading).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from wirelessgym.channel.clusters import to_rays
from wirelessgym.channel.crowds import gathered
from wirelessgym.channel.drop import Drop
from wirelessgym.channel.kind import TR38901
from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.scenario import Scenario, Strict

_LABELS = {"uma": "UMa", "umi": "UMi", "rma": "RMa", "inh": "InH"}


class Placement(Strict):
    """Where users are dropped; None takes TR 38.901's value for the model (table 7.2-1 and following).

    Attributes:
        min_distance_m: between users and the base station, horizontally.
        inter_site_distance_m: sets the size of the sector.
        bs_height_m: of the base station.
        ut_height_m: of outdoor users.
        indoor_probability: share of users in buildings.
        users_per_group: how many users stand together; None drops each by itself. Sight, speed and height stay each user's own.
        group_radius_m: radius of the disc in which the users of a group stand.
    """

    min_distance_m: float | None = Field(default=None, gt=0, le=5000)
    inter_site_distance_m: float | None = Field(default=None, gt=0, le=20000)
    bs_height_m: float | None = Field(default=None, gt=0, le=150)
    ut_height_m: float | None = Field(default=None, gt=0, le=50)
    indoor_probability: float = Field(default=0.0, ge=0, le=1)
    users_per_group: int | None = Field(default=None, ge=2, le=64)
    group_radius_m: float | None = Field(default=None, ge=0.5, le=500)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.users_per_group is None) != (self.group_radius_m is None):
            raise ValueError(
                f"users_per_group and group_radius_m come together, got {self.users_per_group} and {self.group_radius_m}"
            )
        nearest, farthest = self.min_distance_m, self.inter_site_distance_m
        if nearest is not None and farthest is not None and nearest >= farthest / 2:
            raise ValueError(f"min_distance_m lies below half of inter_site_distance_m, got {nearest} and {farthest}")
        return self


class SystemLevel(TR38901):
    """Urban macro, urban micro, rural macro or indoor office.

    Attributes:
        model: ``"uma"``, ``"umi"``, ``"rma"`` or ``"inh"``.
        sight: line of sight for all users, for none, or drawn with TR 38.901's probability.
        path_loss: whether path loss scales the channel.
        shadowing: whether shadow fading does.
        spatial_consistency: whether users close to one another see the same clusters (section 7.6.3, procedure A for drops): the
            random variables behind sight, cluster delays, powers and angles, cross-polarisation and the coupling of rays are
            Gaussian fields that decorrelate as e^(-d/D) over a distance d, with D from table 7.6.3.1-2 (50 m for UMa without
            sight, 15 m for UMi, 60 m for RMa, 10 m indoors). Each user's angles are counted from its own line to the station.
            Initial phases stay independent, as between places many wavelengths apart. Without it, clusters of different users
            are independent however close they stand, which makes neighbours easier to tell apart than they are: they share
            the direction around which clusters spread, and their large-scale parameters (delay and angle spreads, shadowing,
            K factor) are correlated by distance (section 7.4.4), but each is reached over scatterers of its own.
        drop: where users are dropped.
    """

    kind: Literal["system_level"] = "system_level"
    model: Literal["uma", "umi", "rma", "inh"]
    sight: Literal["los", "nlos", "mixed"] = "nlos"
    path_loss: bool = False
    shadowing: bool = False
    spatial_consistency: bool = False
    drop: Placement = Placement()

    @property
    def label(self) -> str:
        """See `ChannelSettings.label`."""
        return f"{_LABELS[self.model]}, {self.sight.upper()}"

    @property
    def provenance(self) -> str:
        """See `ChannelSettings.provenance`."""
        consistency = " with spatial consistency (section 7.6.3)" if self.spatial_consistency else ""
        return f"{super().provenance}, {_LABELS[self.model]} (section 7.5){consistency}"

    def prepare(self, scenario: Scenario) -> Any:
        """Return Sionna's system-level model."""
        return sionna_model(scenario, self)

    def sample(self, scenario: Scenario, prepared: Any, num_users: int, seed: Tensor, episode: Tensor) -> Drop:
        """See `ChannelKind.sample`: TR 38.901, section 7.5, steps 1 to 10."""
        from wirelessgym.channel.sionna_hooks import episode_randomness, system_level_clusters, system_level_rays
        from wirelessgym.channel.sionna_shortcuts import shortcuts

        rows = generators(seed, episode, "channel")
        with episode_randomness(rows), shortcuts(prepared), torch.no_grad():
            place_users(prepared, scenario, self, num_users, rows)
            drawn = system_level_rays(prepared)
        clusters, geometry = system_level_clusters(prepared, drawn, direct_ray=self.sight != "nlos")
        return Drop(
            rays=to_rays(clusters, scenario.panel, scenario.user_panel, scenario.carrier_frequency_hz),
            line_of_sight=geometry.line_of_sight.present,
            user_position_m=geometry.user_position_m,
            bs_position_m=geometry.bs_position_m,
            velocity_mps=clusters.velocity_mps,
            departure=torch.stack(geometry.line_of_sight.departure, -1),
            arrival=torch.stack(geometry.line_of_sight.arrival, -1),
        )


def sionna_model(scenario: Scenario, channel: SystemLevel, precision: str = "single") -> Any:
    """Return Sionna's system-level model of a scenario."""
    from sionna.phy.channel import tr38901

    from wirelessgym.channel.sionna_hooks import panel_array

    settings: dict[str, Any] = {
        "carrier_frequency": scenario.carrier_frequency_hz,
        "ut_array": panel_array(scenario.user_panel, scenario.carrier_frequency_hz, precision),
        "bs_array": panel_array(scenario.panel, scenario.carrier_frequency_hz, precision),
        "direction": "downlink",
        "enable_pathloss": channel.path_loss,
        "enable_shadow_fading": channel.shadowing,
        "spec_version": channel.spec_version,
        "enable_spatial_consistency": channel.spatial_consistency,
        "precision": precision,
        "device": "cpu",
    }
    if channel.model in ("uma", "umi"):
        settings["o2i_model"] = "low"
    return getattr(tr38901, _LABELS[channel.model])(**settings)


def place_users(model: Any, scenario: Scenario, channel: SystemLevel, num_users: int, rows: Sequence[torch.Generator]) -> None:
    """Drop users and draw the large-scale parameters of a batch; call within `episode_randomness`."""
    place = _office if channel.model == "inh" else _sector
    sight = {"los": True, "nlos": False, "mixed": "random"}[channel.sight]
    model.reset_topology()
    model.set_topology(*place(scenario, channel, num_users, rows), los=sight)


def _sector(scenario: Scenario, channel: SystemLevel, num_users: int, rows: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
    from sionna.phy.channel import gen_single_sector_topology, set_3gpp_scenario_parameters

    drop, (slow, fast) = channel.drop, scenario.speed_mps
    users, station, orientation, tilt, velocity, indoor = gen_single_sector_topology(
        len(rows),
        num_users,
        channel.model,
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
    if drop.users_per_group is not None and drop.group_radius_m is not None:
        nearest, *_ = set_3gpp_scenario_parameters(channel.model, drop.min_distance_m, precision="single", device="cpu")
        users = gathered(users, drop.users_per_group, drop.group_radius_m, rows, float(nearest))
    # Sionna turns users at random; an upright antenna keeps the mean channel power at one.
    return users, station, torch.zeros_like(orientation), tilt, velocity, indoor


def _office(scenario: Scenario, channel: SystemLevel, num_users: int, rows: Sequence[torch.Generator]) -> tuple[Tensor, ...]:
    """An office of 120 m x 50 m with one station in the middle of a long wall (TR 38.901, table 7.2-2)."""
    drop, batch = channel.drop, len(rows)
    bs_height, ut_height = drop.bs_height_m or 3.0, drop.ut_height_m or 1.0
    place = uniform((num_users, 2), rows)
    users = torch.cat(
        [place * torch.tensor([50.0, 120.0]) - torch.tensor([0.0, 60.0]), torch.full((batch, num_users, 1), ut_height)], -1
    )
    if drop.users_per_group is not None and drop.group_radius_m is not None:
        users = gathered(users, drop.users_per_group, drop.group_radius_m, rows)
        users = torch.minimum(torch.maximum(users, torch.tensor([0.0, -60.0, 0.0])), torch.tensor([50.0, 60.0, ut_height]))
    speed = uniform((num_users,), rows, *scenario.speed_mps)
    heading = uniform((num_users,), rows, 0.0, 2 * math.pi)
    velocity = torch.stack((speed * heading.cos(), speed * heading.sin(), torch.zeros_like(speed)), -1)
    station = torch.tensor([0.0, 0.0, bs_height]).expand(batch, 1, 3)
    tilt = torch.tensor([0.0, math.atan2(bs_height - ut_height, 25.0), 0.0]).expand(batch, 1, 3)
    return users, station, torch.zeros(batch, num_users, 3), tilt, velocity, torch.ones(batch, num_users, dtype=torch.bool)
