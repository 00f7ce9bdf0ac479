"""Sionna's own way from rays to ``H``, for measurements beside ours: `wirelessgym bench channel` runs both in one process."""

from __future__ import annotations

from typing import Any

import torch
from sionna.phy.channel import AWGN, cir_to_ofdm_channel, subcarrier_frequencies
from torch import Tensor

from wirelessgym.channel.clusters import to_rays
from wirelessgym.channel.kinds.system_level import SystemLevel, place_users, sionna_model
from wirelessgym.channel.randomness import generators
from wirelessgym.channel.rays import Rays
from wirelessgym.channel.sionna_hooks import episode_randomness, system_level_clusters, system_level_rays
from wirelessgym.channel.sionna_shortcuts import shortcuts
from wirelessgym.scenario import Scenario


class SionnaReference:
    """One batch of a system-level scenario, held so that each stage can be timed on its own.

    Args:
        scenario: a system-level scenario.
        num_users: users per episode.
        batch: episodes.

    Raises:
        TypeError: for a scenario with another kind of channel.
    """

    def __init__(self, scenario: Scenario, num_users: int, batch: int) -> None:
        if not isinstance(scenario.channel, SystemLevel):
            raise TypeError(f"scenario: expected a system-level channel, got {scenario.channel.kind}")
        self.scenario, self.channel, self.num_users, self.batch = scenario, scenario.channel, num_users, batch
        self.model = sionna_model(scenario, self.channel)
        self.awgn = AWGN(device="cpu")

    def draw_rays(self) -> None:
        """Draw topology, large-scale parameters and rays."""
        rows = generators(torch.zeros(self.batch, dtype=torch.int64), torch.arange(self.batch), "bench")
        with episode_randomness(rows), shortcuts(self.model), torch.no_grad():
            place_users(self.model, self.scenario, self.channel, self.num_users, rows)
            self.drawn = system_level_rays(self.model)

    def our_rays(self) -> Rays:
        """The same rays in our form."""
        clusters, _ = system_level_clusters(self.model, self.drawn, direct_ray=self.channel.sight != "nlos")
        scenario = self.scenario
        return to_rays(clusters, scenario.panel, scenario.user_panel, scenario.carrier_frequency_hz)

    def sionna_response(self, num_slots: int, num_subcarriers: int) -> Tensor:
        """Sionna's public call with the rays already drawn: impulse response, then OFDM response.

        Returns:
            Shape (batch, users, 1, 1, antennas, slots, subcarriers), complex64.
        """
        sampler = self.model._ray_sampler
        self.model._ray_sampler = _Drawn(self.drawn)
        try:
            with torch.no_grad():
                gains, delays = self.model(num_slots, 1 / self.scenario.slot_duration_s)
                frequencies = subcarrier_frequencies(num_subcarriers, self.scenario.subcarrier_spacing_hz)
                response: Tensor = cir_to_ofdm_channel(frequencies, gains, delays)
                return response
        finally:
            self.model._ray_sampler = sampler

    @torch.no_grad()
    def sionna_episodes(self, num_past: int, num_future: int, num_subcarriers: int, noise_power: float) -> tuple[Tensor, Tensor]:
        """Episodes of channel prediction from beginning to end by Sionna's own path and random numbers, with its noise.

        Returns:
            Noisy past and clean future slots, each (batch, users, 1, 1, antennas, slots, subcarriers), complex64.
        """
        place_users(self.model, self.scenario, self.channel, self.num_users, [torch.Generator()] * self.batch)
        gains, delays = self.model(num_past + num_future, 1 / self.scenario.slot_duration_s)
        h = cir_to_ofdm_channel(subcarrier_frequencies(num_subcarriers, self.scenario.subcarrier_spacing_hz), gains, delays)
        past, future = h.split([num_past, num_future], 5)
        return self.awgn(past, noise_power), future


class _Drawn(torch.nn.Module):
    """Stands in for Sionna's ray sampler and returns rays that were drawn before."""

    def __init__(self, rays: Any) -> None:
        super().__init__()
        self.rays = rays

    def forward(self, _: Any) -> Any:
        return self.rays
