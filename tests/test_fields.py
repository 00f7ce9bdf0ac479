"""Fields: texts are checked at the door, and samples are what a field says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from wirelessgym.fields import (
    CHARACTERS,
    Field,
    Rows,
    clone,
    concatenate,
    equal,
    leaves,
    num_rows,
    put,
    storage,
    take,
    to,
    to_complex,
    to_real,
)

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


@pytest.mark.parametrize(("low", "high"), [(0, 8), (3, 3)])
def test_a_text_may_be_empty_or_of_one_length(low: int, high: int) -> None:
    field = Field("wish", (), "text", "1", low, high, "")
    assert {len(text) for text in field.sample(500, generator())} == set(range(low, high + 1))


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
    lengths = [sum(len(text) == length for text in texts) for length in range(2, 9)]
    assert min(lengths) > 0.85 * 4000 / 7 and max(lengths) < 1.15 * 4000 / 7
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


def test_samples_are_as_strong_as_their_field_says() -> None:
    def strength(field: Field) -> float:
        return field.sample(20_000, generator()).to(torch.complex64).abs().square().mean().item()

    assert strength(Field("x", (2,), "complex64", "1", -9, 9, "")) == pytest.approx(1, rel=0.02)
    assert strength(Field("x", (2,), "complex64", "1", -9, 9, "", modulation="16qam")) == pytest.approx(1, rel=0.02)
    assert strength(Field("x", (2,), "float32", "1", -math.inf, math.inf, "")) == pytest.approx(1, rel=0.02)
    assert strength(Field("x", (2,), "float32", "1", -99, 99, "", spread=3.0)) == pytest.approx(9, rel=0.02)
    assert strength(Field("x", (2,), "float32", "1", 1, 4, "")) == pytest.approx((1 + 4 + 16) / 3, rel=0.02)
    assert strength(Field("x", (2,), "bool", "1", 0, 1, "")) == pytest.approx(0.5, rel=0.05)


NUMBERS = Field("x", (2, 3), "float32", "1", -1, 1, "")


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([[0.0] * 3] * 2, TypeError, r"x: expected a tensor of shape \(4, 2, 3\), got list"),
        (np.full((4, 2, 3), "a"), TypeError, "x: expected dtype float32, got <U1"),
        (torch.zeros(4, 2, 3).to_sparse(), TypeError, "x: expected a dense tensor, got a sparse one"),
        (torch.zeros(3, 2, 3), ValueError, r"x: expected shape \(4, 2, 3\) \(batch first\), got \(3, 2, 3\)"),
        (torch.zeros(4, 3, 2), ValueError, r"x: expected shape \(4, 2, 3\) \(batch first\), got \(4, 3, 2\)"),
        (torch.zeros(4, 2, 3, dtype=torch.complex64), TypeError, "x: expected dtype float32, got complex64"),
        (torch.zeros(4, 2, 3).index_fill(0, torch.tensor([2]), math.inf), ValueError, "x: row 2 holds NaN or infinite entries"),
        (torch.cat([torch.zeros(3, 2, 3), torch.tensor([0, 0, 0, 0, 0, math.nan]).view(1, 2, 3)]), ValueError, "x: row 3 holds"),
    ],
)
def test_other_numbers_are_refused_by_entry_and_row(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NUMBERS.check(value, 4)


@pytest.mark.parametrize("value", [torch.ones(4, 2, 3).double(), np.ones((4, 2, 3), np.int32), torch.ones(4, 2, 3)])
def test_wider_and_whole_numbers_are_converted(value: Any) -> None:
    checked = NUMBERS.check(value, 4)
    assert checked.dtype == torch.float32 and torch.equal(checked, torch.ones(4, 2, 3))


def test_how_a_tensor_is_stored_is_said_where_it_is_not_simply_in_memory() -> None:
    assert storage(torch.zeros(3)) == storage(torch.zeros(3, 4).mT) == ""
    assert storage(torch.zeros(3).to_sparse()) == "sparse" and storage(torch.zeros(3, device="meta")) == "meta"


def test_complex_numbers_become_pairs_and_pairs_complex_numbers() -> None:
    field, z = Field("z", (3,), "complex64", "1", -9, 9, ""), torch.randn(4, 3, dtype=torch.complex64, generator=generator())
    assert torch.equal(to_real(z.conj())[..., 1], -z.imag) and torch.equal(to_real(z)[..., 0], z.real)
    assert torch.equal(to_complex(to_real(z), field), z) and to_complex(z, field) is z
    assert torch.equal(to_real(z.abs()), z.abs())
    with pytest.raises(ValueError, match=r"z: expected a trailing \(re, im\) axis of 2, got shape \(4, 3\)"):
        to_complex(z.real, field)


@dataclass(frozen=True)
class Inner(Rows):
    x: torch.Tensor
    words: tuple[str, ...]


@dataclass(frozen=True)
class Outer(Rows):
    y: torch.Tensor
    inner: Inner
    name: str


def tree(*numbers: float) -> dict[str, Any]:
    """A row for each number, which is in every entry."""
    x = torch.tensor(numbers, dtype=torch.float32)
    inner = Inner(x, tuple(f"n{number:g}" for number in numbers))
    return {"outer": Outer(torch.stack([x, x], 1), inner, "all"), "words": inner.words, "x": x}


INDEXES: list[Any] = [slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False]), [1, 2], range(1, 3)]


@pytest.mark.parametrize("index", INDEXES, ids=["slice", "numbers", "mask", "list", "range"])
def test_rows_are_taken_from_every_entry(index: Any) -> None:
    assert equal(take(tree(0, 1, 2, 3), index), tree(1, 2))


def test_rows_are_put_joined_copied_and_counted_in_every_entry() -> None:
    before = tree(0, 1, 2, 3)
    assert equal(put(before, torch.tensor([3, 1]), tree(8, 9)), tree(0, 9, 2, 8))
    assert equal(before, tree(0, 1, 2, 3)), "the original is left as it was"
    assert equal(concatenate([tree(0), tree(1, 2), tree(3)]), before)
    copy = clone(before)
    copy["outer"].inner.x[0] = copy["x"][1] = 7
    assert equal(before, tree(0, 1, 2, 3)) and copy["outer"].name == "all"
    assert equal(to(before, "cpu"), before) and to(before, "meta")["outer"].inner.x.is_meta
    assert num_rows(before) == num_rows(before["words"]) == 4
    assert [len(leaf) for leaf in leaves(before)] == [4] * 5
    with pytest.raises(ValueError, match="expected something with rows, got Nothing"):
        num_rows(type("Nothing", (), {})())


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    other = tree(0, 1)
    change(other)
    return other


@pytest.mark.parametrize(
    "other",
    [
        tree(0, 2),
        tree(0),
        changed(lambda t: t.pop("x")),
        changed(lambda t: t.update(more=1)),
        changed(lambda t: t.update(x="no tensor")),
        changed(lambda t: t.update(words=("n0", "n2"))),
        changed(lambda t: t["x"].fill_(math.nan)),
        changed(lambda t: t["outer"].inner.x.add_(1)),
    ],
)
def test_trees_that_differ_anywhere_are_not_equal(other: dict[str, Any]) -> None:
    assert not equal(tree(0, 1), other) and not equal(other, tree(0, 1))


def test_nothing_equals_nothing_and_no_other_number() -> None:
    x = torch.tensor([math.nan, 1.0])
    assert equal(x, x.clone()) and equal({"x": x}, {"x": x.clone()}) and equal(3, 3) and not equal(3, 4)
    assert not equal(x, torch.tensor([math.nan, 2.0])) and not equal(x, torch.tensor([0.0, 1.0])) and not equal(x, 1.0)


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_the_ends_of_the_unit_interval_give_finite_values_within_bounds(edge: float) -> None:
    for field in (
        Field("x", (), "float32", "1", -math.inf, math.inf, ""),
        Field("x", (), "complex64", "1", -9, 9, "", modulation="64qam"),
        Field("x", (), "int64", "1", -1, 2, ""),
        WISH,
    ):
        field.check(field.from_uniform(torch.full((2, field.num_uniforms), edge)), 2)
