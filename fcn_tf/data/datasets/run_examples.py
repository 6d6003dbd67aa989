"""Which examples a run is trained and validated on, kept in its examples.json: what came, went, or must not mix."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from fcn_tf.data import datasets, validation_split
from fcn_tf.data.base import Dataset, Example, Options
from fcn_tf.data.quality import screening
from fcn_tf.errors import UserError
from fcn_tf.io import files, shards, texts
from fcn_tf.io.run_dir import Run

_SHOWN = 3  # names in a message; the rest is counted
_NOUNS = {"train": "training", "validation": "validation"}

Sizes = Mapping[str, int | None]  # {key of an example: bytes of its photo, None where that is not known}


@dataclass(frozen=True)
class _Kept:
    """The content of examples.json, as of the last start.

    Attributes:
      train, validation: the examples of either side.
      trained_before: those of earlier starts that are no longer trained on.
    """

    train: Sizes = field(default_factory=dict)
    validation: Sizes = field(default_factory=dict)
    trained_before: Sizes = field(default_factory=dict)


class RunExamples:
    """What a run knows about the examples of a data set.

    Args:
      run: where it lies.
      name: of the data set that is about to be read, as given to --dataset.
      data_dir: where that is; another folder than the run's may hold other photos of the same names.
      started: False for a training that starts anew, whatever the folder holds.

    Raises:
      UserError: if config.json or examples.json is damaged.
    """

    def __init__(self, run: Run, name: str, data_dir: str, *, started: bool = True):
        config = run.read_config() if started and run.exists() else {}
        flags = config.get("flags") or {}
        self._run, self._name, self._data_dir = run, name, data_dir
        self._seed: int = flags.get("seed", 0)
        self._same_set = flags.get("dataset") == name
        self._kept_in: str = flags.get("data_dir", "")
        self._same_folder = is_own(config, name, data_dir)
        self._by_count = self._same_set and "examples" not in config
        self._kept = _read(run) if "examples" in config else _Kept()

    @property
    def split_rule(self) -> validation_split.Rule | None:
        """How the run splits a data set that has no validation split; None where the run is about another one."""
        if not self._same_set:
            return None
        if self._by_count:
            return validation_split.by_count(self._seed)
        sides = {"train": {**self._kept.trained_before, **self._kept.train}, "validation": self._kept.validation}
        return validation_split.by_name(self._seed, {key: side for side, keys in sides.items() for key in keys})

    def find_moved(self, *loaded: Dataset) -> bool:
        """Takes another folder than the run's for the run's own, moved, where it holds most of the run's examples.

        Those have the path below the folder, and where that is known the size, that examples.json says. The run's own
        folder must be gone: beside it, another one with the same photos may have other masks.

        Args:
          *loaded: the splits of a training that is about to be continued.

        Returns:
          Whether it was moved.

        Raises:
          UserError: if it holds others, or the run has no list to compare them with.
        """
        if self._same_folder or not self._same_set or not all(map(screening.in_files, loaded)):
            return False
        known = {**self._kept.train, **self._kept.validation}
        if not known:
            raise UserError(
                f"the run in {self._run.logs_dir} has no list of its examples ({self._run.examples}) to compare those "
                f"of --data_dir={self._data_dir} with; leave the flag out, and let {self._kept_in} be where they are, "
                "as a link does."
            )
        there = {key: size for dataset in loaded for key, size in self._sizes(dataset.examples).items()}
        missing = [key for key, size in known.items() if key not in there or _differ(size, there[key])]
        if 2 * len(missing) >= len(known):
            raise UserError(
                f"--data_dir={self._data_dir} lacks {len(missing)} of the {len(known)} examples of the run in "
                f"{self._run.logs_dir} ({texts.some(missing, _SHOWN)}): a run continues on its own; give the folder "
                f"that {self._kept_in} was moved to, or another --logs_dir."
            )
        if files.exists(self._kept_in):
            raise UserError(
                f"the run in {self._run.logs_dir} has its data in {self._kept_in}, which is still there, got "
                f"--data_dir={self._data_dir}: leave the flag out; or move what is there away, if the other folder has "
                "the same photos and masks; or give another --logs_dir to train on other masks."
            )
        self._same_folder = True
        return True

    def compare(self, *loaded: Dataset) -> None:
        """Says in one line what came and what went since the run was last started.

        Args:
          *loaded: splits of the data set.

        Raises:
          UserError: if an example that is to be validated or tested on is a photo that the run was trained on.
        """
        if not all(map(screening.in_files, loaded)):
            return
        for dataset in loaded:
            trained = list(self._trained(dataset.examples))
            if trained and dataset.split == "all":
                print(f"note: {len(trained)} of these {len(dataset)} images are ones that the run was trained on")
            elif trained and dataset.split != "train":
                raise UserError(
                    f"{self._seen(dataset, trained)}; put them back into the training split or remove them, or train "
                    "into another --logs_dir."
                )
        if self._by_count and self._seeded():
            print(
                "note: this run of an earlier version kept no list of its examples; they are split by their number, "
                "as then, which is right if none was added or removed since"
            )
        if self._same_folder and self._kept != _Kept():
            changes = [text for dataset in loaded for text in self._changes(dataset)]
            if changes:
                print(f"note: the examples changed since the run was last started: {', '.join(changes)}")

    def start_from(self, origin: "RunExamples", validation: Dataset) -> None:
        """Takes over the photos that the weights this run starts from were trained on.

        Args:
          origin: what the run of these weights knows.
          validation: this run's.

        Raises:
          UserError: if photos of it are among them.
        """
        if not screening.in_files(validation):
            return
        trained = list(origin._trained(validation.examples))
        if trained:
            raise UserError(
                f"{origin._seen(validation, trained)}; --init_from starts from its weights: split the photos as there "
                f"(--seed={origin._seed}, the same --data_dir and --holdout), or start from another model."
            )
        if origin._same_folder:
            before = {**origin._kept.trained_before, **origin._kept.train, **self._kept.trained_before}
            self._kept = replace(self._kept, trained_before=before)

    def write(self, train: Dataset, validation: Dataset) -> dict[str, int]:
        """Writes examples.json; returns how many of each, for config.json; {} where examples are generated."""
        if not screening.in_files(train):
            return {}
        sides = {dataset.split: self._sizes(dataset.examples) for dataset in (train, validation)}
        before = {**self._kept.trained_before, **self._kept.train}
        kept = _Kept(**sides, trained_before={key: size for key, size in before.items() if key not in sides["train"]})
        files.write_bytes(self._run.examples, (json.dumps(asdict(kept), indent=1) + "\n").encode())
        return {split: len(keys) for split, keys in sides.items()}

    def _trained(self, examples: Iterable[Example]) -> Iterator[str]:
        """The keys of those that the run was trained on: by key, or moved since, by the file's name and size."""
        trained = {**self._kept.trained_before, **self._kept.train}
        moved = set(_files_of(trained)) - set(_files_of(self._kept.validation))
        names = {name for name, _ in moved}
        for example in examples:
            key = validation_split.key(example, self._data_dir)
            if self._same_folder and (key in trained or key in self._kept.validation):
                if key in trained:
                    yield key
            elif os.path.basename(key) in names and (os.path.basename(key), _size(example)) in moved:
                yield key

    def _seen(self, dataset: Dataset, trained: Sequence[str]) -> str:
        return (
            f"{len(trained)} of {len(dataset)} {dataset.split} examples are photos that the run in "
            f"{self._run.logs_dir} was trained on ({texts.some(trained, _SHOWN)}): scores would look better "
            "than they are"
        )

    def _changes(self, dataset: Dataset) -> Iterator[str]:
        sides = {"train": self._kept.train, "validation": self._kept.validation}
        keys = {validation_split.key(example, self._data_dir) for example in dataset.examples}
        for side, kept in sides.items():
            # What is new in all splits together may be a test photo.
            added = keys - kept.keys() if side == dataset.split else set()
            removed = kept.keys() - keys if dataset.split in (side, "all") else set()
            for what, which in (("added", added), ("removed", removed)):
                if which:
                    named = texts.some(sorted(which), _SHOWN)
                    yield f"{len(which)} {_NOUNS[side]} example{'s' * (len(which) > 1)} {what} ({named})"

    def _seeded(self) -> bool:
        classes = datasets.entry(self._name).classes
        return classes is not None and classes.list_files(self._data_dir, Options(seed=self._seed)).seeded

    def _sizes(self, examples: tuple[Example, ...]) -> dict[str, int | None]:
        return {validation_split.key(example, self._data_dir): _size(example) for example in examples}


