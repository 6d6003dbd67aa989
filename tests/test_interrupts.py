"""Signals as requests; real processes are interrupted in test_trainer.py."""

import signal

import pytest

from fcn_tf.interrupts import Interrupts


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
