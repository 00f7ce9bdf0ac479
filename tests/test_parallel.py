"""Executors: the same results wherever the work is done, and no process that outlives its caller."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from noisy_number import Moody, Shrink, broken, echo
from test_evaluate import by_agent, numbers, run
from work_items import ANSWER_BYTES, add, die, die_while_answering, pid

from wirelessgym import evaluate
from wirelessgym.evaluate import compare, estimate
from wirelessgym.evaluate.shards import Shard
from wirelessgym.parallel import Automatic, Executor, Here, WorkerError, make_executor, processes, windowed
from wirelessgym.parallel.processes import Processes
from wirelessgym.record import read_records
from wirelessgym.registry import make_task


class Backwards:
    """An executor from elsewhere: the last item first."""

    entered = 0

    def run(self, function, items, shared):
        for index, item in reversed(list(enumerate(items))):
            yield index, function(item, shared)

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *exception):
        self.entered -= 1


def test_an_executor_of_ones_own_is_one_class():
    executor = Backwards()
    settings = {"sweep": {"noise": [0.1, 0.5]}, "processes": None}
    assert isinstance(executor, Executor)
    assert numbers(run([echo, Shrink(0.5)], executor=executor, **settings)) == numbers(run([echo, Shrink(0.5)], **settings))
    assert executor.entered == 0


def test_a_worker_that_is_killed_in_the_middle_of_its_answer_keeps_nobody_waiting():
    pool, found = Processes(1), []

    def work():
        try:
            found.extend(pool.run(die_while_answering, [0], None))
        except WorkerError as error:
            found.append(error)

    caller = threading.Thread(target=work, daemon=True)
    caller.start()
    caller.join(60)
    assert len(found) == 1  # the whole answer, or an error
    assert isinstance(found[0], WorkerError) or len(found[0][1]) == ANSWER_BYTES


def test_local_processes_work_on_items_as_they_are_needed_and_are_reused():
    taken = []

    def items():
        for number in range(12):
            taken.append(number)
            yield number

    with Processes(2, ahead=3) as executor:
        results = executor.run(add, items(), 100)
        first = next(results)
        assert len(taken) <= 4  # three under way, and one for the one that is here
        assert dict([first, *results]) == {number: number + 100 for number in range(12)}
        assert list(executor.run(os.path.join, ["a"], "b")) == [(0, "a/b")]
        with pytest.raises(ZeroDivisionError):
            list(executor.run(divmod, [1], 0))
        with pytest.raises(WorkerError, match="a worker process ended while it worked"):
            list(executor.run(die, [1], 0))
    assert executor._pool is None


def test_items_that_finished_together_come_in_order():
    handed = list(windowed("abcdef", 4, str.upper, lambda under_way: under_way[::-1]))
    assert handed == list(enumerate("ABCDEF"))


def test_every_item_gets_a_process_of_its_own_if_asked():
    pids = [result for _, result in Processes(1, fresh=True).run(pid, range(2), None)]
    assert len({os.getpid(), *pids}) == 3


@pytest.mark.parametrize(
    ("wanted", "workers", "error", "message"),
    [
        ("dask", None, ValueError, "executor: expected one of here, processes, ray, got 'dask'"),
        (3, None, TypeError, "expected a name or an object with run, __enter__ and __exit__, got int"),
        (None, 0, ValueError, "processes: expected at least 1, got 0"),
        (None, 1.5, TypeError, "processes: expected an integer, got 1.5"),
        (Backwards(), 2, ValueError, "Backwards decides by itself"),
    ],
)
def test_a_wrong_executor_is_refused_in_words(wanted, workers, error, message):
    with pytest.raises(error) as caught:
        make_executor(wanted, workers)
    assert message in str(caught.value)


def test_what_a_caller_asks_for():
    kinds = [type(make_executor(*asked)) for asked in ((None, None), (None, 1), ("here", None), (None, 3), ("processes", None))]
    assert kinds == [Automatic, Here, Here, Processes, Processes]


def test_shards_on_a_shared_folder_make_the_whole_table(tmp_path, capsys):
    whole = run([echo, "random"], sweep={"noise": [0.1, 0.5]})  # three blocks at each point
    settings = {"sweep": {"noise": [0.1, 0.5]}, "out": tmp_path}
    parts = [run([echo, "random"], shard=f"{part}/3", **settings) for part in (1, 2)]
    assert [len(part.records) for part in parts] == [0, 0]
    assert "shard 1/3: done, kept in" in (said := capsys.readouterr().err) and "4 blocks of other shards aren't there yet" in said
    last = run([echo, "random"], shard="3/3", **settings)
    assert numbers(last) == numbers(run([echo, "random"], **settings)) == numbers(whole)
    assert len(read_records(tmp_path)) == len(whole.records)


def test_every_block_is_one_shards():
    shards = [Shard.parse(f"{part}/3") for part in (1, 2, 3)]
    assert all(sum(shard.has(number) for shard in shards) == 1 for number in range(10))


def test_an_agent_that_fails_in_one_shard_is_in_the_table_of_the_last_as_failed(tmp_path, capsys):
    first = run([echo, broken], shard="1/2", out=tmp_path)
    assert first.exit_code == 1 and not first.records
    assert "shard 1/2: agent 'broken' failed: RuntimeError: " in capsys.readouterr().err
    last = run([echo, broken], shard="2/2", out=tmp_path)
    assert last.exit_code == 1 and capsys.readouterr().err == ""
    failed = by_agent(last)["broken"]
    assert failed.status == "failed" and "RuntimeError" in failed.traceback and by_agent(last)["echo"].status == "ok"
    assert numbers(last) == numbers(run([echo, broken], out=tmp_path))


def test_a_failure_in_a_shard_is_forgotten_once_that_shard_succeeds(tmp_path):
    trouble = tmp_path / "trouble"
    trouble.touch()
    moody, settings = Moody(str(trouble)), {"out": tmp_path / "run"}
    assert run([moody], shard="1/2", **settings).exit_code == 1
    trouble.unlink()
    assert run([moody], shard="1/2", **settings).exit_code == 0
    assert not list(tmp_path.rglob("*.failed"))
    assert by_agent(run([moody], shard="2/2", **settings))["Moody"].status == "ok"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "-1/2", "1/2/3", ""])
def test_a_wrong_shard_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="shard: expected i/n"):
        run([echo], shard=text, out=tmp_path)


def test_shards_need_a_folder():
    with pytest.raises(ValueError, match="name it with out"):
        run([echo], shard="1/2")


def test_more_episodes_than_fit_are_refused_at_once():
    for episodes in (99_999_999_999, 10**20):
        with pytest.raises(ValueError, match=r"needs about .*B of memory .* for results\), .* are free; take fewer"):
            run([echo], episodes=episodes)


def test_channels_that_do_not_fit_are_refused_before_they_are_sampled(monkeypatch):
    monkeypatch.setattr(estimate, "free_bytes", lambda: 2e9)
    monkeypatch.setattr(evaluate, "Run", None)
    large = {"panel": {"rows": 32, "columns": 32}, "num_subcarriers": 1200, "horizon": 10}
    with pytest.raises(
        ValueError, match=r"this comparison needs about .* of memory \(.* for the episodes that are played at once"
    ):
        compare("channel_prediction", ["hold"], episodes=64, processes=1, progress=False, show=False, **large)


def test_the_estimate_grows_with_what_is_asked_for():
    small, many = (make_task("precoding", "rayleigh-32", num_users=users) for users in (2, 8))
    base = estimate.needs([small], 1000, 2, 0)
    assert estimate.needs([many], 1000, 2, 0).block_bytes > 3 * base.block_bytes
    assert estimate.needs([small], 2000, 2, 0).result_bytes == 2 * base.result_bytes
    assert estimate.needs([small, small], 1000, 2, 0).cpu_s == 2 * base.cpu_s
    assert base.memory_bytes(3) > 3 * base.block_bytes + 2 * estimate.BYTES_PER_PROCESS
    assert estimate.warning(base, 1) is None
    assert "days on 2 cores" in estimate.warning(estimate.needs([small], 10**9, 2, 0), 2)


def test_as_many_workers_start_as_memory_holds(monkeypatch):
    size = estimate.needs([make_task("precoding", "rayleigh-32")], 1000, 2, 0)
    monkeypatch.setattr(estimate, "free_bytes", lambda: size.memory_bytes(3) + 1)
    assert [estimate.fitting_workers(size, wanted) for wanted in (1, 2, 8)] == [1, 2, 3]


SLOW = """
import time
def slow(obs):
    time.sleep(0.5)
    return obs["csi"]
