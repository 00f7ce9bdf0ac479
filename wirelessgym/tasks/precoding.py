"""Multi-user precoding: one base station serves several single-antenna users in the same time and frequency.

User k receives ``y_k = h_k^H sum_j w_j s_j + n_k`` on the subcarrier at the carrier, or on each of several. The agent sees the
channel as the base station knows it, perfect, noisy or some slots old, and answers with a precoding vector per user (and
subcarrier) under a power budget. It is scored on the true channel. Setting: Zheng and Dai, arXiv 2412.20772.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field as Bounds
from torch import Tensor

from wirelessgym.capacity import dpc_sum_capacity, interference_free_rate, structured_precoder
from wirelessgym.channel import Channel
from wirelessgym.channel.randomness import complex_normal, generators
from wirelessgym.episodes import (
    UsersState,
    csi_fields,
    require_single_antenna_users,
    sample_csi_noise_power,
    sample_episodes,
    sample_noise_power,
)
from wirelessgym.fields import Action, Field, Obs, take
from wirelessgym.images import Image, as_image, new_figure
from wirelessgym.metrics import Metric, energy, from_decibels, per_row, user_rates
from wirelessgym.subcarriers import leading_axis, require_subcarriers, subcarriers_first, tone_spacing_hz
from wirelessgym.task import Showcase, Task

_SOURCE = "Shi et al., IEEE Trans. Signal Process. 59(9), 2011"


@dataclass(frozen=True)
class PrecodingState(UsersState):
    """State of `Precoding`, beside what `UsersState` holds.

    Attributes:
        h: true channel of this step, shape (batch, users, antennas), complex64; with several subcarriers, shape (batch,
            subcarriers, users, antennas).
        csi: what the base station knows of it, same shape.
    """

    h: Tensor
    csi: Tensor


@dataclass(frozen=True)
class Precoding(Task):
    """Maximise the downlink sum rate.

    With several subcarriers, each has a channel, a precoder and noise of its own, while the power budget holds for all of them
    together; rates are averages over subcarriers. SNR is E||Hx||^2 / E||n||^2 with the power split evenly, so the noise power of
    one subcarrier is that of the band, given by the scenario or by its SNR, divided by their number. On a channel that doesn't
    depend on frequency, rates are therefore those of a single subcarrier.

    Attributes:
        action: ``"precoder"``: one vector per user; ``"structure"``: two numbers per user, the power p and the regularisation
            lambda of the optimal structure, from which the precoder is built on the known channel (arXiv 2412.20772, eqs. (4)
            and (24)).
        csi_delay_slots: age of the known channel in slots.
        subcarriers: how many, spaced evenly over the scenario's band (`wirelessgym.subcarriers.tone_spacing_hz`); 1 is the one at
            the carrier. Several are a leading axis of ``csi``, the precoder and the structure.
    """

    action: Literal["precoder", "structure"] = "precoder"
    csi_delay_slots: Annotated[int, Bounds(ge=0, le=1000)] = 0
    subcarriers: Annotated[int, Bounds(ge=1, le=4096)] = 1

    id: ClassVar[str] = "precoding"
    default_scenario: ClassVar[str] = "uma-nlos-64"
    fallback_agent: ClassVar[str] = "mrt"
    showcase: ClassVar[Showcase | None] = Showcase("csi_snr_db=0:20:5", "robust_wmmse", overrides={"num_users": 8, "horizon": 1})
    differentiable: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("sum_rate", "bit/s/Hz", True, "sum_k log2(1 + SINR_k)", _SOURCE),
        Metric("user_rate", "bit/s/Hz", True, "log2(1 + SINR_k)", _SOURCE),
        Metric("min_rate", "bit/s/Hz", True, "min_k log2(1 + SINR_k)", _SOURCE),
        Metric("power_scale", "1", True, "min(1, sqrt(P / sum_k |w_k|^2))", "power budget; below 1 the precoder was scaled down"),
    )

    def __post_init__(self) -> None:
        """See `Task.__post_init__`; also refuses more subcarriers than the scenario has, and users with several antennas."""
        super().__post_init__()
        require_subcarriers(self.id, self.scenario, self.subcarriers)
        require_single_antenna_users(self.id, self.scenario)

    @cached_property
    def channel(self) -> Channel:
        """The channel layer, on the task's subcarriers."""
        spacing_hz = tone_spacing_hz(self.scenario, self.subcarriers)
        return Channel(self.scenario, self.scenario.max_users, self.subcarriers, spacing_hz)

    @property
    def tx_power(self) -> float:
        """Power budget, watt."""
        return from_decibels(self.scenario.tx_power_dbw)

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        """See `Task.observation_fields`."""
        known = "channel h_k of each user, as the base station knows it"
        fields = [
            Field("csi", self._shape, "complex64", "1", -1e6, 1e6, known, per_subcarrier=self.subcarriers > 1),
            Field("noise_power", (), "float32", "W", 0.0, 1e12, "noise power at every user"),
            Field("tx_power", (), "float32", "W", 0.0, 1e12, "power budget", shared=self.subcarriers > 1),
        ]
        return (*fields, *csi_fields(self.scenario))

    @property
    def action_fields(self) -> tuple[Field, ...]:
        """See `Task.action_fields`."""
        several = self.subcarriers > 1
        if self.action == "structure":
            shape, meaning = (*self._shape[:-1], 2), "power p and regularisation lambda, up to scale"
            return (Field("structure", shape, "float32", "1", 0.0, 1.0, meaning, per_subcarrier=several),)
        peak = math.sqrt(self.tx_power)
        unit, meaning, budget = "sqrt(W)", "row k is w_k", "tx_power"
        return (Field("precoder", self._shape, "complex64", unit, -peak, peak, meaning, per_subcarrier=several, budget=budget),)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of a row's channel and precoder."""
        return (*leading_axis(self.subcarriers), self.scenario.max_users, self.scenario.num_antennas)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[PrecodingState, Obs]:
        """See `Task.reset`."""
        sampled = sample_episodes(self.channel, episodes, seed, self.horizon)
        empty = torch.zeros(len(sampled.seed), *self._shape, dtype=torch.complex64)
        signal_power = self.tx_power * sampled.mean_power()
        state = self._measured(
            PrecodingState(
                seed=sampled.seed,
                episode=sampled.episode,
                time_step=torch.zeros_like(sampled.seed),
                drop=sampled.drop,
                present=sampled.present,
                noise_power=sample_noise_power(self.scenario, sampled, signal_power) / self.subcarriers,
                csi_noise_power=sample_csi_noise_power(self.scenario, sampled),
                h=empty,
                csi=empty,
            )
        )
        return state, self._observe(state)

    def score(self, state: PrecodingState, action: Action) -> dict[str, Tensor]:
        """See `Task.score`. A precoder above the power budget is scaled down to it, and ``power_scale`` tells by how much."""
        self.check_state(state)
        checked = self.check_action(action, len(state.seed))
        w, scale = self._within_budget(self._spent(state, checked))
        rate = self._user_rates(state, w)
        return {
            "sum_rate": rate.sum(-1),
            "user_rate": rate.masked_fill(~state.present, math.nan),
            "min_rate": rate.masked_fill(~state.present, math.inf).amin(-1),
            "power_scale": scale,
        }

    def advance(self, state: PrecodingState, action: Action | None = None) -> tuple[PrecodingState, Obs]:
        """See `Task.advance`: one slot."""
        self.check_state(state)
        state = self._measured(replace(state, time_step=state.time_step + 1))
        return state, self._observe(state)

    def bound_metrics(self, state: PrecodingState) -> dict[str, Tensor]:
        """Sum capacity of the true channel (dirty-paper coding, power allocated over all subcarriers): no precoder exceeds it.

        It knows the channel perfectly: with noisy or aged ``csi``, no agent can close all of the gap to it.
        """
        budget = torch.full_like(state.noise_power, self.tx_power)
        return {"sum_rate": dpc_sum_capacity(state.h, state.noise_power, budget)}

    def interference_free_bound(self, state: PrecodingState) -> Tensor:
        """Sum rate if users didn't interfere with each other, shape (batch,), bit/s/Hz: looser than `bound`."""
        return interference_free_rate(state.h, state.noise_power, torch.full_like(state.noise_power, self.tx_power))

    def render(self, state: PrecodingState, action: Action | None = None) -> Image:
        """See `Task.render`: the beams' power over azimuth in the horizontal plane, and the users' rates."""
        first = take(state, slice(0, 1))
        w = torch.zeros_like(first.h)
        if action is not None:
            rows = {k: v[:1] for k, v in action.items()} if isinstance(action, dict) else action[:1]
            w, _ = self._within_budget(self._spent(first, self.check_action(rows, 1)))
        figure, (beams, rates) = new_figure(2)
        panel = self.scenario.panel
        azimuth = torch.linspace(-90, 90, 361)
        column = torch.arange(panel.columns) - (panel.columns - 1) / 2
        steering = torch.polar(
            torch.ones(()), 2 * math.pi * panel.spacing_wavelengths * torch.deg2rad(azimuth).sin()[:, None] * column
        )
        # Rows add up in the horizontal plane; polarisations are plotted together, and subcarriers' powers add up.
        across = w[0].view(-1, *w.shape[-2:]).unflatten(-1, (-1, panel.columns, panel.rows)).sum((-3, -1))
        for k, power in enumerate((across.conj() @ steering.mT).abs().square().sum(0)):
            beams.plot(azimuth.numpy(), 10 * torch.log10(power.clamp_min(1e-6)).numpy(), linewidth=1, label=f"user {k}")
        beams.set(xlabel="azimuth from boresight [deg]", ylabel="beam power [dBW]", ylim=(-40, None))
        rate = self._user_rates(first, w)[0]
        rates.bar(range(len(rate)), rate.numpy())
        rates.set(
            xlabel="user", ylabel="rate [bit/s/Hz]", title=f"step {int(first.time_step[0])}: {float(rate.sum()):.2f} bit/s/Hz"
        )
        return as_image(figure)

    def _measured(self, state: PrecodingState) -> PrecodingState:
        """The state with the channel of its step, and what is known of it."""
        now = state.time_step
        h = subcarriers_first(self.channel.response(state.drop, now)[:, :, 0, 0])
        old = now - self.csi_delay_slots
        csi = subcarriers_first(self.channel.response(state.drop, old)[:, :, 0, 0]) if self.csi_delay_slots else h
        if self.scenario.csi_snr_db is not None:
            error = complex_normal(h.shape[1:], generators(state.seed, state.episode, "csi", old))
            csi = csi + error * self._per_user(state.csi_noise_power.sqrt()[:, None] * state.present)
        return replace(state, h=h, csi=csi)

    def _observe(self, state: PrecodingState) -> Obs:
        known = {
            "csi": state.csi,
            "noise_power": state.noise_power,
            "tx_power": torch.full_like(state.noise_power, self.tx_power),
            "csi_noise_power": state.csi_noise_power,
            "mask": state.present,
        }
        return {field.name: known[field.name] for field in self.observation_fields}

    def _user_rates(self, state: PrecodingState, w: Tensor) -> Tensor:
        """Rate of each user, averaged over subcarriers, shape (batch, users)."""
        rate = user_rates(state.h, w, state.noise_power)
        return rate if self.subcarriers == 1 else rate.mean(1)

    def _per_user(self, x: Tensor) -> Tensor:
        """Give ``x`` (batch, users) the axes of the state's channel."""
        return per_row(x, 1 + len(self._shape[:-1]))[..., None]

    def _spent(self, state: PrecodingState, action: dict[str, Tensor]) -> Tensor:
        """The precoder of an action, with nothing sent to users that take no part."""
        return self._precoder(state, action) * self._per_user(state.present)

    def _precoder(self, state: PrecodingState, action: dict[str, Tensor]) -> Tensor:
        if self.action == "precoder":
            return action["precoder"]
        power, regularisation = (action["structure"].clamp_min(0) * self._per_user(state.present)).unbind(-1)
        budget = torch.full_like(state.noise_power, self.tx_power)
        return structured_precoder(state.csi, power, regularisation, state.noise_power, budget)

    def _within_budget(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Scale a precoder down to the budget where it exceeds it (by more than rounding), and return the factor."""
        excess = energy(w) / self.tx_power
        scale = torch.where(excess > 1 + 1e-5, excess.clamp_min(1.0).rsqrt(), torch.ones_like(excess))
        return w * per_row(scale, w.ndim), scale
