"""A folder that `--mode=export` wrote, run by the runtime of its format. TensorFlow only where that is the runtime."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcn_tf import registry
from fcn_tf.data import crops
from fcn_tf.errors import UserError
from fcn_tf.inference import tiles
from fcn_tf.inference.fitting import LARGEST_TILE, Fitting
from fcn_tf.inference.tiles import Prediction
from fcn_tf.io import files, system, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.models import sizes

METADATA = "classes.json"  # beside the model in each export
_FLOATS, _LOGITS = 24, 4 * 4  # bytes a pixel where pictures are resized: itself as floats, and a class's logits
_MOST_BYTES = 10**6  # a pixel: no network takes so much
_BESIDE = 50  # bytes a pixel, as a few scores more: measured, see benchmarks/export_memory.py
_BYTES_PER_PIXEL = 550.0  # where classes.json does not say it: that of `fcn8s` with the full VGG19


@dataclass(frozen=True)
class Export:
    """An export, found but not loaded.

    Attributes:
      folder: it lies there.
      format: its name in `registry.EXPORTS`.
      metadata: the content of its classes.json.
    """

    folder: str
    format: str
    metadata: Mapping[str, Any]

    @property
    def class_names(self) -> list[str]:
        """By class id."""
        return [each["name"] for each in self.metadata["classes"]]

    @property
    def colors(self) -> list[list[int]]:
        """[r, g, b] in [0, 255] by class id."""
        return [each["color"] for each in self.metadata["classes"]]

    @property
    def longest_side(self) -> int:
        """In pixels, what its network brings the longer side of pictures to; 0 where it takes them as they are."""
        return self.metadata.get("longest_side", 0)

    @property
    def bytes_per_pixel(self) -> float:
        """What its network takes in TensorFlow for each pixel that it sees, see `PredictionMemory`."""
        return self.metadata.get("bytes_per_pixel", _BYTES_PER_PIXEL)

    def load(self) -> Callable[[np.ndarray], Any]:
        """A function of uint8 (B, H, W, 3) RGB that gives `labels` and `confidence`, (B, H, W) each.

        Raises:
          UserError: if its runtime is not installed, or it is damaged.
        """
        entry = registry.resolve(registry.EXPORTS[self.format])
        try:
            return entry.load(self.folder)
        except ModuleNotFoundError as error:
            package = entry.packages.get(error.name, error.name)
            raise UserError(f"{self.folder} needs {package}, which is not installed: pip install {package}") from None
        except Exception as error:  # theirs are of many kinds
            raise UserError(
                f"{self.folder} cannot be loaded ({texts.reason(error)}); write it again with --mode=export "
                f"--format={self.format}."
            ) from None


def folder_of(exports: str, name: str, precision: str) -> str:
    """Where in the folder `exports` the export in this format and of weights of this precision is."""
    return files.join(exports, name + ("" if precision == "float32" else f"-{precision}"))


def of_run(run_dir: Run, runtime: str, *, quantize: str, plain: bool) -> Export | None:
    """The export of a run's model that --runtime runs; it was compared with the model when it was written.

    Args:
      run_dir: the run.
      runtime: one of `registry.RUNTIMES`, or "tensorflow".
      quantize: one of `registry.EXPORT_PRECISIONS`.
      plain: whether the flags leave everything else as the export was written.

    Returns:
      None for "tensorflow", which runs the model itself.

    Raises:
      UserError: if it is not there, is of another model than the run has by now, or cannot do what the flags say.
    """
    if runtime not in registry.RUNTIMES:
        if quantize != "float32":
            names = " or --runtime=".join(registry.RUNTIMES)
            raise UserError(f"--quantize={quantize} is of exports; add --runtime={names} to label with one.")
        return None
    name = next(name for name, entry in registry.EXPORTS.items() if entry == registry.RUNTIMES[runtime])
    folder = folder_of(run_dir.export, name, quantize)
    command = f"--mode=export --logs_dir={run_dir.logs_dir} --format={name} --quantize={quantize}"
    found = find(folder) if files.exists(folder) else None
    if found is None:
        raise UserError(f"--runtime={runtime} runs the export {folder}, which is not there; write it: {command}.")
    if found.metadata.get("model_stamp") != list(run_dir.model_stamp()):
        raise UserError(
            f"{folder} is not of the run's present model, {run_dir.require_model()}; write it anew: {command}."
        )
    if not plain:
        raise UserError(
            f"--runtime={runtime} computes as the export was written; leave out --inference_precision and --tta, or "
            "--runtime."
        )
    return found


def is_export(folder: str) -> bool:
    """Whether `--mode=export` wrote this folder, whatever it holds by now."""
    return files.exists(files.join(folder, METADATA))


def find(path: str) -> Export | None:
    """The export that a path names: its folder, or the model in it; None where there is none.

    Raises:
      UserError: if its classes.json is damaged, or its model is not there.
    """
    formats = {name: registry.resolve(entry).file for name, entry in registry.EXPORTS.items()}
    if files.is_dir(path):
        folder = path
    elif os.path.basename(path) in formats.values():
        folder = os.path.dirname(path) or "."
    else:
        return None
    described = files.join(folder, METADATA)
    if not is_export(folder):
        return None
    name = next((name for name, file in formats.items() if files.exists(files.join(folder, file))), None)
    if name is None:
        raise UserError(f"{folder} has no model; expected one of {', '.join(formats.values())}; export it again.")
    try:
        found = Export(folder, name, json.loads(files.read_bytes(described)))
        known = bool(found.class_names) and all(len(color) == 3 for color in found.colors)
        side, taken = found.longest_side, found.bytes_per_pixel
    except (ValueError, TypeError, LookupError):
        known = False
    if not known:
        raise UserError(f"{described} does not list the classes; write it again with --mode=export --format={name}.")
    for key, value, valid, expected in (
        ("longest_side", side, type(side) is int and 0 <= side <= crops.LARGEST, "0 or a number of pixels"),
        ("bytes_per_pixel", taken, type(taken) in (int, float) and 0 < taken < _MOST_BYTES, "a positive number"),
    ):
        if not valid:
            raise UserError(
                f"{described} says {key} is {str(value)[:80]!r}, expected {expected}; write it again with "
                f"--mode=export --format={name}."
            )
    return found


class ExportedPredictor:
    """Labels images as `evaluator.Predictor` does, in the runtime of an export; for any number of threads.

    Attributes:
      num_classes: how many classes it tells apart.
      longest_side: see `Predictor`.
    """

    def __init__(self, export: Export, *, tile: int):
        """Loads an export; `tile` as of `InferenceOptions`."""
        self.num_classes = len(export.class_names)
        self.longest_side = export.longest_side
        tiles.require_none(tile, longest_side=self.longest_side)
        self._run, self._folder, self._tile = export.load(), export.folder, tile
        self._lock = threading.Lock()  # some runtimes take one call at a time, and each uses every core

    def predict(
        self, images: np.ndarray, *, confidence: bool = False, probabilities: bool = False, tile: int | None = None
    ) -> Prediction:
        """See `Predictor.predict`.

        Raises:
          UserError: if `probabilities` are wanted.
        """
        if probabilities:
            raise UserError(
                f"{self._folder} gives labels and their confidence only; for the probabilities of all classes use the "
                "run that it was exported from."
            )
        with self._lock:
            return tiles.predict(
                lambda seen: self._run(np.ascontiguousarray(seen))._asdict(),
                _cut,
                images,
                tile=self._tile if tile is None else tile,
                resizes=self.longest_side > 0,
                num_classes=self.num_classes,
                confidence=confidence,
                probabilities=False,
            )


def _cut(found: dict[str, np.ndarray], inside: tiles.Part, _: tuple[int, int]) -> dict[str, np.ndarray]:
    """What was found, of a part."""
    top, left, height, width = inside
    return {name: array[:, top : top + height, left : left + width] for name, array in found.items()}


class ExportMemory(Fitting):
    """What it takes to label images with an export, beside the export and the image.

    For each pixel that the network sees the larger of two: so many times what it takes in TensorFlow, and so many times
    the scores of all classes; both are of the runtime. What is reserved is not known.

    Measured with `light` at full width, 11 classes, and `fcn8s`, tiny, 151 classes, 1 million pixels, in five formats
    (benchmarks/export_memory.py): 0 to 10 % less.

    Args:
      export: says what its network takes a pixel in TensorFlow.

    Attributes:
      bytes_per_pixel: that its network sees.
    """

    def __init__(self, export: Export):
        super().__init__()
        self.longest_side = export.longest_side
        entry = registry.resolve(registry.EXPORTS[export.format])
        self.on_gpu = not entry.packages and system.has_gpu()  # what needs no other package is run by TensorFlow
        self.at_once = 0 if export.longest_side else LARGEST_TILE
        network, scores = entry.memory
        classes = len(export.class_names)
        self.bytes_per_pixel = max(network * export.bytes_per_pixel, scores * (4 * classes + _BESIDE))
        self._resized = _FLOATS + _LOGITS * classes

    def run(self, height: int, width: int, *, tile: int, kept: int, count: int) -> tuple[float, float]:
        """See `Fitting.run`."""
        if not self.longest_side:
            seen = min(height, tile or height) * min(width, tile or width)
            return count * seen * self.bytes_per_pixel, 0
        if 0 < tile < max(height, width):
            height, width = sizes.fitted_size(height, width, tile)
        rows, columns = sizes.fitted_size(height, width, self.longest_side)
        return count * (rows * columns * self.bytes_per_pixel + height * width * self._resized), 0
