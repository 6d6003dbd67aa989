"""Masks that are drawn from annotation files: LabelMe's shapes, COCO's instances and COCO's panoptic segments.

Such a mask has no file of its own. It has an address, as a piece of a shard has one (io/shards.py), and the bytes that
are read from it are those of a PNG, drawn when they are asked for:

    photos/a.json#labelme:car,person               0 background, 1 car, 2 person, `IGNORED` what is labelled __ignore__
    annotations/instances_val.json#instances:139   0 background, else the id of the category + 1
    annotations/panoptic_val.json#panoptic:139     0 not labelled, else the id of the category + 1

The names behind labelme: are percent-encoded; the numbers are ids of images.
"""

import base64
import functools
import os
import re
import threading
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np

from fcn_tf.errors import UserError
from fcn_tf.io import files, images, shards, texts

IGNORED = 255
MOST = 65_535  # values of a PNG of 16 bits, but for 0
BACKGROUND = ("_background_", "background")  # names that stand for class 0 of LabelMe and instances
IGNORE_NAME = "__ignore__"  # LabelMe's name for what is not to be learned
_ADDRESS = re.compile(r"(.+\.json)#(labelme|instances|panoptic):(.*)", re.DOTALL | re.IGNORECASE)
_LINE_WIDTH, _POINT_RADIUS = 10, 5  # pixels, of shapes without an area: as LabelMe's own export draws them
_MOST_PIXELS = 1 << 28  # of a mask
_FARTHEST = 1_000_000  # pixels: OpenCV counts parts of them in 32 bits
_SUBPIXEL = 8  # bits behind the point of corners
_parsing = threading.Lock()  # annotation files may be large: threads wait for one that parses


@dataclass(frozen=True)
class Shape:
    """A shape of LabelMe: its label, its kind, its points (N, 2) as x, y, and of the kind "mask" its PNG."""

    label: str
    kind: str
    points: np.ndarray
    png: bytes = b""


@dataclass(frozen=True)
class LabelMe:
    """A file of LabelMe: the size of its photo, the photo's path relative to it, and its shapes, later ones on top."""

    height: int
    width: int
    image: str
    shapes: tuple[Shape, ...]

    @property
    def labels(self) -> set[str]:
        """The names of its classes."""
        return {shape.label for shape in self.shapes} - {IGNORE_NAME, *BACKGROUND}


@dataclass(frozen=True)
class Coco:
    """A file of COCO.

    Attributes:
      panoptic: whether it has panoptic segments, in PNGs, and not instances.
      categories: {id: name}.
      images: {id of an image: (file name, height, width)}.
      segments: {id of an image: what it shows}: of instances (area, category, segmentation), largest first; of panoptic
        segments (id of the segment, category, None).
      pngs: {id of an image: file name of its PNG}, of panoptic segments.
    """

    panoptic: bool
    categories: dict[int, str]
    images: dict[str, tuple[str, int, int]]
    segments: dict[str, list[tuple[float, int, Any]]]
    pngs: dict[str, str]


_Kind = TypeVar("_Kind", LabelMe, Coco)


def labelme_address(path: str, names: Iterable[str]) -> str:
    """The address of the mask in a file of LabelMe, whose classes 1, 2, ... have these names."""
    return f"{path}#labelme:{','.join(urllib.parse.quote(name, safe='') for name in names)}"


def coco_address(path: str, coco: Coco, image: str) -> str:
    """The address of the mask of an image in a file of COCO."""
    return f"{path}#{'panoptic' if coco.panoptic else 'instances'}:{image}"


def is_address(path: str) -> bool:
    """Whether `path` is the address of a mask to be drawn, not the path of a file."""
    return _ADDRESS.fullmatch(path) is not None and not shards.is_piece(path)  # which may be called like one


def sources(path: str) -> tuple[str, ...]:
    """The files that the mask at an address is drawn from."""
    file, kind, image = _parts(path)
    if kind != "panoptic":
        return (file,)
    name = _read_as(Coco, file).pngs.get(image)
    return (file, _png_path(file, name)) if name else (file,)


def draw(path: str) -> bytes:
    """The mask at an address, as a PNG.

    Raises:
      UserError: naming the file and what is wrong with it.
      OSError: if it cannot be read.
    """
    file, kind, rest = _parts(path)
    if kind == "labelme":
        names = [urllib.parse.unquote(name) for name in rest.split(",") if name]
        mask = _draw_labelme(_read_as(LabelMe, file), names, name=file)
    else:
        coco = _read_as(Coco, file)
        if rest not in coco.images:
            raise UserError(f"{file}: has no image {rest}; it was changed since it was listed. Start again.")
        mask = (_draw_panoptic if kind == "panoptic" else _draw_instances)(coco, rest, file)
    return images.encode_png(mask, quick=True)


