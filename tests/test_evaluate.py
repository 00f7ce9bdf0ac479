import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from learnable import Learnable
from noisy_number import NoisyNumber, Shrink, broken, echo, not_a_number, slow, zero_in_place

from wirelessgym.agent import Agent
from wirelessgym.evaluate import compare, runner
from wirelessgym.evaluate.sweep import SweepError
from wirelessgym.parallel import processes
from wirelessgym.record import RecordSchemaError, read_records
from wirelessgym.registry import load_scenario, make_agent, make_task
from wirelessgym.scenario import ScenarioError

HORIZON = 3


def run(agents, task=NoisyNumber, **options):
    settings = {"episodes": 150, "processes": 1, "progress": False, "show": False, "horizon": HORIZON}
    return compare(task, agents, **(settings | options))


def by_agent(table):
    return {record.agent: record for record in table.records}


def numbers(table):
    """Everything in a table that is a function of its settings."""
    own = {"latency_s", "provenance"}
    return [{key: value for key, value in json.loads(r.to_json()).items() if key not in own} for r in table.records]


@pytest.fixture(scope="module")
def table():
    return run([echo, Shrink(1 / 1.5)], noise=0.5)


def test_means_and_intervals_agree_with_closed_forms(table):
    records = by_agent(table)
    for name, expected in {"echo": 0.5, "Shrink": 0.5 / 1.5, "bound": 0.5 / 16}.items():
        low, high = records[name].metrics["nmse"].ci95
        assert low < expected < high and high - low < 0.4 * expected
    assert records["echo"].bound == records["bound"].metrics["nmse"].mean
    assert records["random"].role == "floor" and records["random"].metrics["nmse"].mean > 10
    assert [record.role for record in table.records] == ["agent", "agent", "floor", "bound"]


def test_a_ratio_metric_is_the_ratio_of_sums_and_has_the_mean_of_ratios_beside_it(table):
    task = NoisyNumber(scenario=load_scenario("rayleigh-32", {"horizon": HORIZON}))
    state, _ = task.reset(range(150), 7)
    error, energy = state.n.square().sum(-1).double(), state.x.square().sum(-1).double()
    metrics = by_agent(table)["echo"].metrics
    assert metrics["nmse"].mean == pytest.approx(float(error.sum() / energy.sum()), rel=1e-6)
    assert metrics["nmse_per_episode"].mean == pytest.approx(float((error / energy).mean()), rel=1e-6)
    assert metrics["nmse_db"].mean == pytest.approx(10 * torch.tensor(metrics["nmse"].mean).log10().item())
    assert metrics["nmse_db"].unit == "dB" and not metrics["nmse_db"].higher_is_better


def test_masked_entries_of_a_vector_metric_are_left_out_of_its_mean(table):
    task = NoisyNumber(scenario=load_scenario("rayleigh-32", {"horizon": HORIZON}))
    state, _ = task.reset(range(150), 7)
    per_step = [state.x.roll(step, -1) for step in range(HORIZON)]
    seconds = torch.stack([torch.where(x[:, 0] > 0, x[:, 1], torch.nan) for x in per_step], 1)
    metrics = by_agent(table)["echo"].metrics
    assert metrics["first_two[1]"].mean == pytest.approx(float(seconds.nanmean(1).nanmean()), abs=1e-6)
    assert metrics["first_two[0]"].mean == pytest.approx(float(torch.stack(per_step)[..., 0].mean()), abs=1e-6)
    assert "llr" not in metrics


def test_the_better_agent_is_ahead_of_the_reference_by_more_than_chance(table):
    paired = by_agent(table)["Shrink"].paired
    assert paired.reference == "echo" and paired.better
    assert paired.difference == pytest.approx(-(0.5 - 0.5 / 1.5), abs=0.05)
    assert paired.ci95[1] < 0 and paired.p_value_corrected < 1e-3
    assert by_agent(table)["echo"].paired is None and by_agent(table)["random"].paired is None


def test_the_gap_to_the_bound_counts_what_is_missing(table):
    record = by_agent(table)["echo"]
    assert record.gap_to_bound.mean == pytest.approx(record.metrics["nmse"].mean - record.bound)
    assert record.gap_to_bound.ci95[0] > 0 and by_agent(table)["bound"].gap_to_bound is None


