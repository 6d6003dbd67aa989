"""What is said about how far a training is, on a clock of our own."""

import io
import sys

import pytest

from fcn_tf.training import progress


@pytest.fixture
def clock(monkeypatch):
    """A list of one number, the time now."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_the_first_step_is_not_taken_for_a_measure(clock, capsys):
    with progress.Progress(100, 200) as bar:  # a resumed run, into a file
        clock[0] = 60  # start-up and tracing
        bar.update("loss 2.000")
        for _ in range(9):
            clock[0] += 2
            bar.update("loss 1.500, 4.00 images/s")
        assert not lines(capsys)
        clock[0] += 2
        bar.update("loss 1.000, 4.00 images/s")
        # 10 steps took 20 s; 200 - 111 = 89 are left: 178 s.
        assert lines(capsys) == ["step 111/200: loss 1.000, 4.00 images/s, 02:58 left"]
        clock[0] += 29
        bar.update("loss 1.000")
        assert not lines(capsys)
        clock[0] += 17
        bar.update("loss 0.900")
        # 12 steps in 66 s, 87 left.
        assert lines(capsys) == ["step 113/200: loss 0.900, 07:58 left"]


def test_a_slow_step_is_told_before_ten_are_done(clock, capsys):
    with progress.Progress(0, 3) as bar:
        clock[0] = 100
        bar.update("loss 2.000")
        assert not lines(capsys)
        clock[0] = 140
        bar.update("loss 1.000")
        assert lines(capsys) == ["step 2/3: loss 1.000, 00:40 left"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_of_a_terminal_leaves_the_first_step_out(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.Progress(100, 200) as bar:
        for _ in range(3):
            bar.update("")
        shown = bar._bar.format_dict
        assert (shown["initial"], shown["n"]) == (101, 103)