def read(path: str) -> LabelMe | Coco | None:
    """Parses an annotation file; once, as long as it is not changed.

    Returns:
      What it holds; None if it is another JSON file.

    Raises:
      UserError: if it is no JSON, or not as LabelMe or COCO write it.
      OSError: if it cannot be read.
    """
    with _parsing:
        return _parsed(path, files.stamp(path))


def _read_as(kind: type[_Kind], path: str) -> _Kind:
    content = read(path)
    if not isinstance(content, kind):
        raise UserError(f"{path}: is no annotation file of {kind.__name__} any more. Start again.")
    return content


def _parts(path: str) -> tuple[str, str, str]:
    found = _ADDRESS.fullmatch(path)
    if not found:
        raise ValueError(f"{path!r} is no address of a mask")
    return found[1], found[2].lower(), found[3]


@functools.lru_cache(maxsize=1 << 16)
def _parsed(path: str, _stamp: tuple[int, int]) -> LabelMe | Coco | None:
    expected = "JSON"
    try:
        content = texts.parse_json(files.read_bytes(path))
        keys = content.keys() if isinstance(content, dict) else ()
        if "shapes" in keys:
            expected = "LabelMe's shapes with label and points, imagePath, imageHeight and imageWidth"
            return _labelme(content)
        if {"images", "annotations", "categories"} <= {*keys}:
            expected = "COCO's images and categories, and annotations of these"
            return _coco(content)
        return None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path}: is damaged ({reason}); expected {expected}. Export it again, or remove it.") from None


def _labelme(content: dict[str, Any]) -> LabelMe:
    shapes = tuple(
        Shape(
            str(each["label"]),
            str(each.get("shape_type") or "polygon"),
            _points(each["points"]),
            base64.b64decode(each.get("mask") or ""),
        )
        for each in content["shapes"]
    )
    return LabelMe(*_size(content["imageHeight"], content["imageWidth"]), str(content["imagePath"]), shapes)


def _coco(content: dict[str, Any]) -> Coco:
    categories = {int(each["id"]): str(each["name"]) for each in content["categories"]}
    pictures = {
        str(each["id"]): (str(each["file_name"]), *_size(each["height"], each["width"])) for each in content["images"]
    }
    annotations = content["annotations"]
    pngs: dict[str, str] = {}
    segments: dict[str, list[tuple[float, int, Any]]] = {}
    if annotations and "segments_info" in annotations[0]:
        pngs = {str(each["image_id"]): str(each["file_name"]) for each in annotations}
        segments = {
            str(each["image_id"]): [(int(one["id"]), int(one["category_id"]), None) for one in each["segments_info"]]
            for each in annotations
        }
    else:
        for each in annotations:
            if segmentation := each.get("segmentation"):
                if isinstance(segmentation, list):
                    segmentation = [_points(polygon) for polygon in segmentation]
                found = float(each.get("area") or 0), int(each["category_id"]), segmentation
                segments.setdefault(str(each["image_id"]), []).append(found)
        for instances in segments.values():
            instances.sort(key=lambda instance: -instance[0])
    used = {category for here in segments.values() for _, category, _ in here}
    if unknown := sorted(used - categories.keys()):
        raise ValueError(f"the categories {unknown[:5]} have no name")
    if out := [category for category in categories if not 0 <= category < MOST]:
        raise ValueError(f"a category has the id {out[0]}, not one from 0 to {MOST - 1}")
    return Coco(bool(pngs), categories, pictures, segments, pngs)


def _size(height: Any, width: Any) -> tuple[int, int]:
    size = int(height), int(width)
    if min(size) < 1 or size[0] * size[1] > _MOST_PIXELS:
        raise ValueError(f"a picture of {size[1]}x{size[0]} pixels")
    return size


def _points(values: Any) -> np.ndarray:
    """float32 (N, 2)."""
    points = np.array(values, np.float32).reshape(-1, 2)
    if not (np.abs(points) <= _FARTHEST).all():
        raise ValueError(f"a point that is no place within {_FARTHEST:,} pixels")
    return points


def _png_path(path: str, name: str) -> str:
    """A PNG of panoptic segments: in the folder that is called as the JSON file, beside it."""
    return files.join(os.path.splitext(path)[0], name)


def _draw_labelme(content: LabelMe, names: list[str], *, name: str) -> np.ndarray:
    """uint16 (H, W) of the shapes."""
    values = {
        **dict.fromkeys(BACKGROUND, 0),
        **{each: place for place, each in enumerate(names, 1)},
        IGNORE_NAME: IGNORED,
    }
    mask = np.zeros((content.height, content.width), np.uint16)
    for shape in content.shapes:
        if shape.label not in values:
            raise UserError(f"{name}: holds the label {shape.label!r}, which is new since it was listed. Start again.")
        _draw_shape(mask, shape, values[shape.label], name)
    return mask


