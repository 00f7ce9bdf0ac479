"""Verdicts: who leads the best of the others, from closed forms and from what agents did; and what no verdict may say."""

from __future__ import annotations

import re

import numpy as np
import pytest
from noisy_number import NoisyNumber, Shrink, broken, echo
from synthetic import record

from wirelessgym.agent import Agent
from wirelessgym.evaluate import compare
from wirelessgym.evaluate.standings import Headline, Summary, with_standings
from wirelessgym.metrics import Metric
from wirelessgym.record import Record, Sweep
from wirelessgym.report import write_html, write_markdown
from wirelessgym.report.labels import field_label, field_name, metric_name
from wirelessgym.report.tables import sections
from wirelessgym.report.verdict import verdict
from wirelessgym.statistics import Series, estimate

RATE = Metric("sum_rate", "bit/s/Hz", True, "", "")
NMSE = Metric("nmse", "1", False, "", "")
EPISODES = 400


def table(metric: Metric, *points: dict[str, np.ndarray], training: dict[str, str] | None = None) -> list[Record]:
    """Records of agents whose value in each episode is given, point by point; swept where there is more than one."""
    summaries = []
    for index, at in enumerate(points):
        sweep = Sweep(axis="csi_snr_db", value=5 * index) if len(points) > 1 else None
        series = {name: Series(values, np.ones_like(values)) for name, values in at.items()}
        found = {name: one for name, one in estimate(series).items() if one is not None}
        records = []
        for name in at:
            shape = {"headline": metric.name, "higher_is_better": metric.higher_is_better, "sweep": sweep}
            made = record(name, found[name].value, training=(training or {}).get(name), **shape)
            value = made.metrics["sum_rate"].model_copy(update={"higher_is_better": metric.higher_is_better, "unit": metric.unit})
            records.append(made.model_copy(update={"metrics": {metric.name: value}}))
        headlines = {name: Headline(series[name], found[name]) for name in found}
        summaries.append(Summary(records, headlines, metric, sweep))
    return with_standings(summaries)


def noise(seed: int, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, EPISODES)


def said(records: list[Record]) -> str:
    (section,) = sections(records)
    return verdict(section)


def standing(records: list[Record], agent: str, place: int = 0):
    return [r for r in records if r.agent == agent][place].standing


def test_the_lead_is_over_the_best_of_the_others_at_each_point_and_paired():
    shared = noise(0, 5.0)  # far wider than the differences, and the same for all
    records = table(
        RATE,
        {"a": 20 + shared, "b": 19 + shared + noise(1, 0.1), "c": 18 + shared},
        {"a": 20 + shared, "b": 18 + shared, "c": 19.5 + shared + noise(2, 0.1)},
    )
    assert [standing(records, "a", place).other for place in (0, 1)] == ["b", "c"]
    assert standing(records, "a").difference == pytest.approx(1.0, abs=0.02)
    low, high = standing(records, "a").ci95
    assert low < 1.0 < high and high - low < 0.05
    assert standing(records, "a").average.difference == pytest.approx(0.75, abs=0.02)
    assert standing(records, "b").other == standing(records, "c").other == "a"
    assert said(records).startswith("a: +0.75")
    assert "over the best of the others (b at 0 dB; c at 5 dB), on average over CSI SNR; ahead at every point." in said(records)


def test_an_average_over_a_sweep_keeps_an_episode_together():
    a, b = noise(3), np.zeros(EPISODES)
    opposite = table(RATE, {"a": 10 + a, "b": 10 + b}, {"a": 10 - a, "b": 10 + b})
    alike = table(RATE, {"a": 10 + a, "b": 10 + b}, {"a": 10 + a, "b": 10 + b})
    low, high = standing(opposite, "a").average.ci95
    assert high - low < 1e-9  # what an episode gives at one point it takes at the other
    assert np.subtract(*standing(alike, "a").average.ci95) == pytest.approx(np.subtract(*standing(alike, "a").ci95))


