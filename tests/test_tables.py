"""Tables of records, cell by cell: what stands where, in which order, with how many digits."""

from __future__ import annotations

import pytest
from synthetic import SETTINGS, at_point, record, sweep

from wirelessgym.record import Record, Sweep, Value
from wirelessgym.report.tables import (
    Cell,
    Column,
    best_agent,
    interval,
    measured,
    number,
    p_value,
    point_table,
    scalar_metrics,
    sections,
    shortened,
    sweep_table,
    unit_label,
)


def errors(agent: str, mean: float | None, **changes: object) -> Record:
    value = Value(mean=mean, ci95=None if mean is None else (0.8 * mean, 1.2 * mean), unit="1", higher_is_better=False)
    return record(agent, metrics={"nmse": value}, headline="nmse", higher_is_better=False, **changes)


@pytest.mark.parametrize(
    ("value", "spread", "said"),
    [
        (27.01234, 0.99, "27.01"),
        (27.01234, 1.0, "27.0"),
        (27.01234, 12.0, "27"),
        (5e6, 2.0, "5000000.0"),
        (1e7, 2.0, "1.00e+07"),
        (-1e7, 2.0, "−1.00e+07"),
        (1.2345e-6, 1e-6, "0.0000012"),
        (1.2345e-6, 9e-7, "1.23e−06"),
        (3.14159, 0.0, "3.142"),
        (1234.6, 0.0, "1235"),
        (0.012344, 0.0, "0.01234"),
        (0.0, 0.0, "0.000"),
        (float("inf"), 0.0, "–"),
    ],
)
def test_two_digits_of_the_spread_are_shown_or_four_of_the_number(value: float, spread: float, said: str) -> None:
    assert number(value, spread) == said


def test_an_interval_has_the_digits_of_half_its_width() -> None:
    assert interval(-0.123, 0.456) == "[−0.12, 0.46]"
    assert measured(Value(mean=1.2345, ci95=(1.0, 1.5), unit="1", higher_is_better=True), True) == Cell(
        "1.23", "[1.00, 1.50]", 1.2345, True
    )
    assert measured(Value(mean=None, ci95=(0.0, 1.0), unit="1", higher_is_better=True)) == Cell("–")
    assert measured(None) == Cell("–")


def test_p_values_are_printed_as_in_papers() -> None:
    assert [p_value(p) for p in (0.00099, 0.001, 0.04567, 1.0)] == ["< 0.001", "0.001", "0.046", "1.000"]
    assert unit_label("1") == "" and unit_label("bit/s/Hz") == "bit/s/Hz"


def test_metrics_with_a_column_are_the_headline_and_then_what_is_one_number() -> None:
    value = Value(mean=1.0, ci95=(0.0, 2.0), unit="1", higher_is_better=True)
    one = record("a", metrics={"late": value, "user_rate[0]": value, "sum_rate": value, "sum_rate_per_episode": value})
    assert scalar_metrics([one]) == ["sum_rate", "late"]
    assert scalar_metrics([one, one]) == ["sum_rate"]  # the same for all, but for the headline
    assert scalar_metrics([record("a", metrics={}), one]) == ["sum_rate", "late"]


def test_the_best_is_the_first_of_those_that_share_the_best_mean() -> None:
    a, b, c = errors("a", 0.2), errors("b", 0.1), errors("c", 0.1)
    assert best_agent([a, b, c], "nmse") == "b"
    assert best_agent([c, b], "nmse") is None  # all alike
    assert best_agent([a], "nmse") == "a"
    assert best_agent([a, errors("d", None), errors("bound", 0.01, role="bound")], "nmse") == "a"


