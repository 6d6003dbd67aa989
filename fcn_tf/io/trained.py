"""A trained model that a new run starts from (`--init_from`). No TensorFlow."""

import os
from dataclasses import dataclass
from typing import Any

from fcn_tf.errors import UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run


@dataclass(frozen=True)
class TrainedModel:
    """A model on disk.

    Attributes:
      source: the run whose model it is, or the path of a `.keras` file.
      path: of the file.
      class_names: of its classes, in order; None where no config.json says so.
    """

    source: Run | str
    path: str
    class_names: tuple[str, ...] | None


def find(name: str) -> TrainedModel:
    """The model that a value of `--init_from` names.

    Args:
      name: the folder of a run, whose model.keras is taken, or its newest checkpoint where there is none; or the path
        of a `.keras` file. What config.json beside that file says is believed.

    Raises:
      UserError: if there is no such model.
    """
    names = config_of(name).get("class_names")
    class_names = tuple(map(str, names)) if isinstance(names, list) else None
    if files.is_dir(name):
        run = Run(name)
        run.read_config()  # which says that this is a run
        return TrainedModel(run, run.require_model(), class_names)
    if not name.endswith(".keras") or not files.exists(name):
        found = "is no .keras file" if files.exists(name) else "does not exist"
        raise UserError(f"--init_from={name} {found}; expected the --logs_dir of a trained run or a .keras file.")
    return TrainedModel(name, name, class_names)


def run_of(name: str) -> Run:
    """The run that a value of `--init_from` lies in; a `.keras` file alone lies in an empty one."""
    return Run(name if files.is_dir(name) else os.path.dirname(name) or ".")


def config_of(name: str) -> dict[str, Any]:
    """The content of the config.json that belongs to a value of `--init_from`; empty where there is none."""
    run = run_of(name)
    return run.read_config() if run.exists() else {}
