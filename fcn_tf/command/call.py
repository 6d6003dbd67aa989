"""Modes from Python: without flags, without printing."""

import contextlib
import dataclasses
import difflib
import io
import os
import signal
from typing import Any

from fcn_tf import config as configs
from fcn_tf import registry
from fcn_tf.config import Config
from fcn_tf.data import crops
from fcn_tf.errors import UserError
from fcn_tf.inference.runs import TrainedRun, load_run

_KINDS = {field.name: type(field.default) for field in dataclasses.fields(Config) if field.name != "mode"}


def train_run(*, verbose: bool = False, **settings: Any) -> TrainedRun:
    """Trains a run, or continues it, as `--mode=train` does; every mode can go on with it.

    Meanwhile nothing is printed by the whole process, other threads included, unless `verbose` is set.

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
    config = configs.complete({"mode": "train", **_checked(settings)})
    printed = io.StringIO()
    quiet = contextlib.ExitStack()
    if not verbose:
        quiet.enter_context(contextlib.redirect_stdout(printed))
        quiet.enter_context(contextlib.redirect_stderr(printed))
    with quiet:
        status = registry.resolve(registry.MODES["train"])(config)
    if status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if status:
        raise SystemExit(status)
    return dataclasses.replace(load_run(config.logs_dir), messages=tuple(printed.getvalue().splitlines()))


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings, paths as text and whole numbers as floats where a flag holds these."""
    checked = {}
    for name, value in settings.items():
        if name not in _KINDS:
            near = difflib.get_close_matches(name, _KINDS, n=1)
            raise UserError(f"unknown setting {name!r}; {f'did you mean {near[0]}?' if near else 'see --help.'}")
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
