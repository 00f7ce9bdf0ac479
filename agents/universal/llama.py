"""A Llama's layers for acting: without gradients, in a quarter of the steps that transformers and peft take.

One link has few tokens, so that time goes into single steps and into reading weights. Products of the same input are one
(queries, keys and values; gate and up), LoRA's first matrices stand below them, and weights are kept in the order in which the
processor's kernels read them. The numbers are those of the library's layers, up to the rounding of the dtype.

Source: Touvron et al., "LLaMA: Open and efficient foundation language models", arXiv 2302.13971, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, silu

from . import attention

FEW_SEQUENCES = 16  # for which the instruction's keys and values are copied
_TYPICAL_TOKENS = 32  # that weights are laid out for; any number will do


class Product:
    """Linear layers of the same input as one, with what LoRA adds to them.

    Args:
        layers: without biases; with LoRA or without.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        weights, firsts, seconds = [], [], []
        for layer in layers:
            base = _base(layer).weight
            weights.append(base)
            if layer is _base(layer):
                seconds.append(base.new_zeros(0, len(base), dtype=torch.float32))
            else:
                (name,) = layer.lora_A.keys()
                firsts.append(layer.lora_A[name].weight.to(base.dtype))
                seconds.append(layer.scaling[name] * layer.lora_B[name].weight.float().T)
        weight, self.second = torch.cat([*weights, *firsts]), torch.block_diag(*seconds) if firsts else None
        self.packed = _has_packed_products(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_TOKENS) if self.packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """Return the layers' outputs side by side, shape (tokens, out), for x of shape (tokens, in); float32 with LoRA."""
        if self.packed:
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, None, "none", [], "")
        else:
            y = linear(x, self.weight)
        if self.second is None:
            return y
        out, y = self.second.shape[1], y.float()
        return torch.addmm(y[:, :out], y[:, out:], self.second)


class Layer(NamedTuple):
    """One layer of the decoder: its products, and the weights of its normalisations."""

    queries_keys_values: Product
    output: Product
    gate_up: Product
    down: Product
    norm: Tensor
    norm_after: Tensor


class Llama:
    """The layers of a transformers ``LlamaModel`` as they are now; a later change of its weights changes nothing here.

    Args:
        decoder: the model; see `understood`.
    """

    def __init__(self, decoder: Any) -> None:
        config = decoder.config
        self.heads, self.groups, self.head_width = config.num_attention_heads, config.num_key_value_heads, _head_width(decoder)
        self.angles, self.last_norm, self.epsilon = decoder.rotary_emb, decoder.norm.weight, config.rms_norm_eps
        self.layers = [_layer(layer) for layer in decoder.layers]

    def __call__(self, embedded: Tensor, positions: Tensor, visible: Tensor, run: attention.Run) -> Tensor:
        """Return hidden states after the last normalisation, shape (sequences, n, width).

        Args:
            embedded: tokens, shape (sequences, n, width).
            positions: shape (sequences or 1, n).
            visible: which tokens each sees, shape (sequences or 1, 1, n, n), bool.
            run: the instruction; without texts of each sequence.
        """
        half = self.head_width // 2
        cosine, sine = (part[:, :, None].float() for part in self.angles(embedded, positions))
        sine = torch.cat([-sine[..., :half], sine[..., half:]], -1)
        hidden = None if bool(visible.all()) else ~visible
        (sequences, n, width), dtype = embedded.shape, embedded.dtype
        x = embedded.reshape(-1, width)
        for layer in self.layers:
            together = layer.queries_keys_values(rms_norm(x, (width,), layer.norm, self.epsilon)).float()
            heads = together.view(sequences, n, -1, self.head_width)
            turned, value = heads.split([self.heads + self.groups, self.groups], 2)
            swapped = turned.unflatten(-1, (2, half)).flip(-2).flatten(-2)
            turned = torch.addcmul(turned * cosine, swapped, sine).transpose(1, 2)
            query, key = turned.split([self.heads, self.groups], 1)
            if sequences > FEW_SEQUENCES:
                query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
                seen = attention.attend(None, query, key, value.transpose(1, 2), visible, run=run)[0]
            else:
                seen = _attend(query, key, value.transpose(1, 2), hidden, run)
            x = x + layer.output(seen.reshape(len(x), -1).to(dtype)).to(dtype)
            gate, up = layer.gate_up(rms_norm(x, (width,), layer.norm_after, self.epsilon)).to(dtype).chunk(2, -1)
            x = x + layer.down(silu(gate) * up).to(dtype)
        return rms_norm(x, (width,), self.last_norm, self.epsilon).view_as(embedded)


def understood(decoder: Any) -> bool:
    """Whether a decoder's layers are those of `Llama`: without biases, quantisation or another activation."""
    if type(decoder).__name__ != "LlamaModel" or decoder.config.hidden_act != "silu":
        return False
    return all(type(_base(part)) is nn.Linear and part.bias is None for layer in decoder.layers for part in _linears(layer))


def _attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None, run: attention.Run) -> Tensor:
    """What `attention.attend` returns, for few sequences; ``hidden`` are the tokens that aren't seen."""
    instruction, key, value = run.layer(key, value)
    sequences, heads, n, width = query.shape
    if instruction is not None:
        told = (part.float().expand(sequences, -1, -1, -1) for part in instruction)
        key, value = (torch.cat(parts, 2) for parts in zip(told, (key, value), strict=True))
    # The query heads of a key head are rows of one matrix.
    rows = (query * width**-0.5).reshape(sequences, key.shape[1], -1, width)
    scores = rows @ key.mT
    if hidden is not None:
        scores.view(sequences, heads, n, -1)[..., -n:].masked_fill_(hidden, -torch.inf)
    seen: Tensor = (scores.softmax(-1) @ value).view(sequences, heads, n, width).transpose(1, 2)
    return seen


def _has_packed_products(weight: Tensor) -> bool:
    """Whether oneDNN has products for weights in an order of its own, which are a third faster, and torch lets one call them."""
    there = hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    usable = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)
    return there and usable and torch.backends.mkldnn.is_available()


def _head_width(decoder: Any) -> int:
    return int(decoder.layers[0].self_attn.head_dim)


def _base(layer: Any) -> Any:
    """A linear layer without its LoRA."""
    return getattr(layer, "base_layer", layer)


def _linears(layer: Any) -> list[Any]:
    own, mlp = layer.self_attn, layer.mlp
    return [own.q_proj, own.k_proj, own.v_proj, own.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]


def _layer(layer: Any) -> Layer:
    q, k, v, o, gate, up, down = _linears(layer)
    return Layer(
        queries_keys_values=Product([q, k, v]),
        output=Product([o]),
        gate_up=Product([gate, up]),
        down=Product([down]),
        norm=layer.input_layernorm.weight,
        norm_after=layer.post_attention_layernorm.weight,
    )
