"""How much memory labelling an image takes, and the tile size that brings it into what there is.

Predicted from shapes, not measured: see `PredictionMemory`.
"""

import math
from collections.abc import Collection

import keras
import tensorflow as tf

from fcn_tf.data import crops
from fcn_tf.errors import OutOfMemory
from fcn_tf.inference import tiles
from fcn_tf.io import system
from fcn_tf.models import resizing

_SIDE = 256  # pixels, of the image whose activations are counted: a multiple of every stride
_INPUT = 40  # bytes a pixel: as uint8, float32 and float32 without the mean, its label, and some to spare
_FLOATS = 12  # bytes a pixel of a picture as float32
_RESIZED = 12  # tensors of the logits of a band while they are brought to its size, and until they are labels
_WEIGHTS = 16  # bytes: of a row of the picture in one that the network sees, while that is counted
_DRAWN, _LABELS = 12, 4  # bytes a pixel, measured, of an overlay and its PNG; of labels
STEP = 128  # pixels: only multiples of it are chosen as tile sizes
_LARGEST_TILE = 2048  # pixels, of those that are chosen: larger ones are no faster
SAFE = 0.75  # of the memory, for a tile size that is chosen: less may be free for the next image


class PredictionMemory:
    """How much memory it takes to label an image with a model, beside the model and the image.

    For the part that goes through the model at once: twice the largest output of a layer, in float32 whatever the
    precision (a layer's input and output, or the patches that an upsampled map is assembled from), and its pixels a few
    times; with several views, the sums and copies of the probabilities; a copy of the largest kernel. For the whole
    image: the labels and the overlay, and where the model resizes it, itself as floats. What comes of logits after the
    network counts for what is done at once: an image, a tile, or of an image that is resized a band. TensorFlow
    also reserves, on a CPU, the patches of a whole convolution, of which it touches little.

    Measured with `fcn8s` and `original`, tiny and full width, 4 to 151 classes, 1 to 16 million pixels: up to a quarter
    less, up to 4 % more; with `light` that resizes pictures of 3 to 48 million pixels, 2 to 151 classes: 1 % less to
    twice as much, the latter for the smallest.

    Args:
      model: as `Predictor` takes it.
      scales: of the views that are averaged; () for one forward pass.

    Attributes:
      on_gpu: whether models run on a GPU, of whose memory only TensorFlow's allocator knows.
    """

    def __init__(self, model: keras.Model, *, scales: Collection[float] = ()):
        every_output = keras.Model(model.input, {layer.name: layer.output for layer in model.layers})
        outputs = every_output.compute_output_spec(keras.KerasTensor((1, _SIDE, _SIDE, 3), model.input.dtype))
        sizes = {name: 4 * math.prod(x.shape) / _SIDE**2 for name, x in outputs.items()}
        held = 2 * max(sizes.values())
        convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        # Of the input's channels each position of the kernel, and the input itself, beside the output.
        parts = {layer.name: (math.prod(layer.kernel_size) + 1) * layer.input.shape[-1] for layer in convolutions}
        patches = (sizes[layer.name] * (1 + parts[layer.name] / layer.filters) for layer in convolutions)
        self._views = 4 * model.output_shape[-1] * 3 * bool(scales)
        self._held_per_pixel, self._reserved_per_pixel = (
            (each + _INPUT) * max((1, *scales)) ** 2 for each in (held, max(held, *patches))
        )
        self._longest_side = resizing.longest_side(model)
        # Those of each view and its mirror image, at the size that the network brought it to.
        self._looked = 2 * sum(scale**2 for scale in scales) * 4 * model.output_shape[-1] * bool(self._longest_side)
        self._logits = 4 * model.output_shape[-1]
        self._kernel = 4 * max(math.prod(variable.shape) for variable in model.variables)
        self.on_gpu = bool(tf.config.list_physical_devices("GPU"))

    def available(self) -> system.Available:
        """What may be held and reserved now."""
        return (None, None) if self.on_gpu else (system.memory_left(), system.reservable())

    def need(self, height: int, width: int, *, tile: int, kept: int = 0, count: int = 1) -> tuple[int, int]:
        """What images of this size take.

        Args:
          height: of the image.
          width: of the image.
          tile: side of the tiles it is labelled in; 0: it is labelled at once.
          kept: bytes a pixel of the results beside the labels.
          count: how many images are labelled at once.

        Returns:
          Bytes held, bytes reserved.
        """
        pixels = height * width
        if self._longest_side:
            scored, seen, resized = self._resized(height, width, tile, count)
        else:
            scored = seen = min(height, tile or height) * min(width, tile or width)
            resized = 0
        # Probabilities are float16 when kept; they come from float32 ones.
        beside = resized + (self._views + 3 * kept) * scored
        held, reserved = (
            count * (seen * each + beside) + self._kernel for each in (self._held_per_pixel, self._reserved_per_pixel)
        )
        held = max(held, count * pixels * _DRAWN) + count * pixels * (_LABELS + kept)
        return int(held), int(max(held, reserved))

    def scored_at_once(self, height: int, width: int, count: int = 1) -> int:
        """Of how many pixels of each of `count` images logits are looked at together."""
        if not self._longest_side:
            return height * width
        return width * tiles.band_rows(height, width, scores=self._logits * count)

    def _resized(self, height: int, width: int, tile: int, count: int) -> tuple[int, int, float]:
        """Of one of some images the pixels of a band, those the network sees, and the bytes that it takes to resize."""
        largest = tile or crops.LARGEST
        if max(height, width) > largest:
            height, width = resizing.fitted_size(height, width, largest)
        rows, columns = resizing.fitted_size(height, width, self._longest_side)
        band = self.scored_at_once(height, width, count)
        resized = height * width * _FLOATS + _WEIGHTS * (height * rows + width * columns)
        return band, rows * columns, resized + band * _RESIZED * self._logits + rows * columns * self._looked

    def fits(
        self, height: int, width: int, *, tile: int, available: system.Available, kept: int = 0, count: int = 1
    ) -> bool:
        """Whether there is the memory for images; arguments as for `tile_for` and `need`."""
        return fits(self.need(height, width, tile=tile, kept=kept, count=count), available)

    def tile_for(
        self, height: int, width: int, *, tile: int, available: system.Available, name: str, kept: int = 0
    ) -> int:
        """Asks for the memory before it is taken, and chooses tiles where the image does not fit into it at once.

        Args:
          height: of the image.
          width: of the image.
          tile: as for `need`.
          available: bytes that may be held, and that may be reserved; None where unknown.
          name: of the image, for the error.
          kept: as for `need`.

        Returns:
          The side of the tiles: `tile`, or where that is 0 and the image too large for it, one that fits.

        Raises:
          OutOfMemory: if no tiles fit, or those asked for do not; then it names the largest --sliding_window that fits.
        """
        need = self.need(height, width, tile=tile, kept=kept)
        if fits(need, available):
            return tile
        largest = crops.LARGEST if self._longest_side else _LARGEST_TILE
        sides = range(min(largest, max(height, width) // STEP * STEP), 0, -STEP)
        fitting = (s for s in sides if fits(self.need(height, width, tile=s, kept=kept), available, SAFE))
        side = next(fitting, 0)
        if side and not tile:
            return side
        fix = f"add --sliding_window={side}" if side else "make it smaller, or let the program have more memory"
        how = f"in tiles of {tile}" if tile else f"even {'made smaller' if self._longest_side else 'in small tiles'}"
        least, share = (need, 1.0) if tile else (self.need(height, width, tile=STEP, kept=kept), SAFE)
        texts = ("takes about {:.1f} GB, {:.1f} GB are free", "reserves about {:.1f} GB, {:.1f} GB may be reserved")
        missing = [
            text.format(wanted / 1e9, there / 1e9)
            for text, wanted, there in zip(texts, least, available, strict=True)
            if there is not None and wanted > share * there
        ]
        raise OutOfMemory(
            f"{name}: labelling {width}x{height} pixels {how} {missing[0]}; {fix}.",
            flags=(f"--sliding_window={side}",) if side else (),
        )


def fits(need: tuple[int, int], available: system.Available, share: float = 1.0) -> bool:
    """Whether what is held and what is reserved, in bytes, is at most this share of what is available."""
    return all(there is None or wanted <= share * there for wanted, there in zip(need, available, strict=True))
