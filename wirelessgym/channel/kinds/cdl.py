"""Clustered delay lines: clusters of fixed angles, powers and delays, seen by each user at a bearing of its own.

Source: 3GPP TR 38.901 V19.2, section 7.7.1; bearings as in section 7.7.5.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from wirelessgym.channel.clusters import Clusters, LineOfSight, to_rays
from wirelessgym.channel.drop import Drop
from wirelessgym.channel.kind import TR38901
from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.scenario import Scenario


class CDL(TR38901):
    """Sionna's profiles.

    Attributes:
        profile: letter of the profile, tables 7.7.1-1 to 7.7.1-5; d and e have a direct path.
        delay_spread_s: rms delay spread.
    """

    kind: Literal["cdl"] = "cdl"
    profile: Literal["a", "b", "c", "d", "e"]
    delay_spread_s: float = Field(default=300e-9, ge=0, le=10e-6)

    @property
    def label(self) -> str:
        """See `ChannelSettings.label`."""
        return f"CDL-{self.profile.upper()}"

    @property
    def provenance(self) -> str:
        """See `ChannelSettings.provenance`."""
        return f"{super().provenance}, {self.label} (section 7.7.1) with users at bearings of their own (section 7.7.5.1)"

    def prepare(self, scenario: Scenario) -> Any:
        """Return Sionna's clustered delay line."""
        return sionna_model(scenario, self)

    def sample(self, scenario: Scenario, prepared: Any, num_users: int, seed: Tensor, episode: Tensor) -> Drop:
        """See `ChannelKind.sample`."""
        # A delay line fixes its angles, so users would lie on one another: each gets a bearing of its own in the sector.
        bearing = uniform((num_users,), generators(seed, episode, "bearing"), -math.pi / 3, math.pi / 3)
        clusters = _clusters(prepared, num_users, generators(seed, episode, "channel"), bearing)
        los = clusters.line_of_sight
        return Drop(
            rays=to_rays(clusters, scenario.panel, scenario.user_panel, scenario.carrier_frequency_hz),
            line_of_sight=torch.full(bearing.shape, los is not None),
            velocity_mps=clusters.velocity_mps,
            departure=torch.stack(los.departure, -1) if los else None,
            arrival=torch.stack(los.arrival, -1) if los else None,
        )


def sionna_model(scenario: Scenario, channel: CDL, bearing: Tensor | None = None) -> Any:
    """Return Sionna's clustered delay line of a scenario, its panel turned by ``bearing`` (links,) radian."""
    from sionna.phy.channel import tr38901

    from wirelessgym.channel.sionna_hooks import panel_array

    slow, fast = scenario.speed_mps
    orientation = None if bearing is None else torch.nn.functional.pad(bearing[:, None], (0, 2))
    return tr38901.CDL(
        channel.profile.upper(),
        channel.delay_spread_s,
        scenario.carrier_frequency_hz,
        ut_array=panel_array(scenario.user_panel, scenario.carrier_frequency_hz),
        bs_array=panel_array(scenario.panel, scenario.carrier_frequency_hz),
        bs_orientation=orientation,
        ut_orientation=torch.zeros(3),
        min_speed=slow,
        max_speed=fast,
        spec_version=channel.spec_version,
        precision="single",
        device="cpu",
    )


def _clusters(model: Any, num_users: int, rows: Sequence[torch.Generator], bearing: Tensor) -> Clusters:
    """Draw one batch; each user is a link of its own, seen at ``bearing`` (batch, users) radian."""
    from wirelessgym.channel.sionna_hooks import cdl_rays, episode_randomness

    batch = len(rows)
    with episode_randomness(rows), torch.no_grad():
        drawn = cdl_rays(model, batch * num_users)

    def users(x: Tensor) -> Tensor:
        return x.reshape(batch, num_users, *x.shape[3:])

    los = None
    if drawn.direct is not None:
        k_factor, *angles = (x.expand(batch, num_users) for x in drawn.direct)
        los = LineOfSight(
            present=torch.ones(batch, num_users, dtype=torch.bool),
            k_factor=k_factor,
            departure=(angles[0], angles[1]),
            arrival=(angles[2], angles[3]),
            distance_m=torch.zeros(batch, num_users, dtype=torch.float64),
        )
    return Clusters(
        departure=(users(drawn.rays.zod), users(drawn.rays.aod)),
        arrival=(users(drawn.rays.zoa), users(drawn.rays.aoa)),
        power=users(drawn.rays.powers),
        delay_s=users(drawn.rays.delays),
        cross_polarisation=users(drawn.rays.xpr),
        phases=users(drawn.phases),
        orientation=torch.nn.functional.pad(bearing[..., None], (0, 2)),
        velocity_mps=drawn.velocity_mps.reshape(batch, num_users, 3),
        amplitude=torch.ones(batch, num_users),
        strongest=None,
        cluster_delay_spread_s=None,
        line_of_sight=los,
    )