def test_a_comparison_at_a_point_cell_by_cell() -> None:
    records = [r.model_copy(update={"training": "none" if r.agent == "zf" else None, "parameters": 1234}) for r in at_point()]
    records[1] = records[1].model_copy(update={"fallbacks": 1500})
    table = point_table(records)
    assert table.columns == (
        Column("agent", numeric=False),
        Column("sum_rate", "bit/s/Hz", "↑"),
        Column("min_rate", "bit/s/Hz", "↑"),
        Column("Δ sum_rate", "to rzf"),
        Column("p", "Holm"),
        Column("gap to bound", "", "↓"),
        Column("latency", "ms, median", "↓"),
        Column("parameters"),
        Column("training", numeric=False),
        Column("late answers", "", "↓"),
    )
    gap = Cell("2.690", "[2.600, 2.780]", 2.69)
    rows = {row.cells[0].text: row for row in table.rows}
    assert rows["zf"].cells == (
        Cell("zf", order="zf"),
        Cell("19.98", "[19.73, 20.23]", 19.98),
        Cell("3.33", "[3.08, 3.58]", 19.98 / 6),
        Cell("−0.020", "[−0.050, 0.010]", -0.02),
        Cell("0.210", order=0.21),
        gap,
        Cell("0.21", "p95 0.34", 0.00021),
        Cell("1,234", order=1234.0),
        Cell("none"),
        Cell("–"),
    )
    assert rows["rzf"].cells[3:6] == (Cell("reference"), Cell("–"), gap)
    assert rows["rzf"].cells[8:] == (Cell("–"), Cell("1,500", order=1500))
    assert rows["wmmse"].cells[1:6] == (
        Cell("21.31", "[21.06, 21.56]", 21.31, True),
        Cell("3.55", "[3.30, 3.80]", 21.31 / 6, True),
        Cell("+1.310", "[1.270, 1.360]", 1.31),
        Cell("< 0.001", order=2e-30),
        gap,
    )
    failed, bound = rows["my_agent"], rows["bound"]
    assert failed.failed and failed.cells[0] == Cell("my_agent", "failed", "my_agent") and failed.cells[1] == Cell("–")
    assert not bound.failed and bound.role == "bound" and bound.cells[0] == Cell("bound", order="bound")
    assert bound.cells[3:] == (Cell("–"),) * 7


def test_a_difference_has_two_digits_of_half_its_interval() -> None:
    paired = at_point()[0].paired
    assert paired is not None
    wide = paired.model_copy(update={"difference": 1.2345, "ci95": (0.6345, 1.8345)})
    row = point_table([record("a", 20.0, paired=wide), record("rzf", 18.0)]).rows[0]
    assert row.cells[3] == Cell("+1.23", "[0.63, 1.83]", 1.2345)


def test_columns_that_nobody_fills_are_left_out() -> None:
    table = point_table([record("a", 20.0), record("b", 21.0)])
    assert [column.title for column in table.columns] == ["agent", "sum_rate", "min_rate", "latency", "parameters"]
    assert all(len(row.cells) == 5 for row in table.rows)


def test_a_row_that_is_no_agent_says_what_it_is_unless_it_is_called_so() -> None:
    rows = point_table([record("single-user", 30.0, role="bound"), record("all-knowing", 25.0, role="genie"), record("a")]).rows
    assert [(row.cells[0].text, row.cells[0].interval) for row in rows] == [
        ("a", ""),
        ("all-knowing", "genie"),
        ("single-user", "bound"),
    ]


def test_a_sweep_has_a_column_per_point_and_its_best_in_each() -> None:
    records = [r for r in sweep() if (r.agent, r.sweep.value) != ("mrt", 5.0)]  # type: ignore[union-attr]
    (section,) = sections(records)
    table = sweep_table(section)
    assert table.columns == (Column("agent", "by SNR (dB)", numeric=False), *map(Column, ("0", "5", "10", "15", "20")))
    rows = {row.cells[0].text: row for row in table.rows}
    assert list(rows) == ["wmmse", "rzf", "mrt", "floor", "bound"]
    assert rows["mrt"].cells[1:3] == (Cell("6.00", "[5.75, 6.25]", 6.0), Cell("–"))
    assert [cell.best for cell in rows["wmmse"].cells] == [False, *[True] * 5]
    assert not any(cell.best for name in ("rzf", "floor", "bound") for cell in rows[name].cells)


