"""What a training continues from: a checkpoint, the metrics saved with it, and the validation that may be missing."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from fcn_tf.data.base import Dataset
from fcn_tf.errors import UserError
from fcn_tf.io import archives, files, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.training.checkpoints import Checkpoints
from fcn_tf.training.hooks import TrainingIntervals, TrainingState
from fcn_tf.training.running_metrics import RunningMetrics


def restore(
    checkpoints: Checkpoints,
    step: int | None,
    *,
    total: Callable[[Sequence[int]], list[int]],
    replicas: int,
    logs_dir: str,
) -> int:
    """Loads the checkpoint of `step`, or the newest one, where there is one, and returns its step.

    Args:
      checkpoints: of the run.
      step: of the checkpoint, or None.
      total: sums integers over all replicas, see `distribution.summing`.
      replicas: how many there are.
      logs_dir: of the run.

    Raises:
      UserError: if it cannot be used, or other workers see another one.
    """
    start = checkpoints.restore(step)
    if total([start]) != [start * replicas]:
        raise UserError(
            f"this worker would resume at step {start}, another one elsewhere; "
            f"--logs_dir={logs_dir} must be one folder that all workers share."
        )
    return start


def require_same_network(model: keras.Model, run: Run) -> None:
    """Checks that a run goes on with the network of its model.keras, where it has one.

    A checkpoint knows variables alone: of another version of this package, the network may do something else with them.

    Args:
      model: that goes on.
      run: whose checkpoint it is about to get.

    Raises:
      UserError: naming the first layer that reads other layers there, or scales them by another factor.
    """
    there, here = _saved_layers(run.model), _layers(model.get_config())
    for name, (scale, inputs) in here.items():
        if there.get(name, (scale, inputs)) != (scale, inputs):
            was_scale, was_inputs = there[name]
            was, now = (
                (f"multiplies by {was_scale!s:.9}", f"by {scale!s:.9}")
                if was_inputs == inputs
                else (f"reads {', '.join(was_inputs)}", ", ".join(inputs))
            )
            raise UserError(
                f"{run.model} is a network of another version: {name} {was} there and {now} here, and would label "
                f"otherwise; continue with that version, or give another --logs_dir, with --init_from={run.logs_dir} "
                "to start from its weights."
            )


def _saved_layers(path: str) -> dict[str, tuple[Any, list[str]]]:
    """As `_layers`, of a `.keras` file; empty where there is none, or it cannot be read: a training writes it anew."""
    if not files.exists(path):
        return {}
    try:
        with files.open_seekable(path) as stream:
            archives.check_zip(stream)
            with zipfile.ZipFile(stream) as opened:
                return _layers(texts.parse_json(opened.read("config.json"))["config"])
    except (*archives.ZIP_ERRORS, OSError, TypeError, AttributeError):
        return {}


def _layers(config: dict[str, Any]) -> dict[str, tuple[Any, list[str]]]:
    """{name of a layer: (what it multiplies by, None for most; the layers it reads, sorted)}, of a model's config."""
    return {
        layer["name"]: (layer["config"].get("scale"), sorted(_sources(layer["inbound_nodes"])))
        for layer in config["layers"]
    }


def _sources(call: Any) -> Iterator[str]:
    """The layers whose results are in the arguments of a call, as Keras writes these."""
    if isinstance(call, dict) and "keras_history" in call:
        yield str(call["keras_history"][0])
    elif isinstance(call, dict | list | tuple):
        for each in call.values() if isinstance(call, dict) else call:
            yield from _sources(each)


def lacks_validation(run: Run, intervals: TrainingIntervals, step: int) -> bool:
    """Whether the validation due after `step` is missing: a signal that cuts one short still saves the step."""
    return step > 0 and intervals.validates(step) and not run.validated(step)


def state_at(
    step: int,
    *,
    run: Run,
    checkpoints: Checkpoints,
    intervals: TrainingIntervals,
    train: Dataset,
    batch_size: int,
    rate: Callable[[], float],
) -> TrainingState:
    """The state of a training that goes on.

    Args:
      step: the last one that was taken; 0 for a new training.
      run: whose history says how long it took so far.
      checkpoints: of the run; that of `step` has the metrics since the last validation and the last point.
      intervals: when things happen.
      train: the training examples.
      batch_size: images a step, over all replicas.
      rate: returns the optimiser's learning rate.
    """
    rows = run.read_history()
    notes = checkpoints.notes(step)
    # Metrics in a checkpoint whose validation was made up for afterwards are reported already.
    sums = None if run.validated(step) else notes.get("window")
    return TrainingState(
        spec=train.spec,
        intervals=intervals,
        start=step,
        batch_size=batch_size,
        dataset_size=len(train),
        rate=rate,
        since_validation=RunningMetrics.restored(train.spec, sums),
        since_log=RunningMetrics.restored(train.spec, notes.get("since_log")),
        earlier_seconds=rows[-1]["elapsed_seconds"] or 0.0 if rows else 0.0,
    )
