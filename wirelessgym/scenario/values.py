"""What scenarios are made of: strict tables, antenna panels, and numbers that may be ranges."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

FloatSpan: TypeAlias = float | tuple[float, float]


class ScenarioError(ValueError):
    """A scenario key that doesn't exist, or a value out of its range."""


class Strict(BaseModel):
    """A frozen table that refuses keys it doesn't know, and numbers that are infinite, NaN, text, or true and false."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_lookalikes(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic would read ``True`` as 1 and ``"4"`` as 4."""
        if info.field_name is not None and _holds_numbers(cls.model_fields[info.field_name].annotation):
            for entry in value if isinstance(value, list | tuple) else [value]:
                if isinstance(entry, bool) or (isinstance(entry, str) and _is_number(entry)):
                    raise ValueError(f"input should be a number, not {'text' if isinstance(entry, str) else 'true or false'}")
        return value


def _holds_numbers(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_holds_numbers, get_args(annotation)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Panel(Strict):
    """A uniform planar array in the y-z plane.

    Antenna index is column * rows + row; all elements of the second polarisation come after those of the first.

    Attributes:
        rows: elements above each other.
        columns: elements beside each other.
        polarisation: one vertical port per element, or two slanted by -45 and +45 degrees.
        element: the same gain in every direction, or TR 38.901's element pattern (table 7.3-1).
        spacing_wavelengths: distance between neighbours.
    """

    rows: int = Field(ge=1, le=64)
    columns: int = Field(ge=1, le=64)
    polarisation: Literal["single", "dual"] = "single"
    element: Literal["omni", "38.901"] = "omni"
    spacing_wavelengths: float = Field(default=0.5, gt=0, le=10)

    @property
    def num_antennas(self) -> int:
        """Antenna ports of the panel."""
        return self.rows * self.columns * (2 if self.polarisation == "dual" else 1)


SINGLE_ANTENNA = Panel(rows=1, columns=1)


def _ordered(value: FloatSpan) -> FloatSpan:
    if isinstance(value, tuple) and value[0] > value[1]:
        raise ValueError(f"a range is (low, high), got {value}")
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def number_or_range(low: float, high: float, kind: Any) -> Any:
    """The type of a number or a (low, high) range, both within [low, high]."""
    number = Annotated[kind, Field(ge=low, le=high)]
    return Annotated[number | tuple[number, number], BeforeValidator(_tuple), AfterValidator(_ordered)]


def span(value: FloatSpan) -> tuple[float, float]:
    """A number or range as (low, high)."""
    return (float(value[0]), float(value[1])) if isinstance(value, tuple) else (float(value), float(value))
