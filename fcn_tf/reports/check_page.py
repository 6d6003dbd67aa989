"""The pictures and the page of --mode=check: each class where it is largest, each finding with an example."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fcn_tf.data.base import Dataset, Example
from fcn_tf.data.masks.read import read_file
from fcn_tf.data.quality.checks import PixelCounts, Split
from fcn_tf.data.quality.findings import Finding
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, texts
from fcn_tf.reports import html
from fcn_tf.reports.check_tables import counted
from fcn_tf.reports.mask_painter import Entry, MaskPainter

_SIDE = 320  # pixels, of the pictures on the page
_TURNED_SHOWN = 2  # masks of which both readings are shown; two make a row


class _Shown(NamedTuple):
    """A picture of a card: uint8 (H, W, 3) RGB, and the legend of a mask."""

    pixels: np.ndarray
    legend: Sequence[Entry] = ()


def write(
    folder: str,
    *,
    title: str,
    summary: dict[str, Any],
    findings: list[Finding],
    splits: dict[str, Split],
    pixel_counts: PixelCounts,
    dataset: Dataset | None,
) -> str:
    """Writes index.html and its pictures.

    Args:
      folder: where to.
      title: the headline.
      summary: the content of check.json.
      findings: errors first.
      splits: from `checks.scan`.
      pixel_counts: from `checks.find`.
      dataset: one of the splits, loaded; None if the classes are not known.

    Returns:
      The path of the page.
    """
    colors = dataset.spec.colors if dataset else ()
    painter = MaskPainter(dataset)
    classes = [
        {**row, "color": tuple(map(int, colors[row["id"]])), "stored": painter.stored_as(row["id"])}
        for row in summary.get("classes", [])
    ]
    page = html.render(
        "check.html",
        title=title,
        summary=summary,
        classes=classes,
        legend=[],
        subtitle=", ".join(f"{counted(count, 'pair')} in {name}" for name, count in summary["pairs"].items()),
        findings=_finding_cards(findings, splits, painter, folder),
        cards=_class_cards(splits, pixel_counts, dataset, painter, folder),
    )
    path = files.join(folder, "index.html")
    files.write_bytes(path, page)
    return path


def _class_cards(
    splits: dict[str, Split], pixel_counts: PixelCounts, dataset: Dataset | None, painter: MaskPainter, folder: str
) -> list[dict[str, Any]]:
    """A card for each class: the example that shows most of it."""
    if dataset is None:
        return []
    spec = dataset.spec
    examples = {e.label: e for split in splits.values() for e in split.examples}
    most: dict[int, tuple[int, str]] = {}  # class: pixels and mask of where it is largest
    for by_mask in pixel_counts.values():
        for path, pixels in by_mask.items():
            for label, count in pixels.items():
                most[label] = max(most.get(label, (0, "")), (count, path), key=lambda each: each[0])

    def card(number: int) -> dict[str, Any] | None:
        path = most[number][1]
        shown = _pair(examples[path], painter)
        if len(shown) < 2:
            return None  # a finding says so
        name = spec.class_names[number]
        title = f"class {number}" + ("" if name == str(number) else f": {name}")
        return _card(title, f"most in {path}", shown, folder, f"class_{number}")

    with ThreadPoolExecutor() as pool:  # decoding and encoding leave the interpreter alone
        made = list(pool.map(card, [number for number in range(spec.num_classes) if number in most]))
    return [each for each in made if each is not None]


def _finding_cards(
    findings: list[Finding], splits: dict[str, Split], painter: MaskPainter, folder: str
) -> list[dict[str, Any]]:
    """A card for each finding, with its first example where that can be read."""
    examples = {path: e for split in splits.values() for e in split.examples for path in (e.image, e.label) if path}
    ways = {path: photo.orientation for split in splits.values() for path, photo in split.photos.items()}
    cards = []
    for number, finding in enumerate(findings):
        known = [examples[path] for path in finding.files if path in examples]
        if finding.kind == "exif_unsure":
            shown: dict[str, _Shown] = {}
            for example in known[:_TURNED_SHOWN]:
                shown |= _both_readings(example, painter, ways[example.image])
        else:
            shown = _pair(known[0], painter) if known else {}
        card = _card(f"{finding.severity}: {finding.kind}", finding.explanation, shown, folder, f"finding_{number}")
        cards.append({**card, "fix": finding.fix, "commands": finding.commands, "files": texts.some(finding.files)})
    return cards


def _pair(example: Example, painter: MaskPainter) -> dict[str, _Shown]:
    """Photo and mask by caption, those that can be read."""
    shown = {}
    for kind, path in (("photo", example.image), ("mask", example.label)):
        try:
            data = read_file(path or "")
            shown[kind] = (
                _Shown(images.decode_image(data, name="")) if kind == "photo" else _Shown(*painter.paint(data))
            )
        except UserError:
            continue
    return shown


def _both_readings(example: Example, painter: MaskPainter, orientation: int) -> dict[str, _Shown]:
    """The photo under its mask as it is, and turned as the photo is, by caption."""
    shown = _pair(example, painter)
    if len(shown) < 2:
        return shown
    mask = Image.fromarray(shown["mask"].pixels)
    turned = np.asarray(mask.transpose(Image.Transpose[images.TURNS[orientation]]))
    halves = {"as it is": shown["mask"].pixels, "turned": turned}
    return {
        f"{example.name}: mask {reading}": _Shown((shown["photo"].pixels // 2 + pixels // 2).astype(np.uint8))
        for reading, pixels in halves.items()
    }


def _card(name: str, caption: str, shown: dict[str, _Shown], folder: str, stem: str) -> dict[str, Any]:
    pictures, width, height = [], 1, 1
    for place, (kind, (pixels, legend)) in enumerate(shown.items()):
        small = Image.fromarray(pixels)
        small.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST if kind == "mask" else Image.Resampling.BOX)
        width, height = small.size
        data = io.BytesIO()
        small.save(data, "PNG")
        file = f"{stem}_{kind if kind in ('photo', 'mask') else place}.png"
        files.write_bytes(files.join(folder, file), data.getvalue())
        pictures.append({"file": file, "caption": kind, "legend": legend})
    return {"name": name, "caption": caption, "width": width, "height": height, "pictures": pictures}
