"""`--mode=check`: reads a whole data set, trains nothing, and says what is wrong with it and how to mend it."""

import dataclasses
import json
import shlex
from typing import Any

from fcn_tf.config import Config
from fcn_tf.data import class_weights, datasets
from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.data.datasets import folder, layouts
from fcn_tf.data.quality import checks, findings, screening
from fcn_tf.data.quality.checks import Split
from fcn_tf.data.quality.findings import Commands, Finding
from fcn_tf.data.quality.scan import Facts
from fcn_tf.errors import MissingSplit, UserError
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import check_page

_NEEDED = {"train": "to learn from", "validation": "to choose the best model by"}
_SPLITS = (*_NEEDED, "test")
_SKIPPED = ("unreadable", "size_mismatch", "exif_turned", "unpaired")  # what --on_bad_example=skip leaves out
_PRINTED = 20  # classes; beyond, the most frequent and the rarest half as many


def run(config: Config) -> int:
    """Writes check/{check.json,index.html,class_weights.csv} under --logs_dir, and lists of files to mend.

    Args:
      config: uses dataset, data_dir, split ("all": those that are there), seed, logs_dir and what the flags say about
        classes.

    Returns:
      The exit status: 1 if there are errors, in any split or in the one asked for, else 0.

    Raises:
      UserError: if there is no data set, or no such split, to look at, or no folder that can be written.
    """
    if config.dataset == "shapes":
        raise UserError(
            "--mode=check looks at files; shapes are generated. Give --dataset=folder --data_dir=DIR, for one."
        )
    target = Run(config.logs_dir)
    files.require_writable(target.check, flag="--logs_dir")
    look = _look_at_folders if config.dataset == "folder" else _look_at_known
    found, parts, loaded, config, reseed = look(config, target.facts)
    splits = checks.look(parts, Facts(target.facts))
    rules, spec = (screening.rules_of(loaded), loaded.spec) if loaded else (None, None)
    commands = Commands(target.check)
    more, shares = checks.find(
        splits, rules, spec, commands=commands, settable=config.dataset == "folder", reseed=reseed
    )
    found += more
    if config.on_bad_example == "skip":
        found = _left_out(found, splits)
    failed = any(finding.severity == "error" for finding in found)
    whole = config.split == "all"
    summary: dict[str, Any] = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "split": config.split,
        "pairs": {name: len(split.examples) for name, split in splits.items()},
        "sizes": {name: _sizes(split) for name, split in splits.items()},
        "findings": [dataclasses.asdict(finding) for finding in found],
        "ok": not failed,
        "verdict": _verdict(config.split, failed),
        "command": _command(config, target) if whole else None,
    }
    written = dict(commands.lists)
    if spec:
        weights = class_weights.balanced(shares["train"].values(), spec) if "train" in shares else None
        summary["classes"] = _classes(shares, spec, weights)
        if weights:
            rows = "".join(f"{name},{weight:g}\n" for name, weight in zip(spec.class_names, weights, strict=True))
            written[files.join(target.check, "class_weights.csv")] = rows.encode()
    _print(summary, found)  # before anything is written: the disk may be full by now
    for path, content in written.items():
        files.write_bytes(path, content)
    files.write_bytes(files.join(target.check, "check.json"), (json.dumps(summary, indent=2) + "\n").encode())
    page = check_page.write(
        target.check,
        title=f"Check of {config.data_dir}",
        summary=summary,
        findings=found,
        splits=splits,
        shares=shares,
        dataset=loaded,
    )
    print(f"written to {target.check}; open {page}")
    print(summary["verdict"] + ("" if failed or not whole else f" Train with:\n{summary['command']}"))
    return 1 if failed else 0


# What is wrong before any file is looked at, the examples of each split, the data set if it can be loaded, the settings
# completed by what masks hold, and the flag that makes another split.
_Looked = tuple[list[Finding], dict[str, tuple[Example, ...]], Dataset | None, Config, str]


def _look_at_known(config: Config, cache: str) -> _Looked:
    """Lists the splits of a data set whose classes and splits are known."""
    said = {**config.data_flags(), "on_bad_example": "fail"}
    found: list[Finding] = []
    sets: dict[str, Dataset] = {}
    errors: list[UserError] = []
    for split in _SPLITS if config.split == "all" else (config.split,):
        try:
            sets[split] = datasets.load(config.dataset, config.data_dir, split, **said)
        except MissingSplit as error:
            errors.append(error)
            if split in _NEEDED:
                found.append(_missing(split, error.lacks or str(error)))
        except UserError as error:
            errors.append(error)
            found.append(Finding("files", "error", str(error), ""))
    if not sets:
        raise errors[0]
    return found, {name: loaded.examples for name, loaded in sets.items()}, next(iter(sets.values())), config, ""


