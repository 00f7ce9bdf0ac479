"""Where agents' processes come from: fresh interpreters, or on Linux copies of one that has imported torch already.

That one, the nursery, is a fresh interpreter itself: it has never held a task, a state or a seed, and runs no agent's code. A
copy of it is there in milliseconds, where an import of torch takes seconds, and shares its memory.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol

from wirelessgym.isolation.wire import receive, send
from wirelessgym.parallel import QUIET

# What a program needs to find its libraries and folders. The rest may hold anything, tokens included.
KEPT = ("PATH", "HOME", "USER", "TMPDIR", "TEMP", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
KEPT_PREFIXES = ("PYTHON", "HF_", "CUDA", "NVIDIA")
START_TIMEOUT_S = 120.0
END_TIMEOUT_S = 5.0


class Handle(Protocol):
    """A process that was started."""

    def wait(self) -> int | None:
        """Return its exit code, minus the signal for one that was killed; None if it still runs after five seconds."""

    def kill(self) -> None:
        """End it and what it has started in its session."""


def start(path: tuple[str, ...], barrier: bool, folder: str | None) -> tuple[socket.socket, Handle]:
    """Start a process that answers requests.

    Args:
        path: where it finds modules.
        barrier: whether it gets an environment without the caller's variables.
        folder: its working folder, None for the caller's.

    Returns:
        The socket over which it is asked, and its handle.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        if sys.platform != "linux":
            return ours, _Spawned(path, barrier, folder, theirs)
        try:
            return ours, _nursery(barrier, os.getpid()).copy(path, folder or os.getcwd(), theirs)
        except (OSError, EOFError):  # it was killed: once more, with a new one
            _nursery.cache_clear()
            return ours, _nursery(barrier, os.getpid()).copy(path, folder or os.getcwd(), theirs)


def _interpreter(program: str, barrier: bool, folder: str | None, descriptor: int) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if not barrier or k in KEPT or k.startswith(KEPT_PREFIXES)}
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env=environment | QUIET,
        cwd=folder,
        start_new_session=True,  # Ctrl-C on the terminal is for the caller, who ends this process
    )


class _Spawned:
    """A fresh interpreter."""

    def __init__(self, path: tuple[str, ...], barrier: bool, folder: str | None, door: socket.socket) -> None:
        program = f"from wirelessgym.isolation.child import serve; serve({door.fileno()}, {os.getpid()}, {path!r})"
        self._process = _interpreter(program, barrier, folder, door.fileno())

    def wait(self) -> int | None:
        try:
            return self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@lru_cache(maxsize=2)
def _nursery(barrier: bool, owner: int) -> _Nursery:
    return _Nursery(barrier)


class _Nursery:
    """The interpreter that is copied. It ends with this object or this process: then nobody holds the other end of its socket."""

    def __init__(self, barrier: bool) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            program = f"from wirelessgym.isolation.nursery import serve_copies; serve_copies({theirs.fileno()})"
            self._process = _interpreter(program, barrier, "/" if barrier else None, theirs.fileno())

    def copy(self, path: tuple[str, ...], folder: str, door: socket.socket) -> Handle:
        with self._lock:
            send(self._control, {"do": "copy", "path": path, "folder": folder}, START_TIMEOUT_S)
            socket.send_fds(self._control, [b"d"], [door.fileno()])
            return _Copy(self, int(receive(self._control, timeout_s=START_TIMEOUT_S)))

    def end(self, pid: int, kill: bool) -> int | None:
        with self._lock:
            send(self._control, {"do": "end", "pid": pid, "kill": kill}, START_TIMEOUT_S)
            code: int | None = receive(self._control, timeout_s=START_TIMEOUT_S)
            return code


class _Copy:
    """A copy of the nursery."""

    def __init__(self, nursery: _Nursery, pid: int) -> None:
        self._nursery, self._pid = nursery, pid

    def wait(self) -> int | None:
        try:
            return self._nursery.end(self._pid, kill=False)
        except (OSError, EOFError):
            return -signal.SIGKILL  # copies are killed with the nursery

    def kill(self) -> None:
        with suppress(OSError, EOFError):
            self._nursery.end(self._pid, kill=True)


def serve_copies(descriptor: int) -> None:
    """What runs in the nursery: make copies and see to their ends, until the other side is gone."""
    import wirelessgym.agent_spec  # noqa: F401 (so that copies have it)
    from wirelessgym.isolation.child import serve

    control, me = socket.socket(fileno=descriptor), os.getpid()
    alive: set[int] = set()
    with suppress(EOFError, OSError):
        while True:
            request: dict[str, Any] = receive(control)
            if request["do"] == "end":
                send(control, _ended(request["pid"], request["kill"], alive))
                continue
            _, (door, *_), _, _ = socket.recv_fds(control, 1, 1)
            pid = os.fork()
            if not pid:
                control.close()
                os.setsid()
                os.chdir(request["folder"])
                return serve(door, me, request["path"])
            os.close(door)
            alive.add(pid)
            send(control, pid)


def _ended(pid: int, kill: bool, alive: set[int]) -> int | None:
    """Exit code of a copy, which is killed before if need be; None if it still runs, or was asked for before."""
    until = time.monotonic() + END_TIMEOUT_S
    while pid in alive:
        if kill:
            _kill(pid)
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            _kill(pid)  # what it has left behind, while nobody else can have its number
            alive.discard(pid)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if time.monotonic() > until:
            break
        time.sleep(0.002)
    return None


def _kill(pid: int) -> None:
    for end in (os.killpg, os.kill):  # it may not have its session yet
        with suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)
