"""Four-bit weights: NormalFloat (NF4) and LoftQ's initial values for their adapters, in plain torch on any device.

Sources: Dettmers et al., "QLoRA: Efficient finetuning of quantized LLMs", NeurIPS 2023, equation (4) and appendix E (NF4);
Li et al., "LoftQ: LoRA-fine-tuning-aware quantization for large language models", ICLR 2024, equations (6) to (8), algorithm 1.
"""

from __future__ import annotations

import importlib
import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

BLOCK = 64
_OFFSET = 0.9677083


class Quantised(NamedTuple):
    """A weight in 4 bits.

    Attributes:
        codes: two table indices per byte, the first in the upper half; shape (bytes,), uint8.
        scales: largest magnitude of each block of 64 successive weights, shape (blocks,), float32.
        shape: of the weight.
    """

    codes: Tensor
    scales: Tensor
    shape: tuple[int, ...]


@cache
def table() -> Tensor:
    """Return NF4's 16 values, ascending from -1 to 1, float32: quantiles of a normal distribution with an exact zero."""

    def quantiles(count: int) -> Tensor:
        return torch.special.ndtri(torch.linspace(_OFFSET, 0.5, count + 1, dtype=torch.float64)[:-1])

    values = torch.cat([-quantiles(7), torch.zeros(1, dtype=torch.float64), quantiles(8).flip(0)])
    return (values / values.abs().max()).float()


@cache
def _decision_thresholds() -> Tensor:
    return (table()[1:] + table()[:-1]) / 2


@cache
def _byte_values(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The two values of each byte, shape (256, 2)."""
    byte = torch.arange(256)
    return torch.stack([table()[byte >> 4], table()[byte & 15]], -1).to(device, dtype)


def quantise(weight: Tensor) -> Quantised:
    """Round each block of 64 weights, in row-major order, to its largest magnitude times NF4's nearest values.

    Args:
        weight: any shape, any float dtype; a last block that isn't full is filled with zeros.
    """
    flat = weight.detach().flatten().float()
    blocks = nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(-1)
    # A block of zeros keeps scale 0 and the code of 0.
    ratios = blocks / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    codes = torch.bucketize(ratios, _decision_thresholds().to(weight.device)).to(torch.uint8)
    return Quantised((codes[:, ::2] << 4 | codes[:, 1::2]).flatten(), scales, tuple(weight.shape))


def dequantise(quantised: Quantised, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the weight that a `Quantised` represents, in ``dtype``."""
    codes, scales, shape = quantised
    values = nn.functional.embedding(codes.int(), _byte_values(codes.device, dtype)).view(-1, BLOCK)
    return (values * scales.to(dtype)[:, None]).flatten()[: math.prod(shape)].view(shape)


def loftq(weight: Tensor, rank: int, iterations: int = 5) -> tuple[Quantised, Tensor, Tensor]:
    """Split a weight into a 4-bit and a low-rank part, ``weight ~ dequantise(quantised) + B @ A``, by alternating between them.

    Args:
        weight: shape (out, in), float.
        rank: of the low-rank part, at most the smaller of ``out`` and ``in``.
        iterations: how often both are recomputed; 0 leaves the low-rank part at zero.

    Returns:
        The quantised part; A, shape (rank, in), and B, shape (out, rank), float32: the truncated singular value decomposition of
        what quantisation leaves, the singular values' roots on both sides.
    """
    if not 1 <= rank <= min(weight.shape):
        raise ValueError(f"rank: expected 1 to {min(weight.shape)} for a weight of shape {tuple(weight.shape)}, got {rank}")
    whole = weight.detach().float()
    a, b = whole.new_zeros(rank, whole.shape[1]), whole.new_zeros(whole.shape[0], rank)
    quantised = quantise(whole)
    for iteration in range(iterations):
        if iteration:
            quantised = quantise(whole - b @ a)
        left, singular, right = torch.linalg.svd(whole - dequantise(quantised), full_matrices=False)
        root = singular[:rank].sqrt()
        a, b = root[:, None] * right[:rank], left[:, :rank] * root
    return quantised, a, b


class NF4Linear(nn.Module):
    """A frozen linear layer that holds its weight in 4 bits and computes in its input's dtype.

    The weight is unpacked whenever it is used, in the backward pass once more, and never kept. On CUDA devices bitsandbytes'
    kernels do that, where the package is installed.

    Args:
        quantised: the weight, of shape (out, in).
        bias: shape (out,), or None.
    """

    codes: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, quantised: Quantised, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = quantised.shape
        self.register_buffer("codes", quantised.codes)
        self.register_buffer("scales", quantised.scales)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W^T + bias``, shape (..., out), in the dtype of ``x``, for ``x`` of shape (..., in)."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        kernels = _bitsandbytes() if x.is_cuda and self.out_features * self.in_features % BLOCK == 0 else None
        if kernels is not None:
            product: Tensor = kernels.matmul_4bit(x, self.codes[None], quant_state=self._state(kernels, x.dtype), bias=bias)
            return product
        y: Tensor = _Product.apply(x, self.codes, self.scales, (self.out_features, self.in_features))  # type: ignore[no-untyped-call]
        return y if bias is None else y + bias

    def _apply(self, fn: Any, recurse: bool = True) -> NF4Linear:
        """Move to another device, but keep the scales in float32: they don't take part in changes of dtype."""
        scales = self.scales
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.scales = scales.to(self.codes.device)
        return self

    def _state(self, kernels: Any, dtype: torch.dtype) -> Any:
        return kernels.functional.QuantState(
            absmax=self.scales,
            shape=torch.Size((self.out_features, self.in_features)),
            code=table().to(self.scales.device),
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=dtype,
        )

    def extra_repr(self) -> str:
        """Sizes, as torch's linear layers print them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class _Product(torch.autograd.Function):
    """``x W^T`` with a weight that is unpacked in both directions, so that nothing but its codes is kept between them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scales: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(codes, scales)
        ctx.shape = shape
        return nn.functional.linear(x, dequantise(Quantised(codes, scales, shape), x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        codes, scales = ctx.saved_tensors
        (gradient,) = gradients
        return gradient @ dequantise(Quantised(codes, scales, ctx.shape), gradient.dtype), None, None, None


@cache
def _bitsandbytes() -> Any:
    """The package, or None where it isn't installed or doesn't load."""
    try:
        return importlib.import_module("bitsandbytes")
    except (ImportError, RuntimeError, OSError):
        return None
