"""What a training that cannot go on says: why, what is saved, and what to type next."""

from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.training.running_metrics import NonFiniteLoss


def diverged(error: NonFiniteLoss, *, run: Run, learning_rate: float, checkpoint: str | None) -> UserError:
    """The error of a training whose loss or weights are no longer finite.

    Args:
      error: says at which step.
      run: whose best validation it may go back to.
      learning_rate: of that step.
      checkpoint: the newest one, if there is one.
    """
    best = run.best_checkpoint()
    if best is None:
        return UserError(
            f"training diverged: {error}; the last checkpoint is {checkpoint or 'none yet'}. Try a lower "
            f"--learning_rate than {learning_rate:g} in another --logs_dir, or --precision=float32."
        )
    lower = min(learning_rate / 10, best["learning_rate"] or learning_rate)
    return UserError(
        f"training diverged: {error}; the best validation was at step {best['step']}. Continue from its checkpoint "
        f"with --resume_from=best --learning_rate={lower:g}, or try --precision=float32 in another --logs_dir."
    )


def not_written(error: OSError, *, run: Run, step: int, checkpoint: str | None) -> Exception:
    """What to raise where the model or the history could not be written after a step, which is saved in `checkpoint`.

    Returns:
      A UserError where the disk, its owner or the path is to blame, else `error` itself.
    """
    reason = files.refusal(error)
    if reason is None:
        return error
    return UserError(
        f"the validation of step {step} cannot be written in {run.logs_dir} ({reason}); that step is saved in "
        f"{checkpoint}: fix that, as by making room, and run the same command to validate it again and go on."
    )