def is_own(settings: Mapping[str, Any], name: str, data_dir: str) -> bool:
    """Whether a data set is that of a run.

    Args:
      settings: the run's config.json.
      name: of the data set, as given to --dataset.
      data_dir: where it is.
    """
    flags = settings.get("flags") or {}
    return flags.get("dataset") == name and files.same(flags.get("data_dir", ""), data_dir)


@contextlib.contextmanager
def locating(run: Run, data_dir: str) -> Iterator[None]:
    """Adds to an error about the data of a run, where their folder is not there, that it may have been moved."""
    try:
        yield
    except UserError as error:
        flags = (run.read_config().get("flags") or {}) if run.exists() else {}
        if flags.get("data_dir") != data_dir or files.exists(data_dir):
            raise
        message = f"{error} The run in {run.logs_dir} has its data there; if they were moved, --data_dir says where to."
        raise UserError(message) from None


def load(run: Run, name: str, data_dir: str, split: str, *, trained: bool = True, **flags: Any) -> Dataset:
    """Loads a split of a data set to use the model of a run on it, split as in its training.

    Args:
      run: of the model.
      name: a key of `registry.DATASETS`.
      data_dir: where the data set is.
      split: "train", "validation", "test" or "all".
      trained: False if no model of the run is about to be used.
      **flags: fields of `Options`.

    Raises:
      UserError: as `datasets.load` and `RunExamples.compare`.
    """
    examples = RunExamples(run, name, data_dir)
    with locating(run, data_dir):
        datasets.name_skipped(name, data_dir, **flags)
        dataset = datasets.load(name, data_dir, split, **flags, split_rule=examples.split_rule)
    if trained:
        examples.compare(dataset)
    return dataset


def _read(run: Run) -> _Kept:
    if not files.exists(run.examples):
        return _Kept()  # what changed cannot be told; the sides follow from the seed
    try:
        content = texts.parse_json(files.read_bytes(run.examples))
        return _Kept(**{side: {str(key): _bytes(size) for key, size in keys.items()} for side, keys in content.items()})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{run.examples} is damaged ({error}); restore it, or remove it to go on without comparing the examples."
        ) from None


def _bytes(size: Any) -> int | None:
    if size is not None and type(size) is not int:
        raise ValueError(f"a size {size!r}")
    return size


def _size(example: Example) -> int | None:
    if files.is_remote(example.image) and not shards.is_piece(example.image):
        return None  # it would take a request for each
    with contextlib.suppress(OSError):  # reading it will say so
        return shards.size(example.image)
    return None


def _differ(size: int | None, other: int | None) -> bool:
    """Whether two sizes are known, and not the same."""
    return None not in (size, other) and size != other


def _files_of(sizes: Sizes) -> Iterator[tuple[str, int]]:
    """(name, bytes) of the files: what stays when a photo is moved to another folder."""
    return ((os.path.basename(key), size) for key, size in sizes.items() if size is not None)
