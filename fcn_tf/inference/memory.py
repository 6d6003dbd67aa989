"""How much memory labelling an image with a Keras model takes: predicted from shapes, not measured."""

import math
from collections.abc import Collection

import keras

from fcn_tf.data import crops
from fcn_tf.inference import tiles
from fcn_tf.inference.fitting import Fitting
from fcn_tf.io import system
from fcn_tf.models import resizing

_SIDE = 256  # pixels, of the image whose activations are counted: a multiple of every stride
_INPUT = 40  # bytes a pixel: as uint8, float32 and float32 without the mean, its label, and some to spare
_FLOATS = 12  # bytes a pixel of a picture as float32
_RESIZED = 12  # tensors of the logits of a band while they are brought to its size, and until they are labels
_WEIGHTS = 16  # bytes: of a row of the picture in one that the network sees, while that is counted


class PredictionMemory(Fitting):
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
      on_gpu: whether models run on a GPU, see `Fitting`.
      bytes_per_pixel: of the part that goes through the model at once, what is held for each pixel.
    """

    def __init__(self, model: keras.Model, *, scales: Collection[float] = ()):
        super().__init__()
        every_output = keras.Model(model.input, {layer.name: layer.output for layer in model.layers})
        outputs = every_output.compute_output_spec(keras.KerasTensor((1, _SIDE, _SIDE, 3), model.input.dtype))
        sizes = {name: 4 * math.prod(x.shape) / _SIDE**2 for name, x in outputs.items()}
        held = 2 * max(sizes.values())
        convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        # Of the input's channels each position of the kernel, and the input itself, beside the output.
        parts = {layer.name: (math.prod(layer.kernel_size) + 1) * layer.input.shape[-1] for layer in convolutions}
        patches = (sizes[layer.name] * (1 + parts[layer.name] / layer.filters) for layer in convolutions)
        self._views = 4 * model.output_shape[-1] * 3 * bool(scales)
        self.bytes_per_pixel, self._reserved_per_pixel = (
            (each + _INPUT) * max((1, *scales)) ** 2 for each in (held, max(held, *patches))
        )
        self.longest_side = resizing.longest_side(model)
        # Those of each view and its mirror image, at the size that the network brought it to.
        self._looked = 2 * sum(scale**2 for scale in scales) * 4 * model.output_shape[-1] * bool(self.longest_side)
        self._logits = 4 * model.output_shape[-1]
        self._kernel = 4 * max(math.prod(variable.shape) for variable in model.variables)
        self.on_gpu = system.has_gpu()

    def run(self, height: int, width: int, *, tile: int, kept: int, count: int) -> tuple[float, float]:
        """See `Fitting.run`."""
        if self.longest_side:
            scored, seen, resized = self._resized(height, width, tile, count)
        else:
            scored = seen = min(height, tile or height) * min(width, tile or width)
            resized = 0
        # Probabilities are float16 when kept; they come from float32 ones.
        beside = resized + (self._views + 3 * kept) * scored
        held, reserved = (
            count * (seen * each + beside) + self._kernel for each in (self.bytes_per_pixel, self._reserved_per_pixel)
        )
        return held, reserved

    def scored_at_once(self, height: int, width: int, count: int = 1) -> int:
        """Of how many pixels of each of `count` images logits are looked at together."""
        if not self.longest_side:
            return height * width
        return width * tiles.band_rows(height, width, scores=self._logits * count)

    def _resized(self, height: int, width: int, tile: int, count: int) -> tuple[int, int, float]:
        """Of one of some images the pixels of a band, those the network sees, and the bytes that it takes to resize."""
        largest = tile or crops.LARGEST
        if max(height, width) > largest:
            height, width = resizing.fitted_size(height, width, largest)
        rows, columns = resizing.fitted_size(height, width, self.longest_side)
        band = self.scored_at_once(height, width, count)
        resized = height * width * _FLOATS + _WEIGHTS * (height * rows + width * columns)
        return band, rows * columns, resized + band * _RESIZED * self._logits + rows * columns * self._looked
