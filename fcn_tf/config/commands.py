"""Settings as a command that trains with them, for messages to print. No TensorFlow."""

import dataclasses
import shlex
from collections.abc import Collection, Mapping
from typing import Any

from fcn_tf import registry
from fcn_tf.config.config import Config
from fcn_tf.config.flag import flag_name

TRAINED_WEIGHTS = "vgg16"  # what a printed command trains from instead of the tiny weights


def train_command(config: Config, *, logs_dir: str, without: Collection[str] = (), **changed: Any) -> str:
    """The command that trains with these settings, to be pasted into a POSIX shell.

    It names what is not a default of the data set's, and never the tiny weights, which are for trying out.

    Args:
      config: of a command about the data.
      logs_dir: of the new run.
      without: flags to leave out.
      **changed: settings to replace.
    """
    if config.weights == "tiny" and not config.init_from and "alexnet" not in (config.trunk, *config.arch.split("_")):
        changed.setdefault("weights", TRAINED_WEIGHTS)
    if changed.get("weights", config.weights) not in registry.WEIGHTS:  # nothing is downloaded
        without = (*without, "model_dir")
    values = {**config.to_json(), **changed}
    usual = Config(dataset=values["dataset"])
    first = {name: values.pop(name) for name in ("dataset", "data_dir")}
    rest = {name: each for name, each in values.items() if name not in without and each != getattr(usual, name)}
    return command_of({**first, **rest, "logs_dir": logs_dir})


def command_of(values: Mapping[str, Any]) -> str:
    """The command that trains with these values of fields of `Config`, in this order, for a POSIX shell."""
    names = {field.name: flag_name(field) for field in dataclasses.fields(Config)}
    flags = (
        f"--{names[name]}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()
    )
    return shlex.join(["python", "main.py", "--mode=train", *flags])
