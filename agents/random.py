"""Random actions: what no knowledge at all achieves; the floor of every table."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from wirelessgym.agent import Agent
from wirelessgym.fields import Action, Field, Obs, num_rows, to_real
from wirelessgym.spec import TaskSpec


@dataclass(frozen=True)
class Random(Agent):
    """Answer at random, feasibly, and independently of what the observation means.

    Each entry of the action is sampled as its field says (`Field.from_uniform`), with the power or strength that the field
    refers to. The numbers are a hash of the row's own observation: a row's action is the same alone and in any batch.

    Args:
        seed: another one gives other actions.
    """

    seed: int = 0

    def act(self, task: TaskSpec, obs: Obs) -> Action:
        """Return an action of the task's shape and dtype for each row of the observation."""
        keys = row_keys(obs, self.seed)
        action = {entry.name: _sampled(entry, obs, keys) for entry in task.action_fields}
        return action if len(action) > 1 else next(iter(action.values()))


def _sampled(entry: Field, obs: Obs, keys: Tensor) -> Tensor:
    own = _mixed(keys + zlib.crc32(entry.name.encode()))
    value = entry.from_uniform(uniforms(own, entry.num_uniforms))
    axes = (-1, *[1] * len(entry.shape))
    if entry.budget is not None:
        value = value * (obs[entry.budget] / value.abs().square().flatten(1).sum(-1)).sqrt().view(axes)
    if entry.like is not None:
        value = value * obs[entry.like].abs().square().flatten(1).mean(-1).sqrt().view(axes)
    return value


def row_keys(obs: Obs, seed: int = 0) -> Tensor:
    """Hash each row of an observation, whatever its entries are: shape (batch,), int64."""
    device = next((value.device for value in obs.values() if isinstance(value, Tensor)), torch.device("cpu"))
    keys = torch.full((num_rows(obs),), seed, dtype=torch.int64, device=device)
    for name in sorted(obs):
        bits = _bits(obs[name]).to(device)
        places = torch.arange(1, bits.shape[1] + 1, device=device) * _GOLDEN
        keys = _mixed(keys + zlib.crc32(name.encode()) + _mixed(bits + places).sum(1))
    return keys


def uniforms(keys: Tensor, count: int) -> Tensor:
    """Return ``count`` numbers for each key, shape (batch, count), float32, in (0, 1): a counter-based generator.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, section 5 (SplitMix64).
    """
    places = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    bits = _shifted(_mixed(keys[:, None] + places), 41)  # 23 bits, so that half a step more is exact in float32
    return (bits.float() + 0.5) * 2.0**-23


# SplitMix64's constants as signed numbers; products and sums of int64 wrap around, as they should.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shift to the right as if unsigned."""
    return (bits >> places) & (2 ** (64 - places) - 1)


def _bits(value: Tensor | tuple[str, ...]) -> Tensor:
    """The bits of each row's entries as numbers, shape (batch, n), int64; of a text, those of its digest."""
    if not isinstance(value, Tensor):
        digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in value]
        return torch.tensor([[int.from_bytes(digest, signed=True)] for digest in digests])
    real = to_real(value).contiguous()
    whole = real.view(torch.int32) if real.dtype == torch.float32 else real  # integers and flags are whole already
    return whole.to(torch.int64).reshape(len(value), -1)
