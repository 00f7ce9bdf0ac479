"""Agents that nobody should let in: they die, hang, answer with garbage, or look for what they aren't told."""

import ctypes
import gc
import os
import sys
import time

import torch
from wirelessgym.agents.universal.heads import Head

from wirelessgym import make_agent, make_task
from wirelessgym.agent import Agent
from wirelessgym.task import State, Task


def exits(obs):
    sys.exit(0)


def exits_at_once(obs):
    os._exit(3)


def aborts(obs):
    os.abort()


def reads_nothing_at_address_0(obs):
    ctypes.string_at(0)


def ends_a_generator(obs):
    raise GeneratorExit


def interrupts(obs):
    raise KeyboardInterrupt


def hangs(obs):
    time.sleep(600)


def babbles(obs):
    for descriptor in range(3, 40):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue
    return obs["y"]


def swallows_its_socket(obs):
    os.closerange(3, 40)
    time.sleep(600)


def kills_its_parent(obs):
    os.kill(os.getppid(), 9)
    time.sleep(600)


def kills_its_grandparent(obs):
    with open(f"/proc/{os.getppid()}/stat") as file:
        grandparent = int(file.read().rpartition(")")[2].split()[1])
    with open(f"/proc/{grandparent}/cmdline") as file:
        assert "serve_copies" in file.read(), "nobody to kill"
    os.kill(grandparent, 9)
    os.kill(os.getpid(), 9)


def sparse(obs):
    return obs["y"].to_sparse()


def meta(obs):
    return obs["y"].to("meta")


def quantised(obs):
    return torch.quantize_per_tensor(obs["y"], 0.1, 0, torch.qint8)


def nested(obs):
    return torch.nested.nested_tensor(list(obs["y"]))


def nothing(obs):
    return None


def huge(obs):
    return torch.zeros(2**26, 4)


def surrogate(obs):
    raise ValueError("\ud800 \x1b[2J")


class ExitsWhenMade(Agent):
    def __init__(self):
        sys.exit(0)

    def act(self, task, obs):
        return obs["y"]


class NumberHead(Head):
    """A head from elsewhere."""


class Named(Agent):
    """An agent with a name, or another thing that agents say of themselves, of the tester's choice."""

    def __init__(self, name="x", parameters=0, fingerprint="", training="none"):
        self._said = {"name": name, "parameters": parameters, "fingerprint": fingerprint, "training": training}

    name = property(lambda self: self._said["name"])
    num_parameters = property(lambda self: self._said["parameters"])
    fingerprint = property(lambda self: self._said["fingerprint"])
    trained_as = property(lambda self: self._said["training"])

    def act(self, task, obs):
        return obs["y"]


class Nosy(Agent):
    """Precodes towards the best channels that it can get hold of: by ``look``, or the observed ones."""

    tasks = ("precoding",)

    def look(self, task, obs):
        return None

    def act(self, task, obs):
        found = self.look(task, obs)
        return make_agent("rzf").act(task, obs if found is None else obs | {"csi": found})


class Replays(Nosy):
    def look(self, task, obs):
        return make_task(task.id, task.scenario, **task.options).reset(range(len(obs["csi"])), 7)[0].h


class LooksThroughMemory(Nosy):
    def look(self, task, obs):
        found = [thing for thing in gc.get_objects() if isinstance(thing, State | Task)]
        assert not found


class LooksAtCallers(Nosy):
    def look(self, task, obs):
        frame = sys._getframe()
        while frame is not None:
            assert not any(isinstance(value, State | Task) for value in frame.f_locals.values())
            assert "seed" not in frame.f_locals
            frame = frame.f_back


class ReadsWhatIsPrivate(Nosy):
    def look(self, task, obs):
        for name in ("_Settings__read", "_task", "reset", "channel"):
            assert not hasattr(task, name)
        assert not any(isinstance(value, State | Task) for value in vars(task).values())


class Rewrites(Nosy):
    """Gives everyone 999, and makes another agent worse."""

    def look(self, task, obs):
        from wirelessgym.agents.zf import ZF

        from wirelessgym.tasks.precoding import Precoding

        Precoding.score = lambda self, state, action: {"sum_rate": torch.full((len(state.episode),), 999.0)}
        ZF.act = lambda self, task, obs: torch.zeros_like(obs["csi"])


class LooksAround(Nosy):
    def look(self, task, obs):
        assert os.listdir() == []
        assert "SECRET_TOKEN" not in os.environ
