"""Exact resume: every variable of a training, saved so that a kill at any moment loses nothing older."""

import json
import os

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
    """

    def __init__(self, folder, variables):
        self._folder = folder
        self._variables = variables
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._layout = tf.Variable(_layout(variables), dtype=tf.string, trainable=False, name="layout")
        state = {f"v{i:04d}": variable.value for i, variable in enumerate(variables)}
        self._checkpoint = tf.train.Checkpoint(step=self._step, layout=self._layout, **state)
        if files.is_dir(folder):
            sweep(folder)
        self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=KEPT, checkpoint_name="ckpt")

    @property
    def latest(self):
        """Path of the newest complete checkpoint, or None."""
        return self._manager.latest_checkpoint

    def save(self, step):
        """Saves the state after `step` steps.

        Raises:
          FloatingPointError: if a variable is not finite; what was saved before is kept.
        """
        for variable in self._variables:
            if variable.dtype.startswith(("float", "bfloat")) and not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
                raise FloatingPointError(variable.path)
        self._step.assign(step)
        return self._manager.save(checkpoint_number=step)

    def restore(self):
        """Restores the newest checkpoint.

        Returns:
          The number of steps taken, 0 where there is no checkpoint.

        Raises:
          UserError: if it holds other variables than this network's, or is damaged.
        """
        if self.latest is None:
            return 0
        try:
            saved = tf.train.load_checkpoint(self.latest)
            layout = saved.get_tensor("layout/.ATTRIBUTES/VARIABLE_VALUE").decode()
            if layout != _layout(self._variables):
                raise UserError(
                    f"{self.latest} holds another network: {_difference(layout, _layout(self._variables))}; "
                    "continue with the flags it was trained with, or give another --logs_dir."
                )
            self._checkpoint.restore(self.latest).assert_consumed()
        except (tf.errors.OpError, KeyError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.latest} cannot be read ({reason}); remove its files and its line in "
                f"{os.path.join(self._folder, 'checkpoint')} to continue from the one before."
            ) from None
        return int(self._step.numpy())


def sweep(folder):
    """Removes what a kill in the middle of a save left behind."""
    for name in files.list_dir(folder):
        if "_temp" in name or ".tempstate" in name:
            path = files.join(folder, name)
            tf.io.gfile.rmtree(path) if files.is_dir(path) else tf.io.gfile.remove(path)


def _layout(variables):
    return json.dumps([[variable.path, list(variable.shape)] for variable in variables])


def _difference(saved, current):
    saved, current = ({path: shape for path, shape in json.loads(layout)} for layout in (saved, current))
    for path in saved.keys() | current.keys():
        if saved.get(path) != current.get(path):
            return f"{path} is {saved.get(path, 'absent')} there and {current.get(path, 'absent')} here"
    return "the same variables in another order"
