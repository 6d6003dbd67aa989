"""Sends a training's metrics to MLflow or Weights & Biases, beside TensorBoard (--log_to)."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any, Protocol

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import files, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.training.hooks import Hook, TrainingState, ValidationResult
from fcn_tf.training.progress import BestEffort, write

_PROJECT = "fcn_tf"  # unless MLFLOW_EXPERIMENT_NAME or WANDB_PROJECT says otherwise
_MLFLOW_STORE = "sqlite:///mlflow.db"  # unless MLFLOW_TRACKING_URI does; MLflow refuses its old folders of files by now


class Tracker(Protocol):
    """One run at a tracking service, started.

    Attributes:
      id: of the run there.
      url: where to look at it.
    """

    id: str
    url: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Adds a point to each of these curves."""

    def finish(self, status: str) -> None:
        """Ends the run: "finished", "stopped" or "failed"."""


class MlflowTracker:
    """A run at MLflow's tracking server, or in its database.

    Args:
      name: of the run.
      flags: its parameters.
      known: the id of the run to continue, or None.
    """

    _STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}

    def __init__(self, name: str, flags: Mapping[str, Any], known: str | None):
        import mlflow

        self._mlflow = mlflow
        mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or _MLFLOW_STORE)
        experiment = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or _PROJECT)
        self.id = mlflow.start_run(run_id=known, run_name=None if known else name).info.run_id
        if known is None:
            mlflow.log_params(flags)
        else:  # parameters cannot be changed there: what a resumed training changes becomes tags
            before = mlflow.get_run(known).data.params
            mlflow.set_tags({key: value for key, value in flags.items() if before.get(key) != str(value)})
        self.url = f"{mlflow.get_tracking_uri()}, experiment {experiment.name}, run {self.id}"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._mlflow.log_metrics(dict(values), step=step)

    def finish(self, status: str) -> None:
        """See `Tracker`."""
        self._mlflow.end_run(self._STATUS[status])


class WandbTracker:
    """A run at Weights & Biases, or offline where WANDB_MODE=offline.

    Arguments as of `MlflowTracker`.
    """

    def __init__(self, name: str, flags: Mapping[str, Any], known: str | None):
        import wandb

        project = os.environ.get("WANDB_PROJECT") or _PROJECT
        self._run = wandb.init(project=project, name=name, config=dict(flags), id=known, resume="allow")
        # Its own counter may not go back, as ours does after a kill.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.id, self.url = self._run.id, self._run.url or self._run.dir

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._run.log({**values, "step": step})

    def finish(self, status: str) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=0 if status == "finished" else 1)


class TrackMetrics(Hook):
    """Sends the points of TensorBoard's curves to a service; where that fails, a warning says so once.

    Args:
      service: a name in `registry.TRACKERS`.
      run: whose `trackers.json` keeps the id, so that a resumed training goes on in the same run there.
      flags: of the run.
    """

    def __init__(self, service: str, run: Run, flags: Mapping[str, Any]):
        self._service, self._run, self._flags = service, run, flags
        self._effort = BestEffort(f"metrics at {service}", Exception)
        self._tracker: Tracker | None = None
        self._status = "failed"

    def on_start(self, state: TrainingState) -> None:
        """Starts the run there, or continues it.

        Raises:
          UserError: if that fails: better now than after hours without curves.
        """
        ids = read_ids(self._run)
        known = ids.get(self._service) if state.start else None
        start = registry.resolve(registry.TRACKERS[self._service])
        try:
            self._tracker = start(self._run.logs_dir.rstrip("/"), self._flags, known)
        except Exception as error:  # theirs are of many kinds
            raise UserError(
                f"--log_to={self._service} does not work: {texts.reason(error)}; set up {self._service} (its address, "
                "its key), or leave the flag out."
            ) from None
        files.write_bytes(self._run.trackers, json.dumps({**ids, self._service: self._tracker.id}).encode())
        write(f"{self._service}: {self._tracker.url}")

    def after_step(self, state: TrainingState) -> None:
        """Sends the scores of training at every `log_every`."""
        if state.intervals.logs(state.step) and state.result:
            self._log("train", state.point(), state.step)

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Sends the scores of a validation."""
        self._log("validation", result.scores, state.step)
        if state.step == state.intervals.max_steps:
            self._status = "finished"

    def on_stop(self, state: TrainingState) -> None:
        """Notes how the training ended: cut short by a signal, or done before its last step."""
        self._status = "stopped" if state.stop else "finished"

    def close(self) -> None:
        """Ends the run there."""
        if self._tracker is not None:
            with self._effort:
                self._tracker.finish(self._status)

    def _log(self, part: str, values: Mapping[str, float], step: int) -> None:
        if self._tracker is None or self._effort.failed:
            return
        with self._effort:
            points = {f"{part}/{name}": float(value) for name, value in values.items() if math.isfinite(value)}
            self._tracker.log(points, step)


def read_ids(run: Run) -> dict[str, str]:
    """The ids of a run at the services it was sent to, by service; empty where there are none.

    Raises:
      UserError: if the file that keeps them is damaged.
    """
    if not files.exists(run.trackers):
        return {}
    try:
        return {str(service): str(known) for service, known in texts.parse_json(files.read_bytes(run.trackers)).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{run.trackers} is damaged ({error}); remove it: a new run starts at the service.") from None
