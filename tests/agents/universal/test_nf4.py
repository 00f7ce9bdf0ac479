"""Four-bit weights and LoftQ against their definitions and published errors."""

from __future__ import annotations

import pytest
import torch
from wirelessgym.agents.universal.nf4 import BLOCK, NF4Linear, dequantise, loftq, quantise, table

# Dettmers et al., "QLoRA", appendix E.
PUBLISHED = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


@pytest.fixture(scope="module")
def weight() -> torch.Tensor:
    return torch.randn(768, 768, generator=torch.Generator().manual_seed(0))


def relative_error(weight: torch.Tensor, approximation: torch.Tensor) -> float:
    return ((weight - approximation).norm() / weight.norm()).item()


def test_the_table_is_the_published_one() -> None:
    assert torch.allclose(table(), torch.tensor(PUBLISHED), rtol=0, atol=2e-6)


def test_each_weight_becomes_the_nearest_of_the_sixteen_values_of_its_block(weight: torch.Tensor) -> None:
    few = weight[:8]
    scales = few.view(-1, BLOCK).abs().amax(-1, keepdim=True)
    values = scales[..., None] * table()
    nearest = (few.view(-1, BLOCK, 1) - values).abs().argmin(-1)
    expected = values.expand(-1, BLOCK, -1).gather(-1, nearest[..., None])[..., 0].view_as(few)
    assert torch.equal(dequantise(quantise(few)), expected)


def test_gaussian_weights_lose_nine_percent(weight: torch.Tensor) -> None:
    assert relative_error(weight, dequantise(quantise(weight))) == pytest.approx(0.0919, abs=5e-4)


def test_values_of_the_table_survive_whatever_their_scale() -> None:
    exact = 3.7 * table().repeat(12).view(3, BLOCK)
    assert torch.equal(dequantise(quantise(exact)), exact)
    assert torch.equal(dequantise(quantise(torch.zeros(2, BLOCK))), torch.zeros(2, BLOCK))


@pytest.mark.parametrize("factor", [2.0**-20, 4.0, 3.0])
def test_scaling_the_weight_scales_the_result(weight: torch.Tensor, factor: float) -> None:
    once, scaled = quantise(weight), quantise(factor * weight)
    assert torch.allclose(factor * dequantise(once), dequantise(scaled), rtol=1e-6, atol=0)


def test_sizes_that_fill_no_whole_block_come_back_in_shape() -> None:
    odd = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    assert dequantise(quantise(odd)).shape == (5, 7)
    assert relative_error(odd, dequantise(quantise(odd))) < 0.2


def test_four_bits_and_a_scale_per_block_are_all_that_is_kept(weight: torch.Tensor) -> None:
    layer = NF4Linear(quantise(weight))
    kept = sum(tensor.numel() * tensor.element_size() for tensor in layer.state_dict().values())
    assert kept == weight.numel() // 2 + 4 * weight.numel() // BLOCK
    assert not list(layer.parameters())


def test_loftq_errs_less_than_plain_rounding_and_less_with_every_iteration(weight: torch.Tensor) -> None:
    errors = []
    for iterations in range(4):
        quantised, a, b = loftq(weight, 16, iterations)
        assert a.shape == (16, 768)
        assert b.shape == (768, 16)
        errors.append(relative_error(weight, dequantise(quantised) + b @ a))
    assert errors[0] == relative_error(weight, dequantise(quantise(weight)))
    assert errors == sorted(errors, reverse=True)
    assert errors[1] == pytest.approx(0.0883, abs=5e-4)


def test_five_iterations_of_loftq_reach_the_measured_error(weight: torch.Tensor) -> None:
    quantised, a, b = loftq(weight, 16, 5)
    assert relative_error(weight, dequantise(quantised) + b @ a) == pytest.approx(0.0817, abs=5e-4)


def test_loftq_at_full_rank_loses_nothing_and_a_higher_rank_is_refused() -> None:
    weight = torch.randn(24, 40, generator=torch.Generator().manual_seed(2))
    quantised, a, b = loftq(weight, 24, 1)
    assert torch.allclose(dequantise(quantised) + b @ a, weight, atol=1e-5)
    with pytest.raises(ValueError, match=r"rank: expected 1 to 24 .*, got 25"):
        loftq(weight, 25)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layer_computes_and_differentiates_as_a_dense_one_with_the_rounded_weight(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    quantised = quantise(torch.randn(12, 32, generator=generator))
    bias, x = torch.randn(12, generator=generator), torch.randn(2, 5, 32, generator=generator)
    dense = dequantise(quantised, dtype)
    inputs = [x.to(dtype).requires_grad_() for _ in range(2)]
    layer = NF4Linear(quantised, bias)
    outputs = [layer(inputs[0]), inputs[1] @ dense.T + bias.to(dtype)]
    assert outputs[0].dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    assert torch.allclose(outputs[0], outputs[1], atol=tolerance)
    for output in outputs:
        output.float().square().sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, rtol=tolerance, atol=10 * tolerance)


def test_changing_the_layers_dtype_leaves_its_weight_as_it_is(weight: torch.Tensor) -> None:
    layer = NF4Linear(quantise(weight[:64]))
    scales = layer.scales.clone()
    layer.to(torch.bfloat16)
    assert torch.equal(layer.scales, scales)


def test_bitsandbytes_packs_alike_and_its_kernels_agree(weight: torch.Tensor) -> None:
    kernels = pytest.importorskip("bitsandbytes")
    packed, state = kernels.functional.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4")
    ours = quantise(weight)
    assert torch.equal(packed.flatten(), ours.codes)
    assert torch.equal(state.absmax, ours.scales)
    layer, x = NF4Linear(ours), weight[:5]
    product = kernels.matmul_4bit(x, layer.codes[None], quant_state=layer._state(kernels, torch.float32))
    assert torch.allclose(product, layer(x), atol=1e-3)
