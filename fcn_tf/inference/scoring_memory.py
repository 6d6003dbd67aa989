"""Asks for the memory of evaluate and visualize before an image takes it, as predict does."""

from collections.abc import Iterator

import keras

from fcn_tf.errors import UserError
from fcn_tf.inference import fitting, memory
from fcn_tf.inference.views import InferenceOptions
from fcn_tf.io import system
from fcn_tf.models import resizing

_SCORED = 100  # bytes a pixel, measured: labels, predictions, cells of the confusion matrix, cross-entropy
_KEPT = 20  # of these, measured, for the whole image where it is scored band by band: the image, labels, predictions

Bytes = tuple[int, int]  # held, reserved


class ScoringMemory:
    """What labelling and scoring images takes: `PredictionMemory`, and what scores are counted from.

    Measured with `fcn8s` and `original`, tiny width, 3 to 151 classes, whole images, tiles, batches and views, 1 to 2
    million pixels: from 4 % less to a third more; with `light` that resizes 12 million pixels, 151 classes: 8 % more.

    Args:
      model: as `Evaluator` takes it.
      options: views and tiles.
    """

    def __init__(self, model: keras.Model, options: InferenceOptions):
        self._tile, self._resizes = options.tile, resizing.longest_side(model) > 0
        self._labelled = memory.PredictionMemory(model, scales=options.scales if options.tta else ())
        # Of several views the logits are copied once more, and their exponentials.
        self._scored = _SCORED + (2 * 4 * model.output_shape[-1] if options.tta else 0)
        self._last = "", 0, 0, 0

    def need(self, images: int, height: int, width: int, *, tile: int) -> Bytes:
        """Bytes held and bytes reserved for so many images of one size, in tiles of this side (0: whole)."""
        held, reserved = self._labelled.need(height, width, tile=tile, count=images)
        pixels, at_once = height * width, self._labelled.scored_at_once(height, width, images)
        scored = images * (at_once * self._scored + (pixels - at_once) * _KEPT)
        return held + scored, reserved + scored

    def require(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises UserError if there is less memory than a batch takes; it names the flag that makes it fit.

        Args:
          name: of the first image.
          shape: (B, H, W, 3).
        """
        images, height, width = shape[:3]
        self._last = name, images, height, width
        available = self._labelled.available()
        need = self.need(images, height, width, tile=self._tile)
        missing = [
            (wanted, there)
            for wanted, there in zip(need, available, strict=True)
            if there is not None and wanted > there
        ]
        if not missing:
            return
        wanted, there = missing[0]
        fix = next(self._fixes(images, height, width, available), "let the program have more memory")
        raise UserError(
            f"{name}: labelling and scoring {_several(images, height, width)} takes about {wanted / 1e9:.1f} GB, "
            f"{there / 1e9:.1f} GB are free; {fix}."
        )

    def exhausted(self) -> UserError:
        """The error where TensorFlow ran out of memory all the same in the batch that was asked for last."""
        name, *size = self._last
        tiles = "add --sliding_window=SIZE, a smaller one if it is there already"
        fix = "make it smaller" if self._resizes else tiles
        return UserError(f"{name}: there is not enough memory to label and score {_several(*size)}; {fix}.")

    def _fixes(self, images: int, height: int, width: int, available: system.Available) -> Iterator[str]:
        def fits(count: int, tile: int) -> bool:
            return fitting.fits(self.need(count, height, width, tile=tile), available, fitting.SAFE)

        yield from (f"add --batch_size={count}" for count in range(images - 1, 0, -1) if fits(count, self._tile))
        if self._resizes:
            return
        sides = range(max(height, width) // fitting.STEP * fitting.STEP, 0, -fitting.STEP)
        yield from (f"add --sliding_window={side}" for side in sides if fits(images, side))


def _several(images: int, height: int, width: int) -> str:
    return f"{images} images of {width}x{height} pixels" if images > 1 else f"{width}x{height} pixels"
