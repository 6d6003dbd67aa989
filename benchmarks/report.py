"""Fills the tables of benchmarks/README.md and README.md from the results: `python benchmarks/report.py`.

Every JSON file in benchmarks/results/ gives its "rows" and its plot to the former, under the machine and date they
belong to; those of accuracy.py are one row each of the latter's table. What stands outside the marks is left alone.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common
from fcn_tf.io import files

BEGIN, END = "<!-- results: written by report.py -->", "<!-- end of results -->"
ACCURACY = "<!-- accuracy: written by benchmarks/report.py -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and rewrites the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", default=str(common.RESULTS), help="a folder of JSON files")
    parser.add_argument("--document", default=str(common.ROOT / "benchmarks" / "README.md"))
    parser.add_argument("--front_page", default=str(common.ROOT / "README.md"), help="with the table of accuracies")
    args = parser.parse_args(argv)
    paths = files.glob(os.path.join(args.results, "*.json"))
    found = [json.loads(files.read_bytes(path)) for path in paths]
    accuracies = [result for result in found if result["benchmark"] == "accuracy"]
    for path, mark, blocks in (
        (args.document, BEGIN, [section(result) for result in found if result not in accuracies]),
        (args.front_page, ACCURACY, [accuracy_table(accuracies)] if accuracies else []),
    ):
        text = files.read_bytes(path).decode()
        files.write_bytes(path, filled(text, blocks, begin=mark).encode())
        print(f"results put into {path}")


def filled(text: str, blocks: Sequence[str], *, begin: str = BEGIN) -> str:
    """`text` with what lies between the mark `begin` and the next `END` replaced by `blocks`.

    Raises:
      ValueError: if the marks are missing.
    """
    before, found, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the document lacks the marks {begin!r} and {END!r}, between which results go.")
    return "\n\n".join([before + found, *blocks, end + after])


def accuracy_table(results: Sequence[dict[str, Any]]) -> str:
    """One line for each of the results of accuracy.py, by data set and mean IoU, the best first."""
    columns = ("data", "configuration", "arch", "parameters", "steps, images seen", "hours", "mean IoU (95 %)", "BF")
    lines = [f"| {' | '.join(columns)} | runs | revision |", "|---" * (len(columns) + 2) + "|"]
    for result in sorted(results, key=lambda each: (each["data"], -_mean(each, "mean_iou"))):
        first = result["seeds"][0]
        interval = " to ".join(f"{bound:.3f}" for bound in first["interval"])
        count = len(result["seeds"])
        cells = (
            f"{result['data']} ({result['images']})",
            f"`{result['name']}`",
            f"`{result['arch']}`",
            f"{result['parameters'] / 1e6:.1f} M",
            f"{first['steps']:,}, {first['trained_images']:,}",
            f"{_mean(result, 'hours'):.1f}",
            f"{_mean(result, 'mean_iou'):.3f} ({interval})",
            f"{_mean(result, 'bf'):.3f}",
            "one seed" if count == 1 else f"{count} seeds",
            result["revision"] or "unknown",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(result: dict[str, Any], name: str) -> float:
    return mean(seed[name] for seed in result["seeds"])


def section(result: dict[str, Any]) -> str:
    """One file's heading, machine and table."""
    machine, versions = result["machine"], result["versions"]
    narrow = "with" if result["bfloat16_supported_by_processor"] else "without"
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items() if value not in ("", None))
    lines = [
        f"### {result['benchmark']}.py, {result['date']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {narrow} bfloat16 instructions; TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}, revision {result['revision']}; {settings}.",
        "",
        "| what | measured | wanted | |",
        "|---|---|---|---|",
        *(_line(row) for row in result["rows"]),
    ]
    if "plot" in result:
        lines += ["", f"![{result['benchmark']}](results/{result['plot']})"]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    value, unit = row["value"], f" {row['unit']}" if row["unit"] else ""
    measured = "not measured" if value is None else f"{value:.4g}{unit}"
    wanted, met = "", ""
    for bound, words, holds in (("least", "at least", lambda v, b: v >= b), ("most", "at most", lambda v, b: v <= b)):
        if row[bound] is not None:
            wanted = f"{words} {row[bound]:.4g}{unit}"
            met = "" if value is None else "reached" if holds(value, row[bound]) else "missed"
    return f"| {row['what']} | {measured} | {wanted} | {'; '.join(filter(None, (met, row['note'])))} |"


if __name__ == "__main__":
    main()
