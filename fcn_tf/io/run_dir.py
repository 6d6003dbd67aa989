"""One run on disk: what lies where under `--logs_dir`, and the small files that everything shares.

config.json says how the run was made; history.csv has one row an evaluation, training.csv one row a point of the
training curves. All are written whole to a temporary name and moved into place, so that a kill leaves the old one or
the new one. No TensorFlow.
"""

import contextlib
import csv
import io
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import files, texts

HISTORY_COLUMNS = (
    "step",
    "epoch",
    "train_loss",
    "val_loss",
    "val_pixel_accuracy",
    "val_mean_accuracy",
    "val_mean_iou",
    "learning_rate",
    "images_per_second",
    "elapsed_seconds",
    "train_pixel_accuracy",
    "train_mean_accuracy",
    "train_mean_iou",
    "train_frequency_weighted_iou",
    "val_frequency_weighted_iou",
)
_OF_LATE = HISTORY_COLUMNS[10:]  # runs of earlier versions go on without them
TRAINING_COLUMNS = (
    "step",
    "epoch",
    "train_loss",
    "train_pixel_accuracy",
    "train_mean_accuracy",
    "train_mean_iou",
    "learning_rate",
    "images_per_second",
    "train_frequency_weighted_iou",
)
_DEFAULT = "logs"  # of --logs_dir
_MOST = 64 << 20  # bytes of config.json, history.csv or training.csv
_IDLE_SECONDS = 600  # so long nobody takes to write a file; evaluate and check write to the folder of a training too


