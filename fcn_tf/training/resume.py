"""What a training continues from: a checkpoint, the metrics saved with it, and the validation that may be missing."""

from collections.abc import Callable, Sequence

from fcn_tf.data.base import Dataset
from fcn_tf.errors import UserError
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
