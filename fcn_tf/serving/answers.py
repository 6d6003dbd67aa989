"""What a labelled picture is answered with: PNGs, or JSON that may carry them along."""

import base64
import functools
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np

from fcn_tf.data.palette import Color
from fcn_tf.inference.segmentation import Segmentation, picture_output
from fcn_tf.io import images
from fcn_tf.serving.limits import Refusal


@dataclass(frozen=True)
class ClassInfo:
    """A class that the model tells apart.

    Attributes:
      id: what label PNGs hold.
      name: of the class.
      color: #rrggbb.
    """

    id: int
    name: str
    color: str


@dataclass(frozen=True)
class ClassArea(ClassInfo):
    """A class in a picture.

    Attributes:
      pixels: how many it covers.
      share: of all pixels, in [0, 1].
      confidence: mean probability of the label in its pixels, in [0, 1].
    """

    pixels: int
    share: float
    confidence: float


@dataclass(frozen=True)
class Planes:
    """Every pixel, row by row, as zlib data in base64; a browser reads it without a canvas.

    Attributes:
      labels: class ids.
      dtype: of the ids: uint8, or uint16 or int32, little-endian.
      confidence: uint8, 255 stands for 1.
    """

    labels: str
    dtype: str
    confidence: str


@dataclass(frozen=True)
class Result:
    """A labelled picture.

    Attributes:
      width: in pixels, turned upright.
      height: in pixels.
      confidence: mean probability of the labels, in [0, 1].
      classes: those that occur, the largest first.
      images: PNGs in base64 by name, those that `include` asks for.
      planes: where `include` asks for them.
    """

    width: int
    height: int
    confidence: float
    classes: list[ClassArea]
    images: dict[str, str] = field(default_factory=dict)
    planes: Planes | None = None


@dataclass(frozen=True)
class Failure:
    """Why there are no labels, in one line."""

    error: str


@dataclass(frozen=True)
class Classes:
    """All classes, by id."""

    classes: list[ClassInfo]


class Form(NamedTuple):
    """A form of the answer.

    Attributes:
      media_type: of HTTP.
      encode: makes it from the segmentation, the opacity of its overlay, and what JSON shall include.
    """

    media_type: str
    encode: Callable[[Segmentation, float, Collection[str]], bytes]


def describe(class_names: Sequence[str], colors: Sequence[Color]) -> Classes:
    """The classes of a model."""
    both = zip(class_names, colors, strict=True)
    return Classes([_info(number, name, color) for number, (name, color) in enumerate(both)])


def _info(number: int, name: str, color: Color) -> ClassInfo:
    return ClassInfo(number, name, "#{:02x}{:02x}{:02x}".format(*color))


def _png(name: str, segmentation: Segmentation, opacity: float, _: Collection[str] = ()) -> bytes:
    if name == "overlay":
        return images.encode_png(segmentation.overlay(opacity=opacity), quick=True)
    return picture_output(name).encode(segmentation)


def _photo(segmentation: Segmentation, _: float) -> bytes:
    return images.encode_png(segmentation.image, quick=True)


def _json(segmentation: Segmentation, opacity: float, include: Collection[str]) -> bytes:
    pixels, confidence = segmentation.pixel_counts(), segmentation.confidence_sums()
    height, width = segmentation.labels.shape
    classes = []
    for number in np.argsort(-pixels, kind="stable")[: np.count_nonzero(pixels)].tolist():
        count = int(pixels[number])
        info = _info(number, segmentation.class_names[number], segmentation.colors[number])
        share = count / (height * width)
        classes.append(ClassArea(**asdict(info), pixels=count, share=share, confidence=confidence[number] / count))
    result = Result(
        width,
        height,
        float(confidence.sum()) / (height * width),
        classes,
        {name: _base64(PICTURES[name](segmentation, opacity)) for name in PICTURES if name in include},
        _planes(segmentation) if PLANES in include else None,
    )
    return json.dumps(asdict(result)).encode()


def _planes(segmentation: Segmentation) -> Planes:
    assert segmentation.confidence is not None
    labels = segmentation.labels
    confidence = np.rint(segmentation.confidence * 255).astype(np.uint8)
    little = np.ascontiguousarray(labels, labels.dtype.newbyteorder("<"))
    return Planes(_base64(zlib.compress(little.data)), labels.dtype.name, _base64(zlib.compress(confidence.data, 1)))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


FORMS = {
    **{name: Form("image/png", functools.partial(_png, name)) for name in ("labels", "overlay", "confidence")},
    "json": Form("application/json", _json),
}
PICTURES: dict[str, Callable[[Segmentation, float], bytes]] = {
    **{name: functools.partial(_png, name) for name in FORMS if name != "json"},
    "photo": _photo,
}
PLANES = "planes"
INCLUDES = (*PICTURES, PLANES)
_BY_TYPE = {"image/png": "labels", "application/json": "json"}  # what an Accept header chooses, the first by default


def choose_form(asked: str | None, accept: str) -> str:
    """The name of the form to answer in.

    Args:
      asked: by name, or None.
      accept: the Accept header, which decides where no name was given.

    Raises:
      Refusal: 406 where it accepts none.
    """
    if asked:
        return asked
    weights = dict.fromkeys(_BY_TYPE, (0.0, -1))  # (quality, how exactly the range names the type)
    for part in (accept or "*/*").split(","):
        media_range, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        for media_type, (_, exact) in weights.items():
            ranges = ("*/*", media_type.partition("/")[0] + "/*", media_type)
            if media_range in ranges and ranges.index(media_range) >= exact:
                weights[media_type] = (_number(quality), ranges.index(media_range))
    best = max(weights, key=lambda media_type: weights[media_type][0])
    if weights[best][0] <= 0:
        raise Refusal(
            406, f"Accept is {accept!r}; expected one of {', '.join(_BY_TYPE)}, or ?format={'|'.join(FORMS)}."
        )
    return _BY_TYPE[best]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def parse_include(text: str) -> frozenset[str]:
    """The names in a list with commas between.

    Raises:
      Refusal: 422 where there is no such name.
    """
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(names - set(INCLUDES)):
        raise Refusal(422, f"include: {unknown[0]!r} is unknown; expected some of {', '.join(INCLUDES)}.")
    return names
