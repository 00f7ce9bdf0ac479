"""GPT-2's layers, for predictors that keep them frozen except for the parts that are cheap to train."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from wirelessgym.learned import seeded

RANDOM = "gpt2-random"
_SEED = 0  # of random weights: always the same ones, so that checkpoints need not hold them
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def first_layers(backbone: str | Path, layers: int) -> nn.Module:
    """Return the first layers of a GPT-2, float32, which take ``inputs_embeds`` of the width ``config.n_embd``.

    Only layer normalisations and position vectors have gradients (Lu et al., "Frozen pretrained transformers as universal
    computation engines", AAAI, 2022; Liu et al., "LLM4CP", J. Commun. Inf. Netw. 9(2), 2024). Dropout is off, and there is no
    vocabulary.

    Args:
        backbone: a folder with a GPT-2 in the format of transformers (safetensors); or ``"gpt2-random"``: untrained weights of
            the small GPT-2's shape (width 768, 12 heads), always the same.
        layers: how many.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: for a model that isn't GPT-2, or has fewer layers.
    """
    if layers < 1:
        raise ValueError(f"layers: expected at least 1, got {layers}")
    model = _random(layers) if str(backbone) == RANDOM else _from_folder(Path(backbone), layers)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("ln_" in name or name.startswith("wpe"))
    return model


def _random(layers: int) -> nn.Module:
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(n_layer=layers, vocab_size=1, bos_token_id=0, eos_token_id=0)
    config.update(_NO_DROPOUT)
    with seeded(_SEED):
        model: nn.Module = GPT2Model(config)
    return model


def _from_folder(folder: Path, layers: int) -> nn.Module:
    from transformers import AutoConfig, GPT2Model

    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"backbone: expected {RANDOM!r} or a folder with a GPT-2, got {folder}, which has no config.json")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "gpt2":
        raise ValueError(f"backbone: expected a GPT-2, got a {config.model_type} in {folder}")
    if config.n_layer < layers:
        raise ValueError(f"backbone: expected at least {layers} layers, got {config.n_layer} in {folder}")
    config.update(_NO_DROPOUT)
    model = GPT2Model.from_pretrained(folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    model.h = model.h[:layers]
    model.wte = nn.Embedding(1, config.n_embd, _weight=torch.zeros(1, config.n_embd))
    return model
