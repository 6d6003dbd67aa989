"""What a training that cannot go on says: why, what is saved, and what to type next."""

from collections.abc import Sequence

from fcn_tf.data.base import Example
from fcn_tf.errors import UserError
from fcn_tf.io import files, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.training.running_metrics import NonFiniteLoss

_SHOWN = 4  # files in a message; the rest is counted


class Diverged(UserError):
    """A training whose loss or weights are no longer finite.

    Attributes:
      reason: at which step, and on which files.
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


def diverged(
    error: NonFiniteLoss,
    examples: Sequence[Example],
    *,
    run: Run,
    learning_rate: float,
    rate_factor: float,
    checkpoint: str | None,
) -> Diverged:
    """The error to raise.

    Args:
      error: says at which step.
      examples: of that step's batch, as far as this worker has them.
      run: whose best validation it may go back to.
      learning_rate: of that step.
      rate_factor: how many times --learning_rate that is without a schedule.
      checkpoint: the newest one, if there is one.
    """
    batch = f" (its batch: {texts.some([example.name for example in examples], _SHOWN)})" if examples else ""
    reason = f"training diverged: {error}{batch}"
    best = run.best_checkpoint()
    if best is None:
        return Diverged(
            f"{reason}; the last checkpoint is {checkpoint or 'none yet'}. Try a lower --learning_rate than "
            f"{learning_rate / rate_factor:g} in another --logs_dir, --on_nan=rollback, or --precision=float32.",
            reason,
        )
    lower = min(learning_rate / 10, best["learning_rate"] or learning_rate) / rate_factor
    return Diverged(
        f"{reason}; the best validation was at step {best['step']}. Continue from its checkpoint with "
        f"--resume_from=best --learning_rate={lower:g}, or let --on_nan=rollback do so, or try --precision=float32 in "
        "another --logs_dir.",
        reason,
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
