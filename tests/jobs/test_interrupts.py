"""Signals end the work of a run and never its tidying up."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from vdeblur.jobs.interrupts import Interrupts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def _send(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)
    for _ in range(100):  # where the handler runs, if it does
        pass


def test_a_signal_waits_until_it_is_welcome() -> None:
    done = []

    def work() -> None:
        with Interrupts() as interrupts:
            _send()
            done.append("tidied up")
            with interrupts.welcome():
                done.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["tidied up"]


def test_only_the_first_one_raises() -> None:
    tidied = []
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.welcome():
            _send()
        for _ in range(20):
            _send()
        tidied.append(True)
    assert tidied == [True]


def test_one_that_comes_after_the_last_section_ends_what_would_follow() -> None:
    done = []

    def work() -> None:
        with Interrupts() as interrupts:
            with interrupts.welcome():
                done.append("work")
            _send()
            done.append("tidied up")

    with pytest.raises(KeyboardInterrupt, match="finished before"):
        work()
    assert done == ["work", "tidied up"]


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_that_nobody_handles_kills_as_before() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # tests of the command leave a handler
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_do_nothing() -> None:
    found = []

    def work() -> None:
        with Interrupts() as interrupts, interrupts.welcome():
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
