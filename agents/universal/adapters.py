"""Additions to and replacements of a language model's linear layers: low-rank adapters and 4-bit weights.

Source: Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022, equation (3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from . import nf4

# Models that compute queries, keys and values in one product: the adapter goes there instead.
_JOINT = ("c_attn", "qkv_proj", "query_key_value")


def _linear_layers(decoder: nn.Module) -> dict[str, Any]:
    """The decoder's linear layers by name; GPT-2's are called Conv1D and hold the transposed weight."""
    from transformers.pytorch_utils import Conv1D

    return {name: module for name, module in decoder.named_modules() if isinstance(module, (nn.Linear, Conv1D))}


def add_lora(decoder: nn.Module, rank: int, alpha: float, targets: Sequence[str], dropout: float) -> None:
    """Add LoRA to the target layers, in place: float32 matrices, whatever the base's dtype."""
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 0 or alpha <= 0 or not targets:
        raise ValueError(f"LoRA: expected rank >= 0, alpha > 0 and targets, got rank {rank}, alpha {alpha}, targets {targets}")
    linear = _linear_layers(decoder)
    ends = {name.rpartition(".")[2]: module for name, module in linear.items()}
    joint = next((name for name in _JOINT if name in ends), None)
    meant = {joint if t not in ends and joint and t in ("q_proj", "k_proj", "v_proj") else t for t in targets}
    if missing := sorted(meant - set(ends)):
        raise ValueError(f"targets: {', '.join(missing)} not in the model; its linear layers are {', '.join(sorted(ends))}")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=sorted(meant),
        fan_in_fan_out=not isinstance(next(iter(ends[name] for name in meant)), nn.Linear),
    )
    inject_adapter_in_model(config, decoder)
    for parameter in decoder.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def quantise(decoder: nn.Module, quantisation: Literal["nf4", "loftq"]) -> None:
    """Replace the decoder's linear layers by 4-bit ones, in place; with LoftQ, LoRA compensates for the rounding."""
    for name, module in _linear_layers(decoder).items():
        if ".lora_" in name:
            continue
        weight: Tensor = module.weight if isinstance(module, nn.Linear) else module.weight.T
        parent_name, _, attribute = name.rpartition(".")
        parent: Any = decoder.get_submodule(parent_name)
        if quantisation == "loftq" and attribute == "base_layer":
            # LoRA multiplies the product of its matrices by its scale: each gives up the square root of it.
            (adapter,), root = parent.lora_A.keys(), next(iter(parent.scaling.values())) ** 0.5
            quantised, a, b = nf4.loftq(weight, parent.r[adapter])
            parent.lora_A[adapter].weight.data, parent.lora_B[adapter].weight.data = a / root, b / root
        else:
            quantised = nf4.quantise(weight)
        setattr(parent, attribute, nf4.NF4Linear(quantised, module.bias))
