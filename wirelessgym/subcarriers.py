"""Several subcarriers: where they lie in a scenario's band."""

from __future__ import annotations

from torch import Tensor

from wirelessgym.scenario import Scenario


def tone_spacing_hz(scenario: Scenario, subcarriers: int) -> float:
    """Spacing at which ``subcarriers`` tones cover the scenario's band evenly: the band's width over their number.

    Tone i lies ``(i - subcarriers // 2)`` spacings above the carrier, as in Sionna, so that one of them is at the carrier. Where
    their number divides that of the scenario's subcarriers, each tone is one of those.
    """
    return scenario.subcarrier_spacing_hz * scenario.num_subcarriers / subcarriers


def require_subcarriers(task: str, scenario: Scenario, subcarriers: int) -> None:
    """Refuse more subcarriers than the scenario has.

    Raises:
        ValueError: if ``subcarriers`` is more than that.
    """
    if subcarriers > scenario.num_subcarriers:
        available = f"1 to the scenario's num_subcarriers, {scenario.num_subcarriers}"
        raise ValueError(f"{task}: subcarriers: allowed is {available}, got {subcarriers}")


def leading_axis(subcarriers: int) -> tuple[int, ...]:
    """The axis that several subcarriers put before an entry's shape; one has none."""
    return (subcarriers,) if subcarriers > 1 else ()


def subcarriers_first(h: Tensor) -> Tensor:
    """Move the subcarriers of ``h`` (batch, users, antennas, subcarriers) behind the batch; the axis of a single one goes."""
    return h[..., 0] if h.shape[-1] == 1 else h.movedim(-1, 1).contiguous()
