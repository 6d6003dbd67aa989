"""Exact resume: every variable of a training, saved so that a kill at any moment loses nothing older."""

import contextlib
import json
import os
import re
from collections.abc import Collection, Sequence
from typing import Any

import keras
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.inference.checkpoint import AVERAGE
from fcn_tf.io import checksums, files, texts
from fcn_tf.io.run_dir import Run, checkpoint_steps
from fcn_tf.models.variables import not_finite
from fcn_tf.training.hooks import Hook, TrainingState, ValidationResult
from fcn_tf.training.running_metrics import NonFiniteLoss

KEPT = 2
_FILE = re.compile(r"ckpt-(\d+)\.(index|data-\d{5}-of-\d{5}|json)|notes-(\d+)\.json")
_DAMAGED = ".damaged"  # what is set aside ends so


class Checkpoints:
    """The checkpoints of one run, named ckpt-STEP: the newest two are kept, and the best one.

    The variables are saved as one flat list: `tf.train.Checkpoint(model=..., optimizer=...)` would leave the
    dropout seeds out. Such a list depends on its order, so paths and shapes are stored beside it and must agree
    when it is read.

    Args:
      folder: where they lie.
      variables: Keras variables: the model's, then the optimiser's.
      averages: moving averages of some of them, of the same paths.
      writer: False on every worker but the chief, which then only restores.
    """

    def __init__(
        self,
        folder: str,
        variables: Sequence[keras.Variable],
        *,
        averages: Sequence[keras.Variable] = (),
        writer: bool = True,
    ):
        self._folder = folder
        self._variables = [*variables, *averages]
        paths = [variable.path for variable in variables] + [f"{AVERAGE}{average.path}" for average in averages]
        self._expected = _layout(paths, self._variables)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._layout = tf.Variable(self._expected, dtype=tf.string, trainable=False, name="layout")
        state = {f"v{i:04d}": variable.value for i, variable in enumerate(self._variables)}
        self._checkpoint = tf.train.Checkpoint(step=self._step, layout=self._layout, **state)
        self._checkpoint.save_counter.assign_add(0)  # makes it: TensorFlow expects one when it restores
        self._writer = writer
        if writer and files.is_dir(folder):
            sweep(folder)
            _list_again(folder)

    @property
    def latest(self) -> str | None:
        """Path of the newest complete checkpoint, or None."""
        steps = checkpoint_steps(self._folder)
        return self._path(steps[-1]) if steps else None

    def save(self, step: int, notes: dict | None = None, *, best: int | None = None) -> None:
        """Saves the state after `step` steps, on the worker that writes, and removes all but those to keep.

        Args:
          step: how many steps were taken.
          notes: what else belongs to that state, for `notes` to give back; a dict that JSON can hold.
          best: the step of a checkpoint to keep beside the newest, if there is one.

        Raises:
          FloatingPointError: if a variable is not finite; what was saved before is kept.
          UserError: if the disk is full or refuses it; then nothing of it is left, and what was saved before is kept.
        """
        if not self._writer:
            return
        if (path := not_finite(self._variables)) is not None:
            raise FloatingPointError(path)
        self._step.assign(step)
        try:
            # First: a checkpoint that is there has its notes. Notes alone go with the next save.
            files.write_bytes(self._notes_path(step), json.dumps(notes or {}).encode())
            self._write(step)
        except (OSError, tf.errors.OpError) as error:
            reason = files.refusal(error)
            if reason is None:
                raise
            self._discard(step)
            rest = f"continue from {self.latest}" if self.latest else "start again: no checkpoint was saved before"
            raise UserError(
                f"the checkpoint of step {step} cannot be saved in {self._folder} ({reason}); fix that, as by making "
                f"room, and run the same command to {rest}."
            ) from None
        self.prune(best=best)

    def _write(self, step: int) -> None:
        """Writes the variables; on a local disk flushed, with checksums, and the index last: it makes them count."""
        path = self._path(step)
        if files.is_remote(path):
            self._checkpoint.write(path)  # such storage keeps checksums itself, and renames by copying
            return
        folder = f"{path}_temp"
        files.makedirs(folder)
        self._checkpoint.write(files.join(folder, "ckpt"))
        names = sorted(files.list_dir(folder), key=lambda name: name.endswith(".index"))
        sources = {name.replace("ckpt", f"ckpt-{step}", 1): files.join(folder, name) for name in names}
        for source in sources.values():
            files.flush(source)
        notes = self._notes_path(step)
        checksums.write(f"{path}.json", {**sources, os.path.basename(notes): notes})
        for name, source in sources.items():
            files.replace(source, files.join(self._folder, name))
        files.flush(self._folder)
        files.remove_tree(folder)

    def prune(self, *, best: int | None = None) -> None:
        """Removes, on the worker that writes, all checkpoints but the newest two and that of step `best`."""
        if self._writer:
            steps = checkpoint_steps(self._folder)
            self._keep([each for each in steps if each in (*steps[-KEPT:], best)])

    def drop_after(self, step: int) -> list[int]:
        """Removes the checkpoints past `step`, on the worker that writes; returns their steps."""
        steps = checkpoint_steps(self._folder)
        dropped = [each for each in steps if each > step]
        if not self._writer or not dropped:
            return []
        self._keep([each for each in steps if each <= step])
        return dropped

    def _keep(self, steps: Collection[int]) -> None:
        """Removes the files of all other checkpoints, and of halves of one."""
        found = {name: match for name in files.list_dir(self._folder) if (match := _FILE.fullmatch(name))}
        others = {name: match for name, match in found.items() if int(match[1] or match[3]) not in steps}
        # The index first: without it the rest is no checkpoint, so a kill leaves none that only looks whole.
        for name in sorted(others, key=lambda name: others[name][2] != "index"):
            files.remove(files.join(self._folder, name))
        _list_again(self._folder)

    def _discard(self, step):
        """Removes what there is of a save that failed: it may look whole, and it fills the disk."""
        with contextlib.suppress(OSError, tf.errors.OpError):
            for name in files.list_dir(self._folder):
                if name.startswith(f"ckpt-{step}.") or name == f"notes-{step}.json":
                    files.remove(files.join(self._folder, name))
            sweep(self._folder)

    def notes(self, step: int) -> dict[str, Any]:
        """What was saved with the checkpoint of `step`; empty if nothing was, or it cannot be read."""
        path = self._notes_path(step)
        try:
            found = texts.parse_json(files.read_bytes(path)) if files.exists(path) else {}
        except (OSError, ValueError):
            found = {}  # the variables are what counts
        return found if isinstance(found, dict) else {}

    def _path(self, step: int) -> str:
        return files.join(self._folder, f"ckpt-{step}")

    def _notes_path(self, step):
        return files.join(self._folder, f"notes-{step}.json")

    def restore(self, step: int | None = None) -> int:
        """Restores the checkpoint of `step`, or the newest one whose checksums are right, and says so of others.

        Returns:
          The number of steps taken, 0 where there is no checkpoint.

        Raises:
          UserError: if it holds other variables than this network's, or is damaged and no other one is left.
        """
        self._set_aside(step)
        path = self.latest if step is None else self._path(step)
        if path is None:
            return 0
        try:
            # Not tf.train.load_checkpoint, which asks whether this is a folder: ram:// says so of any name's beginning.
            saved = tf.compat.v1.train.NewCheckpointReader(path)
            layout = saved.get_tensor("layout/.ATTRIBUTES/VARIABLE_VALUE").decode()
            if layout != self._expected:
                raise UserError(
                    f"{path} holds another network: {_difference(layout, self._expected)}; "
                    "continue with the flags it was trained with, or give another --logs_dir."
                )
            self._checkpoint.restore(path).assert_consumed()
        except (tf.errors.OpError, LookupError, RuntimeError, AssertionError) as error:
            raise UserError(
                f"{path} cannot be read ({texts.first_line(error)}); remove {path}.* to continue from the checkpoint "
                "before it, if there is one."
            ) from None
        return int(self._step.numpy())

    def _set_aside(self, step: int | None) -> None:
        """Renames, on the worker that writes, the newest ones until one is as it was saved; or that of `step`."""
        steps = checkpoint_steps(self._folder)
        wanted = steps[::-1] if step is None else [step] if step in steps else []
        damaged = {}
        for each in wanted:
            problem = checksums.problem(f"{self._path(each)}.json")
            if problem is None:
                break
            damaged[each] = problem
        found = "; ".join(f"ckpt-{each} is damaged: {problem}" for each, problem in damaged.items())
        if damaged and len(damaged) == len(wanted) and (step is None or len(steps) == 1):
            raise UserError(
                f"{self._folder}: {found}; no other checkpoint is left. Restore it, remove {self._path(wanted[-1])}.* "
                "to start again, or start another run from the model: --init_from and another --logs_dir."
            )
        if not damaged:
            return
        if self._writer:
            for name in files.list_dir(self._folder):
                match = _FILE.fullmatch(name)
                if match and int(match[1] or match[3]) in damaged:
                    files.replace(files.join(self._folder, name), files.join(self._folder, name + _DAMAGED))
            _list_again(self._folder)
        left = f"{self._folder}: {found}; set aside as *{_DAMAGED}"
        if step is not None:
            raise UserError(f"{left}. Run the same command again to continue from the best of the others.")
        print(f"{left}; continuing from the one before")