def _look_at_folders(config: Config, cache: str) -> _Looked:
    """Lists the splits of folders, and finds out what their masks mean."""
    layout = layouts.find(config.data_dir)
    wanted = _SPLITS if config.split == "all" else (config.split,)
    parts = {split: layouts.split_examples(layout, split, config.seed) for split in wanted}
    parts = {split: examples for split, examples in parts.items() if examples}
    # Only what has no partner is skipped: nothing else is read when listing.
    said = {**config.data_flags(), "on_bad_example": "skip"}
    if not parts:  # this says what is there
        folder.load(config.data_dir, config.split, options=datasets.Options(**said, cache=cache))
    found: list[Finding] = []
    if layout.unpaired:
        means = "These files have no partner of the same name: training refuses to guess."
        mend = "Add or remove them, or leave them out with --on_bad_example=skip"
        found.append(Finding("unpaired", "error", means, mend, layout.unpaired))
    if config.split == "all":
        found += [_missing(split, f"no examples in {config.data_dir}") for split in _NEEDED if split not in parts]
    reseed = f"--seed={config.seed + 1}" if layout.seeded else ""
    try:
        config = dataclasses.replace(config, **datasets.resolve("folder", config.data_dir, **said, cache=cache))
        said = {**config.data_flags(), "on_bad_example": "skip"}
        loaded = folder.load(config.data_dir, next(iter(parts)), options=datasets.Options(**said))
    except UserError as error:
        found.append(Finding("classes", "error", str(error), checks.add(error.flags)))
        return found, parts, None, config, reseed
    return found, parts, loaded, config, reseed


def _missing(split: str, lacks: str) -> Finding:
    means = f"There is no {split} split ({lacks}); training needs one {_NEEDED[split]}."
    mend = "Put it there"
    if split == "train":
        mend += "; or, to evaluate only, check just what that needs with --split=validation"
    return Finding("split", "error", means, mend)


def _left_out(found: list[Finding], splits: dict[str, Split]) -> list[Finding]:
    """The findings under --on_bad_example=skip: no errors, unless a split would be left without examples."""
    bad = {path for finding in found if finding.kind in _SKIPPED for path in finding.files}
    if any(all({e.image, e.label} & bad for e in split.examples) for split in splits.values()):
        return found
    mend = "Nothing: --on_bad_example=skip leaves them out with their pairs"
    return [
        dataclasses.replace(finding, severity="warning", mend=mend) if finding.kind in _SKIPPED else finding
        for finding in found
    ]


def _verdict(split: str, failed: bool) -> str:
    if split == "all":
        wrong = "Training or evaluating would go wrong: mend the errors and check again."
        return wrong if failed else "Ready to train."
    alone = f"Only the {split} split was looked at"
    return f"{alone}: mend its errors and check again." if failed else f"{alone}: no errors. Leave out --split for all."


def _command(config: Config, target: Run) -> str:
    """The command that trains on this data set."""
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    words = ["python", "main.py", "--mode=train", f"--dataset={config.dataset}", f"--data_dir={config.data_dir}"]
    for name in ("num_classes", "mask_values", "mask_colors", "ignore_label", "on_bad_example", "weights", "seed"):
        value = getattr(config, name)
        if value != defaults[name]:
            words.append(f"--{name}={value}")
    logs_dir = files.join(config.logs_dir, config.dataset) if target.exists() else config.logs_dir
    return shlex.join([*words, f"--logs_dir={logs_dir}"])


def _sizes(split: Split) -> dict[str, list[int]]:
    sizes = [
        (photo.width * photo.height, photo.width, photo.height) for photo in split.photos.values() if not photo.error
    ]
    return {"smallest": list(min(sizes)[1:]), "largest": list(max(sizes)[1:])} if sizes else {}


def _classes(
    shares: dict[str, dict[str, dict[int, int]]], spec: DatasetSpec, weights: tuple[float, ...] | None
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"id": number, "name": name, **({"weight": weights[number]} if weights else {})}
        for number, name in enumerate(spec.class_names)
    ]
    for split, by_mask in shares.items():
        whole = sum(n for share in by_mask.values() for label, n in share.items() if label != spec.ignore_label)
        for row in rows:
            pixels = sum(share.get(row["id"], 0) for share in by_mask.values())
            row[split] = {
                "share": pixels / max(whole, 1),
                "images": sum(row["id"] in share for share in by_mask.values()),
            }
    return rows


def _print(summary: dict[str, Any], found: list[Finding]) -> None:
    for name, count in summary["pairs"].items():
        sizes = summary["sizes"][name]
        between = "{}x{} to {}x{}".format(*sizes["smallest"], *sizes["largest"]) if sizes else "no sizes"
        print(f"{name}: {count} pairs, {between}")
    for line in _class_lines(summary.get("classes", []), list(summary["pairs"])):
        print(line)
    findings.report(found)


def _class_lines(rows: list[dict[str, Any]], splits: list[str]) -> list[str]:
    """A line a class; of many the most frequent and the rarest, by their share in the first split."""
    lines = {
        row["id"]: f"class {row['id']} {row['name']}: "
        + "; ".join(f"{split} {row[split]['share']:.2%} of pixels, {row[split]['images']} images" for split in splits)
        + (f"; weight {row['weight']:g}" if "weight" in row else "")
        for row in rows
    }
    if len(rows) <= _PRINTED:
        return list(lines.values())
    present = [row for row in rows if any(row[split]["images"] for split in splits)]
    order = [row["id"] for row in sorted(present, key=lambda row: [-row[split]["share"] for split in splits])]
    half = _PRINTED // 2
    first, last = order[:half], order[half:][-half:]
    between, absent = len(order) - len(first) - len(last), len(rows) - len(order)
    return [
        f"the {len(first)} most frequent of {len(rows)} classes:",
        *(lines[number] for number in first),
        *([f"{between} classes between these"] if between else []),
        *([f"the {len(last)} rarest:"] if last else []),
        *(lines[number] for number in last),
        *([f"{absent} classes do not occur"] if absent else []),
        "(all classes: index.html and check.json)",
    ]
