"""`--mode=check`: reads a whole data set, trains nothing, and says what is wrong with it and how to fix it."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

from fcn_tf.config import Config
from fcn_tf.data import class_weights, crops, datasets
from fcn_tf.data.datasets.survey import survey
from fcn_tf.data.quality import checks, screening
from fcn_tf.data.quality.findings import Commands
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run, free_logs_dir
from fcn_tf.reports import check_page, check_tables

# Of the command that trains on what was checked.
_DATA_FLAGS = ("num_classes", "mask_values", "mask_colors", "ignore_label", "holdout", "palette", "on_bad_example")
_LARGE = 3  # times as long as a crop are photos that it shows little of
_WEIGHTS = "vgg16"  # what the command for training names where no weights were given


def run(config: Config) -> int:
    """Writes check/{check.json,index.html,class_weights.csv} under --logs_dir, and lists of files to fix.

    Args:
      config: uses dataset, data_dir, split ("all": those that are there), seed, logs_dir and what the flags say about
        classes.

    Returns:
      The exit status: 1 if there are errors, in any split or in the one asked for, else 0.

    Raises:
      UserError: if there is no data set, or no such split, to check, or no folder that can be written.
    """
    datasets.require_files(config.dataset, "check")
    target = Run(config.logs_dir)
    files.require_writable(target.check, flag="--logs_dir")
    listed = survey(config.dataset, config.data_dir, config.split, **config.data_flags(), cache=target.facts)
    config = dataclasses.replace(config, **listed.resolved)
    splits = checks.scan(listed.splits, FileScanCache(target.facts))
    dataset = listed.dataset
    rules, spec = (screening.rules_of(dataset), dataset.spec) if dataset else (None, None)
    commands = Commands(target.check)
    settable = datasets.entry(config.dataset).classes is not None
    found, pixel_counts = checks.find(splits, rules, spec, commands=commands, settable=settable, reseed=listed.reseed)
    found = listed.findings + found
    if config.on_bad_example == "skip":
        found = checks.without_skipped(found, splits)
    failed = any(finding.severity == "error" for finding in found)
    whole = config.split == "all"
    summary: dict[str, Any] = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "split": config.split,
        "pairs": {name: len(split.examples) for name, split in splits.items()},
        "sizes": {name: checks.image_sizes(split) for name, split in splits.items()},
        "findings": [finding.to_json() for finding in found],
        "ok": not failed,
        "verdict": _verdict(config.split, failed),
        "command": _command(config) if whole else None,
    }
    written = dict(commands.lists)
    if spec:
        weights = class_weights.balanced(pixel_counts["train"].values(), spec) if "train" in pixel_counts else None
        summary["classes"] = checks.class_table(pixel_counts, spec, weights)
        if weights:
            rows = "".join(f"{name},{weight:g}\n" for name, weight in zip(spec.class_names, weights, strict=True))
            written[files.join(target.check, "class_weights.csv")] = rows.encode()
    hint = datasets.naming_hint(config.dataset, config.data_dir, spec) if spec else ""
    check_tables.show(summary, found, hint=hint)  # before anything is written: the disk may be full by now
    for path, content in written.items():
        files.write_bytes(path, content)
    files.write_bytes(files.join(target.check, "check.json"), (json.dumps(summary, indent=2) + "\n").encode())
    page = check_page.write(
        target.check,
        title=f"Check of {config.data_dir}",
        summary=summary,
        findings=found,
        splits=splits,
        pixel_counts=pixel_counts,
        dataset=dataset,
    )
    print(f"written to {target.check}; open {page}")
    ready = whole and not failed
    print(summary["verdict"] + (f" Train with:\n{summary['command']}" if ready else ""))
    if ready and (side := _advised_side(config, splits)):
        print(
            f"(half of the photos are so large that a crop of {config.image_size} pixels shows little of them: add "
            f"--longest_side={side}, which a run cannot change later, to train on them and label them at that size; "
            "the smallest thing to be found should still be some pixels wide there)"
        )
    if ready and config.weights == "tiny":
        print(
            f"(--weights={_WEIGHTS} is downloaded to {config.model_dir} where it is missing; without a network, "
            "--weights=FILE.mat takes a file that you have, and --weights=tiny the embedded one, for trying out)"
        )
    return 1 if failed else 0


def _advised_side(config: Config, splits: Mapping[str, checks.Split]) -> int:
    """The --longest_side to add where a crop shows little of most photos; 0 for none."""
    crop = max(config.crop_size)
    photos = (info for split in splits.values() for info in split.photos.values() if not info.error)
    sides = sorted(max(info.width, info.height) for info in photos)
    large = bool(sides) and sides[len(sides) // 2] > _LARGE * crop
    return min(max(2 * crop, 64), crops.LARGEST) if large and not config.longest_side and config.crop == "scale" else 0


def _verdict(split: str, failed: bool) -> str:
    if split == "all":
        wrong = "Training or evaluating would go wrong: fix the errors and check again."
        return wrong if failed else "Ready to train."
    alone = f"Only the {split} split was checked"
    return f"{alone}: fix its errors and check again." if failed else f"{alone}: no errors. Leave out --split for all."


def _command(config: Config) -> str:
    """The command that trains on this data set."""
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    words = ["python", "main.py", "--mode=train", f"--dataset={config.dataset}", f"--data_dir={config.data_dir}"]
    for name in (*_DATA_FLAGS, "longest_side", "weights", "seed"):
        value = _WEIGHTS if (name, config.weights) == ("weights", "tiny") else getattr(config, name)
        if value != defaults[name]:
            words.append(f"--{name}={value}")
    return shlex.join([*words, f"--logs_dir={free_logs_dir(config.logs_dir, config.dataset)}"])
