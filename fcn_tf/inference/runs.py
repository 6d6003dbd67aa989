"""A finished run, as Python sees it. No TensorFlow until its model is asked for."""

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

from fcn_tf import registry
from fcn_tf.data import palette
from fcn_tf.data.palette import Color
from fcn_tf.errors import UserError
from fcn_tf.io import system
from fcn_tf.io.run_dir import Run


@dataclass(frozen=True)
class TrainedRun:
    """A run that has a model; wherever the folder of a run is asked for, it may be given itself.

    Attributes:
      logs_dir: its folder.
      config: the content of its config.json.
      messages: the lines that a training from Python did not print; () for a run that was loaded.
    """

    logs_dir: str
    config: dict[str, Any] = field(repr=False)
    messages: tuple[str, ...] = field(default=(), repr=False)

    def __fspath__(self) -> str:
        return self.logs_dir

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class id."""
        return tuple(self.config["class_names"])

    @property
    def colors(self) -> tuple[Color, ...]:
        """(r, g, b) in [0, 255] by class id."""
        return tuple((red, green, blue) for red, green, blue in self.config["colors"])

    @property
    def ignore_label(self) -> int | None:
        """The label id that was neither trained nor scored."""
        return self.config.get("ignore_label")

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each validation, see history.csv; None where something was not measured."""
        return Run(self.logs_dir).read_history()

    @property
    def best(self) -> dict[str, Any] | None:
        """The row of the history with the highest mean IoU, which model.keras is from; None before there is one."""
        return Run(self.logs_dir).best_validation()

    def in_palette(self, wanted: str) -> "TrainedRun":
        """The same run in the colours of a palette of `registry.PALETTES`; "auto" or its own palette: as it is."""
        if wanted in ("auto", self.config.get("flags", {}).get("palette")):
            return self
        colors = registry.resolve(registry.PALETTES[wanted])(len(self.class_names))
        return dataclasses.replace(self, config={**self.config, "colors": palette.told_apart(colors)})

    def model(self) -> Any:
        """The Keras model with the best validation: float32 RGB (B, H, W, 3) in [0, 255] -> logits (B, H, W, C).

        Before the first validation it is that of the newest checkpoint.

        Raises:
          UserError: if it is damaged.
        """
        system.load_tensorflow()
        from fcn_tf.inference import evaluator

        return evaluator.load_model(Run(self.logs_dir), say=lambda line: None)


def load_run(logs_dir: str | os.PathLike) -> TrainedRun:
    """Loads what is known about a run.

    Args:
      logs_dir: its folder, as `--logs_dir`.

    Raises:
      UserError: if there is no run, it has no model yet, or its config.json does not describe one.
    """
    run = Run(os.fspath(logs_dir))
    run.require_layout()
    config = run.read_config()
    run.require_model()
    missing = {"class_names", "colors"} - set(config)
    if missing:
        raise UserError(f"{run.config} has no {sorted(missing)[0]!r}; restore it, or train again.")
    return TrainedRun(run.logs_dir, config)
