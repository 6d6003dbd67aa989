"""What --mode=check prints: the splits, the classes, the findings."""

from typing import Any

from fcn_tf.data.quality.findings import Finding
from fcn_tf.io import texts

_PRINTED = 20  # classes; beyond, the most frequent and the rarest half as many


def show(summary: dict[str, Any], found: list[Finding], *, hint: str) -> None:
    """Prints the content of check.json and the findings, with a hint after the classes unless that is ""."""
    for name, count in summary["pairs"].items():
        sizes = summary["sizes"][name]
        between = "{}x{} to {}x{}".format(*sizes["smallest"], *sizes["largest"]) if sizes else "no sizes"
        print(f"{name}: {counted(count, 'pair')}, {between}")
    for line in _class_lines(summary.get("classes", []), list(summary["pairs"])):
        print(line)
    if hint:
        print(hint)
    for finding in found:
        _show_finding(finding)


def counted(count: int, noun: str) -> str:
    """A number and its noun, as in 1 pair and 2 pairs."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _show_finding(finding: Finding) -> None:
    """Prints a finding, each command on a line of its own."""
    named = f" Files ({len(finding.files)}): {texts.some(finding.files)}." if finding.files else ""
    print(f"{finding.severity} [{finding.kind}] {finding.explanation}{named}")
    if finding.fix:
        print(f"    fix: {finding.fix}{':' if finding.commands else ''}")
    for command in finding.commands:
        print(f"      {command}")


def _class_lines(rows: list[dict[str, Any]], splits: list[str]) -> list[str]:
    """A line a class; of many the most frequent and the rarest, by their share in the first split."""
    lines = {
        row["id"]: f"class {row['id']}{'' if row['name'] == str(row['id']) else ' ' + row['name']}: "
        + "; ".join(
            f"{split} {row[split]['share']:.2%} of pixels, {counted(row[split]['images'], 'image')}" for split in splits
        )
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
