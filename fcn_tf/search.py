"""`--mode=search`: tries learning rates, crops and class weights by training, and prints the best command."""

import dataclasses
import math
from typing import Any

from fcn_tf import registry
from fcn_tf.config import Config, command_of
from fcn_tf.data import crops
from fcn_tf.errors import UserError
from fcn_tf.io import files, system, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import search_report

_RATES = 10.0  # the learning rate is looked for between a tenth and ten times of --learning_rate
_SMALLER, _LARGER = 0.75, 1.25  # sides of the training crop beside --image_size, about, as factors of it
_STRIDE = 32  # pixels: they are multiples of it
_CLASS_WEIGHTS = ("none", "balanced")


def run(config: Config) -> int:
    """Trains --trials runs under --logs_dir/trial_0, trial_1, ...; what was stopped goes on.

    Trials are chosen by Optuna (Akiba et al. 2019) with its tree-structured Parzen estimator, from what --seed and the
    trials before say. The score of a trial is the best mean IoU of its validations.

    Args:
      config: of every trial, but for the flags of `space`; uses trials and logs_dir.

    Returns:
      The exit status: 0, or that of the training that a signal stopped.

    Raises:
      UserError: if Optuna is not there, the study in --logs_dir is damaged or of other flags, or no trial could be
        trained.
    """
    system.require_packages("--mode=search", {"optuna": "optuna"})
    if files.is_remote(config.logs_dir):
        raise UserError(f"--mode=search keeps its study in a local file, got --logs_dir={config.logs_dir}.")
    files.require_writable(config.logs_dir, flag="--logs_dir")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(files.join(config.logs_dir, "search.db"))
    _require_same(study, config)
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))  # a resumed search draws anew
    while len(done := _finished(study)) < config.trials:
        print(f"trial {len(done) + 1} of {config.trials}")
        status = _try_one(study, config)
        if status:
            print("stopped; the same command goes on with this trial")
            return status
        _report(study, config)
    _report(study, config)
    rows = _rows(study, config)
    if all(row.score is None for row in rows):
        raise UserError(f"none of {config.trials} trials was ever validated; {config.logs_dir}/search.csv lists them.")
    best = study.best_trial
    print(search_report.table(rows))
    print(
        f"best: mean IoU {best.value:.4f} in {_folder(config, best.number)}; open {_picture(config)}. Train again with:"
    )
    print(command(config, best.params))
    return 0


def space(trial: Any, config: Config) -> dict[str, Any]:
    """What a trial is trained with: values of flags, by name.

    Args:
      trial: Optuna's, which suggests them.
      config: whose learning rate and crop lie in the middle.
    """
    rate, given = config.learning_rate, config.crop_size
    smaller = tuple(min(side, max(math.floor(_SMALLER * side / _STRIDE), 1) * _STRIDE) for side in given)
    larger = tuple(math.ceil(_LARGER * side / _STRIDE) * _STRIDE for side in given)
    sizes = dict.fromkeys(crops.format_size((height, width)) for height, width in (smaller, given, larger))
    weights = _CLASS_WEIGHTS if registry.takes_class_weights(config.loss) else _CLASS_WEIGHTS[:1]
    return {
        "learning_rate": trial.suggest_float("learning_rate", rate / _RATES, rate * _RATES, log=True),
        "image_size": trial.suggest_categorical("image_size", list(sizes)),
        "class_weights": trial.suggest_categorical("class_weights", weights),
    }


def command(config: Config, params: dict[str, Any]) -> str:
    """The command that trains with the values of a trial, to be typed."""
    defaults = Config(dataset=config.dataset).to_json()
    # What --staged sets by itself is written whatever it is.
    always = ("plain_skips",) if config.staged else ()
    values = {name: value for name, value in config.to_json().items() if name in always or value != defaults[name]}
    tried = {name: _written(value) for name, value in params.items()}
    values = {"dataset": config.dataset, **values, **tried, "logs_dir": files.join(config.logs_dir, "best")}
    return command_of(values)


def _study(path: str) -> Any:
    """Optuna's study in a file, which is made if it is not there.

    Raises:
      UserError: if the file cannot be read.
    """
    import optuna

    storage = f"sqlite:///{path}"
    try:
        study = optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)
        _ = study.user_attrs, study.trials  # all that it holds
        return study
    except Exception as error:  # Optuna, SQLAlchemy and SQLite have errors of their own
        raise UserError(
            f"{path} cannot be read as a search ({texts.first_line(error):.200}); if no other search is at work there, "
            "put a copy of it back, or search anew with another --logs_dir."
        ) from None


def _try_one(study: Any, config: Config) -> int:
    """Trains a trial; returns 0, or the status of a signal, with which it stays open."""
    import optuna

    stopped = [trial for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)) if _is_whole(trial)]
    if stopped:
        number, params = stopped[0].number, stopped[0].params
    else:
        trial = study.ask()
        try:
            number, params = trial.number, space(trial, config)
        except ValueError as error:  # the values to choose from were others in an earlier version
            raise UserError(
                f"the search in {config.logs_dir} was begun with other values to choose from ({error}); search anew "
                "with another --logs_dir."
            ) from None
    folder = _folder(config, number)
    print(", ".join(f"--{name}={_written(value)}" for name, value in params.items()) + f" in {folder}")
    target = Run(folder)
    try:
        trial_config = dataclasses.replace(config, mode="train", split="", logs_dir=folder, **params)
        status = registry.resolve(registry.MODES["train"])(trial_config)
    except UserError as error:
        if not target.exists():
            raise  # not the trial's fault: the next one would meet it, too
        print(f"trial failed: {error}")
        status = 0
    if status:
        return status
    best = target.best_validation()
    if best is None:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(number, best["val_mean_iou"])
    return 0


def _require_same(study: Any, config: Config) -> None:
    """A study compares trainings of the same flags."""
    flags, known = config.to_json(), study.user_attrs.get("flags")
    if known is None:
        study.set_user_attr("flags", flags)
        return
    for name, value in flags.items():
        was = known.get(name, getattr(Config, name))  # of a study that is older than the flag, its default
        if was != value:
            raise UserError(
                f"{config.logs_dir} holds a search with --{name}={was}, got --{name}={value}: trials are "
                f"compared under the same flags; give another --logs_dir, or --{name}={was} to go on."
            )


def _is_whole(trial: Any) -> bool:
    """Whether all its values were chosen before it was killed."""
    return set(trial.params) == {"learning_rate", "image_size", "class_weights"}


def _finished(study: Any) -> list[Any]:
    """The trials that count: those with a score, and those that failed."""
    import optuna

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    return [trial for trial in study.get_trials(states=states) if _is_whole(trial)]


def _folder(config: Config, number: int) -> str:
    return files.join(config.logs_dir, f"trial_{number}")


def _rows(study: Any, config: Config) -> list[search_report.Trial]:
    return [search_report.Trial(_folder(config, trial.number), trial.value, trial.params) for trial in _finished(study)]


def _report(study: Any, config: Config) -> None:
    rows = _rows(study, config)
    files.write_bytes(files.join(config.logs_dir, "search.csv"), search_report.csv_of(rows))
    files.write_bytes(_picture(config), search_report.chart(rows))


def _picture(config: Config) -> str:
    return files.join(config.logs_dir, "search.png")


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