def test_identical_agents_differ_by_nothing_and_get_different_names():
    records = by_agent(run([echo, echo, Shrink()]))
    assert list(records)[:3] == ["echo", "echo-2", "Shrink"]
    for name in ("echo-2", "Shrink"):
        assert (records[name].paired.difference, records[name].paired.p_value_corrected) == (0.0, 1.0)


def test_results_do_not_depend_on_the_number_of_processes(tmp_path):
    alone = run([echo, Shrink(0.5)], sweep={"noise": [0.1, 0.5]})
    together = run([echo, Shrink(0.5)], sweep={"noise": [0.1, 0.5]}, processes=2, out=tmp_path)
    assert numbers(alone) == numbers(together)


def test_results_on_real_channels_do_not_depend_on_the_number_of_processes():
    settings = {"task": "precoding", "scenario": "rayleigh-32", "episodes": 70, "horizon": 2}
    alone, together = (run(["rzf", "random"], **settings, processes=processes) for processes in (1, 2))
    assert numbers(alone) == numbers(together)
    assert 20 < by_agent(alone)["rzf"].value.mean < by_agent(alone)["bound"].value.mean < 27


def test_an_agent_keeps_its_numbers_when_others_join_or_fail():
    few = by_agent(run([echo]))["echo"].metrics
    many = by_agent(run([broken, zero_in_place, echo, Shrink(0.3)]))["echo"].metrics
    assert few == many


def test_an_agent_cannot_change_the_true_state_through_its_observation():
    # Without noise the observation could be the state itself.
    record = by_agent(run([zero_in_place, echo], noise=0.0))
    assert record["zero_in_place"].value.mean == pytest.approx(1.0)
    assert record["echo"].value.mean == 0.0


def test_a_failing_agent_is_reported_and_the_others_go_on(tmp_path):
    table = run([broken, echo, not_a_number], out=tmp_path)
    records = by_agent(table)
    assert table.exit_code == 1 and run([echo]).exit_code == 0
    assert records["broken"].status == records["not_a_number"].status == "failed"
    assert "no idea what to guess" in records["broken"].traceback and records["broken"].metrics == {}
    assert "guess: row 0" in records["not_a_number"].traceback
    assert records["echo"].status == "ok" and records["echo"].value is not None
    assert "failed: RuntimeError: no idea what to guess" in str(table)
    assert len(read_records(tmp_path)) == 5


def test_a_failing_reference_leaves_the_others_without_a_difference():
    records = by_agent(run([echo, broken], reference="broken"))
    assert records["echo"].paired is None and records["echo"].value is not None


def test_records_name_no_folder_of_this_machine(tmp_path):
    table = run([broken, echo], out=tmp_path)
    text = "".join(path.read_text() for path in (tmp_path / "records").iterdir())
    for place in {str(Path.home()), str(tmp_path), str(Path(__file__).parent)} - {"/"}:
        assert f"{place}/" not in text
    assert 'File "noisy_number.py"' in by_agent(table)["broken"].traceback


def test_a_metric_that_is_not_finite_is_null_with_a_note():
    record = by_agent(run([echo], broken_metric=True))["echo"]
    assert record.metrics["bias"].mean is None and record.metrics["bias"].ci95 is None
    assert record.notes[0] == "bias: no value, because it isn't finite in 1 of 150 episodes"
    assert record.value.mean is not None


def test_a_late_answer_counts_as_the_fallbacks():
    table = run([slow, echo], episodes=4, deadline_s=0.05, fallback="random", horizon=2)
    records = by_agent(table)
    assert records["slow"].fallbacks == 8 and records["slow"].fallback == "random"
    assert records["slow"].metrics == records["random"].metrics
    assert records["echo"].fallbacks < 8 and records["echo"].value.mean < 1
    assert records["slow"].latency_s.p50 > 0.05 > records["echo"].latency_s.p50


def test_a_sweep_visits_its_values_and_says_how_to_make_each_again(tmp_path):
    table = run(["rzf"], "precoding", sweep="snr_db=0:10:10", scenario="rayleigh-32", episodes=3, num_users=2)
    swept = [record for record in table.records if record.agent == "rzf"]
    assert [record.sweep.value for record in swept] == [0, 10]
    assert swept[0].value.mean < swept[1].value.mean
    assert swept[1].command == (
        "wirelessgym compare precoding --agents rzf --scenario rayleigh-32 --episodes 3 --seed 7 "
        "--set num_users=2 --set horizon=3 --sweep snr_db=10"
    )
    assert "SNR (dB)" in str(table) and "rzf" in str(table)


