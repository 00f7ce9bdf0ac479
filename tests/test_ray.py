"""Ray as an executor, on two workers of this machine: the same bits as in this process."""

import os

import pytest
from noisy_number import Shrink, broken, echo
from test_evaluate import by_agent, numbers, run

from wirelessgym.parallel import WorkerError, make_executor

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def ray():
    with make_executor("ray", 2) as executor:
        yield executor


def test_results_are_those_of_this_process_bit_for_bit(ray):
    for settings in (
        {"agents": [echo, Shrink(0.5), broken], "sweep": {"noise": [0.1, 0.5]}},
        {"agents": ["rzf", "random"], "task": "precoding", "scenario": "rayleigh-32", "episodes": 130, "horizon": 1},
    ):
        here = run(**settings)
        there = run(**settings, processes=None, executor=ray)
        assert numbers(here) == numbers(there)


def test_a_name_is_enough(ray):
    assert by_agent(run(["random"], processes=None, executor="ray"))["random"].status == "ok"


def worker(item, shared):
    return os.getpid(), id(shared)


def test_workers_take_the_shared_value_once(ray):
    seen = [result for _, result in ray.run(worker, range(40), {"weights": bytes(10**6)})]
    assert os.getpid() not in dict(seen)
    assert len(set(seen)) == len(dict(seen)) <= 2


def dies(item, shared):
    os._exit(3)


def test_errors_come_back_as_they_are(ray):
    with pytest.raises(ZeroDivisionError):
        list(ray.run(divmod, [1], 0))
    with pytest.raises(WorkerError, match="a worker of Ray ended while it worked"):
        list(ray.run(dies, [1], 0))
