"""Agents from elsewhere fail alone, however they fail, and see what they are told and no more."""

import os
import socket
import sys
import time

import pytest
import strangers
import torch
from noisy_number import NoisyNumber, Shrink, echo
from strangers import Named

from wirelessgym import make_agent, make_task
from wirelessgym.evaluate import compare
from wirelessgym.evaluate.players import Players, agent_specs
from wirelessgym.evaluate.seeds import SecretSeed
from wirelessgym.fields import leaves
from wirelessgym.isolation import wire
from wirelessgym.isolation.pickles import carries_foreign_code
from wirelessgym.isolation.process import AgentFailure, AgentProcess
from wirelessgym.record import read_records
from wirelessgym.registry import own_ids

QUIET = {"processes": 1, "progress": False, "show": False}
SECRET = SecretSeed.of("a text that nobody has ever seen")


def by_agent(table):
    return {record.agent: record for record in table.records}


ENDS = {
    "exits": "SystemExit: 0",
    "exits_at_once": "its process ended by itself with exit code 3 while acting",
    "aborts": "its process was killed by SIGABRT (signal 6) while acting",
    "reads_nothing_at_address_0": "its process was killed by SIGSEGV (signal 11) while acting",
    "ends_a_generator": "GeneratorExit",
    "interrupts": "KeyboardInterrupt",
    "babbles": "while acting: garbage instead of an answer",
    "swallows_its_socket": "its process hung up; it was ended while acting",
    "sparse": "expected a dense tensor, got a sparse one",
    "meta": "expected a dense tensor, got a meta one",
    "quantised": "expected a dense tensor, got a quantised one",
    "nested": "expected a dense tensor, got a nested one",
    "nothing": "action: expected a tensor or an array of numbers, got NoneType",
    "huge": "garbage instead of an answer (1073741824 bytes, where at most",
    "surrogate": "ValueError: \\ud800 \\x1b[2J",
}


def test_an_agent_fails_alone_however_it_ends(tmp_path):
    agents = [echo, *(getattr(strangers, name) for name in ENDS), strangers.ExitsWhenMade, Shrink(0.5)]
    table = compare(NoisyNumber, agents, episodes=4, out=tmp_path, **QUIET)
    records = by_agent(table)
    assert table.exit_code == 1
    for name, expected in ENDS.items():
        assert records[name].status == "failed" and expected in records[name].traceback, name
    assert "SystemExit: 0" in records["ExitsWhenMade"].traceback
    alone = by_agent(compare(NoisyNumber, [echo, Shrink(0.5)], episodes=4, **QUIET))
    for name in ("echo", "Shrink", "random", "bound"):
        assert records[name].status == "ok" and records[name].metrics == alone[name].metrics
    assert len(read_records(tmp_path)) == len(table.records)


def test_an_agent_that_hangs_is_ended_and_not_waited_for_again():
    begin = time.monotonic()
    table = compare(NoisyNumber, [strangers.hangs, echo], episodes=300, agent_timeout_s=3.0, **QUIET)
    records = by_agent(table)
    assert records["echo"].status == "ok" and "no answer within 3 s; its process was ended" in records["hangs"].traceback
    assert time.monotonic() - begin < 60  # five blocks, each of 600 s


def test_a_module_that_exits_while_it_is_imported_fails_alone(tmp_path, monkeypatch):
    (tmp_path / "leaves_at_import.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "dies_at_import.py").write_text("import os\nos._exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    table = compare(NoisyNumber, [echo, "leaves_at_import:x", "dies_at_import:x"], episodes=4, **QUIET)
    records = by_agent(table)
    assert records["echo"].status == "ok" and table.exit_code == 1
    assert "SystemExit: 0" in records["leaves_at_import:x"].traceback
    assert "ended by itself with exit code 0 while being imported" in records["dies_at_import:x"].traceback


def test_a_strangers_module_is_imported_in_its_own_process_only(tmp_path, monkeypatch):
    (tmp_path / "takes_over.py").write_text(
        "import wirelessgym.agents.zf as zf\nzf.ZF.act = None\ndef guess(obs):\n    return obs['y']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (spec,) = agent_specs(["takes_over:guess"], ["noisy_number"])
    from wirelessgym.agents.zf import ZF

    assert spec.name == "guess" and not spec.own and ZF.act is not None


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        (Named(None), "name: expected 1 to 100 printable characters, got None"),
        (Named("x" * 5000), "name: expected 1 to 100 printable characters, got 'xxx"),
        (Named("\x1b[2J"), "name: expected 1 to 100 printable characters"),
        (Named(training="much"), "training: expected 'none', 'fitted', 'network' or None, got 'much'"),
        (Named(parameters="many"), "parameters: expected a number of weights, got 'many'"),
        (Named(fingerprint=3), "fingerprint: expected text, got 3"),
    ],
)
def test_who_describes_itself_as_no_table_takes_fails_before_any_work(agent, message):
    garbled, other = agent_specs([agent, echo], ["noisy_number"])
    assert garbled.spec == "strangers:Named" and garbled.failure.startswith("answered with garbage while describing itself")
    assert message in garbled.failure and other.name == "echo" and other.failure is None


