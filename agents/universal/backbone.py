"""The language model inside the universal agent: a shared instruction, then data tokens, in; hidden states at the data out.

All episodes of a batch read the same instruction. It runs through the model once, as a batch of one, and its keys and values are
shared by all sequences, on which the data tokens run; gradients reach the adapters through both. The result is that of running
instruction and data of every sequence together, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from . import attention
from .adapters import add_lora, quantise
from .attention import KeysValues
from .language_model import language_model

Quantisation: TypeAlias = Literal["nf4", "loftq"] | None

_REMEMBERED_INSTRUCTIONS = 16


class Backbone(nn.Module):
    """A language model's decoder layers: a shared instruction, then data tokens, in; hidden states at the data tokens out.

    The base weights are frozen and come from their own file: `state_dict` holds what is trained, LoRA's matrices (float32) and
    the prefix tokens, and nothing else.

    Args:
        name: ``"smollm2-135m"``; ``"random"`` (its architecture with random weights) or ``"gpt2-random"`` (12 layers of width
            768), which depend on torch's seed at the time and need no files; a folder with a Hugging Face causal language model
            in safetensors; or such a model's name on the hub, which then is asked for it.
        layers: how many decoder layers to keep, from the first on; None keeps all.
        dtype: of the base weights and of the computation: ``"bfloat16"``, ``"float16"`` or ``"float32"``.
        rank: of LoRA; 0 for none.
        alpha: LoRA's scale: the product of its matrices is multiplied by ``alpha / rank``.
        targets: linear layers that get LoRA. Where a model computes queries, keys and values in one product (GPT-2's ``c_attn``),
            ``q_proj``, ``k_proj`` and ``v_proj`` mean that one.
        dropout: on LoRA's input, in training.
        quantisation: None; ``"nf4"``: all linear layers of the decoder in 4 bits; ``"loftq"``: likewise, and LoRA starts as what
            makes up best for the rounding of its layer.
        prefix_tokens: learnable tokens in front of the instruction's words.

    Attributes:
        width: of tokens and hidden states.
        shared: whether the instruction runs once for all sequences (else in front of each, for comparison).
        identity: which base weights these are, as JSON can hold it: name, layers, dtype, quantisation, architecture, ``sha256``
            of the weights' files ("" for random ones) and ``seed`` (of random ones, else None).

    Raises:
        ValueError: for a name, number of layers, dtype or target that doesn't exist.
        FileNotFoundError: for a known model that isn't installed, or a folder without safetensors.
        CheckpointError: for a known model whose files have changed.
    """

    width: int
    shared: bool
    identity: dict[str, Any]

    def __init__(
        self,
        name: str = "smollm2-135m",
        *,
        layers: int | None = None,
        dtype: str = "bfloat16",
        rank: int = 8,
        alpha: float = 16,
        targets: Sequence[str] = ("q_proj", "v_proj"),
        dropout: float = 0.0,
        quantisation: Quantisation = None,
        prefix_tokens: int = 0,
    ) -> None:
        super().__init__()
        if dtype not in ("bfloat16", "float16", "float32"):
            raise ValueError(f"dtype: expected 'bfloat16', 'float16' or 'float32', got {dtype!r}")
        if quantisation not in (None, "nf4", "loftq"):
            raise ValueError(f"quantisation: expected None, 'nf4' or 'loftq', got {quantisation!r}")
        if quantisation == "loftq" and not rank:
            raise ValueError("quantisation: 'loftq' sets LoRA's first values, expected a rank of at least 1, got 0")
        self.decoder, self._tokenise, source = language_model(name, layers, getattr(torch, dtype))
        self.decoder.config._attn_implementation = attention.NAME
        self.width = int(self.decoder.config.hidden_size)
        self.shared = True
        self.identity = {"name": name, **source, "dtype": dtype, "quantisation": quantisation}
        self.decoder.requires_grad_(False)
        if rank:
            add_lora(self.decoder, rank, alpha, targets, dropout)
        if quantisation is not None:
            quantise(self.decoder, quantisation)
        embedding = self.decoder.get_input_embeddings().weight
        self.prefix = nn.Parameter(embedding.float().std() * torch.randn(prefix_tokens, self.width)) if prefix_tokens else None
        self._trained = frozenset(key for key, parameter in self.named_parameters() if parameter.requires_grad)
        self._remembered: dict[str, KeysValues] = {}
        self._remembered_for: Tensor | None = None
        self.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_put_back_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def forward(self, instruction: str, tokens: Tensor, ordered: bool = False, mask: Tensor | None = None) -> Tensor:
        """Return hidden states at the data tokens, after the last layer and the model's final normalisation.

        A set's tokens all stand at the position after the instruction and see each other both ways, so that permuting them
        permutes the result. A series' tokens stand one after the other and see those before them. All see the whole instruction.

        Args:
            instruction: the words; may be empty.
            tokens: shape (sequences, n, width), float32.
            ordered: whether the tokens are a series, not a set.
            mask: which tokens are there, shape (sequences, n), bool; the others aren't seen by any but themselves. None: all.

        Returns:
            Shape (sequences, n, width), float32.

        Raises:
            ValueError: for tokens or a mask of another shape, or more tokens than the model has positions for.
        """
        if tokens.ndim != 3 or tokens.shape[-1] != self.width:
            raise ValueError(f"tokens: expected shape (sequences, n, {self.width}), got {tuple(tokens.shape)}")
        sequences, n = tokens.shape[:2]
        if mask is not None and mask.shape != (sequences, n):
            raise ValueError(f"mask: expected shape {(sequences, n)}, got {tuple(mask.shape)}")
        data = tokens.to(self.decoder.dtype).contiguous()  # else each linear layer copies its weights per sequence
        prompt_length = self.prompt_length(instruction)
        self._check_length(prompt_length + (n if ordered else 1))
        positions = prompt_length + (torch.arange(n) if ordered else torch.zeros(n, dtype=torch.int64))
        visible = _visible(n, ordered, mask)
        if self.shared or not prompt_length:
            instruction_read = self._keys_values(instruction) if prompt_length else None
            hidden = self._run(data, positions, visible, instruction_read)
        else:
            prompt = self._prompt(instruction).expand(sequences, -1, -1)
            everything = torch.cat([torch.arange(prompt_length), positions])
            hidden = self._run(torch.cat([prompt, data], 1), everything, _behind(prompt_length, visible))[:, prompt_length:]
        return hidden.float()

    def prompt_length(self, instruction: str) -> int:
        """Number of tokens in front of the data: the prefix and the words."""
        return (0 if self.prefix is None else len(self.prefix)) + len(self._tokenise(instruction))

    def _prompt(self, instruction: str) -> Tensor:
        """Embeddings of the prefix and the words, shape (1, tokens, width)."""
        table = self.decoder.get_input_embeddings()
        words = torch.tensor(self._tokenise(instruction), dtype=torch.int64, device=table.weight.device)
        embedded = table(words).to(self.decoder.dtype)
        return (embedded if self.prefix is None else torch.cat([self.prefix.to(embedded.dtype), embedded]))[None]

    def _keys_values(self, instruction: str) -> KeysValues:
        """Keys and values of every layer at the instruction's tokens, each of shape (1, heads, tokens, width of a head).

        Remembered where no gradient is wanted, for as long as the trained weights stay what they are.
        """
        if self._trained and (self.training or torch.is_grad_enabled()):
            self._remembered.clear()
            return self._read(instruction)
        # Compared by value: fused optimisers change weights without telling autograd's version counters.
        values = self._trained_values()
        if self._remembered_for is None or not torch.equal(values, self._remembered_for):
            self._remembered.clear()
            self._remembered_for = values
        if instruction not in self._remembered:
            while len(self._remembered) >= _REMEMBERED_INSTRUCTIONS:
                del self._remembered[next(iter(self._remembered))]
            # Tensors of inference mode couldn't be used in a later computation with gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._remembered[instruction] = self._read(instruction)
        return self._remembered[instruction]

    def _trained_values(self) -> Tensor:
        """All trained numbers in a row, copied."""
        trained = [p.detach().flatten() for name, p in self.named_parameters() if name in self._trained]
        return torch.cat(trained) if trained else torch.empty(0)

    def _read(self, instruction: str) -> KeysValues:
        prompt = self._prompt(instruction)
        length = prompt.shape[1]
        noted: KeysValues = []
        self._run(prompt, torch.arange(length), _visible(length, ordered=True, mask=None), noted=noted)
        return noted

    def _run(
        self,
        embedded: Tensor,
        positions: Tensor,
        visible: Tensor,
        instruction: KeysValues | None = None,
        noted: KeysValues | None = None,
    ) -> Tensor:
        """Run the decoder on embedded tokens (sequences, n, width).

        Args:
            embedded: the tokens.
            positions: of the tokens, shape (n,).
            visible: which tokens each sees, shape (sequences or 1, 1, n, n), bool.
            instruction: keys and values that all tokens see besides.
            noted: filled with every layer's keys and values.
        """
        attention.register()
        run = attention.Run(instruction, noted)
        output = self.decoder(
            inputs_embeds=embedded,
            position_ids=positions[None].to(embedded.device),
            attention_mask=visible.to(embedded.device),
            use_cache=False,
            run=run,
        )
        run.check(self.identity["layers"])
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _check_length(self, length: int) -> None:
        limit = getattr(self.decoder.config, "max_position_embeddings", None)
        if limit is not None and length > limit:
            raise ValueError(f"tokens: the model has {limit} positions, instruction and data need {length}")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Backbone:
        self._remembered.clear()
        self._remembered_for = None  # it may lie on another device than what is to come
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what is remembered."""
        return self.__dict__ | {"_remembered": {}, "_remembered_for": None}


def _visible(n: int, ordered: bool, mask: Tensor | None) -> Tensor:
    """Which of n tokens each of them sees, shape (sequences or 1, 1, n, n), bool."""
    visible = torch.ones(n, n, dtype=torch.bool)
    visible = (visible.tril() if ordered else visible)[None, None]
    if mask is None:
        return visible
    return visible.to(mask.device) & mask[:, None, None] | torch.eye(n, dtype=torch.bool, device=mask.device)


def _behind(prompt_length: int, visible: Tensor) -> Tensor:
    """Extend what data tokens see to a prompt in front of them, which sees itself causally and no data."""
    prompt = _visible(prompt_length, ordered=True, mask=None).to(visible.device)
    n = visible.shape[-1]
    above = torch.cat([prompt, prompt.new_zeros(1, 1, prompt_length, n)], -1).expand(len(visible), -1, -1, -1)
    return torch.cat([above, torch.cat([visible.new_ones(len(visible), 1, n, prompt_length), visible], -1)], 2)


def _leave_out_frozen(module: Backbone, state: dict[str, Any], prefix: str, _: Any) -> None:
    for key in [k for k in state if k.startswith(prefix + "decoder.")]:
        if key.removeprefix(prefix) not in module._trained:
            del state[key]


def _put_back_frozen(module: Backbone, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = module.decoder.state_dict(prefix=prefix + "decoder.")
    state.update({key: value for key, value in own.items() if key.removeprefix(prefix) not in module._trained})


def _forget(module: Backbone, _: Any) -> None:
    module._remembered.clear()
