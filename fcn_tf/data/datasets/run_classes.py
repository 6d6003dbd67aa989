"""What the classes of a run are called: one rule for every mode, so that all say the same.

config.json has the names, and modes that read no data set know no others. Those that do keep them, too, unless they are
only numbers: then the names of the run's own data set become the run's. Another data set changes nothing there.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fcn_tf.data.base import Dataset, are_numbers
from fcn_tf.data.datasets import run_examples
from fcn_tf.errors import UserError
from fcn_tf.io import texts
from fcn_tf.io.run_dir import Run


def may_be_same(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists name the same classes, or as many, one of them by numbers."""
    return tuple(names) == tuple(others) or (len(names) == len(others) and (are_numbers(names) or are_numbers(others)))


def in_run(dataset: Dataset, settings: Mapping[str, Any] | None, palette: str, *, own: bool) -> Dataset:
    """The same data set with the names and colours that a run gives its classes.

    Args:
      dataset: any.
      settings: the run's config.json; None without a run.
      palette: a key of `registry.PALETTES` or "auto"; where it is not the run's, the colours stay as they are.
      own: whether it is the data set of the run, see `run_examples.is_own`.
    """
    known, found = tuple((settings or {}).get("class_names") or ()), dataset.spec.class_names
    if settings is None or len(known) != len(found):
        return dataset
    if not are_numbers(known) and (own or are_numbers(found)):
        if known != found and not are_numbers(found):
            print(
                f"note: the data set has other names for the classes ({texts.some(found)}) than the run, which keeps "
                f"its own ({texts.some(known)}); class_names in its config.json may be corrected by hand"
            )
        dataset = replace(dataset, spec=replace(dataset.spec, class_names=known))
    elif own:
        settings = {**settings, "class_names": list(found)}
    return in_colors_of(settings, dataset, palette)


def in_colors_of(settings: Mapping[str, Any], dataset: Dataset, palette: str) -> Dataset:
    """The same data set in the colours that a run has given its classes.

    Args:
      settings: the run's config.json.
      dataset: where it names other classes than the run, the colours stay as they are.
      palette: likewise where it is not the run's.
    """
    if "colors" not in settings or settings.get("class_names") != list(dataset.spec.class_names):
        return dataset
    if settings.get("flags", {}).get("palette", "auto") != palette:
        return dataset
    return dataset.recolored(tuple((red, green, blue) for red, green, blue in settings["colors"]))


def require_same(run: Run, dataset: Dataset) -> None:
    """Raises UserError where data that were moved name other classes than the run that is to go on with them."""
    known, found = run.read_config().get("class_names") or (), dataset.spec.class_names
    if not may_be_same(known, found):
        raise UserError(
            f"the run in {run.logs_dir} has the classes {texts.some(known)}, got {texts.some(found)} in the folder "
            "that its data are said to have been moved to; give the one that they were moved to, or another --logs_dir."
        )


def store(run: Run, names: Sequence[str], *, claimed: bool) -> None:
    """Gives these names to the classes of a run that have but numbers, and says so; their colours stay.

    Where config.json cannot be written, or a training is writing it, it stays as it is.

    Args:
      run: any.
      names: those of its own data set, as `in_run` gives them.
      claimed: whether the caller has claimed the run, as a training has.
    """
    settings = run.read_config() if run.exists() else {}
    known = settings.get("class_names") or ()
    if len(known) != len(names) or not are_numbers(known) or are_numbers(names):
        return
    with contextlib.suppress(OSError, UserError), contextlib.nullcontext() if claimed else run.claimed():
        run.write_config({**run.read_config(), "class_names": list(names)})
        print(f"the run in {run.logs_dir} calls its classes {texts.some(names)} from now on, not by numbers")


def settle(run: Run, dataset: Dataset, *, name: str, data_dir: str, palette: str) -> Dataset:
    """`in_run`, and `store` where the data set is the run's own: for whoever uses the model of a run on a data set.

    Args:
      run: whether it is there or not.
      dataset: what was loaded.
      name: of the data set, as given to --dataset.
      data_dir: where it is.
      palette: see `in_run`.
    """
    settings = run.read_config() if run.exists() else None
    own = run_examples.is_own(settings or {}, name, data_dir)
    dataset = in_run(dataset, settings, palette, own=own)
    if own:
        store(run, dataset.spec.class_names, claimed=False)
    return dataset
