"""Channel prediction as in arXiv 2412.20772: every antenna's past is a series of its own, read by convolutions and slot by slot.

Slots are mixed within patches; convolutions over (slots, subcarriers) with squeeze and excitation, the paper's CSI attention,
follow; then a linear layer to the width of a token and one that mixes all slots. The decoder goes back to subcarriers, and from
past slots to future ones. The loss is the task's: the squared error over the energy of each episode's future.

Series are divided by the root mean square of their episode. The released code takes mean and deviation over a batch, at
evaluation too: which lets each episode see the others in its batch, so results would depend on the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wirelessgym.fields import Action, Obs
from wirelessgym.spec import TaskSpec

from ...._learned_prediction import root_mean_square
from ...._prediction import num_future
from ...._sizes import SizedNetwork
from ....llm4cp import CSIAttention  # the same, for frequencies alone and with fewer channels
from .._layers import parts
from ..base import Head

PATCH, CHANNELS, BLOCKS = 4, 50, 4


class ChannelPredictionHead(Head, SizedNetwork):
    """Encoder and decoder of the channel prediction task.

    A sequence is one antenna of one episode, a token one slot. Antennas may be any number; slots and subcarriers are those of the
    first task.

    Raises:
        ValueError: if the past slots can't be split into patches of four.
    """

    ordered = True
    mixed_precision = True

    def __init__(self, task: TaskSpec, width: int) -> None:
        past, _, subcarriers = next(field.shape for field in task.observation_fields if field.name == "csi")
        if past % PATCH:
            raise ValueError(f"the paper's channel prediction head: expected past slots in multiples of {PATCH}, got {past}")
        super().__init__(task, width)
        self.sizes = {"past": past, "future": num_future(task), "subcarriers": subcarriers}
        self.attention = CSIAttention(PATCH, CHANNELS, BLOCKS)
        self.to_token = torch.nn.Linear(2 * subcarriers, width)
        self.mix_slots = torch.nn.Linear(past, past)
        self.output = torch.nn.Linear(width, 2 * subcarriers)
        self.to_future = torch.nn.Linear(past, num_future(task))

    def encode(self, task: TaskSpec, obs: Obs) -> tuple[Tensor, None, Tensor]:
        """Return a token per past slot, shape (batch * antennas, past, width), and the scale of each episode.

        Raises:
            ValueError: for other numbers of slots or subcarriers than those of the first task.
        """
        csi = obs["csi"]
        past, subcarriers = csi.shape[1], csi.shape[3]
        self.require("the paper's channel prediction head", past=past, future=num_future(task), subcarriers=subcarriers)
        scale = root_mean_square(csi)
        images = parts((csi / scale).transpose(1, 2).flatten(0, 1)).movedim(-1, 1)
        series = self.attention(images).movedim(1, -1).flatten(-2)
        tokens = self.mix_slots(self.to_token(series).mT).mT.float()
        # In order of memory, or each of the backbone's layers would copy its weights for every sequence.
        return tokens.contiguous(), None, scale

    def decode(self, task: TaskSpec, obs: Obs, hidden: Tensor, scale: Tensor) -> Action:
        """Return the prediction, shape (batch, future, antennas, subcarriers), complex64."""
        future = self.to_future(self.output(hidden).mT).mT.float().unflatten(-1, (-1, 2)).contiguous()
        return torch.view_as_complex(future).unflatten(0, (len(scale), -1)).transpose(1, 2) * scale
