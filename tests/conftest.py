"""Settings for all tests: one quiet thread per process, and few, untimed examples for properties."""

import os
import signal

# libgomp and matplotlib read these when they load, so they come before any import that brings torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

# A shell starts background jobs deaf to Ctrl-C, and so would be the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def generator():
    """A generator with a fixed seed: random numbers that are the same in every run."""
    return torch.Generator().manual_seed(20)
