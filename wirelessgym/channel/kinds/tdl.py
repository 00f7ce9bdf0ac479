"""Tapped delay lines: taps of a fixed power and delay profile that fade independently over antennas.

Source: 3GPP TR 38.901 V19.2, section 7.7.2; Xiao, Zheng, Beaulieu, IEEE Trans. Wireless Commun. 5(12), 2006.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from wirelessgym.channel.clusters import SPEED_OF_LIGHT_MPS
from wirelessgym.channel.drop import Drop
from wirelessgym.channel.kind import TR38901
from wirelessgym.channel.randomness import generators, uniform
from wirelessgym.channel.rays import independent_rays
from wirelessgym.scenario import Scenario

NUM_SINUSOIDS = 20  # Sionna's default


class TDL(TR38901):
    """Sum-of-sinusoids realisations of Sionna's profiles.

    Attributes:
        profile: letter of the profile, tables 7.7.2-1 to 7.7.2-5; d and e have a direct path.
        delay_spread_s: rms delay spread.
    """

    planar: ClassVar[bool] = False

    kind: Literal["tdl"] = "tdl"
    profile: Literal["a", "b", "c", "d", "e"]
    delay_spread_s: float = Field(default=300e-9, ge=0, le=10e-6)

    @property
    def label(self) -> str:
        """See `ChannelSettings.label`."""
        return f"TDL-{self.profile.upper()}"

    @property
    def provenance(self) -> str:
        """See `ChannelSettings.provenance`."""
        return f"{super().provenance}, {self.label} (section 7.7.2)"

    def prepare(self, scenario: Scenario) -> Any:
        """Return Sionna's tapped delay line, from which the profile is read."""
        from sionna.phy.channel import tr38901

        slow, fast = scenario.speed_mps
        return tr38901.TDL(
            self.profile.upper(),
            self.delay_spread_s,
            scenario.carrier_frequency_hz,
            min_speed=slow,
            max_speed=fast,
            num_rx_ant=scenario.user_panel.num_antennas,
            num_tx_ant=scenario.num_antennas,
            spec_version=self.spec_version,
            precision="single",
            device="cpu",
        )

    def sample(self, scenario: Scenario, prepared: Any, num_users: int, seed: Tensor, episode: Tensor) -> Drop:
        """See `ChannelKind.sample`. Numbers are drawn in Sionna's order.

        Sionna forms a realisation at once for all times; keeping the sinusoids instead leaves time an argument.
        """
        rows, model = generators(seed, episode, "channel"), prepared
        taps, antennas = model.num_clusters, (scenario.user_panel.num_antennas, scenario.num_antennas)
        max_doppler_hz = scenario.carrier_frequency_hz / SPEED_OF_LIGHT_MPS
        slow, fast = (speed * max_doppler_hz for speed in scenario.speed_mps)
        doppler_hz = uniform((num_users, 1, 1), rows, slow, fast).double()
        angle = 2 * math.pi / NUM_SINUSOIDS * torch.arange(1, NUM_SINUSOIDS + 1) + uniform(
            (num_users, taps, NUM_SINUSOIDS), rows, -math.pi / NUM_SINUSOIDS, math.pi / NUM_SINUSOIDS
        )
        phase = uniform((num_users, *antennas, taps, NUM_SINUSOIDS), rows, -math.pi, math.pi)
        power = model.mean_powers.clone()
        if model.los:
            power[0] -= model.mean_power_los
        gain = torch.polar((power / NUM_SINUSOIDS).sqrt()[:, None].expand_as(phase), phase)
        shift_hz = doppler_hz * angle.double().cos()
        if model.los:
            direct = torch.polar(
                model.mean_power_los.sqrt().expand(len(rows), num_users), uniform((num_users,), rows, -math.pi, math.pi)
            )
            extra = gain.new_zeros(len(rows), num_users, *antennas, taps, 1)
            extra[..., 0, 0] = direct[..., None, None]
            gain = torch.cat([gain, extra], -1)
            shift_hz = torch.cat([shift_hz, 0.7 * doppler_hz.expand(-1, -1, taps, 1)], -1)
        return Drop(
            rays=independent_rays(gain, shift_hz, model.delays.expand(len(rows), num_users, taps).clone()),
            line_of_sight=torch.full((len(rows), num_users), bool(model.los)),
        )