def test_equal_agents_are_undecided_whoever_leads():
    ahead = 0
    for seed in range(100):
        records = table(RATE, {name: 10 + noise(10 * seed + index) for index, name in enumerate("abcd")})
        text = said(records)
        assert text.startswith("Undecided: ") or "the best of the others" in text
        ahead += not text.startswith("Undecided: ")
    assert ahead <= 100 * 0.05 + 2 * (100 * 0.05 * 0.95) ** 0.5


def test_points_are_corrected_for_their_number():
    lead = noise(5) - noise(5).mean() + 2.2 / EPISODES**0.5  # p = 0.03
    alone = table(RATE, {"a": 10 + lead, "b": np.full(EPISODES, 10.0)})
    swept = table(RATE, *[{"a": 10 + lead, "b": np.full(EPISODES, 10.0)}] * 5)
    assert not said(alone).startswith("Undecided")
    assert "undecided at every point" in said(swept)
    assert standing(swept, "a").p_value_corrected == pytest.approx(5 * standing(swept, "a").p_value)


def test_where_one_agent_leads_and_another_it_is_said_where():
    shared = noise(7)
    high, low, near = 12 + shared, 11 + shared, 11.001 + shared + noise(8, 0.3)
    records = table(RATE, {"a": high, "b": low}, {"a": near, "b": low}, {"a": low, "b": low + 0.5 + noise(9, 0.1)})
    assert "; ahead at 0 dB, undecided at 5 dB, behind at 10 dB." in said(records)


def test_nobody_leads_where_the_best_on_average_is_behind_another_one_everywhere():
    def at(b: float, c: float) -> dict[str, np.ndarray]:
        return {"b": b + noise(30, 0.1), "c": c + noise(31, 0.1), "a": 16 + noise(32, 0.1)}

    text = said(table(RATE, at(20, 10), at(10, 20)))
    assert re.match(r"Nobody leads: a comes first, but (3\.9|4\.0)", text)
    assert "behind the best of the others (b at 0 dB; c at 5 dB), on average over CSI SNR; behind at every point." in text


def test_each_kind_of_training_has_its_best_named():
    shared = noise(11)
    values = {"net": 20 + shared, "gmm": 19 + shared, "old": 17 + shared, "older": 16 + shared, "odd": 10 + shared}
    values = {name: value + noise(20 + index, 0.1) for index, (name, value) in enumerate(values.items())}
    records = table(RATE, values, training={"net": "network", "gmm": "fitted", "old": "none", "older": "none"})
    assert said(records).startswith("net (network): +")
    assert "over gmm, the best of the others." in said(records)
    assert "Best fitted agent: gmm." in said(records)
    assert "Best agent without training: old, 2.98" in said(records) and "bit/s/Hz behind net." in said(records)
    assert "older" not in said(records) and "odd" not in said(records)


def test_errors_are_compared_as_ratios_which_count_every_point_alike():
    bad = np.abs(noise(12)) + 1
    good = bad * (1 + noise(13, 0.02))
    records = table(NMSE, {"a": 0.9 * good, "b": bad}, {"a": 0.0009 * good, "b": 0.001 * bad})
    average = standing(records, "a").average
    assert (average.kind, average.unit) == ("ratio", "dB")
    assert average.difference == pytest.approx(10 * np.log10(0.9), abs=0.02)
    assert said(records).startswith("a: NMSE 10.") and "% [9." in said(records) and "below b, the best" in said(records)
    large = table(NMSE, {"a": 0.2 * good, "b": bad}, {"a": 0.0002 * good, "b": 0.001 * bad})
    assert said(large).startswith("a: NMSE 6.9") and " dB [6.9" in said(large)


def test_the_best_of_the_others_errs_least_where_less_is_better():
    spread = np.abs(noise(40, 0.01))
    records = table(NMSE, {"a": 0.1 + spread, "b": 0.3 + spread, "c": 0.2 + spread})
    assert [standing(records, agent).other for agent in "abc"] == ["c", "a", "a"]
    assert standing(records, "a").better and not standing(records, "c").better


