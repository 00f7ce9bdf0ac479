"""Language models without their heads: loaded from a folder, from the hub, or made of random weights."""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path
from typing import Any, Protocol

import torch

from wirelessgym.checkpoint import CheckpointError
from wirelessgym.io import sha256
from wirelessgym.learned import seeded
from wirelessgym.suggest import closest

from . import model_store

REMEMBERED_TEXTS = 4096

# Architectures that need no file. The first is SmolLM2-135M's, the second GPT-2's (the smallest).
RANDOM: dict[str, dict[str, Any]] = {
    "random": {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    },
    "gpt2-random": {"model_type": "gpt2"},
}


def language_model(name: str, layers: int | None, dtype: torch.dtype) -> tuple[Any, Tokenise, dict[str, Any]]:
    """Return the decoder (no head), the function from words to token ids, and what identifies the weights."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder, digest, seed = None, "", None
    with model_store.quiet():
        if name in RANDOM:
            config = AutoConfig.for_model(**RANDOM[name])
        else:
            folder = _folder(name)
            # A known model is identified by the file that it comes from; converted by other versions, its own files may differ.
            digest = model_store.SOURCES[name].sha256 if name in model_store.SOURCES else _digest(folder)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        architecture = _shorten(config, layers)
        if folder is None:
            seed = torch.initial_seed()
            with seeded(seed):
                decoder = AutoModel.from_config(config, dtype=dtype, attn_implementation="eager")  # type: ignore[no-untyped-call]
            return decoder, _Words(int(config.vocab_size)), architecture | {"sha256": digest, "seed": seed}
        decoder, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        if missing := sorted(report["missing_keys"]):
            raise ValueError(f"backbone: {folder} lacks {len(missing)} of the model's weights, {missing[0]} first")
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return decoder, _Tokeniser(tokenizer), architecture | {"sha256": digest, "seed": seed}


def _shorten(config: Any, layers: int | None) -> dict[str, Any]:
    """Cut a model's configuration to ``layers`` layers without dropout; return a description of the result."""
    there = int(config.num_hidden_layers)
    kept = there if layers is None else layers
    if not 1 <= kept <= there:
        raise ValueError(f"layers: expected 1 to {there}, got {layers}")
    config.num_hidden_layers = kept
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:kept]
    for name in ("attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "hidden_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return {"layers": kept, "architecture": f"{config.model_type}, width {config.hidden_size}, {there} layers"}


class Tokenise(Protocol):
    """Maps words to token ids."""

    def __call__(self, text: str, begins: bool = True) -> list[int]:
        """Return the ids of a text, which begins the input or continues it."""


class _Words:
    """Token ids for a model that has no vocabulary: one per word, digit and sign, the same on every machine."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __call__(self, text: str, begins: bool = True) -> list[int]:
        return [zlib.crc32(word.encode()) % self.vocabulary for word in re.findall(r"[^\W\d]+|\d|[^\w\s]", text)]


class _Tokeniser:
    """A model's own tokens, with those that it puts in front where a text begins; recent ones are remembered."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._known: dict[tuple[str, bool], list[int]] = {}

    def __call__(self, text: str, begins: bool = True) -> list[int]:
        if not text:
            return []
        if (text, begins) not in self._known:
            if len(self._known) >= REMEMBERED_TEXTS:
                self._known.clear()
            self._known[text, begins] = list(self.tokenizer(text, add_special_tokens=begins)["input_ids"])
        return self._known[text, begins]


def _folder(name: str) -> Path:
    """Folder of a model that isn't random; known ones are checked, others may be fetched from the hub."""
    if name in model_store.SOURCES:
        folder = model_store.locate(name)
        if problems := model_store.verify(name):
            raise CheckpointError(f"{name}: {'; '.join(problems)}; run 'wirelessgym models install {name}' to repair it")
        return folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    known = [*model_store.SOURCES, *RANDOM]
    if folder.is_absolute() or (close := closest(name, known)):
        hint = "" if folder.is_absolute() else f"; did you mean {close!r}?"
        raise ValueError(f"backbone: expected {', '.join(known)}, a folder or a model's name on the hub, got {name!r}{hint}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = ["*.safetensors", "*.json", "*.model", "*.txt"]
        return Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=["*/*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"backbone: expected {', '.join(known)}, a folder or a model's name on the hub, got {name!r}; the hub says: {reason}"
        ) from None


def _digest(folder: Path) -> str:
    """SHA-256 of a folder's weights; of several files' checksums if there are several."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"backbone: expected weights in *.safetensors, none in {folder}; other formats aren't read")
    digests = [sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