class SaveCheckpoints(Hook):
    """Saves the state at every `save_every`, after a validation that is the best so far, and where the loop stops.

    Args:
      checkpoints: of the run.
      run: whose history says which validation is the best.
    """

    def __init__(self, checkpoints: Checkpoints, run: Run):
        self._checkpoints, self._run = checkpoints, run
        self._saved: int | None = None  # the step of the newest checkpoint

    def on_start(self, state: TrainingState) -> None:
        """What training starts from is saved already, if anything is."""
        self._saved = state.start

    def after_step(self, state: TrainingState) -> None:
        """Saves, before a validation that may take long or fail."""
        if state.intervals.saves(state.step):
            self.save(state)

    def after_validation(self, state: TrainingState, result: ValidationResult) -> None:
        """Saves the state of the best validation."""
        best = self._run.best_validation()
        if best is not None and best["step"] == state.step:
            self.save(state)

    def on_stop(self, state: TrainingState) -> None:
        """Saves the state that the same command continues from."""
        self.save(state)

    def save(self, state: TrainingState) -> None:
        """Saves the state of `state.step` unless it is saved, and removes checkpoints that are not needed any more.

        Raises:
          NonFiniteLoss: if it diverged; then nothing is saved.
          UserError: if it cannot be written.
        """
        state.read()
        best = self._run.best_checkpoint(state.step)
        best_step = None if best is None else best["step"]
        if state.step == self._saved:
            self._checkpoints.prune(best=best_step)  # a validation since then may have found another best one
            return
        notes = {"window": state.since_validation.state(), "since_log": state.since_log.state()}
        try:
            self._checkpoints.save(state.step, notes, best=best_step)
        except FloatingPointError as error:
            raise NonFiniteLoss(state.step, f"finite, but {error} is not") from None
        self._saved = state.step