"""


def started(tmp_path: Path, *words: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A comparison on the command line that takes long, once its agents play; and the processes that it has started."""
    (tmp_path / "slow_agents.py").write_text(SLOW)
    command = [sys.executable, "-m", "wirelessgym", "compare", "precoding", "--agents", "zf,slow_agents:slow", "--out", "out"]
    command += ["--scenario", "rayleigh-32", "--set", "horizon=20", "--episodes", "6400", "--no-progress", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    kept, until = tmp_path / "out" / "blocks", time.monotonic() + 240
    while not (kept.is_dir() and any(kept.glob("*.npz"))):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.1)
    return process, psutil.Process(process.pid).children(recursive=True)


def gone(children: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(children, timeout=15)[1]


@pytest.mark.slow
def test_nothing_outlives_a_caller_that_is_killed(tmp_path):
    process, children = started(tmp_path, "--processes", "2")
    assert len(children) >= 4  # two workers, and the agent's processes
    process.kill()
    process.wait()
    assert gone(children)


def test_a_request_to_end_is_answered_as_ctrl_c_is(tmp_path):
    process, children = started(tmp_path, "--processes", "1")
    process.terminate()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and gone(children)
    assert "finished blocks are kept" in said and "Traceback" not in said


def test_a_worker_ends_when_its_parent_is_another_one():
    program = "from wirelessgym.parallel.orphans import end_with_parent; end_with_parent(1); print('still here')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")


def test_short_work_starts_no_processes(monkeypatch):
    monkeypatch.setattr(processes, "ProcessPoolExecutor", None)
    assert dict(Automatic(4).run(add, range(3), 1)) == {0: 1, 1: 2, 2: 3}
