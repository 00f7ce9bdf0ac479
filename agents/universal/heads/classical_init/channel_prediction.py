"""Channel prediction: find plane waves, estimate their Doppler spectra, and predict them jointly.

A cluster of rays is nearly one plane wave whose amplitude fades with a Doppler spectrum of its own. It starts from the spectra of
`joint_doppler_lmmse`, before that agent's last turn. The network reads the waves together, the backbone one token for each of
the strongest among these, and corrects every wave's spectrum before and after the last turn, its noise, and its future
amplitudes. What the waves leave is predicted bin by bin. Waves are found per episode, so any panel and bandwidth will do.

The start, without the network, is the agent ``joint_doppler_lmmse:waves=48``; sources stand there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec
from wirelessgym.task import Task

from ...._doppler import FREQUENCIES
from ...._joint_doppler import posterior
from ...._prediction import num_future
from ...._wave_start import WaveStart, channel_of, start_waves
from .._layers import TINY, mlp, parts, zero_init
from ..base import Head
from ._wave_features import NUM_FEATURES, describe

CHANNELS = 128
TOKENS = 40  # waves that the backbone reads
WAVES = 48  # at most, per episode
TURNS = 2  # of the waves' spectra, the last of them after a correction
LOSS_FLOOR = 0.003


@dataclass(frozen=True)
class Context:
    """What the decoder needs besides the backbone's output.

    Attributes:
        start: the waves, with their spectra before the last turn.
        features: shape (batch, waves, CHANNELS).
        read: which waves the backbone reads, shape (batch, tokens), int64.
        begun: prediction without corrections, shape (batch, future, antennas, subcarriers), complex64.
        rest: share of that which isn't in waves, of the same shape.
    """

    start: WaveStart
    features: Tensor
    read: Tensor
    begun: Tensor
    rest: Tensor


class ChannelPredictionHead(Head):
    """Encoder and decoder of the channel prediction task. A token is one plane wave."""

    ordered = False
    mixed_precision = False  # matrices are inverted

    def __init__(self, task: TaskSpec, width: int) -> None:
        super().__init__(task, width)
        self.num_past, self.num_future = task.observation_fields[0].shape[0], num_future(task)
        self.look = mlp(NUM_FEATURES, 256, CHANNELS)
        self.mix = _mixer()
        self.to_token = mlp(CHANNELS, 256, width)
        self.norm = torch.nn.LayerNorm(width)
        self.from_token = mlp(width, 256, CHANNELS)
        self.mix_again = _mixer()
        self.correct = zero_init(torch.nn.Sequential(torch.nn.LayerNorm(CHANNELS), *mlp(CHANNELS, 256, 2 * FREQUENCIES + 1)))
        self.directly = zero_init(mlp(CHANNELS + 2 * self.num_past, 256, 2 * self.num_future))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, Tensor, Context]:
        """Return a token for each of the strongest waves, shape (batch, tokens, width), strongest first, and which are present.

        Raises:
            ValueError: for other numbers of past and future slots than the head was built for.
        """
        if (slots := (obs["csi"].shape[1], num_future(task))) != (self.num_past, self.num_future):
            raise ValueError(
                f"the prediction head was built for {self.num_past} past and {self.num_future} future slots, got {slots}"
            )
        with torch.no_grad():
            start = start_waves(task, obs, most=WAVES, false_alarms=1.0, turns=TURNS - 1)
            past, future = posterior(start.seen, start.own.turn(start.spectrum), start.within)
            rest = start.rest(task, obs["csi"], channel_of(start.found, past))
            begun = rest + channel_of(start.found, future)
            described = describe(start)
        features = self.mix(self.look(described), src_key_padding_mask=_hidden(start))
        read = start.spectrum.sum(-1).argsort(-1, descending=True)[:, :TOKENS]
        tokens = self.to_token(_at(features, read))
        return tokens, start.found.present.gather(1, read), Context(start, features, read, begun, rest)

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, context: Context) -> Action:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64."""
        heard = self.from_token(self.norm(hidden))
        features = context.features.scatter_add(1, context.read[..., None].expand_as(heard), heard)
        features = self.mix_again(features, src_key_padding_mask=_hidden(context.start))
        before, after, noise = self.correct(features).double().split([FREQUENCIES, FREQUENCIES, 1], -1)
        start = context.start
        spectrum = start.own.turn(start.spectrum * before.clamp(-8, 8).exp()) * after.clamp(-8, 8).exp()
        louder = (noise.clamp(-3, 3) / 2).exp()
        past, future = posterior(replace(start.seen, error=start.seen.error * louder * louder.mT), spectrum, start.within)
        return context.rest + channel_of(start.found, future + self._direct(features, past))

    def loss(self, task: Task, state: Any, obs: Obs, action: Action, context: Context, progress: float) -> Tensor:
        """NMSE of each episode over that of the start, so that slow users at high SNR count as much as fast ones at low."""
        with torch.no_grad():
            begun = task.score(state, context.begun)["nmse"]
        return (task.score(state, action)["nmse"] / (begun + LOSS_FLOOR)).mean()

    def _direct(self, features: Tensor, past: Tensor) -> Tensor:
        """Correction of the future amplitudes, in phase and scale of the past ones, (batch, waves, past, polarisations)."""
        series = past.detach().transpose(2, 3)
        level = series.abs().square().mean(-1, keepdim=True).clamp_min(TINY).sqrt()
        unit = level * series[..., -1:] / series[..., -1:].abs().clamp_min(TINY)
        seen = parts(torch.where(unit == 0, 0, series / unit)).flatten(-2).float()
        each = features[:, :, None].expand(-1, -1, seen.shape[2], -1)
        correction = self.directly(torch.cat([each, seen], -1)).unflatten(-1, (self.num_future, 2))
        return (torch.view_as_complex(correction.double().contiguous()) * unit).transpose(2, 3)


def _hidden(start: WaveStart) -> Tensor:
    """Which waves others don't attend to, shape (batch, waves), bool: absent ones, except one, as softmax needs something."""
    hidden = ~start.found.present
    hidden[:, 0] = False
    return hidden


def _at(features: Tensor, chosen: Tensor) -> Tensor:
    return features.gather(1, chosen[..., None].expand(-1, -1, features.shape[-1]))


def _mixer() -> torch.nn.Module:
    """One layer of attention among the waves."""
    return torch.nn.TransformerEncoderLayer(CHANNELS, 4, 2 * CHANNELS, dropout=0.0, batch_first=True, norm_first=True)
