"""Fields: texts are checked at the door, and samples are what a field says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from wirelessgym.fields import CHARACTERS, Field

WISH = Field("wish", (), "text", "1", 2, 8, "what is asked for")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("texts", [("fair", "all"), ["fair", "all"], np.array(["fair", "all"])], ids=["tuple", "list", "array"])
def test_texts_come_back_as_a_tuple_of_strings(texts: Any) -> None:
    checked = WISH.check(texts, 2)
    assert checked == ("fair", "all") and type(checked) is tuple and {type(text) for text in checked} == {str}


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("fair", TypeError, "wish: expected a tuple of 2 strings, got str"),
        (torch.zeros(2), TypeError, "wish: expected a tuple of 2 strings, got Tensor"),
        (("fair",), ValueError, "wish: expected 2 strings, one for each row, got 1"),
        (("fair", 3), TypeError, "wish: row 1: expected a string, got int"),
        (("fair", "a"), ValueError, "wish: row 1: expected 2 to 8 characters, got 1"),
        (("x" * 9, "fair"), ValueError, "wish: row 0: expected 2 to 8 characters, got 9"),
        (("fair", "fair\n"), ValueError, r"wish: row 1 holds '\\n', expected printable ASCII"),
        (("fair", "schön"), ValueError, "wish: row 1 holds 'ö', expected printable ASCII"),
    ],
)
def test_other_texts_are_refused_by_entry_and_row(texts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        WISH.check(texts, 2)


@pytest.mark.parametrize(("shape", "high"), [((2,), 8), ((), math.inf), ((), 1)])
def test_a_text_has_no_shape_and_a_finite_length(shape: tuple[int, ...], high: float) -> None:
    with pytest.raises(ValueError, match="wish: expected a text of shape"):
        Field("wish", shape, "text", "1", 2, high, "")


def test_a_text_has_no_torch_dtype() -> None:
    with pytest.raises(TypeError, match="wish: a text has no torch dtype"):
        _ = WISH.torch_dtype
    assert WISH.bytes_each == 8


def test_sampled_texts_are_valid_and_use_all_lengths_and_characters() -> None:
    texts = WISH.sample(4000, generator())
    assert WISH.check(texts, 4000) == texts
    assert {len(text) for text in texts} == set(range(2, 9))
    assert set("".join(texts)) == set(CHARACTERS)
    long = Field("wish", (), "text", "1", 3, 10_000, "").sample(1000, generator())
    assert {len(text) for text in long} == set(range(3, 20))


@pytest.mark.parametrize(
    "field",
    [
        Field("x", (2,), "complex64", "1", -9, 9, ""),
        Field("x", (2, 3), "complex64", "1", -9, 9, "", modulation="qpsk"),
        Field("x", (), "float32", "1", -3, 5, ""),
        Field("x", (4,), "float32", "1", -math.inf, math.inf, ""),
        Field("x", (), "int64", "1", -1, 2, ""),
        Field("x", (3,), "bool", "1", 0, 1, ""),
    ],
    ids=lambda field: f"{field.dtype}{field.modulation or ''}",
)
def test_samples_have_the_field_s_shape_and_dtype_and_lie_within_its_bounds(field: Field) -> None:
    values = field.sample(500, generator())
    assert torch.equal(field.check(values, 500), values)
    real = torch.view_as_real(values) if values.is_complex() else values.float()
    assert field.low <= real.min() < real.max() <= field.high
    if field.dtype == "int64":
        assert set(values.tolist()) == {-1, 0, 1, 2}


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_the_ends_of_the_unit_interval_give_finite_values_within_bounds(edge: float) -> None:
    for field in (
        Field("x", (), "float32", "1", -math.inf, math.inf, ""),
        Field("x", (), "complex64", "1", -9, 9, "", modulation="64qam"),
        Field("x", (), "int64", "1", -1, 2, ""),
        WISH,
    ):
        field.check(field.from_uniform(torch.full((2, field.num_uniforms), edge)), 2)
