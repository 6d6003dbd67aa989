"""A trace of a few training steps for TensorBoard, and a table of what costs most in it."""

import contextlib
import re
from collections.abc import Callable, Iterator

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from fcn_tf.io import files
from fcn_tf.training.progress import BestEffort

STEP = "train"  # what a step is called in the trace
_SHOWN = 20  # types of operations in the table
_FIRST, _STEPS = 10, 6  # of one start: by then everything is traced, and files are read ahead


class Profile:
    """Traces some steps of one start; leaves a trace also when training is stopped in between.

    Args:
      folder: where TensorBoard looks; the trace lies in `plugins/profile/` under it.
      table: the file that says what costs most.
      start, end: training goes from the one to the other. Steps 10 to 15 of that are traced, earlier ones where there
        are fewer; the very first, which is spent on other things, only where it is the only one.
      say: is given a line that says where the trace is.
      enabled: False to trace nothing.
    """

    def __init__(
        self, folder: str, table: str, start: int, end: int, *, say: Callable[[str], None], enabled: bool = True
    ):
        self._folder, self._table, self._say, self._enabled = folder, table, say, enabled
        self._first = start + max(min(_FIRST, end - start - _STEPS + 1), min(2, end - start))
        self._last = min(self._first + _STEPS - 1, end)
        self._running = False
        self._effort = BestEffort(f"the trace in {folder}", tf.errors.OpError, OSError)

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Surrounds step `number`."""
        if number == self._first and self._enabled:
            with self._effort:
                tf.profiler.experimental.start(self._folder)
                self._running = True
        if not self._running:
            yield
            return
        # The plugin tells steps apart by these.
        with tf.profiler.experimental.Trace(STEP, step_num=number, _r=1):
            yield
        if number == self._last:
            self._stop()

    def _stop(self):
        if not self._running:
            return
        self._running = False
        with self._effort:
            tf.profiler.experimental.stop()
            space = read(self._folder)
            if space is None:
                self._say(f"TensorFlow left no trace of step {self._first} in {self._folder}")
                return
            files.write_bytes(self._table, show(*costs(space)).encode())
            self._say(
                f"traced from step {self._first} on: what costs most is in {self._table}, the whole trace in "
                f"TensorBoard under Profile (pip install xprof; tensorboard --logdir {self._folder})"
            )


def read(folder: str):
    """The newest trace that TensorFlow's profiler left in a folder, as an XSpace; None where there is none."""
    traces = files.join(folder, "plugins", "profile")
    # Named for times, and listed, for a path may hold a pattern's characters.
    for time in reversed(files.list_dir(traces) if files.is_dir(traces) else []):
        for name in files.list_dir(files.join(traces, time)):
            if name.endswith(".xplane.pb"):
                return xplane_pb2.XSpace.FromString(files.read_bytes(files.join(traces, time, name)))
    return None


def costs(space) -> tuple[list[tuple[str, int, float]], list[float]]:
    """Adds up a trace by type of operation.

    Args:
      space: an XSpace. Operations are events called NAME:TYPE; those that TensorFlow holds for cheap are not traced.

    Returns:
      ([(type, how often, seconds), ...] of the operations begun during the steps, dearest first; the seconds of each
      step). Operations run beside each other, so theirs may add up to more.
    """
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                begin = line.timestamp_ns * 1000 + event.offset_ps
                events.append((plane.event_metadata[event.metadata_id].name, begin, event.duration_ps))
    steps = [(begin, begin + duration) for name, begin, duration in events if name == STEP]
    sums: dict[str, tuple[int, float]] = {}
    for name, begin, duration in events:
        found = re.fullmatch(r"[^:]+:(\w+)", name)
        if found and any(first <= begin <= last for first, last in steps):
            count, seconds = sums.get(found[1], (0, 0.0))
            sums[found[1]] = count + 1, seconds + duration / 1e12
    table = [(name, count, seconds) for name, (count, seconds) in sums.items()]
    return sorted(table, key=lambda row: -row[2]), [(last - first) / 1e12 for first, last in steps]


def show(table: list[tuple[str, int, float]], steps: list[float]) -> str:
    """The dearest operations of `costs` as text."""
    total = sum(seconds for _, _, seconds in table) or 1.0
    lines = [
        f"{len(steps)} steps of {sum(steps) / max(len(steps), 1):.4f} s; operations by type, all steps together",
        "(they run beside each other, so their times may add up to more; cheap ones are not traced)",
        "",
        f"{'type':<40} {'times':>7} {'seconds':>9} {'share':>7}",
    ]
    lines += [
        f"{name:<40} {count:>7} {seconds:>9.4f} {seconds / total:>7.1%}" for name, count, seconds in table[:_SHOWN]
    ]
    return "\n".join(lines) + "\n"
