"""Which way is better: gaps and differences of a metric that should be large, beside those of one that should be small."""

import pytest

from wirelessgym import compare


def records_of(task, agents, **overrides):
    table = compare(task, agents=agents, scenario="rayleigh-32", episodes=20, progress=False, horizon=1, **overrides)
    return {record.agent: record for record in table.records}


@pytest.mark.parametrize(
    ("task", "agents", "sign"),
    [("precoding", ["mrt", "wmmse"], 1), ("channel_prediction", ["hold", "wiener"], -1)],
)
def test_the_better_agent_is_the_one_nearer_to_the_bound_on_its_good_side(task, agents, sign):
    worse, better = agents
    found = records_of(task, agents)
    headline = found[better].headline
    values = {name: found[name].metrics[headline].mean for name in (*agents, "bound")}
    assert sign * values[worse] < sign * values[better] < sign * values["bound"]
    for name in agents:
        gap = found[name].gap_to_bound
        assert gap.mean == pytest.approx(sign * (values["bound"] - values[name])) and gap.mean > 0
        assert gap.ci95[0] <= gap.mean <= gap.ci95[1]
    assert found[better].paired.better
    assert found[better].paired.difference == pytest.approx(values[better] - values[worse])