def test_several_scenarios_and_nested_fields_in_one_table():
    scenarios = ["rayleigh-32", "cdl-c-32"]
    table = run([echo], scenario=scenarios, sweep={"panel.columns": [2, 4]}, episodes=3)
    seen = [(r.scenario, r.scenario_settings["panel"]["columns"]) for r in table.records if r.agent == "echo"]
    assert seen == [(scenario, columns) for scenario in scenarios for columns in (2, 4)]


def test_finished_work_is_kept_and_new_agents_join_it(tmp_path, monkeypatch):
    first = run([echo], out=tmp_path)
    kept = sorted((tmp_path / "blocks").iterdir())
    played, play = [], runner.play
    monkeypatch.setattr(runner, "play", lambda task, agent, *a, **k: played.append(agent) or play(task, agent, *a, **k))
    again = run([echo], out=tmp_path)
    assert numbers(first) == numbers(again) and not played
    run([echo, Shrink(0.5)], out=tmp_path)
    assert {agent.name for agent in played} == {"Shrink"} and len(played) == 3
    kept[0].write_bytes(b"damaged")
    assert numbers(run([echo], out=tmp_path)) == numbers(first)
    run([echo], out=tmp_path, seed=8)
    assert len(list((tmp_path / "blocks").iterdir())) > len(kept) + 3


def test_short_or_finished_work_starts_no_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ProcessPoolExecutor", None)
    first = run([echo], processes=None, out=tmp_path)
    assert numbers(run([echo], processes=2, out=tmp_path)) == numbers(first)


def test_ctrl_c_keeps_what_is_finished_and_the_next_call_goes_on(tmp_path, capsys):
    # Two blocks of four outcomes make a point: the interrupt comes in the first block of the second one.
    limit, caller = 9, os.getpid()

    def interrupts(obs):
        if len(list((tmp_path / "blocks").glob("*.npz"))) >= limit:
            os.kill(caller, signal.SIGINT)
            time.sleep(60)
        return obs["y"]

    settings = {"episodes": 128, "sweep": {"noise": [0.1, 0.2]}, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        run([echo, interrupts], **settings)
    said = capsys.readouterr().err
    assert (
        "1 of 2 points are complete" in said and "finished blocks are kept, the same call with this out goes on from here" in said
    )
    assert {record.sweep.value for record in read_records(tmp_path)} == {0.1}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "blocks").iterdir()}
    limit = 1000
    resumed = run([echo, interrupts], **settings)
    assert [r.sweep.value for r in resumed.records if r.agent == "echo"] == [0.1, 0.2]
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert numbers(resumed)[0] == numbers(run([echo, interrupts], **(settings | {"out": None})))[0]


def test_a_folder_of_another_schema_is_refused_before_any_work(tmp_path):
    run([echo], out=tmp_path, episodes=2)
    path = next((tmp_path / "records").iterdir())
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(RecordSchemaError, match=r"has schema 99, .* reads and writes schema 1"):
        run([broken], out=tmp_path)


def test_a_folder_gets_records_and_a_csv(tmp_path):
    table = run([echo], out=tmp_path, episodes=5)
    assert sorted(r.to_json() for r in table.records) == sorted(r.to_json() for r in read_records(tmp_path))
    assert (tmp_path / "results.csv").read_text().count("nmse_db") >= 3


def test_the_table_prints_itself(capsys):
    run([echo], show=True)
    printed = capsys.readouterr()
    assert "nmse ↓" in printed.out and "gap to bound" in printed.out and printed.err == ""


