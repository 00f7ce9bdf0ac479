"""A language model's first layers, for predictors that keep them frozen except for the parts that are cheap to train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from wirelessgym.learned import seeded

from . import model_store
from .language_model import language_model

RANDOM = "gpt2-random"
_SEED = 0  # of random weights: always the same ones, so that checkpoints need not hold them
_NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def first_layers(backbone: str | Path, layers: int) -> nn.Module:
    """Return the first layers of a language model, float32, which take ``inputs_embeds`` of the width ``config.hidden_size``.

    Only normalisations, and position vectors where there are any, have gradients (Lu et al., "Frozen pretrained transformers as
    universal computation engines", AAAI, 2022; Liu et al., "LLM4CP", J. Commun. Inf. Netw. 9(2), 2024). Dropout is off, and
    there is no vocabulary.

    Args:
        backbone: a known model, as ``"smollm2-135m"``; a folder with a GPT-2 in the format of transformers (safetensors); or
            ``"gpt2-random"``: untrained weights of the small GPT-2's shape (width 768, 12 heads), always the same.
        layers: how many.

    Raises:
        FileNotFoundError: if there is no such folder, or the known model isn't installed.
        ValueError: for a folder whose model isn't GPT-2, or too few layers.
    """
    if layers < 1:
        raise ValueError(f"layers: expected at least 1, got {layers}")
    model: Any
    if str(backbone) == RANDOM:
        model = _random(layers)
    elif str(backbone) in model_store.SOURCES:
        model = language_model(str(backbone), layers, torch.float32)[0]
    else:
        model = _from_folder(Path(backbone), layers)
    width = model.config.hidden_size
    model.set_input_embeddings(nn.Embedding(1, width, _weight=torch.zeros(1, width)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("ln_" in name or "norm" in name or name.startswith("wpe"))
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
        known = ", ".join(map(repr, (*model_store.SOURCES, RANDOM)))
        raise FileNotFoundError(f"backbone: expected {known} or a folder with a GPT-2, got {folder}, which has no config.json")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "gpt2":
        raise ValueError(f"backbone: expected a GPT-2, got a {config.model_type} in {folder}")
    if config.n_layer < layers:
        raise ValueError(f"backbone: expected at least {layers} layers, got {config.n_layer} in {folder}")
    config.update(_NO_DROPOUT)
    model = GPT2Model.from_pretrained(folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    model.h = model.h[:layers]
    return model
