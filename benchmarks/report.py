"""Fills the tables of the documents from the results: `python benchmarks/report.py`.

Every JSON file in benchmarks/results/ gives its "rows" and its plot to benchmarks/README.md, under the machine and date
they belong to; those of accuracy.py are one row each of a table in README.md, docs/results.md or docs/original.md, that
of time_to_accuracy.py makes a table in docs/results.md, those of exports.py the table in docs/export.md, and those of
distributed.py the tables in docs/distributed.md. In README.md are those of networks and exports in short. What stands
outside the marks is left alone.
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

from benchmarks import accuracy, common
from fcn_tf.io import files

BEGIN, END = "<!-- results: written by report.py -->", "<!-- end of results -->"
ACCURACY = {table: f"<!-- {table}: written by benchmarks/report.py -->" for table in accuracy.TABLES}
FORMATS = "<!-- formats: written by benchmarks/report.py -->"
RACE = "<!-- time_to_accuracy: written by benchmarks/report.py -->"
SOAK = "<!-- soak: written by benchmarks/report.py -->"
DISTRIBUTED = "<!-- distributed: written by benchmarks/report.py -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and rewrites the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", default=str(common.RESULTS), help="a folder of JSON files")
    parser.add_argument("--document", default=str(common.ROOT / "benchmarks" / "README.md"))
    parser.add_argument("--front_page", default=str(common.ROOT / "README.md"), help="with the table of accuracies")
    parser.add_argument("--networks", default=str(common.ROOT / "docs" / "results.md"), help="with that of networks")
    parser.add_argument("--formats", default=str(common.ROOT / "docs" / "export.md"), help="with that of exports")
    parser.add_argument(
        "--quirks", default=str(common.ROOT / "docs" / "original.md"), help="with those of the original"
    )
    parser.add_argument("--distributed", default=str(common.ROOT / "docs" / "distributed.md"), help="with machines")
    parser.add_argument("--reliability", default=str(common.ROOT / "RELIABILITY.md"), help="with what a soak showed")
    args = parser.parse_args(argv)
    paths = files.glob(os.path.join(args.results, "*.json"))
    found = [json.loads(files.read_bytes(path)) for path in paths]
    accuracies = [result for result in found if result["benchmark"] == "accuracy"]
    exports = [result for result in found if result["benchmark"] == "exports"]
    soaks = [result for result in found if result["benchmark"] == "soak"]
    tables = {table: [each for each in accuracies if each["table"] == table] for table in ACCURACY}
    pages = {"recipes": args.front_page, "networks": args.networks, "quirks": args.quirks}
    for path, mark, blocks in (
        (args.document, BEGIN, [section(result) for result in found if result not in accuracies]),
        *(
            (pages[table], mark, [accuracy_table(tables[table])] if tables[table] else [])
            for table, mark in ACCURACY.items()
        ),
        (args.front_page, ACCURACY["networks"], [networks_in_short(tables["networks"])] if tables["networks"] else []),
        (args.networks, RACE, [race_table(each) for each in found if each["benchmark"] == "time_to_accuracy"]),
        (args.front_page, FORMATS, [formats_in_short(result) for result in exports]),
        (
            args.distributed,
            DISTRIBUTED,
            [text for result in found if result["benchmark"] == "distributed" for text in distributed_tables(result)],
        ),
        (
            args.reliability,
            SOAK,
            [text for result in soaks for text in _table(result)],
        ),
        (args.formats, FORMATS, [text for result in exports for text in (_machine(result), formats_table(result))]),
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
    """One line for each of the results of accuracy.py, by data set and mean IoU, the best first; "" for none.

    Minutes are told of recipes alone: trainings of the other tables had different company on the same cores.
    """
    timed = all(result["table"] == "recipes" for result in results)
    columns = ["data", "name", "arch", "parameters", "steps, images seen", "mean IoU (95 %)", "BF", "seeds"]
    columns[5:5] = ["minutes"] * timed
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for result in sorted(results, key=lambda each: (each["data"], -_mean(each, "mean_iou"))):
        first = result["seeds"][0]
        cells = [
            f"{result['data']} ({result['images']})",
            f"`{result['name']}`",
            f"`{result['arch']}`",
            f"{result['parameters'] / 1e6:.1f} M",
            f"{first['steps']:,}, {first['trained_images']:,}",
            f"{_mean(result, 'mean_iou'):.3f} ({_spread(result['seeds'])})",
            f"{_mean(result, 'bf'):.3f}",
            f"{len(result['seeds'])}",
        ]
        cells[5:5] = [f"{60 * _mean(result, 'hours'):.0f}"] * timed
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if results else ""


def networks_in_short(results: Sequence[dict[str, Any]]) -> str:
    """The same results in a sentence: what each network reached, and its parameters; the best first."""
    parts = [
        f"`{each['name']}` {_mean(each, 'mean_iou'):.3f} ({each['parameters'] / 1e6:.0f} M)"
        for each in sorted(results, key=lambda each: -_mean(each, "mean_iou"))
    ]
    return f"Mean IoU (parameters): {', '.join(parts)}."


def race_table(result: dict[str, Any]) -> str:
    """A line for each contender of time_to_accuracy.py, the best at its end first: scores after steps, and minutes."""
    steps = sorted({point[0] for curve in result["curves"].values() for point in curve})
    target = result["settings"]["target"]
    columns = ["network", *(f"{step:.0f} steps" for step in steps), "minutes", f"minutes to {target:g}"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    contenders = zip(result["curves"].items(), result["rows"], strict=True)
    for (name, curve), row in sorted(contenders, key=lambda each: -each[0][1][-1][2]):
        scores = {step: f"{score:.3f}" for step, _, score in curve}
        reached = "" if row["value"] is None else f"{row['value']:.1f}"
        cells = [name, *(scores.get(step, "") for step in steps), f"{curve[-1][1] / 60:.1f}", reached]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(seeds: Sequence[dict[str, Any]]) -> str:
    """Of one seed the interval over the photos; of several what each reached."""
    if len(seeds) == 1:
        return " to ".join(f"{bound:.3f}" for bound in seeds[0]["interval"])
    return ", ".join(f"{seed['mean_iou']:.3f}" for seed in seeds)


def formats_table(result: dict[str, Any]) -> str:
    """One line for each export that exports.py measured."""
    columns = ("format", "weights", "MB", "labels that agree", "confidence differs by up to", "mean IoU", "images/s")
    lines = [f"| {' | '.join(columns)} | against TensorFlow | peak memory |", "|---" * (len(columns) + 2) + "|"]
    for each in result["exports"]:
        points = each["mean_iou_difference"]
        cells = (
            f"`{each['format']}`",
            each["quantize"],
            f"{each['bytes'] / 1e6:.0f}",
            f"{100 * each['agreement']:.2f} %",
            f"{each['confidence_difference']:.1g}",
            "" if points is None else f"{100 * points:+.2f} points",
            f"{each['images_per_second']:.2f}",
            f"{each['vs_tensorflow']['median']:.2f} x",
            f"{each['peak_bytes'] / 2**30:.1f} GiB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def formats_in_short(result: dict[str, Any]) -> str:
    """The same exports, a line for each kind of weights: size, labels that agree, rate against TensorFlow."""
    names = list(dict.fromkeys(each["format"] for each in result["exports"]))
    cells = {
        (each["quantize"], each["format"]): f"{each['bytes'] / 1e6:.0f} MB, {100 * each['agreement']:.1f} %, "
        f"{each['vs_tensorflow']['median']:.2f} x"
        for each in result["exports"]
    }
    lines = [f"| weights | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for precision in dict.fromkeys(each["quantize"] for each in result["exports"]):
        lines.append(f"| {precision} | {' | '.join(cells.get((precision, name), '') for name in names)} |")
    return "\n".join(lines)


def distributed_tables(result: dict[str, Any]) -> list[str]:
    """What a step sends, and the batches from which machines pay, of the networks that distributed.py timed."""
    sizes = ["| network | trained parameters | float32 | bfloat16 |", "|---|---|---|---|"]
    for arch, count in result["parameters"].items():
        sizes.append(f"| `{arch}` | {count / 1e6:.1f} M | {4 * count / 1e6:.0f} MB | {2 * count / 1e6:.0f} MB |")
    texts = [_machine(result), "\n".join(sizes)]
    for arch, each in result["timed"].items():
        networks = sorted({line["gigabits"] for line in each["table"]})
        texts.append(
            f"`{arch}`: {each['t0']:.2g} s a step and {each['t1']:.2g} s an image; S is "
            f"{result['software_bytes_per_second'] / 1e9:.2g} GB/s. In each cell: seconds of a sum; the smallest batch "
            "of a worker at which n machines are faster than one; and that at which they are "
            f"{result['efficiency']:g} n times as fast."
        )
        lines = [
            f"| machines | {' | '.join(f'{rate} Gbit/s' for rate in networks)} |",
            "|---" * (len(networks) + 1) + "|",
        ]
        for machines in sorted({line["machines"] for line in each["table"]}):
            cells = [
                f"{line['seconds']:.2g} s; {line['even']}; {line['efficient']}"
                for rate in networks
                for line in each["table"]
                if (line["machines"], line["gigabits"]) == (machines, rate)
            ]
            lines.append(f"| {machines} | {' | '.join(cells)} |")
        texts.append("\n".join(lines))
    return texts


def _mean(result: dict[str, Any], name: str) -> float:
    return mean(seed[name] for seed in result["seeds"])


def section(result: dict[str, Any]) -> str:
    """One file's heading, machine and table."""
    blocks = [f"### {result['benchmark']}.py, {result['date']}", *_table(result)]
    if "plot" in result:
        blocks.append(f"![{result['benchmark']}](results/{result['plot']})")
    return "\n\n".join(blocks)


def _table(result: dict[str, Any]) -> list[str]:
    """The machine, and the rows as a table."""
    lines = ["| what | measured | wanted | |", "|---|---|---|---|", *map(_line, result["rows"])]
    return [_machine(result), "\n".join(lines)]


def _machine(result: dict[str, Any]) -> str:
    """The machine, the versions and the settings, as a sentence."""
    machine, versions = result["machine"], result["versions"]
    narrow = "with" if result["bfloat16_supported_by_processor"] else "without"
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items() if value not in ("", None))
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {narrow} bfloat16 instructions; TensorFlow "
        f"{versions['tensorflow']}, Keras {versions['keras']}, revision {result['revision']}; {settings}."
    )


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
