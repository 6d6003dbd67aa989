"""A training killed by -9 or stopped between two points, and the same command again: that of one left alone."""

import math
import os
import signal
import time

import tensorflow as tf

import main
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.training.progress import ShowProgress
from tests import processes, tiny_training

_TIMED = ("images_per_second", "elapsed_seconds")

# The program, which kills itself in the middle of saving step 8: ckpt-6 is the newest then, and the training curves
# have a point after step 7.
_KILLED_SAVING = """
import os, sys
from fcn_tf.command import main
from fcn_tf.io import checksums

write = checksums.write

def die_or_write(path, *files):
    if path.endswith("ckpt-8.json"):
        os.kill(os.getpid(), 9)
    write(path, *files)

checksums.write = die_or_write
main.main(["main.py", *sys.argv[1:]])
"""


def test_killed_stopped_and_resumed_is_bit_identical(tmp_path, monkeypatch):
    """Checkpoint, history, training curves, and each point that TensorBoard shows, are those of a run left alone."""
    data, weights = tiny_training.write_camvid(tmp_path / "data"), tiny_training.write_weights(tmp_path)
    flags = ["--dataset=camvid", f"--data_dir={data}", f"--weights={weights}", "--image_size=32", "--batch_size=2"]
    flags += ["--max_steps=12", "--eval_every=6", "--save_every=4", "--log_every=7"]
    command, run = [*flags, f"--logs_dir={tmp_path}/run"], Run(f"{tmp_path}/run")

    output, _ = (process := processes.start("-c", _KILLED_SAVING, *command)).communicate()
    assert process.returncode == -signal.SIGKILL and run.resume_step() == 6, output
    assert (tmp_path / "run/checkpoints/ckpt-8_temp").exists()
    assert list(tiny_training.events(run.train_events)["loss"]) == [7]

    def stop(self, state):
        if state.step == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(ShowProgress, "before_step", stop)
        assert main.main(["main.py", *command]) == 128 + signal.SIGTERM
    assert run.resume_step() == 10
    assert main.main(["main.py", *command]) == main.main(["main.py", *flags, f"--logs_dir={tmp_path}/alone"]) == 0

    interrupted, alone = (_contents(Run(f"{tmp_path}/{name}")) for name in ("run", "alone"))
    assert [row["step"] for row in alone["history"]] == [6, 12] and [row["step"] for row in alone["curve"]] == [7, 12]
    for folder in ("training", "validation"):
        points = [step for tag, step, _ in alone[f"{folder} events"] if tag == "mean_iou"]
        assert points == ([7, 12] if folder == "training" else [6, 12])
    for what, found in alone.items():
        assert interrupted[what] == found, what


def _contents(run):
    """All that is the same however often a run is interrupted: all but times."""
    return {
        "checkpoint": files.read_bytes(files.join(run.checkpoints, "ckpt-12.data-00000-of-00001")),
        "history": [_untimed(row) for row in run.read_history()],
        "curve": [_untimed(row) for row in run.read_training()],
        "training events": shown_by_tensorboard(run.train_events),
        "validation events": shown_by_tensorboard(run.validation_events),
    }


def test_tensorboard_forgets_what_is_validated_again(tmp_path):
    """A kill after the events of a validation and before its row of the history."""
    from fcn_tf.training.tensorboard import Summaries

    run = Run(str(tmp_path))
    for validated, steps in ((True, (2, 4, 6)), (False, (4,)), (True, (6,))):
        summaries = Summaries(run, tiny_training.SPEC)
        summaries.start(steps[0] - 2 * validated, validated=validated)
        for step in steps:
            summaries.validation_scalars({"loss": float(validated)}, step)
        time.sleep(1)  # TensorBoard reads files by name, which begins with the second: starts are seconds apart
    assert shown_by_tensorboard(run.validation_events) == [("loss", 2, 1.0), ("loss", 4, 0.0), ("loss", 6, 1.0)]
    Summaries(run, tiny_training.SPEC).start(2, validated=True)  # and before anything else is written
    assert shown_by_tensorboard(run.validation_events) == [("loss", 2, 1.0)]


def shown_by_tensorboard(folder):
    """(tag, step, value) of every point of a curve, in order, as TensorBoard's own reader gives them; no times."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    accumulator = EventAccumulator(folder, tensor_size_guidance={"scalars": 0})
    accumulator.Reload()
    found = []
    for tag in sorted(accumulator.Tags()["tensors"]):
        if accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            values = [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in accumulator.Tensors(tag)]
            found += [(tag, step, None if tag in _TIMED else value) for step, value in values]
    assert all(value is None or math.isfinite(value) for _, _, value in found)
    return found


def _untimed(row):
    return {key: value for key, value in row.items() if key not in _TIMED}
