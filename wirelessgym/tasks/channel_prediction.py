"""Channel prediction: from noisy past slots of a moving user's channel to its next slots.

Each step shows the last slots over all antennas and subcarriers and asks for the next ones, then time moves on by as many slots
as were asked for. Setting: Zheng and Dai, arXiv 2412.20772; Liu et al., "LLM4CP", J. Commun. Inf. Netw. 9(2), 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from pydantic import Field as Bounds
from torch import Tensor

from wirelessgym.channel import Channel, Drop
from wirelessgym.channel.noise import add_noise_
from wirelessgym.channel.randomness import generators
from wirelessgym.episodes import require_single_antenna_users, sample_episodes, sample_noise_power
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.images import Image, as_image, new_figure
from wirelessgym.metrics import Metric, decibels, energy, from_decibels, inner
from wirelessgym.task import Showcase, State, Task
from wirelessgym.tasks._geometry_bound import geometry_bound

_SOURCE = "Liu et al., J. Commun. Inf. Netw. 9(2), 2024"
_RATIO = ("squared_error", "target_energy")


@dataclass(frozen=True)
class PredictionState(State):
    """State of `ChannelPrediction`.

    Attributes:
        drop: where the user is, and the rays of its channel.
        power: expected channel power per entry (`wirelessgym.episodes.Episodes.user_power`), shape (batch,).
        noise_power: on every entry of ``past``, shape (batch,).
        past: noisy, shape (batch, past, antennas, subcarriers), complex64.
        future: clean, shape (batch, future, antennas, subcarriers), complex64.
    """

    drop: Drop
    power: Tensor
    noise_power: Tensor
    past: Tensor
    future: Tensor


@dataclass(frozen=True)
class ChannelPrediction(Task):
    """Predict the next slots of one user's channel; a scenario's further users are left out.

    The past is noisy by the scenario's ``snr_db``; ``csi_snr_db`` plays no part.

    Attributes:
        num_past: slots that the agent sees.
        num_future: slots to predict, and slots by which a step moves on.
        noise_power_observable: whether the agent is told the noise power.
        steering_snr_db: SNR per antenna at which ``spectral_efficiency`` is measured.
        noisy_targets: compare with noisy instead of true future slots, as LLM4CP's code does; only for comparison with it.
        released_noise_scaling: divide the noise power by 2 ``num_past``, as the code released with arXiv 2412.20772 does, so that
            the true SNR is 10 log10(2 num_past) dB above the nominal one; only for comparison with it.
    """

    num_past: Annotated[int, Bounds(ge=1, le=256)] = 16
    num_future: Annotated[int, Bounds(ge=1, le=256)] = 4
    noise_power_observable: bool = True
    steering_snr_db: Annotated[float, Bounds(ge=-50, le=100)] = 10.0
    noisy_targets: bool = False
    released_noise_scaling: bool = False

    id: ClassVar[str] = "channel_prediction"
    default_scenario: ClassVar[str] = "uma-nlos-128"
    fallback_agent: ClassVar[str] = "hold"
    showcase: ClassVar[Showcase | None] = Showcase(
        "speed_kmh=10,30,60,100", "ar_beamdelay", 64, overrides={"snr_db": (5, 20), "horizon": 1}
    )
    differentiable: ClassVar[bool] = True
    bound_varies: ClassVar[bool] = False
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("nmse", "1", False, "sum |h_hat - h|^2 / sum |h|^2", _SOURCE, ratio=_RATIO),
        Metric("nmse_db", "dB", False, "10 log10(nmse)", _SOURCE, ratio=_RATIO, decibel=True),
        Metric("nmse_per_slot", "1", False, "nmse of each future slot", _SOURCE),
        Metric(
            "spectral_efficiency",
            "bit/s/Hz",
            True,
            "mean log2(1 + |h^H h_hat|^2 / (|h_hat|^2 noise))",
            "Liu et al., J. Commun. Inf. Netw. 9(2), 2024",
        ),
    )

    def __post_init__(self) -> None:
        """See `Task.__post_init__`; also refuses users with several antennas."""
        super().__post_init__()
        require_single_antenna_users(self.id, self.scenario)

    @cached_property
    def channel(self) -> Channel:
        """The wideband channel layer of one user."""
        return Channel(self.scenario, 1, self.scenario.num_subcarriers)

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        """See `Task.observation_fields`."""
        shape = (self.num_past, self.scenario.num_antennas, self.scenario.num_subcarriers)
        fields = [Field("csi", shape, "complex64", "1", -1e6, 1e6, "noisy channel of the past slots, the newest last")]
        if self.noise_power_observable:
            fields.append(Field("noise_power", (), "float32", "1", 0.0, 1e12, "noise power on each entry of csi"))
        return tuple(fields)

    @property
    def action_fields(self) -> tuple[Field, ...]:
        """See `Task.action_fields`."""
        shape = (self.num_future, self.scenario.num_antennas, self.scenario.num_subcarriers)
        return (Field("future", shape, "complex64", "1", -1e6, 1e6, "channel of the next slots", like="csi"),)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[PredictionState, Obs]:
        """See `Task.reset`. Slot 0 is the newest of the first observation."""
        slots = self.num_past + self.horizon * self.num_future
        sampled = sample_episodes(self.channel, episodes, seed, slots, first_slot=1 - self.num_past)
        power = sampled.mean_power()
        noise_power = sample_noise_power(self.scenario, sampled, power)
        if self.released_noise_scaling:
            noise_power = noise_power / (2 * self.num_past)
        state = PredictionState(
            seed=sampled.seed,
            episode=sampled.episode,
            time_step=torch.zeros_like(sampled.seed),
            drop=sampled.drop,
            power=power,
            noise_power=noise_power,
            past=self._slots(sampled.drop, torch.full_like(sampled.seed, 1 - self.num_past), self.num_past),
            future=self._slots(sampled.drop, torch.ones_like(sampled.seed), self.num_future),
        )
        self._add_noise_(state, state.past, 1 - self.num_past)
        return state, self._observe(state)

    def score(self, state: PredictionState, action: Action) -> dict[str, Tensor]:
        """See `Task.score`."""
        self.check_state(state)
        future = self.check_action(action, len(state.seed))["future"]
        target = self._add_noise_(state, state.future.clone(), 1) if self.noisy_targets else state.future
        squared_error, target_energy = energy(future - target), energy(target)
        slot_error, slot_energy = energy((future - target).flatten(0, 1)), energy(target.flatten(0, 1))
        nmse = squared_error / target_energy
        return {
            "nmse": nmse,
            "nmse_db": decibels(nmse),
            "nmse_per_slot": (slot_error / slot_energy).view(-1, self.num_future),
            "spectral_efficiency": self._spectral_efficiency(state, future),
            "squared_error": squared_error,
            "target_energy": target_energy,
        }

    def advance(self, state: PredictionState, action: Action | None = None) -> tuple[PredictionState, Obs]:
        """See `Task.advance`: as many slots as were to be predicted, which join the past with their noise."""
        self.check_state(state)
        measured = self._add_noise_(state, state.future.clone(), 1)
        past = torch.cat([state.past, measured], 1)[:, -self.num_past :]
        time_step = state.time_step + 1
        future = self._slots(state.drop, time_step * self.num_future + 1, self.num_future)
        state = replace(state, time_step=time_step, past=past, future=future)
        return state, self._observe(state)

    def bound_metrics(self, state: PredictionState) -> dict[str, Tensor]:
        """Expected error of the linear estimator that knows every ray's angles, delay, Doppler shift and power.

        It takes each polarisation, and each antenna that fades independently, by itself.
        """
        grid, rays = self.channel.grid, state.drop.rays
        power = rays.gain[:, 0, 0].abs().square()
        ports = power.shape[1]
        if ports > 2:  # antennas that fade independently differ in phase only
            power = power.mean(1, keepdim=True)
        alike = power.shape[1]

        def per_ray(x: Tensor) -> Tensor:
            return x[:, 0].flatten(1).double().repeat_interleave(alike, 0)

        squared_error, target_energy = (
            total.float().view(-1, alike).mean(-1) * ports
            for total in geometry_bound(
                power.flatten(0, 1).flatten(1).double(),
                per_ray(rays.horizontal),
                per_ray(rays.vertical),
                per_ray(rays.doppler_hz) * grid.slot_s,
                per_ray(-rays.ray_delay_s()) * grid.subcarrier_spacing_hz,
                columns=grid.columns,
                rows=grid.rows,
                num_past=self.num_past,
                num_future=self.num_future,
                num_subcarriers=grid.num_subcarriers,
                noise_power=state.noise_power.repeat_interleave(alike),
            )
        )
        if self.noisy_targets:  # nobody foresees the noise
            noise_energy = state.noise_power * state.future[0].numel()
            squared_error, target_energy = squared_error + noise_energy, target_energy + noise_energy
        nmse = squared_error / target_energy
        return {
            "nmse": nmse,
            "nmse_db": decibels(nmse),
            "squared_error": squared_error,
            "target_energy": target_energy,
        }

    def render(self, state: PredictionState, action: Action | None = None) -> Image:
        """See `Task.render`: true, predicted and wrong magnitude of antenna 0 over slots and subcarriers."""
        figure, axes = new_figure(3)
        true = state.future[0, :, 0]
        future = torch.zeros_like(true)
        if action is not None:
            future = (action["future"] if isinstance(action, dict) else action)[0, :, 0].detach()
        peak = float(true.abs().max())
        for axis, (title, values) in zip(axes, {"true": true, "predicted": future, "error": future - true}.items(), strict=True):
            image = axis.imshow(values.abs().mT.numpy(), aspect="auto", origin="lower", vmin=0, vmax=peak)
            axis.set(title=f"{title} |h|", xlabel="future slot", ylabel="subcarrier")
        figure.colorbar(image, ax=axes)
        return as_image(figure)

    def _slots(self, drop: Drop, first_slot: Tensor, num_slots: int) -> Tensor:
        """Return the user's channel from a slot of each row on, shape (batch, num_slots, antennas, subcarriers)."""
        return self.channel.response(drop, first_slot, num_slots)[:, 0, :, 0]

    def _add_noise_(self, state: PredictionState, h: Tensor, first_slot: int) -> Tensor:
        """Add each slot's measurement noise to ``h`` in place, whose first slot lies ``first_slot`` after the newest past one.

        A slot's noise belongs to the slot, so that it is the same in every window that shows it.
        """
        newest = state.time_step * self.num_future
        slots = [generators(state.seed, state.episode, "noise", newest + first_slot + slot) for slot in range(h.shape[1])]
        return add_noise_(h, state.noise_power.sqrt(), list(zip(*slots, strict=True)))

    def _observe(self, state: PredictionState) -> Obs:
        known = {"csi": state.past, "noise_power": state.noise_power}
        return {field.name: known[field.name] for field in self.observation_fields}

    def _spectral_efficiency(self, state: PredictionState, future: Tensor) -> Tensor:
        """Rate when the predicted channel of each slot and subcarrier is the matched-filter precoder on the true one."""
        h, h_hat = state.future.transpose(-1, -2), future.transpose(-1, -2)
        noise_power = (state.power / from_decibels(self.steering_snr_db))[:, None, None]
        steered = inner(h, h_hat).abs().square() / h_hat.abs().square().sum(-1).clamp_min(1e-30)
        return (torch.log1p(steered / noise_power) / math.log(2)).mean(-1).mean(-1)
