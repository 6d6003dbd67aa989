"""`--mode=check`: reads a whole data set, trains nothing, and says what is wrong with it and how to mend it."""

import dataclasses
import io
import json
import shlex
from typing import Any

import numpy as np
from PIL import Image

from fcn_tf import checks, class_weights, datasets, files, images, pages, palette
from fcn_tf.checks import Finding, Split
from fcn_tf.config import Config
from fcn_tf.datasets import folder, masks, pairs, screening
from fcn_tf.datasets.base import Dataset, DatasetSpec, Example
from fcn_tf.datasets.facts import Facts
from fcn_tf.errors import UserError
from fcn_tf.runs import Run

_SPLITS = ("train", "validation")
_SIDE = 320  # pixels, of the pictures on the page


def run(config: Config) -> int:
    """Writes check/{check.json,index.html,class_weights.csv} under --logs_dir.

    Args:
      config: uses dataset, data_dir, logs_dir and what the flags say about classes.

    Returns:
      The exit status: 1 if training would go wrong, else 0.

    Raises:
      UserError: if there is no data set to look at.
    """
    if config.dataset == "shapes":
        raise UserError(
            "--mode=check looks at files; shapes are generated. Give --dataset=folder --data_dir=DIR, for one."
        )
    target = Run(config.logs_dir)
    facts = Facts(target.facts)
    findings, parts, loaded, config = _load(config, target.facts)
    splits = checks.look(parts, facts)
    rules = screening.rules_of(loaded) if loaded else None
    more, shares = checks.find(splits, rules, loaded.spec if loaded else None)
    findings = [*findings, *more]
    summary: dict[str, Any] = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "pairs": {name: len(split.examples) for name, split in splits.items()},
        "sizes": {name: _sizes(split) for name, split in splits.items()},
    }
    if loaded:
        weights = class_weights.balanced(shares.get("train", {}).values(), loaded.spec)
        summary["classes"] = _classes(shares, loaded.spec, weights)
        rows = "".join(f"{name},{weight:g}\n" for name, weight in zip(loaded.spec.class_names, weights, strict=True))
        files.write_bytes(files.join(target.check, "class_weights.csv"), rows.encode())
    failed = any(finding.severity == "error" for finding in findings)
    summary["findings"] = [dataclasses.asdict(finding) for finding in findings]
    summary["ok"] = not failed
    summary["command"] = _command(config, target)
    files.write_bytes(files.join(target.check, "check.json"), (json.dumps(summary, indent=2) + "\n").encode())
    cards = _class_cards(splits, shares, loaded, target.check) + _finding_cards(findings, splits, target.check)
    counted = ", ".join(f"{count} pairs in {name}" for name, count in summary["pairs"].items())
    page = pages.contact_sheet(
        title=f"Check of {config.data_dir}",
        subtitle=f"{counted}. {'Training would go wrong.' if failed else 'Ready to train.'} {summary['command']}",
        legend=list(zip(loaded.spec.class_names, loaded.spec.colors, strict=True)) if loaded else [],
        cards=cards,
    )
    files.write_bytes(files.join(target.check, "index.html"), page)
    _print(summary, findings, target)
    return 1 if failed else 0


def _load(config: Config, cache: str) -> tuple[list[Finding], dict[str, tuple[Example, ...]], Dataset | None, Config]:
    """What is wrong before any file is looked at, the examples of each split, and the data set if it can be loaded."""
    findings: list[Finding] = []
    said = {**config.data_flags(), "on_bad_example": "fail"}
    if config.dataset != "folder":
        sets = {}
        for split in _SPLITS:
            try:
                sets[split] = datasets.load(config.dataset, config.data_dir, split, **said)
            except UserError as error:
                findings.append(Finding("split", "error", str(error), "Complete the data set, or correct --data_dir"))
        if not sets:
            raise UserError(findings[0].means)
        return findings, {name: loaded.examples for name, loaded in sets.items()}, next(iter(sets.values())), config
    layout = folder.find(config.data_dir)
    parts = {split: folder.split_examples(layout, split, config.seed) for split in _SPLITS}
    if layout.unpaired:
        means = "These files have no partner of the same name: training refuses to guess."
        mend = "Add or remove them, or leave them out with --on_bad_example=skip"
        findings.append(Finding("unpaired", "error", means, mend, layout.unpaired))
    for split, examples in parts.items():
        if not examples:
            means = f"There are no examples for {split}; training needs some to learn from, some to choose by."
            findings.append(Finding("split", "error", means, "Add photos with masks", ()))
    parts = {split: examples for split, examples in parts.items() if examples}
    try:
        config = dataclasses.replace(config, **datasets.resolve("folder", config.data_dir, **said, cache=cache))
        said = {
            **config.data_flags(),
            "on_bad_example": "skip",
        }  # only for what has no partner: nothing else is read here
        loaded = folder.load(config.data_dir, next(iter(parts)), options=datasets.Options(**said))
    except UserError as error:
        findings.append(Finding("classes", "error", str(error), "Say what masks hold with the flags named"))
        return findings, parts, None, config
    return findings, parts, loaded, config


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
    shares: dict[str, dict[str, dict[int, int]]], spec: DatasetSpec, weights: tuple[float, ...]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"id": number, "name": name, "weight": weight}
        for number, (name, weight) in enumerate(zip(spec.class_names, weights, strict=True))
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