@pytest.mark.parametrize(
    "said",
    ["{}", "5", "None", "a | {'tasks': 7}", "a | {'genie': 'no'}", "a | {'options': {'x': b''}}", "a | {'registered': {}}"],
)
def test_garbage_instead_of_a_description_is_the_fault_of_its_author_alone(said, tmp_path, monkeypatch):
    (tmp_path / "garbler.py").write_text(
        "import wirelessgym.agent_spec as spec\nhonest = spec.description\n"
        f"def say(agent):\n    a = honest(agent)\n    return {said}\n"
        "spec.description = say\ndef guess(obs):\n    return obs['y']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    garbled, other = agent_specs(["garbler:guess", echo], ["noisy_number"])
    assert garbled.spec == "garbler:guess" and "answered with garbage" in garbled.failure
    assert other.spec == "noisy_number:echo" and other.failure is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the parent is the process that scores")
def test_an_agent_that_kills_its_parent_and_what_makes_copies_harms_no_other():
    task = make_task(NoisyNumber)
    _, obs = task.reset(range(4))
    with Players() as players:
        honest, *killers = players.specs([echo, strangers.kills_its_parent, strangers.kills_its_grandparent], task.spec.family)
        player = players.make(honest)
        player.act(task.spec, obs)
        for killer in killers:
            with pytest.raises(AgentFailure, match="killed by SIGKILL"):
                players.make(killer).act(task.spec, obs)
        assert player.act(task.spec, obs).equal(obs["y"])
        assert players.make(honest).act(task.spec, obs).equal(obs["y"])
    with Players() as players:  # a new nursery, if need be
        assert players.make(honest).act(task.spec, obs).equal(obs["y"])


def test_a_tasks_spec_goes_once_per_process_and_scene(monkeypatch):
    task, other = make_task(NoisyNumber), make_task(NoisyNumber, noise=0.1)
    _, obs = task.reset(range(4))
    asked, ask = [], AgentProcess.ask
    monkeypatch.setattr(AgentProcess, "ask", lambda self, do, *a, **k: asked.append(do) or ask(self, do, *a, **k))
    with Players() as players:
        (spec,) = players.specs([Shrink(0.5)], task.spec.family)
        for given in (task, task, other):
            assert players.make(spec).act(given.spec, obs).equal(0.5 * obs["y"])
    assert asked.count("begin") == 2


def test_an_own_agent_that_carries_foreign_code_is_a_stranger():
    changed = make_agent("zf")
    object.__setattr__(changed, "act", echo)
    holding = make_agent("zf")
    object.__setattr__(holding, "parts", {"deep": [Shrink(0.5)]})
    heads = (strangers.NumberHead, "strangers:NumberHead")
    taught = [make_agent("universal", extra_heads={"noisy_number": head}) for head in heads]
    assert all(carries_foreign_code(agent, ["noisy_number"]) for agent in (changed, holding, *taught))
    assert not any(carries_foreign_code(make_agent(name), ["precoding"]) for name in own_ids("agents"))
    (spec, plain) = agent_specs([changed, make_agent("zf")], ["precoding"])
    assert not spec.own and plain.own


HEAD = """
import os, pathlib
from number_head import NumberHead as Taught

(pathlib.Path(__file__).parent / "acted").write_text(str(os.getpid()))
"""


@pytest.mark.parametrize("trained", [False, True])
def test_a_head_of_another_package_acts_where_nobody_is_scored(trained, tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(HEAD)
    installed = tmp_path / "elsewhere-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[wirelessgym.heads]\nnoisy_number = elsewhere:Taught\n")
    monkeypatch.syspath_prepend(tmp_path)
    agent = "universal:checkpoint=none:backbone=none"
    if trained:
        fresh = make_agent("universal", checkpoint=None, backbone="none")
        fresh.weights(make_task(NoisyNumber).spec)
        agent = f"universal:checkpoint={fresh.save(tmp_path / 'trained')}"
        (tmp_path / "acted").unlink()
        for name in ("elsewhere", "number_head"):
            sys.modules.pop(name, None)
    records = by_agent(compare(NoisyNumber, [agent], episodes=4, **QUIET))
    assert records["universal"].status == "ok", records["universal"].traceback
    assert int((tmp_path / "acted").read_text()) != os.getpid() and "elsewhere" not in sys.modules
    (same,) = agent_specs([agent], ["precoding"])
    assert same.own, "on other tasks it is the project's own"


def test_no_stranger_passes_for_one_of_the_projects_own():
    class Pretends(Shrink):
        id = "zf"

    (pretends, zf) = agent_specs([Pretends(), "zf"], ["precoding"])
    assert zf.own and not pretends.own and pretends.spec != "zf" and pretends.digest != zf.digest


def precoding(agents, seed=7, **options):
    settings = {"scenario": "rayleigh-32", "episodes": 6, "horizon": 1, "csi_snr_db": 0, "num_users": 8} | QUIET
    return by_agent(compare("precoding", agents, seed=seed, **(settings | options)))


@pytest.fixture(scope="module")
def cheats():
    classes = [
        strangers.Nosy, strangers.Replays, strangers.LooksThroughMemory, strangers.LooksAtCallers,
        strangers.ReadsWhatIsPrivate, strangers.Rewrites, strangers.LooksAround,
    ]  # fmt: skip
    return precoding([*(cls() for cls in classes), "rzf", "zf"], SECRET, isolated=True)


@pytest.mark.parametrize("name", ["LooksThroughMemory", "LooksAtCallers", "ReadsWhatIsPrivate", "Rewrites", "LooksAround"])
def test_a_cheat_gains_nothing(cheats, name):
    assert cheats[name].traceback is None
    assert cheats[name].metrics == cheats["Nosy"].metrics == cheats["rzf"].metrics


def test_a_replay_needs_the_seed(cheats):
    known = precoding([strangers.Nosy(), strangers.Replays()])
    assert known["Replays"].value.mean > known["Nosy"].value.mean + 5  # what a secret seed is for
    assert cheats["Replays"].value.mean < cheats["Nosy"].value.mean


def test_nobody_changes_what_others_get(cheats):
    alone = precoding(["zf"], SECRET)
    assert cheats["zf"].metrics == alone["zf"].metrics and cheats["bound"].metrics == alone["bound"].metrics


def test_a_stranger_cannot_poison_blocks_that_are_kept(tmp_path):
    precoding([strangers.Rewrites(), "zf"], out=tmp_path)
    assert precoding(["zf"], out=tmp_path)["zf"].metrics == precoding(["zf"])["zf"].metrics


def test_records_name_a_secret_seed_by_its_digest(cheats, tmp_path):
    (tmp_path / "seed").write_text("a text that nobody has ever seen\n")
    seed = SecretSeed.read(tmp_path / "seed")
    record = cheats["zf"]
    assert seed == SECRET and record.seed == seed.digest and seed.digest.startswith("sha256:")
    assert "--seed-file FILE" in record.command
    for text in (record.to_json(), repr(seed)):
        assert str(seed.value) not in text
    with pytest.raises(ValueError, match="expected at least 16 characters, which nobody can guess, got 1"):
        SecretSeed.of("7")


def test_a_genie_from_elsewhere_gets_no_state_behind_the_barrier():
    class Genie(Shrink):
        needs_state = True

    with pytest.raises(ValueError, match="wants the true state, which isolated agents don't get"):
        compare(NoisyNumber, [Genie()], isolated=True, **QUIET)


@pytest.mark.parametrize(
    "message",
    [
        {"x": torch.arange(6).reshape(2, 3), "flags": torch.tensor([True, False]), "text": ("a", "b"), "none": None},
        {
            "z": torch.randn(2, 3, 4, dtype=torch.complex64).mH,
            "half": torch.ones(2, dtype=torch.bfloat16),
            "empty": torch.zeros(0, 4),
        },
        [1, 2.5, "x", b"bytes", {"nested": (True,)}],
    ],
)
def test_what_is_sent_arrives(message):
    here, there = socket.socketpair()
    with here, there:
        wire.send(here, message)
        arrived = wire.receive(there)
    assert str(arrived) == str(message)
    layouts = [
        [(x.dtype, x.stride(), x.is_conj()) for x in leaves(tree) if isinstance(x, torch.Tensor)] for tree in (arrived, message)
    ]
    assert layouts[0] == layouts[1]


def test_a_single_row_of_a_column_arrives():
    here, there = socket.socketpair()
    with here, there:
        wire.send(here, torch.arange(4.0).view(2, 2)[:1, 1])
        assert wire.receive(there).tolist() == [1.0]


@pytest.mark.parametrize(
    "header",
    [
        b"[1]", b"nonsense", b"\xff\xfe", b"[" * 10**5, b'{"bytes": -5}', b'{"a": 1, "b": 2}', b'{"pickle": 3}', b'"x',
        b'{"tensor": ["float32", [-1], [0], false]}', b'{"tensor": ["float99", [1], [0], false]}',
        b'{"tensor": ["float32", [1000000], [0], false]}', b'{"tensor": ["float32", [2, 2], [0], false]}',
        b'{"tensor": ["float32", [0, 1180591620717411303424], [0, 1], false]}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(header):
    here, there = socket.socketpair()
    with here, there:
        here.sendall(len(header).to_bytes(8, "little") + header)
        with pytest.raises(wire.WireError):
            wire.receive(there, limit=1000, timeout_s=5)


class TooStrict(NoisyNumber):
    """A bound that doesn't hold: an agent that repeats what it sees beats it."""

    def bound_metrics(self, state):
        return self.scored(state, 2 * state.n)


def test_a_result_beyond_the_bound_is_marked():
    table = compare(TooStrict, [echo], episodes=100, **QUIET)
    records = by_agent(table)
    assert any(note.startswith("echo is beyond the bound by ") for note in records["echo"].notes)
    assert "echo is beyond the bound by" in str(table)
    assert not any("beyond" in note for name in ("random", "bound") for note in records[name].notes)
    honest = by_agent(compare(NoisyNumber, [echo], episodes=100, **QUIET))
    assert not any("beyond" in note for note in honest["echo"].notes)
