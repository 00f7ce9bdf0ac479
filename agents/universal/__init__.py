"""One language model for every task: a written instruction and a few data tokens in, an action out.

The backbone is a frozen causal language model with LoRA. Each task has a head of its own (`heads`), which turns observations
into tokens and what the backbone makes of them into an action. Where a task's observation has text, the backbone reads each
row's text behind the instruction. Rebuilt after Zheng and Dai, "Large language model enabled multi-task physical layer
network", arXiv 2412.20772; the heads used by default start from a classical solution and learn corrections of it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from wirelessgym.checkpoint import CheckpointError, read_card
from wirelessgym.learned import SHIPPED, LearnedAgent
from wirelessgym.spec import TaskSpec

from .headed import HeadedAgent, Model
from .instruction import instruction as written

WIDTH_WITHOUT_BACKBONE = 256


@dataclass(eq=False, kw_only=True)
class Universal(HeadedAgent):
    """Does every task with one language model and a written instruction.

    Args:
        backbone: ``"smollm2-135m"``, ``"random"`` (the same architecture, random weights), ``"gpt2-random"``, a folder or a hub
            name of a causal language model, or ``"none"`` (or None): tokens go straight to the decoder.
        layers: how many of the backbone's layers to keep, from the first on; None: all.
        dtype: of the backbone: ``"bfloat16"``, ``"float16"`` or ``"float32"``.
        rank: of LoRA; 0 for none.
        alpha: of LoRA.
        targets: the layers that get LoRA; one may stand alone.
        quantisation: None, ``"nf4"`` (4-bit backbone) or ``"loftq"`` (4-bit backbone whose LoRA starts as its error's best fit).
        prefix_tokens: learnable tokens before the instruction.
        instructed: whether the backbone reads the instruction; texts of the observation are always read.
        preset: the heads of this package's tasks, ``"classical_init"`` or those of the ``"paper"``.
        extra_heads: heads of further tasks, see `HeadedAgent`.
        device: where fresh weights are put, see `HeadedAgent`.
        checkpoint: as in `LearnedAgent`; its model options, and the seed of its random backbone, replace those that are left
            at their default.

    Raises:
        ValueError: for a preset or backbone that doesn't exist, or a task that the preset has no head for.
        ImportError: without the packages of ``wirelessgym[llm]``.
        FileNotFoundError: for a backbone that isn't installed.
        CheckpointError: for a checkpoint of another backbone.
    """

    backbone: str | Path | None = "smollm2-135m"
    layers: int | None = 6
    dtype: str = "bfloat16"
    rank: int = 8
    alpha: float = 16.0
    targets: str | tuple[str, ...] = ("q_proj", "v_proj")
    quantisation: Literal["nf4", "loftq"] | None = None
    prefix_tokens: int = 0
    instructed: bool = True
    checkpoint: str | Path | None = SHIPPED

    def __post_init__(self) -> None:
        self.backbone = str(self.backbone or "none")  # a folder may come as a path
        super().__post_init__()
        self.targets = (self.targets,) if isinstance(self.targets, str) else tuple(self.targets)  # a card has a list
        if self.checkpoint is not None and self.seed == LearnedAgent.seed:
            backbone = read_card(self.checkpoint_folder()).get("backbone") or {}
            self.seed = backbone.get("seed") or self.seed  # random base weights aren't in a checkpoint: the seed makes them again

    def make_backbone(self) -> tuple[torch.nn.Module | None, int]:
        """Return the language model with its adapters, and its width."""
        if self.backbone is None or self.backbone == "none":
            return None, WIDTH_WITHOUT_BACKBONE
        from .backbone import Backbone

        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("peft") is None:
            raise ImportError("universal: a backbone needs transformers and peft: pip install 'wirelessgym[llm]'")
        backbone = Backbone(
            str(self.backbone),
            layers=self.layers,
            dtype=self.dtype,
            rank=self.rank,
            alpha=self.alpha,
            targets=self.targets,
            quantisation=self.quantisation,
            prefix_tokens=self.prefix_tokens,
        )
        return backbone, backbone.width

    def instruction(self, task: TaskSpec) -> str:
        """The instruction that the backbone reads."""
        return written(task) if self.instructed else ""

    def card(self) -> dict[str, Any]:
        """What a checkpoint's card says of the model: the backbone's identity."""
        backbone = self._weights.backbone if isinstance(self._weights, Model) else None
        return {"backbone": getattr(backbone, "identity", None)}

    def check_card(self, card: Mapping[str, Any]) -> None:
        """Refuse a checkpoint that was trained on another backbone. The same files may lie in a folder of another name.

        Raises:
            CheckpointError: naming what differs.
        """
        super().check_card(card)
        mine, theirs = self.card()["backbone"] or {}, card.get("backbone") or {}
        same_files = bool(mine.get("sha256")) and mine["sha256"] == theirs.get("sha256")
        keys = ["layers", "architecture", "seed"] if same_files else ["name", "layers", "architecture", "sha256", "seed"]
        if "loftq" in (mine.get("quantisation"), theirs.get("quantisation")):
            keys.append("quantisation")  # LoRA compensates for the rounding of that base alone
        for key in keys:
            if mine.get(key) != theirs.get(key):
                raise CheckpointError(
                    f"{self.name}: the checkpoint was trained on a backbone with {key} {theirs.get(key)!r}, got {mine.get(key)!r}"
                    "; checkpoint=None gives fresh weights"
                )
