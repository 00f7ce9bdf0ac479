"""An agent's name follows from where its class is defined, never from what the process did before."""

import subprocess
import sys

import pytest
from noisy_number import Shrink

from wirelessgym import agent as module
from wirelessgym.agent import agent_id
from wirelessgym.registry import agent_class, ids, make_agent


@pytest.mark.parametrize("first", ["None", "make_agent('wmmse')"])
def test_asking_the_registry_changes_no_name(first):
    program = (
        "from wirelessgym import make_agent\n"
        f"{first}\n"
        "from wirelessgym.agents.wmmse import WMMSE\n"
        "class Mine(WMMSE): ...\n"
        "print(WMMSE().name, make_agent('wmmse').name, Mine().name)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "wmmse wmmse Mine\n"


def test_every_agent_of_the_registry_bears_its_id():
    assert {agent_id(agent_class(name)) for name in ids("agents")} == set(ids("agents"))


class _Point:
    """An entry point of another package."""

    def __init__(self, name, module, attr, cls):
        self.name, self.module, self.attr, self._cls = name, module, attr, cls

    def load(self):
        return self._cls


@pytest.fixture
def no_memory():
    agent_id.cache_clear()
    yield
    agent_id.cache_clear()


@pytest.mark.parametrize("where", ["noisy_number", "noisy_number.public"])  # defined there, or imported there from elsewhere
def test_an_agent_of_another_package_bears_its_entry_points_name(where, monkeypatch, no_memory):
    points = [_Point("other", where, "Shrink", object), _Point("shrink", where, "Shrink", Shrink)]
    monkeypatch.setattr(module, "entry_points", lambda group: points if group == "wirelessgym.agents" else [])
    assert Shrink().name == "shrink"


def test_a_package_that_only_shares_a_class_name_isnt_loaded(monkeypatch, no_memory):
    class Trap(_Point):
        def load(self):
            raise AssertionError("loaded somebody else's package")

    monkeypatch.setattr(module, "entry_points", lambda group: [Trap("shrink", "elsewhere", "Shrink", None)])
    assert Shrink().name == "Shrink"


def test_a_class_says_its_id_itself_if_it_likes():
    class Named(Shrink):
        id = "mine"

    assert Named().name == "mine" and make_agent("wmmse").name == "wmmse"
