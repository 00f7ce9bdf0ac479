"""LLM4CP: convolutions in delay and frequency in front of a language model that is frozen except for its normalisations.

Source: Liu, Liu, Gao, Cheng, Yang, "LLM4CP: adapting large language models for channel prediction", J. Commun. Inf. Netw. 9(2),
2024, and its released code. No pretrained GPT-2 comes with this package and none is fetched: SmolLM2's first layers stand in
for GPT-2's by default. Give a folder with a GPT-2 to have LLM4CP's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from wirelessgym.arrays import to_delays
from wirelessgym.checkpoint import CheckpointError, tensors_digest

from ._learned_prediction import PerAntennaPredictor, TokenEmbedding

_DIGEST = "network.backbone_digest"


class _ResidualBlock(nn.Module):
    """Two convolutions, then each channel weighted according to its mean and maximum (squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.excite = nn.Sequential(
            nn.Linear(channels, channels, bias=False), nn.ReLU(), nn.Linear(channels, channels, bias=False)
        )

    def forward(self, image: Tensor) -> Tensor:
        changed = self.convolutions(image)
        weight = torch.sigmoid(self.excite(changed.mean((-2, -1))) + self.excite(changed.amax((-2, -1))))
        return image + changed * weight[..., None, None]


class CSIAttention(nn.Module):
    """Mix the slots of each patch, then convolve over (slots, subcarriers or delays), re and im being two channels."""

    def __init__(self, patch: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.patch = patch
        self.mix = nn.Linear(patch, patch)
        self.image = nn.Sequential(
            nn.Conv2d(2, channels, 3, padding=1),
            *(_ResidualBlock(channels) for _ in range(blocks)),
            nn.Conv2d(channels, 2, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (rows, 2, slots, width) to the same shape."""
        patches = image.unflatten(-2, (-1, self.patch))
        return self.image(self.mix(patches.mT).mT.flatten(-3, -2))


class _Network(nn.Module):
    backbone_digest: Tensor

    def __init__(self, agent: LLM4CP, past: int, future: int, width: int) -> None:
        from .universal.frozen_layers import first_layers  # transformers takes seconds to import

        super().__init__()
        self.delay = CSIAttention(agent.patch, agent.channels, agent.blocks)
        self.frequency = CSIAttention(agent.patch, agent.channels, agent.blocks)
        self.backbone = first_layers(agent.backbone, agent.layers)
        frozen = {name: p for name, p in self.backbone.named_parameters() if not p.requires_grad}
        self.register_buffer("backbone_digest", torch.tensor(list(bytes.fromhex(tensors_digest(frozen))), dtype=torch.uint8))
        tokens = int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.embed = TokenEmbedding(width, tokens, past)
        self.mix_slots = nn.Linear(past, past)
        self.output = nn.Linear(tokens, width)
        self.to_future = nn.Linear(past, future)

    def forward(self, series: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(series.unflatten(-1, (-1, 2)))
        delays = to_delays(spectrum)  # unitary, where the released code divides by the number of subcarriers
        image = self.frequency(_image(spectrum)) + self.delay(_image(delays))
        # In order of memory, or each of the backbone's layers would copy its weights for every series: five times slower.
        tokens = self.mix_slots(self.embed(image.movedim(1, -1).flatten(-2)).mT).mT.contiguous()
        hidden = self.backbone(inputs_embeds=tokens, use_cache=False).last_hidden_state
        return self.to_future(self.output(hidden).mT).mT


def _image(values: Tensor) -> Tensor:
    """Complex (rows, slots, width) to real (rows, 2, slots, width)."""
    return torch.stack([values.real, values.imag], 1)


@dataclass(eq=False, kw_only=True)
class LLM4CP(PerAntennaPredictor):
    """Predict with a language model's layers between learned encoders and decoders.

    Checkpoints hold what is trained, and a digest of the frozen weights, which are not in them.

    Args:
        backbone: ``"smollm2-135m"``; ``"gpt2-random"``: the small GPT-2's shape with random weights; or a folder with a GPT-2 as
            transformers saves it. Normalisations, and GPT-2's position vectors, are trained, all else in it is frozen.
        layers: of the language model, from the first on.
        patch: slots that are mixed before the convolutions; divides the past slots.
        channels: of the convolutions.
        blocks: residual blocks in each of the two branches.

    Raises:
        ValueError: for an option out of range.
    """

    backbone: str | Path = "smollm2-135m"
    layers: int = 6
    patch: int = 4
    channels: int = 64
    blocks: int = 4
    tasks = ("channel_prediction",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.layers, self.patch, self.channels, self.blocks) < 1:
            raise ValueError(
                "layers, patch, channels, blocks: expected at least 1 each, got "
                f"{self.layers}, {self.patch}, {self.channels}, {self.blocks}"
            )

    def network(self, past: int, future: int, width: int) -> nn.Module:
        """See `PerAntennaPredictor.network`.

        Raises:
            FileNotFoundError: if there is no such backbone.
            ValueError: if the patches don't fit the past slots, or the backbone is none of these, or has fewer layers.
        """
        if past % self.patch:
            raise ValueError(f"patch: expected a divisor of the {past} past slots of the task, got {self.patch}")
        return _Network(self, past, future, width)

    def saved_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds: all that is trained, and the digest of what isn't."""
        if self._weights is None:
            return {}
        frozen = self._frozen()
        return {name: tensor for name, tensor in super().saved_tensors().items() if name not in frozen}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Put `saved_tensors` of another agent with the same options into this one.

        Raises:
            CheckpointError: if they were trained around another language model, or don't fit.
        """
        own = super().saved_tensors()
        if _DIGEST in own and _DIGEST in tensors and not torch.equal(own[_DIGEST].cpu(), tensors[_DIGEST].cpu()):
            expected, got = (bytes(digest.tolist()).hex()[:12] for digest in (tensors[_DIGEST], own[_DIGEST]))
            raise CheckpointError(
                f"{self.name}: the checkpoint belongs to the language model {expected}, got {got} ({self.backbone})"
            )
        frozen = self._frozen() if own else set()
        super().load_tensors({**{name: own[name] for name in frozen}, **tensors})

    def _frozen(self) -> set[str]:
        return {name for name, p in cast(nn.Module, self._weights).named_parameters() if not p.requires_grad}
