"""`--mode=prepare`: writes a data set of many small files as few large ones, for --dataset=records."""

import dataclasses

from fcn_tf.config import Config, train_command
from fcn_tf.data import datasets
from fcn_tf.data.base import SPLITS, Dataset
from fcn_tf.data.datasets import writer
from fcn_tf.errors import MissingSplit
from fcn_tf.io import system
from fcn_tf.io.run_dir import Run, free_logs_dir


def run(config: Config) -> int:
    """Writes every split that the data set has to --output_dir.

    Args:
      config: uses dataset, data_dir, output_dir, logs_dir and what the flags say about classes and bad examples.

    Returns:
      The exit status, 0.

    Raises:
      UserError: if there is no data set, a file of it cannot be used, or the folder holds a prepared one or cannot be
        written.
    """
    datasets.require_files(config.dataset, "prepare")
    writer.require_free(config.output_dir)
    loaded = _load(config)
    # Here, because it takes seconds and mistakes should show at once.
    system.load_tensorflow()
    for split, found in writer.write(config.output_dir, loaded, config.data_dir).items():
        size = sum(shard["bytes"] for shard in found["shards"])
        print(f"{split}: {found['examples']} examples in {len(found['shards'])} shards, {size / 1e6:.1f} MB")
    print(f"written to {config.output_dir}; train on it as on the files with:\n{_command(config)}")
    return 0


def _load(config: Config) -> dict[str, Dataset]:
    """Every split that there is."""
    cache = Run(config.logs_dir).facts
    resolved = datasets.resolve(config.dataset, config.data_dir, **config.data_flags(), cache=cache)
    config = dataclasses.replace(config, **resolved)
    datasets.name_skipped(config.dataset, config.data_dir, **config.data_flags())
    loaded: dict[str, Dataset] = {}
    missing: list[MissingSplit] = []
    for split in SPLITS:
        try:
            loaded[split] = datasets.load(config.dataset, config.data_dir, split, **config.data_flags(), cache=cache)
        except MissingSplit as error:
            missing.append(error)
    if not loaded:
        raise missing[0]
    return loaded


def _command(config: Config) -> str:
    """The command that trains on the records as `train_command` of these flags on the files."""
    # The shards hold what these have decided.
    decided = ("ignore_label", "num_classes", "mask_values", "mask_colors", "holdout", "on_bad_example")
    logs_dir = free_logs_dir(config.logs_dir, "records")
    return train_command(config, logs_dir=logs_dir, without=decided, dataset="records", data_dir=config.output_dir)
