"""Attention and adapters by themselves, on small tensors: softmax written out, masks entry by entry, adapters that add up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from wirelessgym.agents.universal.adapters import add_lora, quantise
from wirelessgym.agents.universal.attention import Run, attend, behind, visible_tokens
from wirelessgym.agents.universal.nf4 import NF4Linear, dequantise
from wirelessgym.agents.universal.nf4 import quantise as rounded

SEQUENCES, HEADS, KEY_HEADS, N, WIDTH, WORDS, TEXT = 3, 4, 2, 5, 6, 7, 2


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def written_out(query: Tensor, keys: Tensor, values: Tensor, seen: Tensor, scaling: float, softcap: float | None) -> Tensor:
    """Every head of every sequence by itself: (sequences, n, heads, width)."""
    out = torch.zeros(SEQUENCES, N, HEADS, WIDTH)
    for s in range(SEQUENCES):
        for h in range(HEADS):
            served = h // (HEADS // KEY_HEADS)
            scores = scaling * query[s, h] @ keys[s, served].T
            scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
            out[s, :, h] = scores.masked_fill(~seen[s], -torch.inf).softmax(-1) @ values[s, served]
    return out


@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("scaling", [None, 0.9])
@pytest.mark.parametrize("told", [(), ("instruction",), ("texts",), ("instruction", "texts")], ids="+".join)
def test_attention_is_one_softmax_over_instruction_text_and_own_tokens(
    told: tuple[str, ...], scaling: float | None, softcap: float | None
) -> None:
    query = gaussian(SEQUENCES, HEADS, N, WIDTH)
    key, value = gaussian(SEQUENCES, KEY_HEADS, N, WIDTH, seed=1), gaussian(SEQUENCES, KEY_HEADS, N, WIDTH, seed=2)
    words = gaussian(1, KEY_HEADS, WORDS, WIDTH, seed=3), gaussian(1, KEY_HEADS, WORDS, WIDTH, seed=4)
    texts = gaussian(2, KEY_HEADS, TEXT, WIDTH, seed=5), gaussian(2, KEY_HEADS, TEXT, WIDTH, seed=6)
    chosen, keys, values, seen = torch.tensor([1, 0, 1]), key, value, torch.rand(SEQUENCES, N, N) < 0.6
    seen |= torch.eye(N, dtype=torch.bool)
    run = Run(noted=[])
    if "texts" in told:
        run.texts, run.chosen = [texts], chosen
        keys, values = (torch.cat([t[chosen], own], 2) for t, own in zip(texts, (key, value), strict=True))
        seen = torch.cat([torch.ones(SEQUENCES, N, TEXT, dtype=torch.bool), seen], -1)
    mask = seen[:, None]
    if "instruction" in told:
        run.instruction = [words]
        keys, values = (torch.cat([w.expand(SEQUENCES, -1, -1, -1), x], 2) for w, x in zip(words, (keys, values), strict=True))
        seen = torch.cat([torch.ones(SEQUENCES, N, WORDS, dtype=torch.bool), seen], -1)
    found, nothing = attend(nn.Identity(), query, key, value, mask, scaling, softcap, run=run)
    expected = written_out(query, keys, values, seen, WIDTH**-0.5 if scaling is None else scaling, softcap)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert nothing is None and run.layers == 1
    assert run.noted is not None and run.noted[0][0] is key and run.noted[0][1] is value


def test_each_layer_asks_for_its_own_keys_and_a_model_that_does_not_ask_is_refused() -> None:
    layers = [(gaussian(1, 1, 2, 3, seed=i), gaussian(1, 1, 2, 3, seed=10 + i)) for i in range(3)]
    run = Run(instruction=layers)
    key = gaussian(2, 1, 4, 3)
    for expected in layers:
        given, same, _ = run.layer(key, key)
        assert given is expected and same is key
    run.check(3)
    with pytest.raises(ValueError, match="expected 4 layers with exchangeable attention, got 3"):
        run.check(4)


def test_tokens_see_those_present_and_in_order_those_before_and_always_themselves() -> None:
    assert visible_tokens(3, ordered=False, mask=None).tolist() == [[[[True] * 3] * 3]]
    assert torch.equal(visible_tokens(4, ordered=True, mask=None)[0, 0], torch.ones(4, 4).tril().bool())
    mask = torch.tensor([[True, False, True], [False, True, True]])
    for ordered in (False, True):
        seen = visible_tokens(3, ordered, mask)
        assert seen.shape == (2, 1, 3, 3)
        for s in range(2):
            for i in range(3):
                for j in range(3):
                    assert seen[s, 0, i, j].item() == (i == j or (mask[s, j].item() and (j <= i or not ordered)))


def test_a_prompt_in_front_sees_itself_in_order_and_is_seen_by_all() -> None:
    own = visible_tokens(2, ordered=False, mask=torch.tensor([[True, False], [True, True]]))
    seen = behind(3, own)
    assert seen.shape == (2, 1, 5, 5)
    assert torch.equal(seen[1, 0, :3, :3], torch.ones(3, 3).tril().bool()) and not seen[:, 0, :3, 3:].any()
    assert bool(seen[:, 0, 3:, :3].all()) and torch.equal(seen[:, :, 3:, 3:], own)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.v_proj, self.down = nn.Linear(64, 128), nn.Linear(64, 96), nn.Linear(96, 64, bias=False)
        for index, (_, parameter) in enumerate(self.named_parameters()):
            parameter.data = gaussian(*parameter.shape, seed=index).bfloat16()


def test_adapters_are_low_rank_in_full_precision_and_start_with_nothing() -> None:
    decoder, x = Decoder(), gaussian(2, 64).bfloat16()
    before = decoder.q_proj(x)
    add_lora(decoder, rank=3, alpha=6.0, targets=["q_proj"], dropout=0.0)
    trained = {name: p for name, p in decoder.named_parameters() if p.requires_grad}
    assert [tuple(p.shape) for p in trained.values()] == [(3, 64), (128, 3)] and all("q_proj.lora" in name for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    torch.testing.assert_close(decoder.q_proj(x), before)
    a, b = trained.values()
    b.data = gaussian(128, 3, seed=9)
    torch.testing.assert_close(decoder.q_proj(x).float(), before.float() + 6 / 3 * x.float() @ a.T @ b.T, rtol=2e-2, atol=0.2)


@pytest.mark.parametrize(
    "wrong", [{"rank": -1}, {"alpha": 0.0}, {"targets": []}, {"targets": ["q_proj", "nowhere"]}], ids=lambda one: next(iter(one))
)
def test_adapters_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    options = {"rank": 2, "alpha": 2.0, "targets": ["q_proj"], "dropout": 0.0} | wrong
    with pytest.raises(ValueError, match=r"LoRA: expected|nowhere not in the model; its linear layers are down, q_proj, v_proj"):
        add_lora(Decoder(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["nf4", "loftq"])
def test_four_bits_replace_every_layer_and_loftq_s_adapters_make_up_for_the_rounding(kind: str) -> None:
    decoder = Decoder()
    weights = {name: getattr(decoder, name).weight.detach().float() for name in ("q_proj", "v_proj", "down")}
    biases = {name: getattr(decoder, name).bias for name in weights}
    add_lora(decoder, rank=8, alpha=32.0, targets=["q_proj", "v_proj"], dropout=0.0)
    quantise(decoder, kind)  # type: ignore[arg-type]
    for name, weight in weights.items():
        layer = getattr(decoder, name)
        base = layer if name == "down" else layer.base_layer
        assert isinstance(base, NF4Linear) and (base.bias is None) == (name == "down")
        assert base.bias is None or torch.equal(base.bias, biases[name])
        eye = torch.eye(weight.shape[1])
        plain = (dequantise(rounded(weight)) - weight).norm()
        bias = 0.0 if base.bias is None else base.bias.float()
        left = (layer(eye).detach() - bias - weight.T).norm()
        if kind == "loftq" and name != "down":
            assert left < 0.8 * plain
        else:
            assert math.isclose(left.item(), plain.item(), rel_tol=1e-2)