def _class_cards(
    splits: dict[str, Split], shares: dict[str, dict[str, dict[int, int]]], loaded: Dataset | None, folder_to: str
) -> list[dict[str, Any]]:
    """A card for each class: the example that shows most of it."""
    cards: list[dict[str, Any]] = []
    if loaded is None:
        return cards
    examples = {e.label: e for split in splits.values() for e in split.examples}
    every = [(path, share) for split in shares.values() for path, share in split.items()]
    for number, name in enumerate(loaded.spec.class_names):
        path, share = max(every, key=lambda item: item[1].get(number, 0), default=("", {}))
        if not share.get(number):
            continue
        try:
            picture, label = loaded.read(examples[path])
        except UserError:
            continue  # a finding says so
        shown = {"photo": picture, "mask": palette.colorize(label, loaded.spec.colors, loaded.spec.ignore_label)}
        cards.append(_card(f"class {number}: {name}", f"most in {path}", shown, folder_to, f"class_{number}"))
    return cards


def _finding_cards(findings: list[Finding], splits: dict[str, Split], folder_to: str) -> list[dict[str, Any]]:
    """A card for each finding, with its first example where that can be read."""
    examples = {path: e for split in splits.values() for e in split.examples for path in (e.image, e.label)}
    cards = []
    for number, finding in enumerate(findings):
        shown = {}
        example = next((examples[path] for path in finding.files if path in examples), None)
        if example is not None:
            for kind, path in (("photo", example.image), ("mask", example.label)):
                try:
                    data = pairs.read_bytes(path or "")
                    shown[kind] = (
                        images.decode_image(data, name="")
                        if kind == "photo"
                        else _visible(masks.decode(data, name="")[0])
                    )
                except UserError:
                    continue
        text = f"{finding.means} {finding.mend}. {', '.join(finding.files[:5])}"
        cards.append(_card(f"{finding.severity}: {finding.kind}", text, shown, folder_to, f"finding_{number}"))
    return cards


def _visible(pixels: np.ndarray) -> np.ndarray:
    """Stored values in colours that differ, whatever they are."""
    _, places = np.unique(pixels, return_inverse=True)
    return palette.colorize(places.reshape(pixels.shape) % 256, palette.distinct_colors(256))


def _card(name: str, caption: str, shown: dict[str, np.ndarray], folder_to: str, stem: str) -> dict[str, Any]:
    pictures, width, height = [], 1, 1
    for kind, pixels in shown.items():
        small = Image.fromarray(pixels)
        small.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST if kind == "mask" else Image.Resampling.BOX)
        width, height = small.size
        data = io.BytesIO()
        small.save(data, "PNG")
        files.write_bytes(files.join(folder_to, f"{stem}_{kind}.png"), data.getvalue())
        pictures.append({"file": f"{stem}_{kind}.png", "caption": kind})
    return {"name": name, "caption": caption, "width": width, "height": height, "pictures": pictures}


def _print(summary: dict[str, Any], findings: list[Finding], target: Run) -> None:
    for name, count in summary["pairs"].items():
        sizes = summary["sizes"][name]
        between = "{}x{} to {}x{}".format(*sizes["smallest"], *sizes["largest"]) if sizes else "no sizes"
        print(f"{name}: {count} pairs, {between}")
    for row in summary.get("classes", []):
        parts = [
            f"{split} {row[split]['share']:.2%} of pixels, {row[split]['images']} images" for split in summary["pairs"]
        ]
        print(f"class {row['id']} {row['name']}: {'; '.join(parts)}; weight {row['weight']:g}")
    checks.report(findings)
    print(f"written to {target.check}; open {files.join(target.check, 'index.html')}")
    if summary["ok"]:
        print(f"train with:\n{summary['command']}")
    else:
        print("training would go wrong; mend the errors above and check again")
