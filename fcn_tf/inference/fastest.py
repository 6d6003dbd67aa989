"""Predicting in the fastest type that says what float32 says: bfloat16, where the processor multiplies it."""

import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fcn_tf.inference import tiles
from fcn_tf.inference.evaluator import Predictor
from fcn_tf.inference.tiles import Prediction
from fcn_tf.inference.views import InferenceOptions
from fcn_tf.models import mixed_precision, precision, resizing

LEAST_AGREEMENT = 0.995  # of the labels of the first picture
_COMPARED = 1024  # pixels: of a larger picture the middle is compared


def predictor(
    model: keras.Model, options: InferenceOptions, *, dtype: str, say: Callable[[str], Any]
) -> "Predictor | CheckedPredictor":
    """A predictor that computes in some type.

    Args:
      model: as `Predictor` takes it.
      options: views and tiles.
      dtype: one of `registry.INFERENCE_PRECISIONS`, or "" for what the model computes in. "auto" is the same, but
        bfloat16 for a model of float32 on a processor that multiplies bfloat16, as long as the labels agree (see
        `CheckedPredictor`).
      say: gets a line where that was compared.
    """
    if dtype == "auto":
        if _computes_in(model) == "float32" and mixed_precision.multiplied_by_cpu("bfloat16"):
            return CheckedPredictor(model, options, say=say)
        return Predictor(model, options)
    return Predictor(model if dtype in ("", _computes_in(model)) else precision.in_precision(model, dtype), options)


class CheckedPredictor:
    """A `Predictor` in bfloat16, unless that changes the labels of the first picture; then one in float32.

    Attributes:
      num_classes: how many classes the model tells apart.
      longest_side: see `Predictor`.
    """

    def __init__(self, model: keras.Model, options: InferenceOptions, *, say: Callable[[str], Any]):
        self.num_classes = int(model.output_shape[-1])
        self.longest_side = resizing.longest_side(model)
        tiles.require_none(options.tile, longest_side=self.longest_side)
        self._model, self._options, self._say = model, options, say
        self._lock = threading.Lock()
        self._chosen: Predictor | None = None

    def predict(self, images: np.ndarray, **options: Any) -> Prediction:
        """See `Predictor.predict`."""
        with self._lock:
            if self._chosen is None:
                self._chosen = self._choose(images)
        return self._chosen.predict(images, **options)

    def _choose(self, images: np.ndarray) -> Predictor:
        exact = Predictor(self._model, self._options)
        fast = Predictor(precision.in_precision(self._model, "bfloat16"), self._options)
        part = images[:1]
        if not self.longest_side:  # of which a part would be seen at another size
            top, left = (max(0, side - _COMPARED) // 2 for side in images.shape[1:3])
            part = part[:, top : top + _COMPARED, left : left + _COMPARED]
        tile = _COMPARED if self.longest_side else None
        found, wanted = (each.predict(part, tile=tile).labels for each in (fast, exact))
        agreement = float((found == wanted).mean())
        agree = f"{100 * agreement:.2f} % of the first picture's pixels get the same label as in float32"
        if agreement < LEAST_AGREEMENT:
            self._say(f"computing in float32: in bfloat16 only {agree}, expected {100 * LEAST_AGREEMENT:g} %")
            return exact
        self._say(f"computing in bfloat16, which is faster on this processor: {agree}")
        return fast


def _computes_in(model: keras.Model) -> str:
    types = {layer.compute_dtype for layer in model.layers}
    return next((name for name in ("bfloat16", "float16") if name in types), "float32")
