"""Signals that ask a process to stop: noted once, obeyed at once the second time, and put back as they were."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from wirelessgym.interrupts import interrupts_noted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_interrupts(number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with interrupts_noted() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_is_to_be_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupts_noted() as interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_threads_other_than_the_main_one_hear_nothing_and_set_nothing():
    handlers = []

    def work() -> None:
        with interrupts_noted() as interrupted:
            handlers.append((signal.getsignal(signal.SIGTERM), interrupted()))

    expected = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [(expected, False)]
