"""Fills the tables of benchmarks/README.md from the results: `python benchmarks/report.py`.

Every JSON file in benchmarks/results/ gives its "rows" and its plot, under the machine and date they belong
to. What stands outside the two marks is left alone.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common
from fcn_tf.io import files

BEGIN, END = "<!-- results: written by report.py -->", "<!-- end of results -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and rewrites the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", default=str(common.RESULTS), help="a folder of JSON files")
    parser.add_argument("--document", default=str(common.ROOT / "benchmarks" / "README.md"))
    args = parser.parse_args(argv)
    paths = files.glob(os.path.join(args.results, "*.json"))
    found = [json.loads(files.read_bytes(path)) for path in paths]
    text = files.read_bytes(args.document).decode()
    files.write_bytes(args.document, filled(text, found).encode())
    print(f"{len(found)} results put into {args.document}")


def filled(text: str, results: list[dict[str, Any]]) -> str:
    """`text` with what lies between the marks replaced.

    Raises:
      ValueError: if the marks are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the marks {BEGIN!r} and {END!r}, between which results go.")
    return "\n\n".join([before + begin, *map(section, results), end + after])


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