@dataclass(frozen=True)
class Run:
    """The layout of one `--logs_dir`; nothing is created until something is written.

    Attributes:
      logs_dir: a folder, local or remote (`gs://...`).
    """

    logs_dir: str

    @property
    def config(self) -> str:
        """Every resolved flag, versions, class names and colours."""
        return files.join(self.logs_dir, "config.json")

    @property
    def history(self) -> str:
        """One row an evaluation."""
        return files.join(self.logs_dir, "history.csv")

    @property
    def training(self) -> str:
        """One row a point of the training curves."""
        return files.join(self.logs_dir, "training.csv")

    @property
    def curves(self) -> str:
        """A picture of the history and of the training curves."""
        return files.join(self.logs_dir, "curves.png")

    @property
    def model(self) -> str:
        """The best model on validation, ready to load."""
        return files.join(self.logs_dir, "model.keras")

    @property
    def log(self) -> str:
        """What libraries said, and the tracebacks of our own faults."""
        return files.join(self.logs_dir, "run.log")

    @property
    def checkpoints(self) -> str:
        """Folder of everything that an exact resume needs."""
        return files.join(self.logs_dir, "checkpoints")

    @property
    def train_events(self) -> str:
        """Folder of TensorBoard's events about training."""
        return files.join(self.logs_dir, "train")

    @property
    def validation_events(self) -> str:
        """Folder of TensorBoard's events about validation."""
        return files.join(self.logs_dir, "validation")

    @property
    def visualize(self) -> str:
        """Folder of the contact sheet."""
        return files.join(self.logs_dir, "visualize")

    @property
    def evaluation(self) -> str:
        """Folder of metrics.json and what belongs to it."""
        return files.join(self.logs_dir, "evaluation")

    def scores(self, predictions: str = "") -> str:
        """Folder of an evaluation: that of the model, or of label images of others, which may not take its place.

        Args:
          predictions: the folder of such images; "" for the model.
        """
        of_others = predictions and self.exists()
        return files.join(self.logs_dir, "evaluation_predictions") if of_others else self.evaluation

    @property
    def predict(self) -> str:
        """Where predictions go when no `--output_dir` is given."""
        return files.join(self.logs_dir, "predict")

    @property
    def explain(self) -> str:
        """Folder of the explanation of a picture."""
        return files.join(self.logs_dir, "explain")

    @property
    def export(self) -> str:
        """Where exports go when no `--output_dir` is given."""
        return files.join(self.logs_dir, "export")

    @property
    def check(self) -> str:
        """Folder of what --mode=check found."""
        return files.join(self.logs_dir, "check")

    @property
    def examples(self) -> str:
        """Which examples the run is trained and validated on."""
        return files.join(self.logs_dir, "examples.json")

    @property
    def facts(self) -> str:
        """What was found in the files of the data set, by their size and time."""
        return files.join(self.logs_dir, "facts.json.gz")

    @property
    def trackers(self) -> str:
        """The ids of the run at MLflow and Weights & Biases."""
        return files.join(self.logs_dir, "trackers.json")

    def require_layout(self) -> None:
        """Checks that files lie where files belong and folders where folders do, before anything is read or written.

        Raises:
          UserError: naming one that does not, or a link in `logs_dir` that leads nowhere.
        """
        if leads_nowhere := files.dangling(self.logs_dir):
            raise UserError(f"--logs_dir: {leads_nowhere}; make that folder, or give another --logs_dir.")
        folders = (self.logs_dir, self.checkpoints, self.train_events, self.validation_events)
        written = (self.config, self.history, self.training, self.curves, self.model, self.examples, self.facts)
        for path in (*folders, *written, self.trackers):
            is_folder = files.is_dir(path)
            if is_folder != (path in folders) and files.exists(path):
                found, expected = ("folder", "file") if is_folder else ("file", "folder")
                raise UserError(
                    f"{path} is a {found}, expected a {expected}; move it away, or give another --logs_dir."
                )

    def exists(self) -> bool:
        """Whether anything has been trained here."""
        return files.exists(self.config)

    def has_checkpoint(self) -> bool:
        """Whether there is a state to continue from."""
        return bool(checkpoint_steps(self.checkpoints))

    def has_begun(self) -> bool:
        """Whether there is a state to continue from, be it of a network of `--staged` that comes before this one."""
        stages = (Run(files.join(self.logs_dir, arch)) for arch in registry.STAGED)
        return self.has_checkpoint() or (self._is_staged() and any(stage.has_checkpoint() for stage in stages))

    def _is_staged(self) -> bool:
        flags = self.read_config().get("flags") if self.exists() else None
        return isinstance(flags, dict) and bool(flags.get("staged"))

    def resume_step(self) -> int:
        """The step of the newest complete checkpoint, 0 where there is none."""
        return max(checkpoint_steps(self.checkpoints), default=0)

    def newest_checkpoint(self) -> str:
        """The path of the newest complete checkpoint; there must be one."""
        return files.join(self.checkpoints, f"ckpt-{checkpoint_steps(self.checkpoints)[-1]}")

    def best_validation(self, steps: Collection[int] | None = None) -> dict[str, Any] | None:
        """The row of history.csv with the highest mean IoU, the earliest of equals, or None.

        Args:
          steps: consider the validations after these only; None for all of them.
        """
        rows = [row for row in self.read_history() if steps is None or row["step"] in steps]
        # A network that diverged labels pixels too; its loss gives it away.
        rows = [row for row in rows if all(map(_finite, (row["val_loss"], row["val_mean_iou"])))]
        return max(rows, key=lambda row: row["val_mean_iou"], default=None)

    def validations_since_best(self, step: int | None = None) -> int:
        """How many validations came after the best one, up to `step` if it is given; 0 where there is none."""
        rows = [row for row in self.read_history() if step is None or row["step"] <= step]
        best = self.best_validation([row["step"] for row in rows])
        return 0 if best is None else sum(row["step"] > best["step"] for row in rows)

    def validated(self, step: int) -> bool:
        """Whether the validation after `step` is in the history."""
        return any(row["step"] == step for row in self.read_history())

    def best_checkpoint(self, *saving: int) -> dict[str, Any] | None:
        """The row of the best validation of which there is a checkpoint, or None; `saving` counts as saved."""
        return self.best_validation([*checkpoint_steps(self.checkpoints), *saving])

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other trainings out of the folder, which is created; where that can be found out, see `files.locked`.

        Temporary files that a killed one left there are removed.

        Raises:
          UserError: if another one is at work there, or there can be no such folder.
        """
        try:
            files.makedirs(self.logs_dir)
        except FileNotFoundError:  # as under /proc
            raise UserError(f"--logs_dir={self.logs_dir} cannot be made there; give another folder.") from None
        with files.locked(self.logs_dir) as free:
            if not free:
                raise UserError(
                    f"another training is writing to --logs_dir={self.logs_dir}; "
                    "wait for it or stop it, or give another --logs_dir."
                )
            files.sweep(self.logs_dir, idle_seconds=_IDLE_SECONDS)
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes config.json, creating the folder."""
        files.write_bytes(self.config, (json.dumps(config, indent=2) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Reads config.json.

        Raises:
          UserError: if there is none, it is damaged, or what it says about classes cannot be.
        """
        if not files.exists(self.config):
            raise UserError(
                f"{self.logs_dir} is no run: no config.json; train first with --mode=train --logs_dir={self.logs_dir}"
            )
        try:
            config = texts.parse_json(files.read_bytes(self.config, most=_MOST))
        except (ValueError, OSError) as error:
            raise UserError(f"{self.config} is not JSON ({error}); restore it, or train into a new folder.") from None
        if not isinstance(config, dict):
            raise UserError(f"{self.config} holds no object of settings; restore it, or train into a new folder.")
        for wrong in _contradictions(config):
            raise UserError(f"{self.config}: {wrong}; restore it, or train into a new folder.")
        return config

    def require_model(self) -> str:
        """The path of model.keras, or, before the first validation, of the newest checkpoint; costs no TensorFlow.

        Raises:
          UserError: if there is neither.
        """
        if files.exists(self.model):
            return self.model
        if self.has_checkpoint():
            return self.newest_checkpoint()
        raise UserError(
            f"{self.model} does not exist: there is no trained model; train one first with "
            f"--mode=train --logs_dir={self.logs_dir} (it is written at the first validation)."
        )

    def model_stamp(self) -> tuple[int, int]:
        """Another one, another model: of the file that `require_model` names.

        Raises:
          UserError: as `require_model`.
        """
        path = self.require_model()
        return files.stamp(path if files.exists(path) else f"{path}.index")

    def append_history(self, row: Mapping[str, Any]) -> None:
        """Adds one row to history.csv.

        Args:
          row: a number, or None for "not measured", for each of `HISTORY_COLUMNS`.

        Raises:
          ValueError: if a column is missing or unknown.
        """
        if set(row) != set(HISTORY_COLUMNS):
            raise ValueError(f"history row has {sorted(row)}; expected exactly {sorted(HISTORY_COLUMNS)}.")
        numbers = {name: None if row[name] is None else float(row[name]) for name in HISTORY_COLUMNS}
        self._write_history([*self.read_history(), {**numbers, "step": int(row["step"])}])

    def read_history(self) -> list[dict[str, Any]]:
        """The rows of history.csv in order: int step, float or None elsewhere; empty where there is none."""
        return _read_rows(self.history, HISTORY_COLUMNS, absent=_OF_LATE)

    def read_training(self) -> list[dict[str, Any]]:
        """The rows of training.csv in order, as those of `read_history`."""
        return _read_rows(self.training, TRAINING_COLUMNS, absent=TRAINING_COLUMNS[-1:])

    def write_training(self, rows: list[dict[str, Any]]) -> None:
        """Replaces training.csv; each row has a number or None for each of `TRAINING_COLUMNS`."""
        _write_rows(self.training, TRAINING_COLUMNS, rows)

    def truncate_history(self, step: int) -> int:
        """Drops the rows past `step`, the one training resumes from; returns how many."""
        rows = self.read_history()
        kept = [row for row in rows if row["step"] <= step]
        if len(kept) < len(rows):
            self._write_history(kept)
        return len(rows) - len(kept)

    def _write_history(self, rows: list[dict[str, Any]]) -> None:
        _write_rows(self.history, HISTORY_COLUMNS, rows)


def free_logs_dir(given: str, name: str) -> str:
    """A folder that holds no run: the one that was given, or one beside it, or logs/NAME if it is logs/."""
    given = given.rstrip("/") or given
    beside = files.join(given, name) if given == _DEFAULT else given
    numbered = (f"{beside}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain((given, beside), numbered) if not Run(each).exists())


def _read_rows(path: str, columns: Sequence[str], *, absent: Collection[str] = ()) -> list[dict[str, Any]]:
    """The rows of a CSV file of numbers; a column of `absent` may be missing."""
    if not files.exists(path):
        return []
    try:
        rows = csv.DictReader(io.StringIO(files.read_bytes(path, most=_MOST).decode()))
        if missing := [name for name in columns if name not in (*(rows.fieldnames or ()), *absent)]:
            raise ValueError(f"no column {missing[0]}")
        return [
            {name: _step(row[name]) if name == "step" else float(row[name]) if row[name] else None for name in columns}
            for row in (dict.fromkeys(absent) | row for row in rows)
        ]
    except (KeyError, TypeError, ValueError, OSError, csv.Error) as error:
        raise UserError(
            f"{path} has a row that is no row of numbers ({texts.reason(error):.80}); expected the columns "
            f"{', '.join(columns)}: fix the row or remove the file."
        ) from None


def _write_rows(path: str, columns: Sequence[str], rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_bytes(path, text.getvalue().encode())


def _step(text: str) -> int:
    step = int(text)
    if not 0 <= step < 1 << 63:
        raise ValueError(f"step {step}")
    return step


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """What a training does not write into config.json."""
    names, colors, count = config.get("class_names"), config.get("colors"), config.get("num_classes")
    if not isinstance(config.get("flags", {}), dict):
        yield "its flags are no object"
    if names is not None:
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            yield f"class_names is {str(names)[:40]!r}, expected a list of names"
            return
        for name in filter(texts.has_controls, names):
            yield f"the class name {texts.printable(name)!r} holds control characters"
        if count is not None and (type(count) is not int or count != len(names)):
            yield f"num_classes is {str(count)[:40]}, expected {len(names)}, as many as class_names"
    if colors is not None:
        if not (isinstance(colors, list) and all(map(_is_color, colors))):
            yield "colors are no list of [red, green, blue] from 0 to 255"
        elif names is not None and len(colors) != len(names):
            yield f"{len(colors)} colors for {len(names)} class_names"
    ignored = config.get("ignore_label")
    if ignored is not None and (type(ignored) is not int or not 0 <= ignored < 1 << 31):
        yield f"ignore_label is {str(ignored)[:40]!r}, expected a label id or null"


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each <= 255 for each in value)


def checkpoint_steps(folder: str) -> list[int]:
    """The steps of the complete checkpoints in `folder`, in order: the index is written last and removed first."""
    names = files.list_dir(folder) if files.is_dir(folder) else []
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"ckpt-(\d+)\.index", name)))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
