"""An agent's process, seen from the process that scores."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from typing import Any

from wirelessgym.isolation.nursery import Handle, start
from wirelessgym.isolation.wire import NO_LIMIT, WireError, receive, send

TIMEOUT_S = 600.0


class AgentFailure(RuntimeError):
    """An agent has failed in its own process.

    Attributes:
        text: its traceback, or a line that says how its process ended.
        kind: class of the exception, empty where the process ended.
        message: what it says, empty likewise.
        ended: whether the process is gone.
    """

    def __init__(self, text: str, kind: str = "", message: str = "", ended: bool = True) -> None:
        super().__init__(text)
        self.text, self.kind, self.message, self.ended = text, kind, message, ended


class AgentProcess:
    """Runs one agent in a fresh interpreter, from the first request until `close`.

    Args:
        source: the agent, pickled or by name (``module:name``).
        timeout_s: seconds for one answer; then the process is ended.
        barrier: whether it gets an empty folder to work in and an environment without the caller's variables.
        path: where modules are found; by default where this process finds them.

    Attributes:
        told: what names the task whose spec the process has.
    """

    def __init__(
        self, source: bytes | str, timeout_s: float = TIMEOUT_S, barrier: bool = False, path: tuple[str, ...] | None = None
    ) -> None:
        self._source, self._timeout_s, self._barrier = source, timeout_s, barrier
        self._path = search_path() if path is None else path
        self._handle: Handle | None = None
        self._door: socket.socket | None = None
        self._folder: str | None = None
        self._gone: AgentFailure | None = None
        self.told: tuple[Any, ...] = ()

    def ask(self, do: str, limit: int = NO_LIMIT, **request: Any) -> Any:
        """Send a request of `wirelessgym.isolation.child` and return its answer.

        Args:
            do: name of the request.
            limit: bytes that the answer's tensors may have together.
            request: its arguments.

        Raises:
            AgentFailure: if the agent raises, or its process ends, hangs or answers with what is no answer. After its end every
                request raises what the first one raised.
        """
        if self._gone is not None:
            raise self._gone
        if self._door is None:
            self._start()
            self.ask("load", source=self._source)
        assert self._door is not None
        try:
            send(self._door, {"do": do, **request}, self._timeout_s)
            answer = receive(self._door, limit, self._timeout_s)
            if not isinstance(answer, dict) or not ({"answer", "failure"} & set(answer)):
                raise WireError("an answer without an answer")
        except TimeoutError:
            raise self._over(f"no answer within {self._timeout_s:g} s", do) from None
        except WireError as error:
            raise self._over(f"garbage instead of an answer ({error})", do) from None
        except (EOFError, OSError):
            raise self._over(None, do) from None
        if "failure" in answer:
            text, kind, message = (clean(str(answer.get(part, ""))) for part in ("failure", "kind", "message"))
            failure = AgentFailure(text, kind, message, ended=bool(answer.get("last")))
            if failure.ended:
                self._gone = failure
                self.close()
            raise failure
        return answer["answer"]

    def close(self) -> None:
        """End the process, and those that it has started in its session."""
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._handle is not None:
            self._handle.kill()
            self._handle = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        if self._barrier:
            self._folder = tempfile.mkdtemp(prefix="wirelessgym-")
        self._door, self._handle = start(self._path, self._barrier, self._folder)

    def _over(self, what: str | None, do: str) -> AgentFailure:
        """End the process and say how it ended."""
        doing = {"load": "starting", "make": "being imported and made", "describe": "describing itself", "act": "acting"}
        text = f"while {doing.get(do, do)}: {what}; its process was ended"
        if what is None and self._handle is not None:
            code = self._handle.wait()
            text = f"its process {'hung up; it was ended' if code is None else _how(code)} while {doing.get(do, do)}"
        self.close()
        self._gone = AgentFailure(text)
        return self._gone


def _how(code: int) -> str:
    if code >= 0:
        return f"ended by itself with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name} (signal {-code})"
    except ValueError:
        return f"was killed by signal {-code}"


def search_path() -> tuple[str, ...]:
    """Where this process finds modules, as absolute folders."""
    return tuple(os.path.abspath(entry) for entry in sys.path)


def clean(text: str) -> str:
    """Text of a stranger's that any file and terminal takes: lone surrogates and control characters spelled out."""
    readable = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in readable)
