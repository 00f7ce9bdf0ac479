"""What figures are made of: scales and their ticks, labels, and shapes that tell curves apart."""

from __future__ import annotations

import re

import pytest

from wirelessgym.report.labels import UNITS, capitalised, field_label, field_name, field_unit, metric_name
from wirelessgym.report.scales import Scale, linear, logarithmic
from wirelessgym.report.shapes import band, clipped_marker, curve, dashes, key, line, marker, series_class, text


def words(scale: Scale, most: int = 6) -> list[str]:
    return [said for _, said in scale.ticks(most)]


def test_a_linear_scale_leaves_a_twentieth_of_the_range_on_either_side() -> None:
    scale = linear([3.0, 13.0, 7.0], start=200, end=20)
    assert (scale.low, scale.high) == (2.5, 13.5)
    assert (scale.place(2.5), scale.place(13.5), scale.place(8.0)) == (200, 20, 110)
    assert (scale.place(-100.0), scale.place(100.0)) == (200, 20)
    assert scale.clips(2.4) and not scale.clips(2.5) and not scale.clips(100.0)


def test_a_linear_scale_begins_at_zero_only_where_asked_and_nothing_is_negative() -> None:
    assert linear([3.0, 13.0], 0, 1, from_zero=True).low == 0.0
    assert linear([0.0, 10.0], 0, 1, from_zero=True).low == 0.0
    assert linear([0.0, 10.0], 0, 1).low == -0.5
    assert linear([-1.0, 9.0], 0, 1, from_zero=True).low == -1.5


@pytest.mark.parametrize(("value", "low", "high"), [(4.0, 0.0, 8.0), (-4.0, -8.0, 0.0), (0.0, -1.0, 1.0)])
def test_a_single_value_stands_in_the_middle_of_a_scale_of_its_own_size(value: float, low: float, high: float) -> None:
    scale = linear([value, value], 0, 100)
    assert (scale.low, scale.high, scale.place(value)) == (low, high, 50)


def test_a_logarithmic_scale_leaves_six_hundredths_of_its_decades_and_a_single_value_a_factor_of_two() -> None:
    scale = logarithmic([1e-3, 1e-1, 1e-2], start=0, end=112, floor=1e-6)
    assert [scale.place(value) for value in (1e-3, 1e-2, 1e-1)] == pytest.approx([6, 56, 106])
    alone = logarithmic([0.2], 0, 100, floor=1e-6)
    assert (alone.low, alone.high, alone.place(0.2)) == pytest.approx((0.1, 0.4, 50))


def test_the_floor_itself_is_shown_and_stands_in_where_nothing_reaches_it() -> None:
    assert not logarithmic([1e-4, 1e-2], 0, 1, floor=1e-4).clips(1e-4)
    assert logarithmic([1e-5, 1e-2], 0, 1, floor=1e-4).clips(1e-5)
    nothing = logarithmic([0.0, 1e-9], 0, 1, floor=1e-4)
    assert (nothing.low, nothing.high) == pytest.approx((5e-5, 2e-4))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, ["0", "2", "4", "6", "8", "10"]),
        (0.0, 6.0, ["0", "1", "2", "3", "4", "5", "6"]),
        (0.0, 13.0, ["0.0", "2.5", "5.0", "7.5", "10.0", "12.5"]),
        (0.0, 1.5, ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25", "1.50"]),
        (-0.5, 0.5, ["−0.4", "−0.2", "0.0", "0.2", "0.4"]),
        (21.0, 49.0, ["25", "30", "35", "40", "45"]),
        (100.0, 700.0, ["100", "200", "300", "400", "500", "600", "700"]),
    ],
)
def test_linear_ticks_step_by_one_two_two_and_a_half_or_five(low: float, high: float, expected: list[str]) -> None:
    assert words(Scale(low, high, 0, 1)) == expected


def test_fewer_ticks_step_further() -> None:
    assert words(Scale(0.0, 10.0, 0, 1), most=2) == ["0", "5", "10"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.009, 1.1, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]),
        (1e-4, 1e-2, ["10⁻⁴", "2·10⁻⁴", "5·10⁻⁴", "0.001", "0.002", "0.005", "0.01"]),
        (0.002, 1.0, ["0.01", "0.1", "1"]),
        (1e4, 1e5, ["10000", "20000", "50000", "10⁵"]),
        (1e-12, 1.0, ["10⁻¹²", "10⁻¹⁰", "10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"]),
    ],
)
def test_logarithmic_ticks_are_powers_of_ten_and_their_parts_where_there_is_room(
    low: float, high: float, expected: list[str]
) -> None:
    assert words(Scale(low, high, 0, 1, logarithmic=True)) == expected


