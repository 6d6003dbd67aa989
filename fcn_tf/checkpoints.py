"""Exact resume: every variable of a training, saved so that a kill at any moment loses nothing older."""

import json
import re
import time

import tensorflow as tf

from fcn_tf import files
from fcn_tf.errors import UserError

KEPT = 2


class Checkpoints:
    """The checkpoints of one run, named ckpt-STEP, the newest two kept.

    The variables are saved as one flat list: `tf.train.Checkpoint(model=..., optimizer=...)` would leave the
    dropout seeds out. Such a list depends on its order, so paths and shapes are stored beside it and must agree
    when it is read.

    Args:
      folder: where they lie.
      variables: Keras variables: the model's, then the optimiser's.
      writer: False on every worker but the chief, which then only restores.
    """

    def __init__(self, folder, variables, *, writer=True):
        self._folder = folder
        self._variables = variables
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._layout = tf.Variable(_layout(variables), dtype=tf.string, trainable=False, name="layout")
        state = {f"v{i:04d}": variable.value for i, variable in enumerate(variables)}
        self._checkpoint = tf.train.Checkpoint(step=self._step, layout=self._layout, **state)
        self._manager = None
        if writer:
            if files.is_dir(folder):
                sweep(folder)
                _list_again(folder)
            self._manager = tf.train.CheckpointManager(
                self._checkpoint, folder, max_to_keep=KEPT, checkpoint_name="ckpt"
            )

    @property
    def latest(self):
        """Path of the newest complete checkpoint, or None."""
        steps = _steps(self._folder)
        return files.join(self._folder, f"ckpt-{steps[-1]}") if steps else None

    def save(self, step, notes=None):
        """Saves the state after `step` steps, on the worker that writes.

        Args:
          step: how many steps were taken.
          notes: what else belongs to that state, for `notes` to give back; a dict that JSON can hold.

        Raises:
          FloatingPointError: if a variable is not finite; what was saved before is kept.
        """
        if self._manager is None:
            return
        for variable in self._variables:
            if variable.dtype.startswith(("float", "bfloat")):
                if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
                    raise FloatingPointError(variable.path)
        self._step.assign(step)
        # First: a checkpoint that is there has its notes. Notes alone are swept with the next save.
        files.write_bytes(self._notes_path(step), json.dumps(notes or {}).encode())
        self._manager.save(checkpoint_number=step)
        kept = {f"notes-{step}.json" for step in _steps(self._folder)}
        for name in files.list_dir(self._folder):
            if name.startswith("notes-") and name not in kept:
                files.remove(files.join(self._folder, name))

    def notes(self, step):
        """What was saved with the checkpoint of `step`; empty if nothing was, or it cannot be read."""
        path = self._notes_path(step)
        try:
            return json.loads(files.read_bytes(path)) if files.exists(path) else {}
        except (OSError, ValueError):
            return {}  # the variables are what counts

    def _notes_path(self, step):
        return files.join(self._folder, f"notes-{step}.json")

    def restore(self):
        """Restores the newest checkpoint.

        Returns:
          The number of steps taken, 0 where there is no checkpoint.

        Raises:
          UserError: if it holds other variables than this network's, or is damaged.
        """
        latest = self.latest
        if latest is None:
            return 0
        try:
            # Not tf.train.load_checkpoint, which asks whether this is a folder: ram:// says so of any name's beginning.
            saved = tf.compat.v1.train.NewCheckpointReader(latest)
            layout = saved.get_tensor("layout/.ATTRIBUTES/VARIABLE_VALUE").decode()
            if layout != _layout(self._variables):
                raise UserError(
                    f"{latest} holds another network: {_difference(layout, _layout(self._variables))}; "
                    "continue with the flags it was trained with, or give another --logs_dir."
                )
            self._checkpoint.restore(latest).assert_consumed()
        except (tf.errors.OpError, LookupError, RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{latest} cannot be read ({reason}); remove {latest}.* to continue from the checkpoint before it, if "
                "there is one."
            ) from None
        return int(self._step.numpy())


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


def _steps(folder):
    """The steps of the complete checkpoints, in order: TensorFlow writes the index last."""
    names = files.list_dir(folder) if files.is_dir(folder) else []
    return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"ckpt-(\d+)\.index", name)))


def _list_again(folder):
    """Makes TensorFlow's list of checkpoints say which are there: it may be lost, or name what a user removed."""
    found, path = [files.join(folder, f"ckpt-{step}") for step in _steps(folder)], files.join(folder, "checkpoint")
    if not found:
        if files.exists(path):
            tf.io.gfile.remove(path)
        return
    now = time.time()
    state = tf.compat.v1.train.generate_checkpoint_state_proto(
        folder,
        found[-1],
        all_model_checkpoint_paths=found,
        all_model_checkpoint_timestamps=[now] * len(found),
        last_preserved_timestamp=now - 1,  # older than all of them: none is exempt from deletion
    )
    files.write_bytes(path, str(state).encode())


def _layout(variables):
    return json.dumps([[variable.path, list(variable.shape)] for variable in variables])


def _difference(saved, current):
    saved, current = ({path: shape for path, shape in json.loads(layout)} for layout in (saved, current))
    for path in sorted(saved.keys() | current.keys()):
        if saved.get(path) != current.get(path):
            return f"{path} is {saved.get(path, 'absent')} there and {current.get(path, 'absent')} here"
    return "the same variables in another order"
