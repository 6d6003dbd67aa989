"""What may have happened to the folder of a run: each of these must end in one line, or do no harm."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAD = (
    b"step,epoch,train_loss,val_loss,val_pixel_accuracy,val_mean_accuracy,val_mean_iou,learning_rate,images_per_second,"
    b"elapsed_seconds,train_pixel_accuracy,train_mean_accuracy,train_mean_iou\n"
)

Change = Callable[[Path], object]


def content(name: str, data: bytes) -> Change:
    """Replaces a file."""
    return lambda run: (run / name).write_bytes(data)


def setting(**values: Any) -> Change:
    """Replaces what config.json says."""
    return lambda run: _rewrite(run / "config.json", lambda config: {**config, **values})


def flag(**values: Any) -> Change:
    """Replaces flags in config.json."""
    return lambda run: _rewrite(run / "config.json", lambda config: {**config, "flags": {**config["flags"], **values}})


def folder(name: str) -> Change:
    """Puts a folder where a file belongs."""

    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return change


def file(name: str) -> Change:
    """Puts a file where a folder belongs."""

    def change(run: Path) -> None:
        shutil.rmtree(run / name, ignore_errors=True)
        (run / name).write_bytes(b"a file")

    return change


def _rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


# Every mode that reads the run refuses these.
REFUSED: dict[str, Change] = {
    **{f"config.json {what}": content("config.json", data) for what, data in {
        "empty": b"", "binary": b"\x89PNG\xff", "a list": b"[]", "deep": b"[" * 100_000, "cut short": b'{"flags": {',
        "in an unknown coding": b"\xff\xfe\xff", "infinite": b'{"flags": {"seed": Infinity}}', "no flags": b"{}",
    }.items()},
    **{f"class_names {value!r:.30}": setting(class_names=value) for value in (
        3, [], "sky", ["sky"], ["\x1b[31msky"] * 11, [["sky"]] * 11, {"0": "sky"}, [None] * 11,
    )},
    **{f"colors {value!r:.30}": setting(colors=value) for value in (
        3, [], [[0, 0, 0]], [[0, 0, 256]] * 11, [[0, 0, -1]] * 11, [[0, 0]] * 11, ["red"] * 11, [[0.5, 0, 0]] * 11,
        [[[0], 0, 0]] * 11,
    )},
    **{f"num_classes {value!r:.30}": setting(num_classes=value) for value in (3, 10**30, "11", [11], -1)},
    **{f"ignore_label {value!r:.30}": setting(ignore_label=value) for value in (-1, 1e30, "11", [11], 2**40)},
    **{f"flags {value!r:.30}": setting(flags=value) for value in (3, "--seed=1", None)},
    "flags a list": setting(flags=[]),
    **{f"flag {name} {value!r:.30}": flag(**{name: value}) for name, value in (
        ("seed", "0"), ("seed", 10**30), ("arch", "other"), ("arch", ["fcn8s"]), ("dataset", {}), ("image_size", "9x"),
        ("batch_size", -1), ("learning_rate", None), ("precision", "float8"), ("palette", 3), ("data_dir", 5),
        ("max_steps", 2**64), ("num_classes", 1.5), ("quirks", "none,none"), ("scales", "0-0"), ("trunk", "\x1b[31m"),
    )},
    **{f"folder {name}": folder(name) for name in (
        "config.json", "history.csv", "training.csv", "curves.png", "model.keras", "examples.json", "facts.json.gz",
        "trackers.json",
    )},
    **{f"file {name}": file(name) for name in ("checkpoints", "train", "validation")},
}  # fmt: skip

# A resumed training refuses these; other modes do not look at them.
REFUSED_BY_TRAINING: dict[str, Change] = {
    **{f"history.csv {what}": content("history.csv", data) for what, data in {
        "in UTF-16": HEAD.decode().encode("utf-16"), "empty": b"", "binary": b"\x89PNG\xff\x00",
        "a huge field": HEAD + b"9" * 200_000,
        "a NUL": HEAD + b"1,\0,", "no numbers": HEAD + b"one,two\n", "no header": b"4,1,1,1\n",
        "a huge step": HEAD + b"9" * 4000 + b",1" * 12, "a huger step": HEAD + b"9" * 5000 + b",1" * 12,
        "a negative step": HEAD + b"-4" + b",1" * 12, "open quotes": HEAD + b'"4,1',
    }.items()},
    "training.csv binary": content("training.csv", b"step\xff"),
    "training.csv a huge field": content("training.csv", b"9" * 200_000 + b"\n1\n"),
    **{f"examples.json {value[:20]!r}": content("examples.json", value) for value in (
        b"", b"\xff\xfe", b"3", b"[" * 100_000, b'{"train": 3}', b'{"other": {}}', b'{"train": {"a": [1]}}',
    )},
}  # fmt: skip

# Nothing is lost by these: what they damage is written again, or not needed.
HARMLESS: dict[str, Change] = {
    "facts.json.gz binary": content("facts.json.gz", b"\x1f\x8b\xff"),
    "facts.json.gz empty": content("facts.json.gz", b""),
    "curves.png empty": content("curves.png", b""),
    "examples.json gone": lambda run: (run / "examples.json").unlink(),
}