def test_an_agent_that_failed_at_one_point_is_marked_and_comes_last() -> None:
    records = [
        record(agent, 10.0 * factor, status="failed" if (agent, i) == ("b", 1) else "ok", sweep=Sweep(axis="snr_db", value=i))
        for i in range(2)
        for agent, factor in (("b", 3), ("a", 1), ("c", 2))
    ]
    records = [r if r.status == "ok" else r.model_copy(update={"metrics": {}}) for r in records]
    (section,) = sections(records)
    assert section.agents == ["c", "a", "b"]
    assert [(row.cells[0].text, row.failed) for row in sweep_table(section).rows] == [("c", False), ("a", False), ("b", True)]


@pytest.mark.parametrize(("higher", "expected"), [(True, ["c", "a", "b"]), (False, ["b", "a", "c"])])
def test_agents_stand_by_the_sum_of_their_means_and_equal_ones_by_name(higher: bool, expected: list[str]) -> None:
    means = {"b": (1.0, 2.0), "a": (5.0, 1.0), "c": (2.0, 9.0)}
    records = [
        record(agent, mean, higher_is_better=higher, sweep=Sweep(axis="snr_db", value=i))
        for agent, at in means.items()
        for i, mean in enumerate(at)
    ]
    assert sections(records)[0].agents == expected
    assert sections([record(agent, 3.0) for agent in "cab"])[0].agents == ["a", "b", "c"]


def test_a_section_shares_everything_but_agent_and_what_is_swept() -> None:
    def swept(axis: str, value: object, **settings: object) -> Record:
        return record("a", scenario_settings=SETTINGS | settings, sweep=Sweep(axis=axis, value=value))

    inner = [swept("panel.rows", rows, panel={"rows": rows, "columns": 8}) for rows in (4, 2)]
    (section,) = sections(inner)
    assert (section.task, section.scenario, section.axis) == ("precoding", "uma-nlos-64", "panel.rows")
    assert [value for value, _ in section.points] == [2, 4]
    assert len(sections([*inner, swept("panel.rows", 8, panel={"rows": 8, "columns": 4})])) == 2
    assert len(sections([swept("snr_db", 0.0, snr_db=0.0), swept("speed_kmh", 3.0, speed_kmh=3.0)])) == 2
    assert len(sections([record("a"), record("b", episodes=999)])) == 2
    assert len(sections([record("a"), record("b", task_options={"action": "structure"})])) == 2
    words = sections([swept("sight", sight, sight=sight) for sight in ("nlos", "los")])
    assert [value for value, _ in words[0].points] == ["los", "nlos"]


def test_an_agent_speaks_for_a_section_where_there_is_one() -> None:
    floor = record("aaa", 1.0, role="floor")
    assert sections([floor, record("zzz", 0.5)])[0].first.agent == "zzz"
    assert sections([floor])[0].first.agent == "aaa"


def test_a_shortened_table_keeps_the_best_agents_and_all_limits() -> None:
    (section,) = sections(sweep())
    table = sweep_table(section)

    def names(**cut: object) -> list[str]:
        return [row.cells[0].text for row in shortened(table, **cut).rows]  # type: ignore[arg-type]

    assert names() == ["wmmse", "rzf", "mrt", "floor", "bound"]
    assert names(rows=4) == ["wmmse", "rzf", "floor", "bound"]
    assert names(rows=3) == ["wmmse", "floor", "bound"]
    assert names(agents=["mrt", "rzf"]) == ["rzf", "mrt", "floor", "bound"]
    assert names(agents=["mrt", "rzf"], rows=3) == ["rzf", "floor", "bound"]
    with pytest.raises(ValueError, match=r"rows: expected more than 2, which floor and bound take, got 2"):
        names(rows=2)
    with pytest.raises(ValueError, match=r"agents: no row here is called 'zf'; there are: wmmse, rzf, mrt"):
        names(agents=["rzf", "zf"])
