"""Training configurations: what is read, what is refused and how, and what a step uses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from learnable import Learnable

from wirelessgym import compare
from wirelessgym.learned import FIRST_TRAINING_SEED, FIRST_VALIDATION_SEED
from wirelessgym.registry import UnknownIdError, training_files
from wirelessgym.scenario import ScenarioError
from wirelessgym.toml import to_toml
from wirelessgym.train import ConfigurationError, read_configuration
from wirelessgym.train.config import LARGEST_SEED, first_difference
from wirelessgym.train.sampling import Job, entry_of, training_jobs, uses, validation_jobs

PRECODING = {"task": "precoding", "scenario": "rayleigh-32", "batch": 4, "validation_episodes": 10}
DETECTION = {"task": "detection", "scenario": "rayleigh-32", "batch": 3, "validation_episodes": 2}


def config(*overrides, tasks=(PRECODING,), **keys):
    return read_configuration({"agent": "some", "warmup_steps": 5, "steps": 20, "tasks": list(tasks), **keys}, overrides)


def numbers(jobs: list[Job], entry: int) -> list[int]:
    return [number for job in jobs if job.entry == entry for number in job.numbers]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"learning_rte": 1e-3}, "unknown key 'learning_rte'; did you mean 'learning_rate'?"),
        ({"tasks": [PRECODING | {"bacth": 3}]}, "unknown key 'tasks.0.bacth'; did you mean 'tasks.0.batch'?"),
        ({"zzz": 1}, "unknown key 'zzz'; known keys: agent, seed, steps"),
        ({"learning_rate": -1}, "learning_rate: allowed is above 0, up to 10"),
        ({"learning_rate": float("nan")}, "learning_rate: input should be a finite number"),
        ({"tasks": [PRECODING | {"batch": 0}]}, "tasks.0.batch: allowed is 1 to 1000000, got 0"),
        ({"seed": -1}, "seed: allowed is 0 to 2305843009213693951, got -1"),
        ({"seed": 2**61}, "seed: allowed is 0 to 2305843009213693951, got 2305843009213693952"),
        ({"precision": "fp8"}, "precision: input should be 'no' or 'bf16', got \"fp8\""),
        ({"tasks": []}, "tasks: tuple should have at least 1 item"),
        ({"samples_per_episode": 1}, "samples_per_episode: allowed is 2 to 10000, got 1"),
        ({"discount": 0}, "discount: allowed is above 0, up to 1, got 0"),
        ({"tasks": [PRECODING | {"weight": 2}], "task_choice": "round_robin"}, "leave them out of a round robin"),
        ({"tasks": [PRECODING | {"validation_episodes": 0}], "keep": "best"}, 'keep = "best" needs validation_episodes above 0'),
        ({"tasks": [PRECODING | {"overrides": {"scenario": "x"}}]}, "'scenario' is a key of its own, beside overrides"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_what_is_allowed(wrong, said):
    with pytest.raises(ConfigurationError) as refusal:
        config(**wrong)
    assert said in str(refusal.value)


def test_a_missing_key_is_named():
    with pytest.raises(ConfigurationError, match="missing key 'agent'; missing key 'tasks'"):
        read_configuration({})


def test_wrong_options_of_the_task_are_refused_with_a_suggestion():
    entry = config("tasks.0.overrides.num_user=3").tasks[0]
    with pytest.raises(ScenarioError, match="did you mean 'num_users'"):
        entry.make()


def test_an_unknown_name_gets_a_suggestion(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("wirelessgym.train.config.training_files", lambda: {"universal": tmp_path / "universal.toml"})
    with pytest.raises(UnknownIdError, match=r"no training configuration is called 'univrsal'; did you mean 'universal'\?"):
        read_configuration("univrsal")
    with pytest.raises(FileNotFoundError):
        read_configuration(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("steps = = 3")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        read_configuration(tmp_path / "broken.toml")


def test_every_configuration_that_comes_with_the_agents_is_valid_and_its_tasks_exist():
    for name in training_files():
        assert all(entry.make().id == entry.task for entry in read_configuration(name).tasks)


def test_a_configuration_is_the_same_after_it_was_written_and_read(tmp_path: Path):
    written = config(
        'agent_options.backbone="no\\"ne"',
        "agent_options.ranks=[1, 2]",
        "agent_options.layers=none",
        "tasks.0.overrides.panel.columns=2",
        "tasks.precoding.overrides.csi_snr_db=none",
        "learning_rate=1e-7",
        tasks=[PRECODING, DETECTION],
    )
    (tmp_path / "run.toml").write_text(to_toml(written.plain()))
    assert read_configuration(str(tmp_path / "run.toml")) == written


def test_overrides_reach_entries_by_number_by_task_and_all_of_them():
    changed = config(
        "tasks.0.batch=7", "tasks.detection.batch=8", "tasks.*.loss_scale=2", "steps=50", tasks=[PRECODING, DETECTION]
    )
    assert [(entry.batch, entry.loss_scale) for entry in changed.tasks] == [(7, 2.0), (8, 2.0)]
    assert changed.steps == 50
    with pytest.raises(ConfigurationError, match="no entry of tasks is '3'; there are precoding"):
        config("tasks.3.batch=7")
    with pytest.raises(ConfigurationError, match="holds no"):
        config("steps.deep=7")
    assert PRECODING["batch"] == 4  # the caller's own is untouched


def test_none_means_none_where_that_is_the_default_only():
    entry = config(tasks=[PRECODING | {"scenario": "uma-hard-16", "overrides": {"csi_snr_db": None, "normalisation": "none"}}])
    scenario = entry.tasks[0].make().scenario
    assert scenario.csi_snr_db is None and scenario.normalisation == "none"


@pytest.mark.parametrize("given", [{"limit": None}, {"limit": "none"}])
def test_an_option_of_the_agent_is_none_where_its_type_has_it_only(given, tmp_path: Path):
    written = config("agent_options.word=none", agent="learnable:Limited", agent_options=given)
    (tmp_path / "run.toml").write_text(to_toml(written.plain()))
    agent = read_configuration(tmp_path / "run.toml").make_agent()
    assert (agent.limit, agent.word) == (None, "none")


def test_no_option_is_none_where_types_are_known_to_type_checkers_only():
    agent = config("agent_options.word=none", agent="learnable:Untold").make_agent()
    assert (agent.word, agent.path) == ("none", None)


@pytest.mark.parametrize(("options", "seed"), [({"seed": 7}, 7), ({}, 0)])
def test_a_checkpoint_brings_its_own_seed_unless_the_options_have_one(options, seed, tmp_path: Path):
    checkpoint = {"checkpoint": str(Learnable().save(tmp_path))}
    assert config(agent="learnable:Learnable", seed=3, agent_options=checkpoint | options).make_agent().seed == seed
    assert config(agent="learnable:Learnable", seed=3).make_agent().seed == 3


def test_an_option_that_does_not_exist_is_refused_whatever_its_value():
    with pytest.raises(TypeError, match="agent 'universal' has no option 'depth'"):
        config("agent_options.depth=none", agent="universal").make_agent()


def test_the_first_key_that_differs_is_found_where_it_is_nested():
    one, other = config(tasks=[PRECODING, DETECTION]).plain(), config("tasks.1.batch=9", tasks=[PRECODING, DETECTION]).plain()
    assert first_difference(one, other) == "tasks.1.batch"
    assert first_difference(one, one) is None
    assert first_difference(one, config(tasks=[PRECODING]).plain()) == "tasks"


def test_a_step_chooses_its_task_by_weight_and_always_the_same():
    three_to_one = config(tasks=[PRECODING | {"weight": 3}, DETECTION], steps=4000)
    counts = uses(three_to_one, 4000)
    assert sum(counts) == 4000
    assert abs(counts[0] - 3000) < 5 * math.sqrt(4000 * 0.75 * 0.25)
    assert [entry_of(three_to_one, step) for step in range(50)] == [entry_of(three_to_one, step) for step in range(50)]
    other = config(tasks=[PRECODING | {"weight": 3}, DETECTION], steps=4000, seed=1)
    assert [entry_of(three_to_one, s) for s in range(50)] != [entry_of(other, s) for s in range(50)]
    of_three = uses(config(tasks=[PRECODING, DETECTION | {"weight": 2}, PRECODING | {"weight": 5}]), 4000)
    assert all(abs(count / 4000 - share) < 0.04 for count, share in zip(of_three, (1 / 8, 2 / 8, 5 / 8), strict=True))


def test_a_round_robin_takes_tasks_in_turn():
    turns = config(tasks=[PRECODING, DETECTION, PRECODING], task_choice="round_robin")
    assert [entry_of(turns, step) for step in range(5)] == [0, 1, 2, 0, 1]
    assert turns.labels == ("precoding", "detection", "precoding-2")


def test_no_episode_is_used_twice_by_steps_or_entries():
    twice = config(tasks=[PRECODING, PRECODING])
    jobs = list(training_jobs(twice, 0))
    used = numbers(jobs, 0) + numbers(jobs, 1)
    assert len(jobs) == 20 and len(used) == len(set(used)) == 80
    held_out = validation_jobs(twice)
    assert {job.seed for job in held_out}.isdisjoint(job.seed for job in jobs)
    assert len(set(numbers(held_out, 0) + numbers(held_out, 1))) == 20


def test_a_run_that_goes_on_draws_what_it_would_have_drawn():
    both = config(tasks=[PRECODING, DETECTION])
    assert list(training_jobs(both, 7)) == list(training_jobs(both, 0))[7:]


@pytest.mark.parametrize("seed", [0, LARGEST_SEED])
def test_training_validation_and_comparison_share_no_seed(seed):
    some = config(seed=seed)
    training = {job.seed for job in training_jobs(some, 0)}
    validation = {job.seed for job in validation_jobs(some)}
    assert training == {FIRST_TRAINING_SEED + seed} and validation == {FIRST_VALIDATION_SEED + seed}
    assert max(training) < FIRST_VALIDATION_SEED and max(validation) < 2**63
    for drawn in training | validation:
        with pytest.raises(ValueError, match=r"seed: expected 0 to 2\^61 - 1"):
            compare("precoding", ["zf"], "rayleigh-32", episodes=2, seed=drawn, progress=False, show=False)


def test_the_learning_rate_rises_linearly_and_falls_to_zero_along_a_cosine():
    some = config(learning_rate=2.0, warmup_steps=4, steps=24)
    rates = [some.learning_rate_at(step) for step in range(25)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[14] == pytest.approx(1.0)  # half-way
    assert rates[24] == pytest.approx(0.0, abs=1e-12)
    assert config(warmup_steps=0, learning_rate=0.5).learning_rate_at(0) == 0.5


def test_a_run_shorter_than_its_warmup_warms_up_over_half_of_its_steps():
    short = config(learning_rate=2.0, warmup_steps=100, steps=8)
    assert [short.learning_rate_at(step) for step in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert config(learning_rate=2.0, warmup_steps=100, steps=1).learning_rate_at(0) == 2.0


@pytest.mark.parametrize("name", training_files())
def test_the_example_of_the_command_lines_help_is_valid_for_every_configuration(name):
    assert read_configuration(name, ["steps=50"]).learning_rate_at(49) > 0
