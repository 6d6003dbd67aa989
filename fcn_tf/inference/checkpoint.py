"""The model of a run that was not validated yet: built as config.json says, with the weights of a checkpoint."""

import json

import keras
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import checksums, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.models import build

AVERAGE = "average/"  # before the path of a weight: its moving average, which is what a run is for
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def load_newest(run: Run) -> keras.Model:
    """Loads the model of the run's newest checkpoint; what only training needs is not read.

    Args:
      run: with a checkpoint.

    Raises:
      UserError: if config.json is not that of a training, or the checkpoint is damaged or another network's.
    """
    path = run.newest_checkpoint()
    if (problem := checksums.problem(f"{path}.json")) is not None:
        raise UserError(
            f"{path} is damaged: {problem}; --mode=train --logs_dir={run.logs_dir} sets it aside and goes on from "
            "the one before it, if there is one."
        )
    model = _build(run)
    try:
        # Not tf.train.load_checkpoint, which asks whether this is a folder: ram:// says so of any name's beginning.
        reader = tf.compat.v1.train.NewCheckpointReader(path)
        # Variables are numbered; their paths and shapes are stored beside them.
        layout = json.loads(reader.get_tensor(f"layout{_VALUE}").decode())
        saved = {variable: (f"v{i:04d}{_VALUE}", shape) for i, (variable, shape) in enumerate(layout)}
        for variable in model.variables:
            key, shape = saved.get(f"{AVERAGE}{variable.path}") or saved.get(variable.path, ("", None))
            if shape != list(variable.shape):
                raise UserError(
                    f"{path} holds another network: {variable.path} is {shape or 'absent'} there, expected "
                    f"{list(variable.shape)}; restore {run.config}, or train into another --logs_dir."
                )
            variable.assign(reader.get_tensor(key))
    except (tf.errors.OpError, LookupError, RuntimeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({texts.first_line(error)}); remove {path}.* to use the checkpoint before it, if "
            "there is one."
        ) from None
    return model


def _build(run: Run) -> keras.Model:
    config = run.read_config()
    try:
        flags = config["flags"]
        return build.build_model(
            flags["arch"],
            num_classes=config["num_classes"],
            weights=flags["weights"],
            model_dir=flags["model_dir"],
            dropout_rate=flags["dropout"],
            dtype=flags["precision"],
            trunk=flags.get("trunk", ""),  # runs from before it was a flag have the arch's own
            longest_side=flags.get("longest_side", 0),
            flags=registry.arch_flags(flags["arch"], flags),
        )
    except (KeyError, TypeError) as error:
        raise UserError(f"{run.config} does not describe a model ({error}); restore it, or train again.") from None