def _draw_shape(mask: np.ndarray, shape: Shape, value: int, name: str) -> None:
    points = shape.points
    if shape.kind == "polygon" and len(points) > 2:
        _fill(mask, points, value)
    elif shape.kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        _fill(mask, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]), value)
    elif shape.kind == "circle" and len(points) == 2:
        cv2.circle(mask, _pixel(points[0]), round(float(np.linalg.norm(points[1] - points[0]))), value, cv2.FILLED)
    elif shape.kind in ("line", "linestrip") and len(points) > 1:
        cv2.polylines(mask, [np.rint(points).astype(np.int32)], False, value, _LINE_WIDTH)
    elif shape.kind in ("point", "points") and len(points):
        for point in points:
            cv2.circle(mask, _pixel(point), _POINT_RADIUS, value, cv2.FILLED)
    elif shape.kind == "mask" and len(points):
        left, top = (max(0, round(float(corner))) for corner in points[0])
        inside = images.decode_label(shape.png, name=name) != 0
        part = mask[top : top + inside.shape[0], left : left + inside.shape[1]]
        part[inside[: part.shape[0], : part.shape[1]]] = value
    else:
        raise UserError(
            f"{name}: a shape of {shape.label!r} is a {shape.kind} of {len(points)} points; expected a polygon (3 or "
            "more), a rectangle or circle (2), a line, linestrip, point or mask. Correct it in LabelMe."
        )


def _pixel(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point).astype(int).tolist()
    return x, y


def _fill(mask: np.ndarray, points: np.ndarray, value: int) -> None:
    """Fills the pixels of which a polygon covers more than half; pixel (0, 0) reaches from (0, 0) to (1, 1)."""
    # OpenCV also fills what an edge just touches, so it draws four pixels for one.
    (left, top), (right, bottom) = (
        np.clip(corner, 0, mask.shape[::-1]).astype(int).tolist()
        for corner in (np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)))
    )
    fine = np.zeros((2 * (bottom - top), 2 * (right - left)), np.uint8)
    if fine.size:
        corners = 2 * (points.astype(np.float64) - (left, top)) - 0.5  # of OpenCV they are centres of pixels
        cv2.fillPoly(fine, [np.rint(corners * (1 << _SUBPIXEL)).astype(np.int32)], 1, shift=_SUBPIXEL)
        covered = fine[::2, ::2] + fine[::2, 1::2] + fine[1::2, ::2] + fine[1::2, 1::2]
        mask[top:bottom, left:right][covered > 2] = value


def _draw_instances(coco: Coco, image: str, path: str) -> np.ndarray:
    """uint16 (H, W) of the instances of an image, smaller ones on top."""
    name, height, width = coco.images[image]
    mask = np.zeros((height, width), np.uint16)
    for _, category, segmentation in coco.segments.get(image, ()):
        if isinstance(segmentation, list):
            for polygon in segmentation:  # parts of an instance: where two of them overlap, both count
                _fill(mask, polygon, category + 1)
        else:
            mask[_decode_runs(segmentation, (height, width), f"{path}: image {name}")] = category + 1
    return mask


def _decode_runs(segmentation: dict[str, Any], size: tuple[int, int], name: str) -> np.ndarray:
    """Boolean (H, W) of COCO's run lengths, down the columns, starting with those outside; plain or as text."""
    try:
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else _unpack_runs(counts)
        if sum(runs) != size[0] * size[1] or min(runs, default=0) < 0:
            raise ValueError(f"they count {sum(runs)} pixels")
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return pixels.reshape(size[::-1]).T
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{name} has run lengths that do not fit its size ({error}); export it again.") from None


def _unpack_runs(text: str) -> list[int]:
    """COCO's text of run lengths: five bits a character, from the third on differences to the one before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _draw_panoptic(coco: Coco, image: str, path: str) -> np.ndarray:
    """uint16 (H, W) of the panoptic segments of an image."""
    if image not in coco.pngs:
        raise UserError(f"{path}: the image {coco.images[image][0]} has no annotation; take it off the images.")
    png = _png_path(path, coco.pngs[image])
    channels = images.decode_image(files.read_bytes(png), name=png).astype(np.uint32)
    ids = channels[..., 0] + (channels[..., 1] << 8) + (channels[..., 2] << 16)
    present, places = np.unique(ids, return_inverse=True)
    segments = {number: category for number, category, _ in coco.segments[image]}
    unknown = [each for each in present.tolist() if each and each not in segments]
    if unknown:
        raise UserError(f"{png}: holds the segments {unknown[:5]}, which {path} does not list; export both again.")
    values = np.array([segments[each] + 1 if each else 0 for each in present.tolist()], np.uint16)
    return values[places.reshape(ids.shape)]
