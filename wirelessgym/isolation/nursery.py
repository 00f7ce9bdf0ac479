"""Where agents' processes come from: fresh interpreters, or on Linux copies of one that has imported torch already.

That one, the nursery, is a fresh interpreter itself: it has never held a task, a state or a seed, and runs no agent's code. A
copy of it is there in milliseconds, where an import of torch takes seconds, and shares its memory. Each copy is the child of a
keeper of its own, which depends on nobody but the caller: an agent that kills its parent, or the nursery, harms no other.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
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
_CODE = struct.Struct("<i")  # an exit code, on the line from a keeper


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
        line, theirs = socket.socketpair()
        with self._lock, theirs:
            send(self._control, {"do": "copy", "path": path, "folder": folder}, START_TIMEOUT_S)
            socket.send_fds(self._control, [b"d"], [door.fileno(), theirs.fileno()])
            receive(self._control, timeout_s=START_TIMEOUT_S)
        return _Copy(line)


class _Copy:
    """A copy of the nursery, by the line to its keeper: the copy is killed once this end is closed."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(END_TIMEOUT_S)

    def wait(self) -> int | None:
        try:
            said = self._line.recv(_CODE.size)
        except TimeoutError:
            return None
        except OSError:
            said = b""
        return int(_CODE.unpack(said)[0]) if len(said) == _CODE.size else -signal.SIGKILL  # its keeper was killed, and it too

    def kill(self) -> None:
        with suppress(OSError), self._line:
            self._line.shutdown(socket.SHUT_WR)
            while self._line.recv(_CODE.size):  # until the keeper is gone
                pass


def serve_copies(descriptor: int) -> None:
    """What runs in the nursery: make copies, each with a keeper, until the other side is gone."""
    import wirelessgym.agent_spec  # noqa: F401 (so that copies have it)
    from wirelessgym.isolation.child import serve

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    control = socket.socket(fileno=descriptor)
    with suppress(EOFError, OSError):
        while True:
            request: dict[str, Any] = receive(control)
            _, (door, line, *_), _, _ = socket.recv_fds(control, 1, 2)
            if not os.fork():
                control.close()
                _keep(door, line)
                os.chdir(request["folder"])
                return serve(door, os.getppid(), request["path"])
            os.close(door)
            os.close(line)
            send(control, "copied")


def _keep(door: int, line: int) -> None:
    """Return in a new process. This one sees to its end, which comes at the latest when the other end of the line closes."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        os.close(line)
        os.setsid()
        return
    os.close(door)
    caller = socket.socket(fileno=line)

    def watch() -> None:
        with suppress(OSError):
            caller.recv(1)
        _kill(pid)

    threading.Thread(target=watch, daemon=True).start()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    _kill(pid)  # what it has left behind, while nobody else can have its number
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        caller.send(_CODE.pack(code))
    os._exit(0)


def _kill(pid: int) -> None:
    for end in (os.killpg, os.kill):  # it may not have its session yet
        with suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)
