"""A labelled picture, and the files that can be made of it. No TensorFlow."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fcn_tf import registry
from fcn_tf.data import palette
from fcn_tf.data.palette import Color
from fcn_tf.io import files, images, texts

PixelsOfFrame = tuple[str, int | None, Mapping[int, int]]
_SHOWN = 3  # names of classes when it is printed; the rest is counted
_BAND = 1 << 20  # pixels that are drawn or counted at once: bounds the memory that this takes beside its result


class Area(NamedTuple):
    """How much of a picture a class covers.

    Attributes:
      pixels: how many.
      share: of all pixels, in [0, 1].
    """

    pixels: int
    share: float


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A picture and the class of each of its pixels.

    Attributes:
      image: uint8 (H, W, 3), RGB: the picture as the model saw it, turned upright.
      labels: class ids (H, W), uint8, or wider where there are more than 256 classes.
      confidence: float32 (H, W), the probability of the label, in [0, 1]; None where it was not asked for.
      probabilities: float16 (H, W, C), in [0, 1]; None where they were not asked for.
      class_names: by class id.
      colors: (r, g, b) in [0, 255] by class id.
      tile: side in pixels of the tiles it was labelled in, or of a model that resizes pictures itself, what its longer
        side was made smaller to, because the memory did not suffice; 0 where it was labelled at once.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    _: dataclasses.KW_ONLY
    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    tile: int = 0

    def __repr__(self) -> str:
        height, width = self.labels.shape
        classes = f"{len(self.class_names)} classes, {texts.some(self.class_names, _SHOWN)}"
        return f"<Segmentation of {width}x{height} pixels: {classes}>"

    def overlay(self, *, opacity: float = palette.OPACITY) -> np.ndarray:
        """The picture under the colours of its classes.

        Args:
          opacity: share of the colours, in [0, 1].

        Returns:
          uint8 (H, W, 3), RGB.

        Raises:
          ValueError: if `opacity` is out of range.
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity must be from 0 to 1, got {opacity}")
        drawn = np.empty_like(self.image)
        for rows in self._bands():
            drawn[rows] = palette.overlay(self.image[rows], self.labels[rows], self.colors, opacity=opacity)
        return drawn

    def legend(self) -> np.ndarray:
        """The colour and the name of every class, by class id: the same for all pictures; uint8 (H, W, 3), RGB."""
        return palette.legend(self.class_names, self.colors)

    def pixel_counts(self) -> np.ndarray:
        """How many pixels each class covers, int64 (C,)."""
        counts = np.zeros(len(self.class_names), np.int64)
        for rows in self._bands():
            counts += np.bincount(self.labels[rows].ravel(), minlength=len(counts))
        return counts

    def confidence_sums(self) -> np.ndarray:
        """Of the confidence in the pixels of each class, float64 (C,)."""
        assert self.confidence is not None
        sums = np.zeros(len(self.class_names))
        for rows in self._bands():
            sums += np.bincount(self.labels[rows].ravel(), weights=self.confidence[rows].ravel(), minlength=len(sums))
        return sums

    def areas(self) -> dict[str, Area]:
        """How much of the picture each class covers, by name, in the order of class ids."""
        counts = self.pixel_counts().tolist()
        return {name: Area(n, n / self.labels.size) for name, n in zip(self.class_names, counts, strict=True)}

    def save(self, path: str, *, outputs: Sequence[str] = ("labels", "overlay")) -> list[str]:
        """Writes files that begin with `path`, such as PATH_label.png and PATH_overlay.png.

        Args:
          path: folder and beginning of the names; the folder is made.
          outputs: which of labels, overlay, confidence and probabilities; also as the flag, with commas between.

        Returns:
          The paths of the files.

        Raises:
          ValueError: if an output is unknown, or was not asked of the Segmenter.
          OSError: if a file cannot be written.
        """
        outputs = outputs.split(",") if isinstance(outputs, str) else outputs
        encoded = {path + picture_output(name).ending: picture_output(name).encode(self) for name in outputs}
        for each, data in encoded.items():
            files.write_bytes(each, data)
        return list(encoded)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return images.encode_png(self.overlay(), quick=True)

    def _bands(self) -> Iterator[slice]:
        height, width = self.labels.shape
        step = max(1, _BAND // width)
        return (slice(top, top + step) for top in range(0, height, step))


class PictureOutput(NamedTuple):
    """A file that is made of each picture.

    Attributes:
      ending: of its name, after the picture's.
      encode: makes its content.
      needs: the attribute of `Segmentation` that has to be asked for, or "".
    """

    ending: str
    encode: Callable[[Segmentation], bytes]
    needs: str = ""


class FolderOutput(NamedTuple):
    """A file that is made once, for all pictures of a folder.

    Attributes:
      file: its name.
      encode: makes its content from class names, colours, and (picture, number of the frame, {class id: pixels}) of
        each picture; the frame is None where it is no video.
      of_pictures: whether the pictures decide about its content.
    """

    file: str
    encode: Callable[[Sequence[str], Sequence[Color], Iterable[PixelsOfFrame]], bytes]
    of_pictures: bool = True


def picture_output(name: str) -> PictureOutput:
    """The output of a name in `registry.OUTPUTS` that is made of each picture.

    Raises:
      ValueError: if there is none.
    """
    found = registry.resolve(registry.OUTPUTS[name]) if name in registry.OUTPUTS else None
    if not isinstance(found, PictureOutput):
        raise ValueError(f"no picture has an output {name!r}; expected some of {', '.join(picture_outputs())}")
    return found


def picture_outputs() -> dict[str, PictureOutput]:
    """All that are made of each picture, by name."""
    return {name: output for name, output in _outputs().items() if isinstance(output, PictureOutput)}


def folder_outputs() -> dict[str, FolderOutput]:
    """All that are made once, by name."""
    return {name: output for name, output in _outputs().items() if isinstance(output, FolderOutput)}


def _outputs() -> dict[str, PictureOutput | FolderOutput]:
    return {name: registry.resolve(entry) for name, entry in registry.OUTPUTS.items()}


def _asked_for(array: np.ndarray | None, what: str) -> np.ndarray:
    if array is None:
        raise ValueError(f"{what} were not computed; call the Segmenter with {what}=True")
    return array


def _confidence_png(segmentation: Segmentation) -> bytes:
    """Grey levels: 255 stands for 1."""
    return images.encode_png(np.rint(_asked_for(segmentation.confidence, "confidence") * 255).astype(np.uint8))


def _probabilities_npz(segmentation: Segmentation) -> bytes:
    probabilities = _asked_for(segmentation.probabilities, "probabilities")
    buffer = io.BytesIO()
    np.savez(buffer, probabilities=probabilities, class_names=np.array(segmentation.class_names))
    return buffer.getvalue()


def _areas_csv(names: Sequence[str], _: Sequence[Color], frames: Iterable[PixelsOfFrame]) -> bytes:
    """One row for each class that occurs in a picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("picture", "frame", "class_id", "class", "pixels", "share"))
    for picture, frame, pixels in frames:
        total = sum(pixels.values())
        for label, count in sorted(pixels.items()):
            writer.writerow((picture, frame, label, names[label], count, f"{count / total:.6f}"))
    return text.getvalue().encode(errors="backslashreplace")  # names of files may be no UTF-8


LABELS = PictureOutput("_label.png", lambda segmentation: images.encode_png(segmentation.labels))
OVERLAY = PictureOutput("_overlay.png", lambda segmentation: images.encode_png(segmentation.overlay(), quick=True))
CONFIDENCE = PictureOutput("_confidence.png", _confidence_png, "confidence")
PROBABILITIES = PictureOutput("_probabilities.npz", _probabilities_npz, "probabilities")
LEGEND = FolderOutput(
    "legend.png", lambda names, colors, _: images.encode_png(palette.legend(names, colors)), of_pictures=False
)
AREAS = FolderOutput("areas.csv", _areas_csv)
