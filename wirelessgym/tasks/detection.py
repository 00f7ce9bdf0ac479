"""Uplink signal detection: several users send QAM symbols at once, the base station tells them apart.

``y = H x + n`` for a few received vectors per step, over which the channel stands still, on one subcarrier or on each of several.
The agent sees y and H and answers with an estimate of every symbol, and with log-likelihood ratios of their bits if the task asks
for them. Setting: Zheng and Dai, arXiv 2412.20772.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field as Bounds
from torch import Tensor

from wirelessgym.channel import Channel
from wirelessgym.channel.randomness import complex_normal, generators, integers
from wirelessgym.episodes import (
    UsersState,
    csi_fields,
    require_single_antenna_users,
    sample_csi_noise_power,
    sample_episodes,
    sample_noise_power,
)
from wirelessgym.fields import Action, Field, Obs
from wirelessgym.images import Image, as_image, new_figure
from wirelessgym.metrics import Metric, energy, inner, per_row
from wirelessgym.modulation import (
    BITS_PER_SYMBOL,
    bits_of,
    constellation,
    generalised_mutual_information,
    nearest,
    posterior_mean_variance,
)
from wirelessgym.subcarriers import leading_axis, require_subcarriers, subcarriers_first, tone_spacing_hz
from wirelessgym.task import Showcase, Task

_SOURCE = "Zheng and Dai, arXiv 2412.20772"
_METRICS = (
    Metric("nmse", "1", False, "sum |x_hat - x|^2 / sum |x|^2", _SOURCE, ratio=("squared_error", "symbol_energy")),
    Metric("ser", "1", False, "share of nearest-point decisions that are wrong", _SOURCE),
    Metric("ber", "1", False, "share of bits whose LLR has the wrong sign", "3GPP TS 38.211, section 5.1 (labels)"),
    Metric(
        "gmi",
        "bit",
        True,
        "bits per symbol - sum log2(1 + exp(-LLR of the sent bit))",
        "Alvarado et al., J. Lightw. Technol. 36(2), 2018",
    ),
)


@dataclass(frozen=True)
class DetectionState(UsersState):
    """State of `Detection`, beside what `UsersState` holds. With several subcarriers an axis of them follows the batch.

    Attributes:
        h: true channel of this step, shape (batch, antennas, users), complex64.
        csi: what the receiver knows of it, same shape.
        sent: index of each sent point, shape (batch, slots, users), int64.
        received: shape (batch, slots, antennas), complex64.
    """

    h: Tensor
    csi: Tensor
    sent: Tensor
    received: Tensor


@dataclass(frozen=True)
class Detection(Task):
    """Estimate the users' symbols.

    With several subcarriers, each has a channel, symbols of unit mean energy and noise of its own; errors are counted over all of
    them.

    Attributes:
        modulation: ``"qpsk"``, ``"16qam"`` or ``"64qam"``, unit mean energy, Gray labels of 3GPP TS 38.211.
        num_slots: received vectors per step.
        noise_power_observable: whether the agent is told the noise power.
        llrs: whether an action also holds the LLR of every bit, log P(b=1) / P(b=0).
        subcarriers: how many, spaced evenly over the scenario's band (`wirelessgym.subcarriers.tone_spacing_hz`); 1 is the one at
            the carrier. Several are a leading axis of ``received``, ``csi``, symbols and LLRs.
    """

    modulation: Literal["qpsk", "16qam", "64qam"] = "16qam"
    num_slots: Annotated[int, Bounds(ge=1, le=1000)] = 6
    noise_power_observable: bool = True
    llrs: bool = False
    subcarriers: Annotated[int, Bounds(ge=1, le=4096)] = 1

    id: ClassVar[str] = "detection"
    default_scenario: ClassVar[str] = "uma-nlos-64"
    fallback_agent: ClassVar[str] = "mf"
    showcase: ClassVar[Showcase | None] = Showcase("snr_db=0:20:5", "oamp", overrides={"num_users": 8, "horizon": 1})
    differentiable: ClassVar[bool] = True
    metrics: ClassVar[tuple[Metric, ...]] = _METRICS

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

    @cached_property
    def constellation(self) -> Tensor:
        """The modulation's points in the order of their labels, shape (points,), complex64."""
        return constellation(self.modulation)

    @property
    def observation_fields(self) -> tuple[Field, ...]:
        """See `Task.observation_fields`."""
        axis, several = leading_axis(self.subcarriers), self.subcarriers > 1
        users, antennas = self.scenario.max_users, self.scenario.num_antennas
        received, known = (*axis, self.num_slots, antennas), "channel H, as the receiver knows it"
        fields = [
            Field("received", received, "complex64", "sqrt(W)", -1e6, 1e6, "received vectors y", per_subcarrier=several),
            Field("csi", (*axis, antennas, users), "complex64", "1", -1e6, 1e6, known, per_subcarrier=several),
        ]
        if self.noise_power_observable:
            fields.append(Field("noise_power", (), "float32", "W", 0.0, 1e12, "noise power per receive antenna"))
        return (*fields, *csi_fields(self.scenario))

    @property
    def action_fields(self) -> tuple[Field, ...]:
        """See `Task.action_fields`."""
        several, points = self.subcarriers > 1, self.modulation
        shape = (*leading_axis(self.subcarriers), self.num_slots, self.scenario.max_users)
        meaning = "estimate of each symbol"
        symbols = Field("symbols", shape, "complex64", "1", -10.0, 10.0, meaning, per_subcarrier=several, modulation=points)
        bits, meaning = (*shape, BITS_PER_SYMBOL[self.modulation]), "log P(b=1) / P(b=0) of each bit"
        llrs = Field("llrs", bits, "float32", "1", -100.0, 100.0, meaning, per_subcarrier=several, spread=1.0)
        return (symbols, llrs) if self.llrs else (symbols,)

    def reset(self, episodes: Sequence[int], seed: int | Sequence[int] = 0) -> tuple[DetectionState, Obs]:
        """See `Task.reset`. SNR is that of all users' signals together, per receive antenna."""
        sampled = sample_episodes(self.channel, episodes, seed, self.horizon)
        batch, users, antennas = len(sampled.seed), self.scenario.max_users, self.scenario.num_antennas
        axis = leading_axis(self.subcarriers)
        h = torch.zeros(batch, *axis, antennas, users, dtype=torch.complex64)
        state = self._received(
            DetectionState(
                seed=sampled.seed,
                episode=sampled.episode,
                time_step=torch.zeros_like(sampled.seed),
                drop=sampled.drop,
                present=sampled.present,
                noise_power=sample_noise_power(self.scenario, sampled, sampled.user_power.sum(-1)),
                csi_noise_power=sample_csi_noise_power(self.scenario, sampled),
                h=h,
                csi=h,
                sent=torch.zeros(batch, *axis, self.num_slots, users, dtype=torch.int64),
                received=torch.zeros(batch, *axis, self.num_slots, antennas, dtype=torch.complex64),
            )
        )
        return state, self._observe(state)

    def score(self, state: DetectionState, action: Action) -> dict[str, Tensor]:
        """See `Task.score`."""
        self.check_state(state)
        checked = self.check_action(action, len(state.seed))
        metrics = self._score_symbols(state, checked["symbols"])
        return metrics | self._score_llrs(state, checked["llrs"]) if self.llrs else metrics

    def advance(self, state: DetectionState, action: Action | None = None) -> tuple[DetectionState, Obs]:
        """See `Task.advance`: one slot, in which the next symbols are sent."""
        self.check_state(state)
        state = self._received(replace(state, time_step=state.time_step + 1))
        return state, self._observe(state)

    def bound_metrics(self, state: DetectionState) -> dict[str, Tensor]:
        """Genie-aided matched filter: every other user's signal is known and removed, then the best estimate of each symbol.

        On average its error is no larger than that of any detector, but from some 15 dB on it is next to nothing, which tells
        little. What can be reached is told by the agents ``exact_mmse``, where vectors of symbols are few, and ``smc``, which
        comes close to it.
        """
        columns = state.h.mT
        gain = energy(columns.flatten(0, -2)).unflatten(0, columns.shape[:-1]).clamp_min(1e-30)
        noise = state.received - self._noiseless(state)
        filtered = inner(columns[..., None, :, :], noise[..., None, :]) / gain[..., None, :]
        points = self._points(state)
        estimate = points[state.sent] + filtered
        variance = (per_row(state.noise_power, gain.ndim) / gain)[..., None, :].expand(estimate.shape)
        return self._score_symbols(state, posterior_mean_variance(estimate, variance, points)[0], decide=estimate)

    def render(self, state: DetectionState, action: Action | None = None) -> Image:
        """See `Task.render`: sent points and the estimates of every user."""
        figure, (plane,) = new_figure(1)
        points = self.constellation
        plane.scatter(points.real, points.imag, marker="+", color="0.5", label="constellation")
        if action is not None:
            symbols = (action["symbols"] if isinstance(action, dict) else action)[0].detach().flatten(0, -2)
            for k in range(symbols.shape[-1]):
                if state.present[0, k]:
                    plane.scatter(symbols[:, k].real, symbols[:, k].imag, s=12, label=f"user {k}")
        plane.set(xlabel="in phase", ylabel="quadrature", xlim=(-2, 2), ylim=(-1.5, 1.5), title=f"step {int(state.time_step[0])}")
        plane.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        return as_image(figure)

    def _received(self, state: DetectionState) -> DetectionState:
        """The state with the channel, symbols and received vectors of its step."""
        axis, users, antennas = leading_axis(self.subcarriers), self.scenario.max_users, self.scenario.num_antennas
        h = subcarriers_first(self.channel.response(state.drop, state.time_step)[:, :, 0, 0]).mT.contiguous()

        def rows(purpose: str) -> list[torch.Generator]:
            return generators(state.seed, state.episode, purpose, state.time_step)

        csi = h
        if self.scenario.csi_snr_db is not None:
            error = complex_normal((*axis, antennas, users), rows("csi"))
            csi = h + error * per_row(state.csi_noise_power.sqrt()[:, None] * state.present, h.ndim)
        sent = integers(0, len(self.constellation), (*axis, self.num_slots, users), rows("symbols"))
        noise = complex_normal((*axis, self.num_slots, antennas), rows("noise"))
        noise = noise * per_row(state.noise_power.sqrt(), noise.ndim)
        state = replace(state, h=h, csi=csi, sent=sent)
        return replace(state, received=self._noiseless(state) + noise)

    def _points(self, state: DetectionState) -> Tensor:
        """The constellation, where the state is."""
        return self.constellation.to(state.sent.device)

    def _noiseless(self, state: DetectionState) -> Tensor:
        return inner(self._points(state)[state.sent].conj()[..., None, :], state.h[..., None, :, :])

    def _observe(self, state: DetectionState) -> Obs:
        known = {
            "received": state.received,
            "csi": state.csi,
            "noise_power": state.noise_power,
            "csi_noise_power": state.csi_noise_power,
            "mask": state.present,
        }
        return {field.name: known[field.name] for field in self.observation_fields}

    def _score_symbols(self, state: DetectionState, symbols: Tensor, decide: Tensor | None = None) -> dict[str, Tensor]:
        """NMSE and SER of estimates over the users that take part; decisions are made on ``decide`` where that differs."""
        present = per_row(state.present, state.sent.ndim)
        points = self._points(state)
        sent = points[state.sent]
        squared_error, symbol_energy = energy((symbols - sent) * present), energy(sent * present)
        wrong = (nearest(symbols if decide is None else decide, points) != state.sent) & present
        return {
            "nmse": squared_error / symbol_energy,
            "ser": wrong.flatten(1).sum(-1) / self._num_symbols(state),
            "squared_error": squared_error,
            "symbol_energy": symbol_energy,
        }

    def _score_llrs(self, state: DetectionState, llrs: Tensor) -> dict[str, Tensor]:
        sent = bits_of(state.sent, llrs.shape[-1])
        present = per_row(state.present, state.sent.ndim)
        symbols = self._num_symbols(state)
        wrong = ((llrs > 0) != sent) & present[..., None]
        return {
            "ber": wrong.flatten(1).sum(-1) / (symbols * llrs.shape[-1]),
            "gmi": (generalised_mutual_information(llrs, sent) * present).flatten(1, -2).sum((1, 2)) / symbols,
        }

    def _num_symbols(self, state: DetectionState) -> Tensor:
        """How many symbols each row counts, shape (batch,)."""
        return self.subcarriers * self.num_slots * state.present.sum(-1)
