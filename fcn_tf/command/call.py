"""Modes from Python: without flags, without printing."""

import contextlib
import dataclasses
import io
import json
import os
import signal
from dataclasses import dataclass, field
from typing import Any

from fcn_tf import config as configs
from fcn_tf import registry
from fcn_tf.command import other_names
from fcn_tf.config import Config
from fcn_tf.data import crops
from fcn_tf.errors import UserError
from fcn_tf.inference.runs import TrainedRun, load_run
from fcn_tf.io import files, run_log, texts
from fcn_tf.io.run_dir import Run

_KINDS = {field.name: type(field.default) for field in dataclasses.fields(Config) if field.name != "mode"}


@dataclass(frozen=True)
class Written:
    """What a call wrote; may be given wherever the path of its folder is asked for.

    Attributes:
      output_dir: the folder.
      complete: whether all of it could be done; `messages` say what could not, and why.
      messages: the lines that were not printed.
    """

    output_dir: str
    complete: bool
    messages: tuple[str, ...] = field(repr=False)

    def __fspath__(self) -> str:
        return self.output_dir


def train_run(*, verbose: bool = False, **settings: Any) -> TrainedRun:
    """Trains a run, or continues it, as `--mode=train` does; every mode can go on with it.

    Meanwhile nothing is printed by the whole process, other threads included, unless `verbose` is set; so one such call
    at a time.

    Args:
      verbose: print what the command would print, with its progress bar.
      **settings: the flags of main.py by name, such as `dataset="folder"`, `data_dir="photos"`, `logs_dir="logs/a"`,
        `max_steps=500`; what is not given is as on the command line. `image_size` may be a number or (height, width).

    Returns:
      The run.

    Raises:
      UserError: when a setting, the data or the weights must be fixed first.
      KeyboardInterrupt: after Ctrl-C; what was trained is saved, and the same call continues.
    """
    config, status, messages = _call("train", settings, verbose=verbose)
    if status:
        raise SystemExit(status)
    return dataclasses.replace(load_run(config.logs_dir), messages=messages)


def evaluate_run(run: str | os.PathLike, *, verbose: bool = False, **settings: Any) -> dict[str, Any]:
    """Scores a run's model on its validation split, as `--mode=evaluate` does, and writes the same report.

    Args:
      run: the run, or its folder.
      verbose: print what the command would print; otherwise nothing is printed, as by `train_run`.
      **settings: flags of that mode by name, such as `split="train"`, `boundary=True`, `tta=True`.

    Returns:
      The content of metrics.json: "mean_iou", "per_class", "intervals" and more.

    Raises:
      UserError: when a setting, the run or the data must be fixed first.
    """
    config, _, _ = _call("evaluate", {**settings, "logs_dir": run}, verbose=verbose)
    return json.loads(files.read_bytes(files.join(Run(config.logs_dir).scores(config.predictions), "metrics.json")))


def predict_run(run: str | os.PathLike, *, verbose: bool = False, **settings: Any) -> Written:
    """Labels pictures and videos into files, as `--mode=predict` does; `Segmenter` labels arrays instead.

    Args:
      run: the run, or its folder.
      verbose: print what the command would print; otherwise nothing is printed, as by `train_run`.
      **settings: flags of that mode by name, such as `input="photos"`, `output_dir="out"`, `outputs="labels,areas"`.

    Returns:
      Where the results are, and whether all could be labelled; the others are all the same.

    Raises:
      UserError: when a setting, the run or the input must be fixed first.
    """
    config, status, messages = _call("predict", {**settings, "logs_dir": run}, verbose=verbose)
    return Written(config.output_dir or Run(config.logs_dir).predict, not status, messages)


def export_run(run: str | os.PathLike, *, verbose: bool = False, **settings: Any) -> Written:
    """Writes a run's model in other formats and compares them with it, as `--mode=export` does.

    Args:
      run: the run, or its folder.
      verbose: print what the command would print; otherwise nothing is printed, as by `train_run`.
      **settings: flags of that mode by name, such as `format="onnx,tflite"`, `quantize="float16"`.

    Returns:
      Where the formats and export.json are, and whether all could be written and say what the model says.

    Raises:
      UserError: when a setting, the run, or a package that a format needs must be fixed first.
    """
    config, status, messages = _call("export", {**settings, "logs_dir": run}, verbose=verbose)
    return Written(config.output_dir or Run(config.logs_dir).export, not status, messages)


def _call(mode: str, settings: dict[str, Any], *, verbose: bool) -> tuple[Config, int, tuple[str, ...]]:
    """Runs a mode.

    Returns:
      Its settings, its exit status, and the lines that it did not print.
    """
    config = configs.complete({"mode": mode, **_checked(settings)})
    printed = io.StringIO()
    with contextlib.ExitStack() as quiet:
        quiet.enter_context(run_log.console(ending=False))
        name, needs_run = f"fcn_tf.{mode}_run", config.needs_run
        quiet.enter_context(run_log.kept(config.logs_dir, name, verbose=False, ending=False, needs_run=needs_run))
        if not verbose:
            quiet.enter_context(contextlib.redirect_stdout(printed))
            quiet.enter_context(contextlib.redirect_stderr(printed))
        status = registry.resolve(registry.MODES[mode])(config)
    if status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    return config, status, tuple(printed.getvalue().splitlines())


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings, paths as text and whole numbers as floats where a flag holds these."""
    checked = {}
    for name, value in settings.items():
        if name not in _KINDS:
            meant, near = other_names.advice(name).replace("--", ""), texts.nearest(name, _KINDS)
            fix = f"{meant}." if meant else f"did you mean {near}?" if near else "see --help."
            raise UserError(f"unknown setting {name!r}; {fix}")
        kind = _KINDS[name]
        if name == "image_size" and (type(value) is int or isinstance(value, tuple) and len(value) == 2):
            value = crops.format_size(value)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise UserError(f"{name} must be of type {kind.__name__}, got {value!r}.")
        checked[name] = value
    return checked
