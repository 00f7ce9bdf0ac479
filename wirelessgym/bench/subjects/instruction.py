"""A language model that reads a shared instruction once, against the same words in front of every sequence."""

from __future__ import annotations

from typing import Any

import torch

from wirelessgym.bench.measure import Row, seconds, show
from wirelessgym.models import NEEDED
from wirelessgym.parallel import one_thread
from wirelessgym.registry import agent_module, make_task


def bench(fast: bool = False) -> list[Row]:
    """Compare a language model that reads the instruction once for all sequences with one that reads it in front of each.

    Args:
        fast: a quarter of the batch and fewer repetitions, for a first look; its numbers are not the ones to quote.

    Raises:
        ImportError: without the packages of ``wirelessgym[llm]``.
    """
    batch, layers = (16 if fast else 64), 6
    with one_thread():
        models = agent_module("universal.model_store")
        installed = any(model.name == "smollm2-135m" and model.installed for model in models.catalogue())
        name = "smollm2-135m" if installed else "random"
        try:
            backbone = agent_module("universal.backbone").Backbone(name, layers=layers)
        except ImportError as error:
            raise ImportError(f"{NEEDED} ({error})") from None
        rows = [
            _instruction(backbone, task, tokens, batch, repeats=1 if fast else 3)
            for task, tokens in (("precoding", 8), ("precoding", 4), ("detection", 8), ("detection", 4))
        ]
        weights = name if installed else "random weights (smollm2-135m is not installed)"
        show(f"Instruction: in front of each sequence against read once, forward and backward ({weights}, {layers} layers)", rows)
    return rows


def _instruction(backbone: Any, name: str, tokens: int, batch: int, repeats: int) -> Row:
    """Time both ways of reading a task's instruction with ``tokens`` data tokens behind it."""
    words = agent_module("universal.instruction").instruction(make_task(name))
    data = torch.randn(batch, tokens, backbone.width, generator=torch.Generator().manual_seed(0))

    def forward_and_backward() -> None:
        backbone.zero_grad()
        backbone(words, data.clone().requires_grad_()).square().mean().backward()

    forward_and_backward()  # warm up
    ours, theirs = float("inf"), float("inf")
    for _ in range(repeats):  # taken in turns, so that both meet the same machine
        ours = min(ours, seconds(forward_and_backward, 1))
        backbone.shared = False
        theirs = min(theirs, seconds(forward_and_backward, 1))
        backbone.shared = True
    what = f"{name}: {backbone.prompt_length(words)} tokens of instruction, {tokens} of data, batch {batch}"
    return Row(what, f"{theirs:.2f} s", f"{ours:.3f} s", theirs / ours, 6 if batch == 64 else None)