def sweep(folder: str) -> None:
    """Removes what a kill in the middle of a save left behind, in a folder that no other process writes to.

    That is what `files.sweep` takes, folders `ckpt-STEP_temp` and files `checkpoint.tmp` + 32 hex digits, as
    TensorFlow names them. Links are left alone whatever their name, for neither makes any, and so is all else.
    """
    files.sweep(folder)
    for name in files.list_dir(folder):
        path = files.join(folder, name)
        if files.is_link(path):
            continue
        if files.is_dir(path):
            if re.fullmatch(r"ckpt-\d+_temp", name):
                files.remove_tree(path)
        elif re.fullmatch(r"checkpoint\.tmp[0-9a-f]{32}", name):
            files.remove(path)


def _list_again(folder: str) -> None:
    """Makes TensorFlow's list of checkpoints, the file `checkpoint`, name those that are there."""
    names, path = [f"ckpt-{step}" for step in checkpoint_steps(folder)], files.join(folder, "checkpoint")
    if names:
        lines = [f'model_checkpoint_path: "{names[-1]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in names)]
        files.write_bytes(path, ("\n".join(lines) + "\n").encode())
    elif files.exists(path):
        files.remove(path)


def _layout(paths: Sequence[str], variables: Sequence[keras.Variable]) -> str:
    return json.dumps([[path, list(variable.shape)] for path, variable in zip(paths, variables, strict=True)])


def _difference(saved, current):
    saved, current = ({path: shape for path, shape in json.loads(layout)} for layout in (saved, current))
    for path in sorted(saved.keys() | current.keys()):
        if saved.get(path) != current.get(path):
            return f"{path} is {saved.get(path, 'absent')} there and {current.get(path, 'absent')} here"
    return "the same variables in another order"
