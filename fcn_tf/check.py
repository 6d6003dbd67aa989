"""`--mode=check`: reads a whole data set, trains nothing, and says what is wrong with it and how to fix it."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from fcn_tf.config import TRAINED_WEIGHTS, Config, train_command
from fcn_tf.data import class_weights, crops, datasets
from fcn_tf.data.datasets.survey import survey
from fcn_tf.data.quality import checks, screening
from fcn_tf.data.quality.findings import Commands
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run, free_logs_dir
from fcn_tf.reports import check_page, check_tables

_LARGE = 3  # times as long as a crop are photos that it shows little of
_PASSES, _LEAST_STEPS = 10, 400  # of a training that is proposed: over the photos, and at least


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
    ready = config.split == "all" and not failed
    command = {"max_steps": proposed_steps(config, len(splits["train"].examples) if "train" in splits else 0)}
    summary: dict[str, Any] = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "split": config.split,
        "pairs": {name: len(split.examples) for name, split in splits.items()},
        "sizes": {name: checks.image_sizes(split) for name, split in splits.items()},
        "findings": [finding.to_json() for finding in found],
        "ok": not failed,
        "verdict": _verdict(config.split, failed),
        "command": _command(config, **command) if config.split == "all" else None,
        "advice": _advice(config, splits, command) if ready else [],
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
    print(summary["verdict"] + (f" Train with:\n{summary['command']}" if ready else ""))
    for each in summary["advice"]:
        print(f"{each['text']}:\n{each['command']}" if "command" in each else f"({each['text']})")
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


def _command(config: Config, **changed: Any) -> str:
    """The command that trains on this data set, as `config.train_command` with its flags."""
    logs_dir = free_logs_dir(config.logs_dir, config.dataset)
    return train_command(config, logs_dir=logs_dir, **changed)


def proposed_steps(config: Config, photos: int) -> int:
    """How many steps are in proportion to so many photos to train on; those of `config` where these were chosen.

    So many passes over the photos as `_PASSES`, but at least `_LEAST_STEPS`, and at most the data set's default.
    configs/bag.cfg came to a mean IoU of 0.93 in 400 steps, and to 0.95 in 8 passes, see docs/results.md.
    """
    known = datasets.entry(config.dataset)
    chosen = config.max_steps != known.max_steps or config.warmup_steps  # of so many steps
    if not photos or known.classes is None or chosen:
        return config.max_steps
    steps = -(-_PASSES * photos // config.batch_size)
    return min(known.max_steps, max(_LEAST_STEPS, -(-steps // 100) * 100))


def _advice(config: Config, splits: Mapping[str, checks.Split], command: dict[str, int]) -> list[dict[str, str]]:
    """What is to be known about the command that trains: texts, and with some another command.

    Args:
      config: of the check.
      splits: of the data set.
      command: what `_command` was told to change.
    """
    found = []
    if command["max_steps"] != config.max_steps:
        count = len(splits["train"].examples)
        passes = command["max_steps"] * config.batch_size / count
        photos = check_tables.counted(count, "photo")
        found.append({
            "text": f"--max_steps={command['max_steps']} of {config.batch_size} photos each, {passes:.0f} passes over "
            f"the {photos} to train on, is in proportion to these: {_PASSES} passes, but at least {_LEAST_STEPS} "
            "steps; a run can be given more later",
        })  # fmt: skip
    if side := _advised_side(config, splits):
        found.append({
            "text": f"half of the photos are so large that a crop of {config.image_size} pixels shows little of them; "
            f"to train on them and label them with {side} pixels on their longer side, which a run cannot change later "
            "and at which the smallest thing to be found should still be some pixels wide, train with this instead",
            "command": _command(config, **command, longest_side=side),
        })  # fmt: skip
    if config.weights == "tiny" and f"--weights={TRAINED_WEIGHTS}" in _command(config):
        found.append({
            "text": f"--weights={TRAINED_WEIGHTS} is downloaded to {config.model_dir} where it is missing; without "
            "a network, --weights=FILE.mat takes a file that you have, and --weights=tiny the embedded one, for trying "
            "out",
        })  # fmt: skip
    return found
