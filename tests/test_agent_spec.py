import threading
from dataclasses import dataclass, field

import pytest
import torch
from noisy_number import Shrink, echo

from wirelessgym.agent_names import named_agent
from wirelessgym.evaluate.players import Players, agent_specs
from wirelessgym.registry import make_agent, make_task


def one(thing, task="precoding"):
    (entry,) = agent_specs([thing], [task])
    return entry


def test_an_agent_is_named_by_id_with_options_or_by_module():
    assert named_agent("wmmse:iterations=7:initialisation=mrt") == make_agent("wmmse", iterations=7, initialisation="mrt")
    assert named_agent("noisy_number:Shrink:factor=0.25") == Shrink(0.25)
    assert named_agent("noisy_number:echo").function is echo


def test_a_registered_agent_is_known_by_its_name_however_it_comes():
    by_name, by_hand = one("wmmse:iterations=7"), one(make_agent("wmmse", iterations=7))
    assert by_hand.spec == by_name.spec == "wmmse:iterations=7" and by_hand.named
    assert by_hand.digest == by_name.digest != one("wmmse").digest
    assert by_hand.options["iterations"] == 7


def test_an_object_of_the_callers_is_described_and_its_digest_follows_its_content():
    assert (one(echo).spec, one(echo).named) == ("noisy_number:echo", False)
    assert one(Shrink(0.5)).options == {"factor": 0.5}
    assert one(Shrink(0.5)).digest == one(Shrink(0.5)).digest != one(Shrink(0.6)).digest
    module = torch.nn.Linear(2, 3)
    assert one(module).parameters == 9 and one(module).name == "Linear"


def test_an_agent_says_what_it_learned_from_and_a_function_cant():
    assert one("rzf").training == one(Shrink(0.5)).training == "none"
    assert one("lookup_mcs", "link_adaptation").training == "fitted"
    assert one(torch.nn.Linear(2, 3)).training == "network"
    assert one(echo).training is None
    assert one("mcs_policy:checkpoint=shipped", "link_adaptation").training == "network"
    assert one("mcs_policy", "link_adaptation").training == "none"  # fresh weights


def test_every_copy_of_an_agent_starts_where_it_was_handed_over():
    class Counter:
        calls = 0

        def __call__(self, obs):
            self.calls += 1
            return torch.tensor(float(self.calls))

    spec, obs = make_task("precoding", "rayleigh-32").spec, {"x": torch.zeros(1)}
    with Players() as players:
        entry = one(Counter())
        first = players.make(entry)
        assert [float(first.act(spec, obs)) for _ in range(2)] == [1, 2]
        assert float(players.make(entry).act(spec, obs)) == 1


def test_no_agent_takes_the_name_of_another_row():
    class Bound(Shrink):
        id = "bound"

    assert [entry.name for entry in agent_specs(["zf", "zf", "zf", Bound()], ["precoding"])] == [
        "zf",
        "zf-2",
        "zf-3",
        "bound-2",
    ]


def test_one_agent_alone_needs_no_list():
    assert [entry.name for entry in agent_specs("zf", ["precoding"])] == ["zf"]
    assert [entry.name for entry in agent_specs(torch.nn.Sequential(torch.nn.Linear(2, 2)), ["precoding"])] == ["Sequential"]


def test_an_agent_that_cannot_be_copied_is_refused_in_words():
    @dataclass(frozen=True)
    class Locked(Shrink):
        lock: object = field(default_factory=threading.Lock)

    with pytest.raises(TypeError, match="agent 'Locked' can't be copied, as a comparison needs: cannot pickle"):
        agent_specs([Locked()], ["precoding"])


def test_all_agents_of_a_task_come_by_default():
    assert {"hold", "wiener", "random"} <= {entry.name for entry in agent_specs(None, ["channel_prediction"])}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("wmse", LookupError, "did you mean 'wmmse'?"),
        ("wmmse:steps=3", TypeError, "has no option 'steps'; it has: iterations"),
        ("no_such_module:x", ImportError, "no_such_module"),
        ("noisy_number:nobody", ImportError, "module 'noisy_number' has no 'nobody'"),
        ("a:b:c", ValueError, "id:option=value"),
    ],
)
def test_a_wrong_name_is_refused_in_words(text, error, message):
    with pytest.raises(error) as caught:
        named_agent(text)
    assert message in str(caught.value)


def test_agents_whose_cost_explodes_take_part_only_when_named():
    assert "ml" not in [entry.name for entry in agent_specs(None, ["detection"])]
    assert [entry.name for entry in agent_specs(["ml"], ["detection"])] == ["ml"]
