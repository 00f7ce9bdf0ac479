"""The layers for acting: the numbers of transformers' and peft's, whatever is asked of them, and never those of older weights."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from wirelessgym.agents.universal.backbone import Backbone
from wirelessgym.agents.universal.llama import FEW_SEQUENCES, Llama, understood

from wirelessgym.learned import seeded

WORDS = "serve 4 users well"
EVERY = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def built(dtype: str = "float32", rank: int = 4, targets: Sequence[str] = ("q_proj", "v_proj"), name: str = "random") -> Backbone:
    """A backbone whose adapters do something, in evaluation mode."""
    with seeded(3):
        backbone = Backbone(name, layers=2, dtype=dtype, rank=rank, targets=targets)
        for key, parameter in backbone.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(parameter, std=0.05)
    return backbone.eval()


def data(sequences: int = 3, tokens: int = 5, width: int = 576) -> Tensor:
    return torch.randn(sequences, tokens, width, generator=torch.Generator().manual_seed(1))


def off(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm() / second.norm())


@pytest.mark.parametrize("adapters", [(0, ()), (4, ("q_proj", "v_proj")), (4, EVERY)], ids=["none", "some", "all"])
def test_it_acts_as_the_library_computes(adapters: tuple[int, tuple[str, ...]]) -> None:
    backbone = built("float32", *adapters)
    for words, sequences in ((WORDS, 1), (WORDS, 3), (WORDS, FEW_SEQUENCES + 1), ("", 3)):
        tokens = data(sequences)
        mask = torch.rand(tokens.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.6
        for ordered, seen in ((False, None), (True, None), (False, mask)):
            backbone._forget()
            expected = backbone(words, tokens, ordered, seen).detach()  # with gradients, so the library's layers
            assert backbone._quick is None
            with torch.no_grad():
                found = backbone(words, tokens, ordered, seen)
            assert backbone._quick is not None
            assert off(found, expected) < 1e-5


def test_in_bfloat16_it_is_as_near_to_single_precision_as_the_library() -> None:
    exact, rounded, tokens = built(), built("bfloat16"), data(sequences=1, tokens=8)
    expected, library = exact(WORDS, tokens).detach(), rounded(WORDS, tokens).detach()
    with torch.no_grad():
        found = rounded(WORDS, tokens)
    assert found.dtype == torch.float32
    assert off(found, expected) < 1.1 * off(library, expected) < 0.05


@pytest.mark.parametrize("change", ["step", "load", "copy", "double", "train"])
def test_it_never_acts_on_older_weights(change: str) -> None:
    backbone, tokens = built(), data()
    with torch.no_grad():
        before = backbone("", tokens)  # without words: nothing else would notice the change
    trained = [p for p in backbone.parameters() if p.requires_grad]
    if change == "step":
        for p in trained:
            p.grad = torch.ones_like(p)
        torch.optim.AdamW(trained, lr=0.05, fused=True).step()
    elif change == "load":
        backbone.load_state_dict({name: value + 0.05 for name, value in backbone.state_dict().items()})
    elif change == "copy":
        trained[0].data.add_(0.05)
    elif change == "double":
        backbone.double()
    else:
        optimiser = torch.optim.SGD(trained, lr=1.0)
        backbone.train()("", tokens).square().sum().backward()
        optimiser.step()
        backbone.eval()
    with torch.no_grad():
        after = backbone("", tokens)
    assert (off(after, before) > 1e-4) != (change == "double")
    assert off(after, backbone("", tokens).detach()) < 1e-5


def test_dropout_and_gradients_stay_with_the_library() -> None:
    backbone = built().train()
    with torch.no_grad():
        backbone(WORDS, data())
    assert backbone._quick is None
    tokens = data().requires_grad_()
    backbone.eval()(WORDS, tokens).sum().backward()
    assert backbone._quick is None and tokens.grad is not None


def test_other_architectures_stay_with_the_library() -> None:
    assert understood(built().decoder)
    gpt = built(name="gpt2-random", rank=0)
    assert not understood(gpt.decoder)
    with torch.no_grad():
        gpt(WORDS, data(width=768))
    assert gpt._quick is None
    with seeded(0):
        assert not understood(Backbone("random", layers=1, quantisation="nf4").decoder)


def test_products_of_any_number_of_tokens_are_right_whatever_the_layout_of_weights() -> None:
    backbone = built(rank=0)
    product, weight = Llama(backbone.decoder).layers[0].down, backbone.decoder.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        for tokens in (1, 7, 300):
            x = data(1, tokens, 1536)[0]
            assert off(product(x), x @ weight.T) < 1e-5
