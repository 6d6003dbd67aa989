"""Which steps are traced."""

import os
from types import SimpleNamespace

import pytest
import tensorflow as tf

from fcn_tf.training import profiling


def states(start, end):
    """The state before and after each step, as a hook sees it."""
    for step in range(start + 1, end + 1):
        yield SimpleNamespace(start=start, step=step, intervals=SimpleNamespace(max_steps=end), read=lambda: None)


@pytest.fixture
def traced(monkeypatch):
    """A function of (start, end[, stop after]): the numbers of the steps that are traced."""

    def run(start, end, stopped=None):
        seen: list[int] = []
        on = [False]
        monkeypatch.setattr(profiling.tf.profiler.experimental, "start", lambda _: on.__setitem__(0, True))
        monkeypatch.setattr(profiling.tf.profiler.experimental, "stop", lambda: on.__setitem__(0, False))
        profile = profiling.Profile("")
        for state in states(start, end):
            if state.step == start + 1:
                profile.on_start(state)
            profile.before_step(state)
            if on[0]:
                seen.append(state.step)
            profile.after_step(state)
            if state.step == stopped:
                break
        profile.close()
        assert not on[0]
        return seen

    return run


@pytest.mark.parametrize(
    "start, end, steps",
    [(0, 600, (10, 15)), (100, 700, (110, 115)), (0, 15, (10, 15)), (0, 12, (7, 12)), (0, 3, (2, 3)), (5, 6, (6, 6))],
)
def test_which_steps_are_traced(traced, start, end, steps):
    first, last = steps
    assert traced(start, end) == list(range(first, last + 1))


def test_a_training_that_stops_in_between_leaves_a_trace(traced):
    assert traced(0, 600, stopped=12) == [10, 11, 12]


def test_a_real_trace(tmp_path, capsys):
    product = tf.function(lambda x: tf.linalg.matmul(x, x))
    profile = profiling.Profile(str(tmp_path))
    for state in states(0, 3):
        if state.step == 1:
            profile.on_start(state)
        profile.before_step(state)
        product(tf.ones((300, 300)))
        profile.after_step(state)
    profile.close()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("traced from step 2 on") and str(tmp_path) in line
    assert any(
        name.endswith(".xplane.pb") for _, _, names in os.walk(tmp_path / "plugins" / "profile") for name in names
    )
