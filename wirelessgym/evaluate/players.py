"""Who plays: the project's own agents in the process that scores, everybody else's each in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from wirelessgym.agent import Agent
from wirelessgym.agent_names import named_agent
from wirelessgym.agent_spec import LONGEST_NAME, AgentSpec, check_description, described, is_own, own_spec, unique
from wirelessgym.isolation.pickles import carries_foreign_code, label, pickled_agent
from wirelessgym.isolation.process import TIMEOUT_S, AgentFailure, AgentProcess, clean, search_path
from wirelessgym.isolation.remote import RemoteAgent
from wirelessgym.registry import UnknownIdError, agents_for, ids, own_ids

# What says that the request was wrong, by the exception's class. Anything else is the agent's own failure.
_REFUSALS: Mapping[str, type[Exception]] = {
    "ImportError": ImportError,
    "LookupError": LookupError,
    "ModuleNotFoundError": ImportError,
    "TypeError": TypeError,
    "UnknownIdError": UnknownIdError,
    "ValueError": ValueError,
}


@dataclass
class Players:
    """Makes the agents of a comparison, in every worker; each process of a stranger's is reused from block to block.

    Attributes:
        timeout_s: seconds for one answer of such a process.
        barrier: whether strangers get an empty folder, no variables of the caller's environment, and no state, genie or not.
        path: where their modules are found.
    """

    timeout_s: float = TIMEOUT_S
    barrier: bool = False
    path: tuple[str, ...] = field(default_factory=search_path)
    _processes: dict[str, AgentProcess] = field(default_factory=dict, repr=False)

    def make(self, spec: AgentSpec) -> Agent:
        """Return an agent, untouched by earlier use.

        Raises:
            AgentFailure: for one that failed before, or fails when it is made.
        """
        if spec.own:
            return spec.make()
        if spec.failure is not None:
            raise AgentFailure(spec.failure)
        if spec.digest not in self._processes:
            self._processes[spec.digest] = self._process(spec.source)
        return RemoteAgent(spec.name, self._processes[spec.digest], spec.genie)

    def specs(self, agents: object, family: Sequence[str]) -> list[AgentSpec]:
        """Build the agents of a comparison.

        Args:
            agents: registry ids (with options as ``wmmse:iterations=50``), ``module:name``, or anything that
                `wirelessgym.as_agent` takes, in a list or one alone; None for every registered agent that does the task, but
                for those that want to be named (`Agent.only_when_named`).
            family: the task's id, then those of the tasks that it extends (`TaskSpec.family`).

        Raises:
            UnknownIdError: for an unknown id.
            ImportError: for a module or a name in it that isn't there, or that can't be imported.
            ValueError: for no agents, an agent that doesn't do the task, or a stranger's genie behind the barrier.
            TypeError: for something that can't act or can't be pickled, or a wrong option.
        """
        if agents is None:
            found = [self._spec(name, family) for name in agents_for(family, unasked=True, own=True)] + self._plugins(family)
        else:
            found = [
                self._spec(agent, family)
                for agent in (agents if isinstance(agents, Sequence) and not isinstance(agents, str) else [agents])
            ]
        if not found:
            raise ValueError(f"{family[0]}: no agents to compare")
        for spec in found:
            if spec.tasks and set(family).isdisjoint(spec.tasks):
                raise ValueError(f"agent {spec.name!r} doesn't do {family[0]}; it does: {', '.join(spec.tasks)}")
            if self.barrier and spec.genie and not spec.own:
                raise ValueError(f"agent {spec.name!r} wants the true state, which isolated agents don't get")
        return unique(found)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes.values():
            process.close()
        self._processes.clear()

    def _process(self, source: bytes | str) -> AgentProcess:
        return AgentProcess(source, self.timeout_s, self.barrier, self.path)

    def _plugins(self, family: Sequence[str]) -> list[AgentSpec]:
        """Agents that other packages have registered, as far as they do the task and needn't be named."""
        found = []
        for name in sorted(set(ids("agents")) - set(own_ids("agents"))):
            said = self._asked(name, name)
            does = isinstance(said, AgentFailure) or not said["tasks"] or not set(family).isdisjoint(said["tasks"])
            if does and not (isinstance(said, dict) and said["only_when_named"]):
                found.append(self._described(name, name, said))
        return found

    def _spec(self, thing: object, family: Sequence[str]) -> AgentSpec:
        if is_own(thing) and not carries_foreign_code(named_agent(thing) if isinstance(thing, str) else thing, family):
            return own_spec(thing)
        if not isinstance(thing, str):
            pickled = pickled_agent(thing)
            return self._described(None, pickled, self._asked(pickled, label(thing)), label(thing))
        names = [part for part in thing.split(":") if "=" not in part]
        if len(names) != 2 and not (len(names) == 1 and names[0] in ids("agents")):
            named_agent(thing)  # which says what is wrong
        return self._described(thing, thing, self._asked(thing, thing))

    def _asked(self, source: bytes | str, called: str) -> dict[str, Any] | AgentFailure:
        """What an agent says of itself, or how it failed.

        Raises:
            ImportError: for a wrong name; UnknownIdError, LookupError, TypeError and ValueError likewise.
        """
        process = self._process(source)
        try:
            process.ask("make")
        except AgentFailure as failure:
            process.close()
            if failure.kind in _REFUSALS:
                raise _REFUSALS[failure.kind](failure.message) from None
            return failure
        try:
            said: dict[str, Any] = process.ask("describe")
            check_description(called, said)
            return said
        except AgentFailure as failure:
            return failure
        except ValueError as error:
            return AgentFailure(clean(f"answered with garbage while describing itself: {error}"))
        finally:
            process.close()

    def _described(
        self, name: str | None, source: bytes | str, said: dict[str, Any] | AgentFailure, where: str = ""
    ) -> AgentSpec:
        content = source if isinstance(source, bytes) else source.encode()
        if isinstance(said, dict):
            return described(said, name, source, content, own=False)
        called = name or where.rpartition(":")[2]
        called = "".join(c for c in called if c.isprintable())[:LONGEST_NAME] or "agent"
        blank: dict[str, Any] = {
            "name": called,
            "spec": where,
            "registered": None,
            "options": {},
            "parameters": 0,
            "training": None,
        }
        blank |= {"genie": False, "only_when_named": False, "tasks": [], "fingerprint": "", "source": ""}
        return replace(described(blank, name, source, content, own=False), failure=said.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """See `close`."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings: every worker starts its own processes."""
        return {"timeout_s": self.timeout_s, "barrier": self.barrier, "path": self.path, "_processes": {}}

    def __del__(self) -> None:
        self.close()


def agent_specs(agents: object, family: Sequence[str]) -> list[AgentSpec]:
    """Build the agents of a comparison with the usual settings; see `Players.specs`."""
    return Players().specs(agents, family)
