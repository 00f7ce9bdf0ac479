"""Figures read back from their drawings: every curve, band, dot and tick stands where its number says."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from synthetic import SETTINGS, record, sweep

from wirelessgym.record import Record, Sweep, Value
from wirelessgym.report.figures import kinds, value_scale
from wirelessgym.report.point_figure import point_figure
from wirelessgym.report.sweep_figure import sweep_figure
from wirelessgym.report.tables import sections

NUMBER = r"-?\d+\.\d"
Point = tuple[float, float]


def errors(agent: str, mean: float, role: str = "agent", sweep: Sweep | None = None) -> Record:
    value = Value(mean=mean, ci95=(0.8 * mean, 1.2 * mean), unit="1", higher_is_better=False)
    settings = SETTINGS | ({sweep.axis: sweep.value} if sweep else {})
    changes = {"metrics": {"nmse": value}, "headline": "nmse", "higher_is_better": False, "scenario_settings": settings}
    return record(agent, role=role, sweep=sweep, **changes)


def path(group: str, kind: str) -> list[Point]:
    (drawn,) = re.findall(rf'<path class="{kind}" d="M([^"z]+)z?"', group)
    return [(float(x), float(y)) for x, y in (place.split() for place in drawn.split("L"))]


def group(svg: str, agent: str) -> str:
    """What is drawn of one agent of a sweep."""
    (found,) = (g for g in re.findall(r'<g class="series.*?</g></g>', svg) if f"<title>{agent} at" in g)
    return found


def ticks(svg: str) -> dict[str, float]:
    """Texts beside the upright axis and their heights."""
    found = re.findall(rf'y1="({NUMBER})" x2="{NUMBER}" y2="\1"/><text x="{NUMBER}" y="{NUMBER}" text-anchor="end">([^<]+)<', svg)
    return {words: float(place) for place, words in found}


def test_curves_and_bands_of_a_sweep_stand_at_their_means_and_intervals() -> None:
    (section,) = sections(sweep())
    figure = sweep_figure(section)
    assert figure is not None
    (plot,) = figure.plots
    svg, marks = str(plot.svg), ticks(str(plot.svg))
    assert marks["10"] > marks["20"] > marks["30"] and not plot.clipped
    per_unit = (marks["30"] - marks["10"]) / 20
    rzf = group(svg, "rzf")
    curve, band = path(rzf, "curve"), path(rzf, "band")
    means = [10 + 1.1 * snr for snr in (0, 5, 10, 15, 20)]
    assert [y for _, y in curve] == pytest.approx([marks["10"] + (mean - 10) * per_unit for mean in means], abs=0.15)
    assert [b[0] - a[0] for a, b in pairwise(curve)] == pytest.approx([curve[1][0] - curve[0][0]] * 4, abs=0.15)
    assert [x for x, _ in band] == [x for x, _ in curve] + [x for x, _ in reversed(curve)]
    upper, lower = [y for _, y in band[:5]], [y for _, y in reversed(band[5:])]
    assert [a - b for (_, a), b in zip(curve, upper, strict=True)] == pytest.approx([-0.25 * per_unit] * 5, abs=0.15)
    assert [b - a for (_, a), b in zip(curve, lower, strict=True)] == pytest.approx([-0.25 * per_unit] * 5, abs=0.15)
    points = re.findall(rf'data-x="({NUMBER})" data-y="({NUMBER})"', rzf)
    assert [(float(x), float(y)) for x, y in points] == curve
    assert all(74 < x < 626 and 14 < y < 316 for name in section.agents for x, y in path(group(svg, name), "curve"))
    under = re.findall(rf'y1="({NUMBER})" x2="{NUMBER}" y2="({NUMBER})"/><text[^>]+text-anchor="middle">0<', svg)
    assert under == [("316.0", "320.0")]
    assert '<text class="title" x="350.0" y="370.0" text-anchor="middle">SNR (dB)</text>' in svg
    assert rzf.count('class="mark"') == 5 and 'class="mark"' not in group(svg, "bound")


def test_agents_take_the_styles_in_turn_and_limits_take_none() -> None:
    (section,) = sections(sweep())
    figure = sweep_figure(section)
    assert figure is not None
    svg = str(figure.plots[0].svg)
    found = {name: re.search(r'class="series (\w+)" data-curve="(\d)"', group(svg, name)) for name in section.agents}
    assert {name: match.groups() for name, match in found.items() if match} == {
        "wmmse": ("s0", "0"),
        "rzf": ("s1", "1"),
        "mrt": ("s2", "2"),
        "floor": ("limit", "3"),
        "bound": ("limit", "4"),
    }
    assert [number for number, _ in figure.keys] == [0, 1, 2, 3, 4]
    assert "<span>wmmse</span>" in figure.keys[0][1] and "<span>bound</span>" in figure.keys[4][1]
    assert 'aria-label="sum rate over SNR for wmmse, rzf, mrt, floor, bound"' in svg


def test_a_point_that_an_agent_lacks_is_left_out_of_its_curve_alone() -> None:
    records = [r for r in sweep() if (r.agent, r.sweep.value) != ("rzf", 10.0)]  # type: ignore[union-attr]
    records = [r.model_copy(update={"metrics": {}}) if r.agent == "mrt" else r for r in records]
    (section,) = sections(records)
    figure = sweep_figure(section)
    assert figure is not None
    svg = str(figure.plots[0].svg)
    rzf, wmmse = (path(group(svg, name), "curve") for name in ("rzf", "wmmse"))
    assert [x for x, _ in rzf] == [x for i, (x, _) in enumerate(wmmse) if i != 2]
    assert "<title>mrt at" not in svg
    assert sweep_figure(sections([r.model_copy(update={"metrics": {}}) for r in sweep()])[0]) is None


def upright(svg: str) -> list[str]:
    """Texts under the axis."""
    return re.findall(r'class="axis"[^>]+/><text[^>]+text-anchor="middle">([^<]+)<', svg)


@pytest.mark.parametrize(("count", "said"), [(11, [str(i) for i in range(11)]), (12, ["0.0", "2.5", "5.0", "7.5", "10.0"])])
def test_up_to_eleven_points_are_named_and_more_have_ticks(count: int, said: list[str]) -> None:
    records = [record("a", 10.0 + i, sweep=Sweep(axis="snr_db", value=i)) for i in range(count)]
    figure = sweep_figure(sections(records)[0])
    assert figure is not None and upright(str(figure.plots[0].svg)) == said


def test_points_that_are_words_stand_at_equal_distances() -> None:
    names = [f"model-{chr(97 + i)}" for i in range(13)]
    records = [record("a", 10.0 + i, sweep=Sweep(axis="model", value=name)) for i, name in enumerate(names)]
    figure = sweep_figure(sections(records)[0])
    assert figure is not None
    svg = str(figure.plots[0].svg)
    assert upright(svg) == names
    x = [x for x, _ in path(group(svg, "a"), "curve")]
    assert [b - a for a, b in pairwise(x)] == pytest.approx([x[1] - x[0]] * 12, abs=0.15)
    assert "<title>a at model model-c: 12.00" in svg


def test_errors_start_on_a_logarithmic_axis_where_they_span_a_factor_of_twenty() -> None:
    assert kinds([errors("a", 0.02), errors("b", 0.4)]) == ["log", "linear"]
    assert kinds([errors("a", 0.0201), errors("b", 0.4)]) == ["linear", "log"]
    assert kinds([errors("a", 0.02), errors("floor", 0.4, "floor")]) == ["log", "linear"]
    assert kinds([errors("a", 0.1), errors("bound", 1e-6, "bound")]) == ["linear", "log"]
    assert kinds([errors("a", 0.0), errors("b", 0.0)]) == ["linear"]
    assert kinds([errors("a", 0.0), errors("b", 0.1)]) == ["log", "linear"]
    assert kinds([record("a", 1.0), record("b", 100.0)]) == ["linear"]
    assert kinds([errors("bound", 0.1, "bound")]) == ["linear"]


def test_a_logarithmic_axis_reaches_a_hundredth_of_the_best_agent_and_five_decades_at_most() -> None:
    def low(*records: Record) -> float:
        return value_scale([r.value for r in records if r.value], records, "log", 0, 1).low

    bound = [errors("bound", mean, "bound") for mean in (1.3e-4, 0.5e-4, 1e-9)]
    assert low(errors("a", 0.01), *bound[:1]) < 1.04e-4
    assert 1.04e-4 > low(errors("a", 0.01), *bound) > 0.5e-4  # a hundredth of the agent's 0.01
    deep = low(errors("a", 1.0), errors("b", 1e-6), errors("c", 1e-5))
    assert 0.5e-5 > deep > 0.2e-5
    assert low(*bound[:2]) < 0.4e-4  # without agents, the limits say how far


def test_a_linear_axis_begins_at_zero_for_errors_and_near_the_values_for_rates() -> None:
    error, rate = errors("a", 0.5), record("a", 20.0)
    assert value_scale([error.value], [error], "linear", 0, 1).low == 0.0  # type: ignore[list-item]
    assert value_scale([rate.value], [rate], "linear", 0, 1).low == pytest.approx(19.725)  # type: ignore[list-item]


def test_a_point_figure_has_a_row_per_agent_best_on_top_and_its_interval() -> None:
    (section,) = sections([record("a", 20.0), record("b", 21.0, 0.5), record("bound", 24.0, role="bound")])
    figure = point_figure(section)
    assert figure is not None and figure.note == "" and figure.keys == ()
    svg = str(figure.plots[0].svg)
    assert re.findall(r'text-anchor="end">([^<]+)<', svg) == ["b", "a"]
    assert '<text class="best"' in svg and svg.index('class="best"') < svg.index(">b</text>")
    groups = re.findall(r'<g class="series (\w+)">(.*?)</g></g>', svg)
    assert [name for name, _ in groups] == ["s0", "limit"]
    centre = [tuple(map(float, re.findall(rf'data-x="({NUMBER})" data-y="({NUMBER})"', drawn)[0])) for _, drawn in groups]
    assert [y for _, y in centre] == pytest.approx([32 + 13.5, 32 + 27 + 13.5], abs=0.1)
    assert {y for _, y in re.findall(rf'class="grid"[^>]+y1="({NUMBER})"[^>]+y2="({NUMBER})"', svg)} == {"86.0"}
    assert [float(x) < 597 for x in re.findall(rf'<text x="({NUMBER})"[^>]+>bound<', svg)] == [True]
    assert '<text class="title"' in svg
    ends = [
        tuple(map(float, re.findall(rf'class="interval" x1="({NUMBER})" y1="{NUMBER}" x2="({NUMBER})"', g)[0])) for _, g in groups
    ]
    assert (ends[0][1] - ends[0][0]) == pytest.approx(2 * (ends[1][1] - ends[1][0]), abs=0.4)
    assert [(low + high) / 2 for low, high in ends] == pytest.approx([x for x, _ in centre], abs=0.15)
    per_unit = centre[0][0] - centre[1][0]
    assert ends[0][1] - ends[0][0] == pytest.approx(per_unit, abs=0.2)
    (limit,) = re.findall(r'<g class="limit"><g class="point" data-x="([\d.]+)"', svg)
    assert float(limit) == pytest.approx(centre[0][0] + 3 * per_unit, abs=0.2)
    (low, width) = map(float, re.findall(r'<rect class="band" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)[0])
    assert (low + width / 2, width) == pytest.approx((float(limit), 0.5 * per_unit), abs=0.2)
    assert ">Sum rate (bit/s/Hz)</text>" in svg and 'aria-label="sum rate of b, a"' in svg


def test_a_floor_far_from_all_others_is_named_beside_the_axis() -> None:
    agents = [record("a", 20.0), record("b", 21.0)]  # from 19.75 to 21.25, with 20.5 in the middle
    near, away = (point_figure(sections([*agents, record("floor", m, role="floor")])[0]) for m in (16.1, 15.9))
    assert near is not None and away is not None
    assert near.note == "" and "floor" in str(near.plots[0].svg)
    assert away.note == "floor at 15.90 [15.65, 16.15] bit/s/Hz, off the axis" and "floor" not in str(away.plots[0].svg)
    alone = point_figure(sections([agents[0], record("floor", 1.0, role="floor")])[0])
    assert alone is not None and alone.note == ""  # one agent has a spread of its own interval only
    far_bound = point_figure(sections([*agents, record("bound", 90.0, role="bound")])[0])
    assert far_bound is not None and far_bound.note == ""


def test_without_agents_there_is_no_point_figure_and_long_names_are_cut() -> None:
    assert point_figure(sections([record("floor", 1.0, role="floor")])[0]) is None
    figure = point_figure(sections([record("x" * 24, 1.0), record("y" * 25, 2.0)])[0])
    assert figure is not None
    svg = str(figure.plots[0].svg)
    assert f">{'x' * 24}<" in svg and f">{'y' * 23}…<" in svg