def test_what_has_a_unit_is_compared_by_differences():
    records = table(Metric("delay", "s", False, "", ""), {"a": 1.0 + 0.1 * noise(41), "b": 3.0 + 0.1 * noise(42)})
    average = standing(records, "a").average
    assert (average.kind, average.unit) == ("difference", "s")
    assert average.difference == pytest.approx(-2.0, abs=0.05)


def test_no_point_is_left_out_because_errors_are_rare():
    rare = np.zeros(EPISODES)
    rare[0] = 1.0
    records = table(NMSE, {"a": np.full(EPISODES, 0.1), "b": np.full(EPISODES, 0.2)}, {"a": 5 * rare, "b": rare})
    average = standing(records, "a").average
    assert average.kind == "ratio of means"
    assert average.difference == pytest.approx(10 * np.log10((0.1 + 5 / EPISODES) / (0.2 + 1 / EPISODES)))
    nobody = table(NMSE, {"a": np.zeros(EPISODES), "b": np.zeros(EPISODES)}, {"a": np.zeros(EPISODES), "b": np.zeros(EPISODES)})
    assert standing(nobody, "a").average is None and "undecided at every point" in said(nobody)


class Genie(Agent):
    needs_state = True

    def act_on_state(self, task, state, obs):
        return state.x

    def act(self, task, obs):
        raise NotImplementedError


def test_floor_bound_genies_and_failed_agents_are_nobodys_rivals():
    agents = [echo, Shrink(1 / 1.5), Genie(), broken]
    options = {"episodes": 150, "processes": 1, "progress": False, "show": False, "horizon": 2, "seed": 3}
    records = compare(NoisyNumber, agents, noise=0.5, **options).records
    by_agent = {record.agent: record for record in records}
    assert {name for name, record in by_agent.items() if record.standing} == {"echo", "Shrink"}
    assert by_agent["echo"].standing.other == "Shrink" and by_agent["Shrink"].standing.other == "echo"
    (section,) = sections(records)
    assert verdict(section).startswith("Shrink: NMSE 3")
    assert "% [" in verdict(section) and " below echo, the best of the others." in verdict(section)
    low, high = by_agent["Shrink"].standing.average.ci95
    assert low < 10 * np.log10(2 / 3) < high  # closed form


def test_one_agent_alone_has_no_verdict():
    records = compare(NoisyNumber, [echo], episodes=20, processes=1, progress=False, show=False, horizon=1).records
    assert all(record.standing is None for record in records)
    assert said(records) == ""


def test_records_of_comparisons_that_never_met_have_no_verdict():
    shared = noise(30)
    first = table(RATE, {"a": 20 + shared, "b": 19 + shared})
    second = table(RATE, {"c": 25 + shared, "d": 18 + shared})
    assert said(first) and said(second)
    assert said([*first, *second]) == ""
    assert said([r.model_copy(update={"standing": None}) for r in first]) == ""


def test_the_table_the_report_and_the_document_say_it_in_the_same_words(tmp_path):
    options = {"episodes": 100, "processes": 1, "progress": False, "show": False, "horizon": 1}
    found = compare(NoisyNumber, [echo, Shrink(1 / 1.5)], sweep={"noise": [0.2, 0.5]}, out=tmp_path, **options)
    (section,) = sections(found.records)
    words = verdict(section)
    assert "on average over noise" in words
    assert found.verdicts == [words]
    assert words in " ".join(str(found).split())
    assert words in write_html(found.records, tmp_path / "a.html").read_text(encoding="utf-8")
    assert words in write_markdown(found.records, tmp_path / "a.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("csi_snr_db", "CSI SNR (dB)"),
        ("speed_kmh", "speed (km/h)"),
        ("panel.columns", "panel columns"),
        ("num_users", "number of users"),
        ("cell_radius_m", "cell radius (m)"),
        ("carrier_frequency_hz", "carrier frequency (Hz)"),
        ("s", "s"),
        ("modulation", "modulation"),
    ],
)
def test_settings_are_named_as_an_engineer_writes_them(key, expected):
    assert field_label(key) == expected


def test_metrics_have_names_without_underscores():
    assert metric_name("sum_rate") == "sum rate" and metric_name("nmse") == "NMSE" and field_name("my_metric") == "my metric"
