"""The language model inside the universal agent: an instruction, a text and data tokens in; hidden states at the data out.

All episodes of a batch read the same instruction. It runs through the model once, as a batch of one, and all sequences share its
keys and values. Where episodes are told something of their own, each distinct text is read once behind the instruction, and the
data tokens run behind both; gradients reach the adapters through all three. The result is that of running instruction, text and
data of every sequence together, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from . import attention
from .adapters import add_lora, quantise
from .attention import KeysValues, behind, visible_tokens
from .language_model import language_model
from .llama import Llama, understood

Quantisation: TypeAlias = Literal["nf4", "loftq"] | None

_REMEMBERED = 16  # instructions, and sets of texts


class Backbone(nn.Module):
    """A language model's decoder layers: an instruction, texts, then data tokens in; hidden states at the data tokens out.

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
            best compensates for the rounding of its layer.
        prefix_tokens: learnable tokens in front of the instruction's words.

    Attributes:
        width: of tokens and hidden states.
        shared: whether instruction and texts run once for all sequences (else in front of each, for comparison).
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
        self._remembered: dict[tuple[str, ...], KeysValues] = {}
        self._remembered_for: Tensor | None = None
        self._understood = understood(self.decoder)
        self._found: list[nn.Parameter] | None = None
        self._quick: Llama | None = None  # the layers for acting, for as long as the trained weights stay what they are
        self.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_put_back_frozen)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def forward(
        self,
        instruction: str,
        tokens: Tensor,
        ordered: bool = False,
        mask: Tensor | None = None,
        texts: Sequence[str] | None = None,
    ) -> Tensor:
        """Return hidden states at the data tokens, after the last layer and the model's final normalisation.

        A set's tokens are all at the position after the words and see each other both ways, so that permuting them permutes
        the result. A series' tokens follow one another and see those before them. All see the whole instruction and
        their sequence's text, which follows the instruction.

        Args:
            instruction: what all sequences are told; may be empty.
            tokens: shape (sequences, n, width), float32.
            ordered: whether the tokens are a series, not a set.
            mask: which tokens are present, shape (sequences, n), bool; the others are seen by none but themselves. None: all.
            texts: what each sequence is told besides, any of them may be empty. None: nothing.

        Returns:
            Shape (sequences, n, width), float32.

        Raises:
            ValueError: for tokens, a mask or texts of another shape, or more tokens than the model has positions for.
        """
        if tokens.ndim != 3 or tokens.shape[-1] != self.width:
            raise ValueError(f"tokens: expected shape (sequences, n, {self.width}), got {tuple(tokens.shape)}")
        sequences, n = tokens.shape[:2]
        if mask is not None and mask.shape != (sequences, n):
            raise ValueError(f"mask: expected shape {(sequences, n)}, got {tuple(mask.shape)}")
        if texts is not None and len(texts) != sequences:
            raise ValueError(f"texts: expected {sequences}, one for each sequence, got {len(texts)}")
        data = tokens.to(self.decoder.dtype).contiguous()  # else each linear layer copies its weights per sequence
        told = list(texts) if texts is not None else [""] * sequences
        longest = max((len(self._tokenise(text, False)) for text in set(told)), default=0)
        self._check_length(self.prompt_length(instruction) + longest + (n if ordered else 1))
        self._forget_what_has_changed()
        steps = torch.arange(n) if ordered else torch.zeros(n, dtype=torch.int64)
        run = self._shared if self.shared else self._unshared
        return run(instruction, data, steps, visible_tokens(n, ordered, mask), told).float()

    def _shared(self, instruction: str, data: Tensor, steps: Tensor, visible: Tensor, texts: Sequence[str]) -> Tensor:
        """Run data tokens (sequences, n, width) behind an instruction and texts that are read once each."""
        start = self.prompt_length(instruction)
        before = self._keys_values(instruction) if start else None
        distinct = tuple(dict.fromkeys(texts))
        lengths = torch.tensor([len(self._tokenise(text, False)) for text in distinct])
        if not lengths.any():
            return self._run(data, (start + steps)[None], visible, attention.Run(before))
        behind_it = self._keys_values(instruction, distinct, before)
        if len(distinct) == 1:
            both = behind_it if before is None else [_joined(*layers) for layers in zip(before, behind_it, strict=True)]
            return self._run(data, (start + lengths + steps)[None], visible, attention.Run(both))
        number = {text: index for index, text in enumerate(distinct)}
        chosen = torch.tensor([number[text] for text in texts])
        own = lengths[chosen, None]
        of_text = (torch.arange(int(lengths.max())) < own)[:, None, None].expand(-1, -1, len(steps), -1)
        sees = torch.cat([of_text.to(visible.device), visible.expand(len(data), -1, -1, -1)], -1)
        return self._run(data, start + own + steps, sees, attention.Run(before, behind_it, chosen.to(data.device)))

    def _unshared(self, instruction: str, data: Tensor, steps: Tensor, visible: Tensor, texts: Sequence[str]) -> Tensor:
        """The same without sharing: instruction, text and data of each sequence run together."""
        if len(set(texts)) > 1:
            masks = visible.expand(len(data), -1, -1, -1).split(1)
            rows = zip(data.split(1), masks, texts, strict=True)
            return torch.cat([self._unshared(instruction, row, steps, mask, [text]) for row, mask, text in rows])
        prompt = torch.cat([self._prompt(instruction), self._words(texts[0])])
        length = len(prompt)
        positions = torch.cat([torch.arange(length), length + steps])
        everything = torch.cat([prompt.expand(len(data), -1, -1), data], 1)
        return self._run(everything, positions[None], behind(length, visible), attention.Run())[:, length:]

    def prompt_length(self, instruction: str) -> int:
        """Number of tokens of the prefix and the instruction."""
        return (0 if self.prefix is None else len(self.prefix)) + len(self._tokenise(instruction))

    def _words(self, text: str, begins: bool = False) -> Tensor:
        """Embeddings of words, which begin the input or continue it, shape (tokens, width)."""
        table = self.decoder.get_input_embeddings()
        ids = torch.tensor(self._tokenise(text, begins), dtype=torch.int64, device=table.weight.device)
        embedded: Tensor = table(ids).to(self.decoder.dtype)
        return embedded

    def _prompt(self, instruction: str) -> Tensor:
        """Embeddings of the prefix and the instruction, shape (tokens, width)."""
        words = self._words(instruction, begins=True)
        return words if self.prefix is None else torch.cat([self.prefix.to(words.dtype), words])

    def _keys_values(self, instruction: str, texts: tuple[str, ...] = (), before: KeysValues | None = None) -> KeysValues:
        """Keys and values of every layer at the tokens of an instruction, or of texts behind it; see `_read`.

        Remembered where no gradient is wanted, for as long as the trained weights stay what they are.
        """
        if self._learns:
            return self._read(instruction, texts, before)
        key = (instruction, *texts)
        if key not in self._remembered:
            while len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            # Tensors of inference mode couldn't be used in a later computation with gradients.
            with torch.inference_mode(False), torch.no_grad():
                self._remembered[key] = self._read(instruction, texts, before)
        return self._remembered[key]

    @property
    def _learns(self) -> bool:
        """Whether gradients to trained weights are wanted."""
        return bool(self._trained) and (self.training or torch.is_grad_enabled())

    def _forget_what_has_changed(self) -> None:
        """Forget what was remembered for other weights than those that there are now."""
        if self._learns:
            self._forget()
            return
        # Compared by value: fused optimisers change weights without telling autograd's version counters.
        values = torch.cat([p.detach().flatten() for p in self._trained_parameters()]) if self._trained else torch.empty(0)
        if self._remembered_for is None or not torch.equal(values, self._remembered_for):
            self._forget()
            self._remembered_for = values

    def _trained_parameters(self) -> list[nn.Parameter]:
        """In a fixed order; looking for them in all modules takes longer than comparing them."""
        if self._found is None:
            self._found = [p for name, p in self.named_parameters() if name in self._trained]
        return self._found

    def _forget(self) -> None:
        self._remembered.clear()
        self._remembered_for, self._quick, self._found = None, None, None

    def _read(self, instruction: str, texts: tuple[str, ...] = (), before: KeysValues | None = None) -> KeysValues:
        """Run an instruction through the model, or texts behind it.

        Args:
            instruction: what all sequences are told.
            texts: distinct ones; none to read the instruction.
            before: for texts, what reading the instruction returned; None if it has no tokens.

        Returns:
            Keys and values of every layer, each of shape (1, heads, tokens, width of a head); for texts, (texts, heads, tokens of
            the longest, width of a head), with values of no meaning behind the end of shorter ones.
        """
        if not texts:
            embedded, start = self._prompt(instruction)[None], 0
        else:
            # A text's tokens see those before them only, so what is filled in behind its end changes none of them.
            embedded = nn.utils.rnn.pad_sequence([self._words(text) for text in texts], batch_first=True)
            start = self.prompt_length(instruction)
        length = embedded.shape[1]
        noted: KeysValues = []
        positions = start + torch.arange(length)[None]
        self._run(embedded, positions, visible_tokens(length, ordered=True, mask=None), attention.Run(before, noted=noted))
        return noted

    def _run(self, embedded: Tensor, positions: Tensor, visible: Tensor, run: attention.Run) -> Tensor:
        """Run the decoder on embedded tokens (sequences, n, width).

        Args:
            embedded: the tokens.
            positions: of the tokens, shape (sequences or 1, n).
            visible: which tokens each sees, of its text and its own, shape (sequences or 1, 1, n, m), bool.
            run: what all tokens see besides.
        """
        if self._acts_on(embedded, run):
            if self._quick is None:
                # Tensors of inference mode couldn't be used outside it.
                with torch.inference_mode(False), torch.no_grad():
                    self._quick = Llama(self.decoder)
            return self._quick(embedded, positions.to(embedded.device), visible.to(embedded.device), run)
        attention.register()
        output = self.decoder(
            inputs_embeds=embedded,
            position_ids=positions.to(embedded.device),
            attention_mask=visible.to(embedded.device),
            use_cache=False,
            run=run,
        )
        run.check(self.identity["layers"])
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _acts_on(self, embedded: Tensor, run: attention.Run) -> bool:
        """Whether `Llama` stands in for the library's layers: in acting, on tokens that all read the same words."""
        alike = self.shared and run.noted is None and run.texts is None
        gradients = torch.is_grad_enabled() or self._learns
        kind = embedded.device.type
        mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        other = embedded.dtype == torch.float64 or mixed
        return self._understood and alike and not gradients and not other

    def _check_length(self, length: int) -> None:
        limit = getattr(self.decoder.config, "max_position_embeddings", None)
        if limit is not None and length > limit:
            raise ValueError(f"tokens: the model has {limit} positions, words and data need {length}")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Backbone:
        self._forget()  # it may lie on another device than what is to come
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without what is remembered."""
        return self.__dict__ | {"_remembered": {}, "_remembered_for": None, "_quick": None, "_found": None}


def _leave_out_frozen(module: Backbone, state: dict[str, Any], prefix: str, _: Any) -> None:
    for key in [k for k in state if k.startswith(prefix + "decoder.")]:
        if key.removeprefix(prefix) not in module._trained:
            del state[key]


def _put_back_frozen(module: Backbone, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = module.decoder.state_dict(prefix=prefix + "decoder.")
    state.update({key: value for key, value in own.items() if key.removeprefix(prefix) not in module._trained})


def _forget(module: Backbone, _: Any) -> None:
    module._forget()


def _joined(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Keys and values of one layer at two stretches of tokens, one after the other."""
    return torch.cat([first[0], second[0]], 2), torch.cat([first[1], second[1]], 2)