@pytest.mark.parametrize(
    ("agents", "options", "error", "message"),
    [
        ([echo], {"episodes": 1}, ValueError, "expected at least 2"),
        ([], {}, ValueError, "no agents"),
        (["zf"], {}, ValueError, "agent 'zf' doesn't do noisy_number; it does: precoding"),
        (["zff"], {}, LookupError, "no agent is called 'zff'; did you mean 'zf'?"),
        ([3], {}, TypeError, "expected an Agent"),
        ([echo], {"task": "precodin"}, LookupError, "did you mean 'precoding'?"),
        ([echo], {"scenario": "rayleigh"}, LookupError, "no scenario is called 'rayleigh'"),
        ([echo], {"scenario": []}, ValueError, "expected at least one"),
        ([echo], {"reference": "zf"}, ValueError, "no agent here is called 'zf'; there are: echo"),
        ([echo], {"processes": 0}, ValueError, "processes: expected at least 1, got 0"),
        ([echo], {"deadline_s": 0}, ValueError, "expected a positive number of seconds (finite), got 0"),
        ([broken], {"deadline_s": float("nan")}, ValueError, "expected a positive number of seconds (finite), got nan"),
        ([broken], {"deadline_s": float("inf")}, ValueError, "expected a positive number of seconds (finite), got inf"),
        ([echo], {"fallback": "random"}, ValueError, "needs deadline_s"),
        ([echo], {"sweep": "noise=1:0:0.1"}, SweepError, "doesn't lead from 1 to 0"),
        ([echo], {"sweep": "noise=1,2", "noise": 3}, SweepError, "swept and set to 3 at once"),
        ([echo], {"sweep": "nose=1,2"}, ScenarioError, "did you mean 'noise'?"),
        ([echo], {"num_user": 2}, ScenarioError, "did you mean 'num_users'?"),
    ],
)
def test_a_wrong_request_is_refused_in_words(agents, options, error, message):
    task = options.pop("task", NoisyNumber)
    with pytest.raises(error) as caught:
        run(agents, task, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["reset", "score", "advance", "step", "bound", "bound_metrics", "channel", "interference_free_bound"]
)
def test_an_agent_cannot_draw_or_score_the_episodes_of_its_comparison(name):
    class Cheat(Agent):
        def act(self, task, obs):
            return getattr(task, name)

    table = compare("precoding", [Cheat()], "rayleigh-32", 4, processes=1, show=False, progress=False, horizon=1)
    failed = next(record for record in table.records if record.agent == "Cheat")
    assert failed.status == "failed"
    assert f"agents see a task's settings and observations; '{name}' is out of their reach" in failed.traceback


def test_a_sweep_of_transmit_power_needs_a_fixed_noise():
    with pytest.raises(SweepError, match=r"noise follows transmit power at a given snr_db, .* set noise_power_dbw"):
        compare("precoding", ["mrt"], "rayleigh-32", 4, sweep={"tx_power_dbw": [0, 10]}, processes=1, show=False, progress=False)


@pytest.mark.parametrize("damage", [b"", b"PK", b"nonsense" * 100])
def test_a_damaged_block_is_played_again(tmp_path, damage):
    first = run([echo], out=tmp_path)
    for path in (tmp_path / "blocks").glob("*.npz"):
        path.write_bytes(damage)
    assert numbers(run([echo], out=tmp_path)) == numbers(first)


def test_a_block_with_one_wrong_bit_is_played_again(tmp_path):
    first = run([echo], out=tmp_path)
    for path in (tmp_path / "blocks").glob("*.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert numbers(run([echo], out=tmp_path)) == numbers(first)


def test_fresh_weights_are_counted_once_they_are_built(tmp_path):
    def counted(agents, **options):
        records = compare(
            "precoding", agents, "rayleigh-32", 4, horizon=1, processes=1, progress=False, show=False, **options
        ).records
        return {record.agent: record.parameters for record in records}

    fresh = ["cnn_precoder:checkpoint=none:label=own", Learnable(hidden=7, label="foreign"), "zf"]
    found = counted(fresh, out=tmp_path)
    built = make_agent("cnn_precoder", checkpoint=None)
    built.weights(make_task("precoding", "rayleigh-32").spec)
    assert found["own"] == built.num_parameters > 0
    assert found["foreign"] == 3 * 7 + 7 + 7 * 2
    assert found["zf"] == found["random"] == found["bound"] == 0
    assert counted(fresh, out=tmp_path) == found, "what is kept says so as well"


def test_an_agent_that_cannot_say_how_many_weights_it_has_fails_alone():
    class Changes(Shrink):
        weights = 0

        def act(self, task, obs):
            type(self).weights = "many"
            return obs["y"]

        num_parameters = property(lambda self: self.weights)

    table = by_agent(run([Changes(0.5), echo]))
    assert table["Changes"].status == "failed" and table["echo"].status == "ok"
    assert "num_parameters: expected a number of weights, got 'many'" in table["Changes"].traceback