@pytest.mark.parametrize(
    ("key", "name", "unit"),
    [
        ("slot_duration_s", "slot duration", "s"),
        ("delay_spread_ns", "delay spread", "ns"),
        ("element_spacing_wavelengths", "element spacing", "wavelengths"),
        ("panel.columns", "panel columns", ""),
        ("num_past", "number of past", ""),
        ("num_bs_antennas", "number of BS antennas", ""),
        ("num", "num", ""),
        ("delay_slots", "report delay", "slots"),
        ("tx_power_dbw", "transmit power", "dBW"),
        ("csi_error", "CSI error", ""),
    ],
)
def test_a_field_is_words_and_a_unit(key: str, name: str, unit: str) -> None:
    assert (field_name(key), field_unit(key)) == (name, unit)
    assert field_label(key) == (f"{name} ({unit})" if unit else name)


def test_every_unit_is_told_from_the_end_of_a_key_and_from_nowhere_else() -> None:
    for ending, unit in UNITS.items():
        assert (field_name(f"thing_{ending}"), field_unit(f"thing_{ending}")) == ("thing", unit)
        assert field_unit(ending) == "" and field_name(ending) == ending
        assert unit.lower() == {"us": "µs", "kmh": "km/h", "deg": "°"}.get(ending, ending)


def test_metrics_are_named_in_words() -> None:
    assert [metric_name(key) for key in ("ser", "ber", "bler")] == ["symbol error rate", "bit error rate", "block error rate"]
    assert [metric_name(key) for key in ("nmse_db", "min_rate", "gmi")] == ["NMSE", "rate of the weakest user", "GMI"]
    assert capitalised("rate of NMSE") == "Rate of NMSE" and capitalised("") == ""


def test_forty_agents_differ_in_colour_marker_or_dashes() -> None:
    looks = {(series_class("agent", i), re.findall(r' d="([^"]+)"', marker(i, 0, 0))[0], dashes("agent", i)) for i in range(40)}
    assert len(looks) == 40
    assert len({dashes("agent", i) for i in range(5)}) == 5 and dashes("agent", 0) == ""
    assert {series_class("agent", i) for i in range(80)} == {f"s{i}" for i in range(8)}


def test_floor_bound_and_genie_are_ink_with_dashes_of_their_own() -> None:
    roles = ("floor", "bound", "genie")
    assert {series_class(role, i) for role in roles for i in range(3)} == {"limit"}
    assert len({dashes(role, i) for role in roles for i in range(3)}) == 3 and all(dashes(role, 0) for role in roles)


def test_shapes_stand_where_they_are_put() -> None:
    assert curve([(1.0, 2.04), (3.0, 4.06)], "") == '<path class="curve" d="M1.0 2.0L3.0 4.1"/>'
    assert curve([(1.0, 2.0)], "7 3").endswith(' stroke-dasharray="7 3"/>')
    upper, lower = [(0.0, 1.0), (5.0, 2.0)], [(0.0, 8.0), (5.0, 9.0)]
    assert ' d="M0.0 1.0L5.0 2.0L5.0 9.0L0.0 8.0z"' in band(upper, lower)  # there above, back below
    assert 'transform="translate(3.0 7.0) scale(4.2)"' in marker(0, 3, 7) and "scale(2)" in marker(0, 3, 7, 2)
    assert "translate(3.0 7.0)" in clipped_marker(3, 7)
    assert line(1, 2, 3, 4, "axis") == '<line class="axis" x1="1.0" y1="2.0" x2="3.0" y2="4.0"/>'
    assert text(1, 2, "a<b") == '<text x="1.0" y="2.0" text-anchor="middle">a&lt;b</text>'
    assert text(1, 2, "a", "end", "tick") == '<text class="tick" x="1.0" y="2.0" text-anchor="end">a</text>'


def test_a_legend_shows_the_curve_as_it_is_drawn() -> None:
    agent, floor = key("agent", 9, "a<b"), key("floor", 9, "floor")
    assert f'stroke-dasharray="{dashes("agent", 9)}"' in agent and 'class="s1"' in agent and "<span>a&lt;b</span>" in agent
    shape = re.findall(r' d="([^"]+)"', marker(9, 0, 0))[0]
    assert shape in agent and "mark" not in floor and 'class="limit"' in floor
    assert "dasharray" not in key("agent", 0, "first")
