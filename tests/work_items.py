"""What worker processes do in tests. They import it by name, as they can't a test module."""

import os
import signal
import threading

ANSWER_BYTES = 500_000_000


def add(item, shared):
    return item + shared


def die(item, shared):
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_answering(item, shared):
    threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(ANSWER_BYTES)


def pid(item, shared):
    return os.getpid()
