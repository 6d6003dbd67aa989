"""Which steps are traced, and what a trace adds up to."""

import os

import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from fcn_tf.training import profiling


@pytest.fixture
def traced(monkeypatch):
    """A function of (start, end[, stop after]): the numbers of the steps that are traced."""

    def run(start, end, stopped=None):
        seen: list[int] = []
        on = [False]
        profile = profiling.Profile("", "", start, end, say=print)
        monkeypatch.setattr(profiling.tf.profiler.experimental, "start", lambda _: on.__setitem__(0, True))
        monkeypatch.setattr(profile, "_stop", lambda: on.__setitem__(0, False))
        with profile:
            for number in range(start + 1, (stopped or end) + 1):
                with profile.step(number):
                    if on[0]:
                        seen.append(number)
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


def space(*events):
    """A trace of (name, begin, duration), in microseconds, on two lines that begin at different times."""
    made = xplane_pb2.XSpace()
    plane = made.planes.add(name="/host:CPU")
    for number, (name, begin, duration) in enumerate(events):
        line = plane.lines.add(timestamp_ns=1000 * (number % 2))
        plane.event_metadata[number].name = name
        line.events.add(metadata_id=number, offset_ps=10**6 * (begin - number % 2), duration_ps=10**6 * duration)
    return made


def test_costs_by_hand():
    table, steps = profiling.costs(
        space(
            ("train", 10, 20),
            ("model/conv1_1/convolution:Conv2D", 12, 5),
            ("model/conv1_2/convolution:Conv2D", 17, 7),
            ("mul:Mul", 12, 1),
            ("validation/convolution:Conv2D", 40, 5),  # between the steps
            ("train", 50, 30),
            ("relu:Relu", 55, 14),
            ("Iterator::Prefetch", 60, 9),  # no operation
        )
    )
    assert table == [
        ("Relu", 1, pytest.approx(14e-6)),
        ("Conv2D", 2, pytest.approx(12e-6)),
        ("Mul", 1, pytest.approx(1e-6)),
    ]
    assert steps == pytest.approx([20e-6, 30e-6])


def test_the_table_says_shares():
    text = profiling.show([("Conv2D", 2, 3.0), ("Mul", 4, 1.0)], [2.0, 3.0])
    assert text.startswith("2 steps of 2.5000 s;")
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["Conv2D", "2", "3.0000", "75.0%"],
        ["Mul", "4", "1.0000", "25.0%"],
    ]
    assert profiling.show([], [])  # a trace of nothing


def test_a_real_trace(tmp_path, capsys):
    product = tf.function(lambda x: tf.linalg.matmul(x, x))
    with profiling.Profile(str(tmp_path), str(tmp_path / "profile.txt"), 0, 3, say=print) as profile:
        for number in (1, 2, 3):
            with profile.step(number):
                float(product(tf.ones((300, 300)))[0, 0])
    (line,) = capsys.readouterr().out.splitlines()
    assert "from step 2 on" in line and "profile.txt" in line
    assert any(
        name.endswith(".xplane.pb") for _, _, names in os.walk(tmp_path / "plugins" / "profile") for name in names
    )
    lines = (tmp_path / "profile.txt").read_text().splitlines()
    assert lines[0].startswith("2 steps of ") and any("MatMul" in line for line in lines)
