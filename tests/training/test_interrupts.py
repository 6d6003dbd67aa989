"""Signals as requests; real processes are interrupted in test_loop.py and test_workers.py."""

import signal
import threading

import pytest

from fcn_tf.training.interrupts import Interrupts, StopOnSignal, decide, default_signals


class Second(Exception):
    pass


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    """A signal that raises `Second` where nobody else handles it."""

    def usual(*_):
        raise Second

    former = signal.signal(request.param, usual)
    yield request.param
    signal.signal(request.param, former)


def test_the_first_signal_is_remembered_and_the_second_acts_as_usual(number):
    with Interrupts() as interrupts:
        assert interrupts.signal is None
        signal.raise_signal(number)
        assert interrupts.signal is signal.Signals(number)
        with pytest.raises(Second):
            signal.raise_signal(number)


def test_afterwards_everything_is_as_it_was(number):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), Interrupts():
        raise ZeroDivisionError
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    with pytest.raises(Second):
        signal.raise_signal(number)


def test_a_loop_neither_begins_nor_ends_what_listens_already(number):
    with Interrupts() as interrupts:
        hook = StopOnSignal(None, interrupts)
        hook.on_start(state=None)
        hook.close()
        signal.raise_signal(number)
        assert interrupts.signal is number and hook.asked() is number


def test_elsewhere_than_in_the_main_thread_nothing_happens(number):
    seen = []

    def elsewhere():
        with Interrupts() as interrupts, default_signals():
            seen.append(interrupts.signal)

    before = signal.getsignal(number)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [None] and signal.getsignal(number) is before


def test_stop_requests_add_up_to_one_decision(number):
    with Interrupts() as one, Interrupts() as other:
        signal.raise_signal(number)
    assert one.signal is None and one.stop_requests == [0, 0] and other.signal is number
    assert decide([a + b for a, b in zip(one.stop_requests, other.stop_requests, strict=True)]) is number
    assert decide([0, 0]) is None and decide([1, 2]) is signal.SIGINT


def test_default_signals_are_the_systems_and_what_native_code_sets_meanwhile_is_undone(number):
    before = signal.getsignal(number)
    with default_signals():
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
    assert signal.getsignal(number) is before
