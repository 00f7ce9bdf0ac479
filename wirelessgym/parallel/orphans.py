"""No orphans: a process that another one started ends when that one ends, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

LOOK_EVERY_S = 0.5
PR_SET_PDEATHSIG = 1  # Linux, <sys/prctl.h>


def end_with_parent(parent: int, *, killed_by_kernel: bool = False) -> None:
    """End this process soon after its parent is gone.

    A thread looks twice a second who the parent is: after its end that is another process.

    Args:
        parent: the parent's process id, from the parent itself: it may be gone before this is called.
        killed_by_kernel: on Linux, also be killed by the kernel at once, even within native code. The kernel counts the end of
            the thread that started this process as the parent's end, so that thread has to outlive it.
    """
    if killed_by_kernel and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)  # nobody is left who could use what this process does

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def end_trackers() -> None:
    """End the helper processes in which Python and loky track shared resources, once no worker is left that needs them.

    They would end by themselves soon after this process; but once it has ended, nothing should be left.
    """
    for name in ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker"):
        if (module := sys.modules.get(name)) is not None:
            module._resource_tracker._stop()


def begin_worker(parent: int) -> None:
    """What a worker process does first: leave Ctrl-C to its parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
