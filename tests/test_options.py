"""Options are what their annotations say; what isn't annotated passes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from pydantic import Field

from wirelessgym.options import check_options

if TYPE_CHECKING:
    from nowhere import Unknown


@dataclass(frozen=True)
class Thing:
    count: Annotated[int, Field(ge=1, le=9)] = 1
    least: Annotated[int, Field(ge=1)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    items: list[int] | None = None
    folder: str | Path | None = None


class Plain:
    def __init__(self, depth: int = 1, anything=None) -> None:
        self.depth, self.anything = depth, anything


class Unresolved:
    def __init__(self, depth: "Unknown") -> None:
        self.depth = depth


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("count", 10, "thing: count: allowed is 1 to 9, got 10"),
        ("count", "4", "thing: count: input should be a valid integer, got '4'"),
        ("least", 0, "thing: least: allowed is at least 1, got 0"),
        ("share", 1.0, "thing: share: allowed is above 0, below 1, got 1.0"),
        ("share", float("inf"), "thing: share: input should be a finite number, got inf"),
        ("kind", "c", "thing: kind: input should be 'a' or 'b', got 'c'"),
        ("names", ["a", 1], "thing: names: input should be a valid string, got ['a', 1]"),
        ("folder", 1, "thing: folder: input should be a valid string, got 1"),
    ],
)
def test_an_option_is_refused_with_what_is_allowed_and_what_came(option, value, message):
    with pytest.raises(ValueError) as caught:
        check_options("thing", Thing, {option: value})
    assert str(caught.value) == message


def test_lists_are_tuples_too_and_integers_are_numbers():
    options = {"names": ["a"], "items": [1], "folder": Path("x"), "share": 0.25, "kind": "b", "count": 9}
    check_options("thing", Thing, options)
    check_options("thing", Thing, {"items": None, "folder": None, "names": ("a", "b")})


def test_a_class_of_any_kind_is_checked_by_its_constructor():
    with pytest.raises(ValueError, match=r"plain: depth: input should be a valid integer, got 1\.5"):
        check_options("plain", Plain, {"depth": 1.5})
    check_options("plain", Plain, {"anything": object()})


def test_an_annotation_that_only_a_type_checker_sees_says_nothing():
    check_options("unresolved", Unresolved, {"depth": 1.5})
