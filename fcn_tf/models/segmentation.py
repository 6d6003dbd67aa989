"""The form in which a trained model is exported: pictures of bytes in, labels and their confidence out. Pure Keras."""

from collections.abc import Sequence

import keras
from keras import ops

from fcn_tf.models import precision

_NARROW = 2**8  # classes whose ids fit into uint8


@keras.saving.register_keras_serializable("fcn_tf")
class LabelsAndConfidence(keras.layers.Layer):
    """The most probable class of each pixel, and its probability.

    Args:
      class_names: one a channel of the logits; kept in the model's file.
    """

    def __init__(self, class_names: Sequence[str], **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.class_names = tuple(class_names)

    def call(self, logits):
        """Float (B, H, W, C) -> "labels" uint8 (int32 from 257 classes on) and "confidence" float32, both (B, H, W)."""
        dtype = "uint8" if len(self.class_names) <= _NARROW else "int32"
        return {
            "labels": ops.cast(ops.argmax(logits, axis=-1), dtype),
            # The softmax of the largest logit, without the others'.
            "confidence": 1 / ops.sum(ops.exp(logits - ops.max(logits, axis=-1, keepdims=True)), axis=-1),
        }

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "class_names": list(self.class_names)}


def segmentation_model(model: keras.Model, class_names: Sequence[str]) -> keras.Model:
    """A model for use elsewhere, with everything in it that has to happen to a picture.

    Args:
      model: float (B, H, W, 3) RGB in [0, 255] -> logits (B, H, W, C); it stays as it was.
      class_names: C of them.

    Returns:
      A model of its own float32 weights: uint8 (B, H, W, 3) RGB of any size -> {"labels", "confidence"} as of
      `LabelsAndConfidence`, the last of its layers "as_float", "network" (a copy of `model`) and "segmentation".
    """
    copy = precision.in_precision(model, "float32")  # what computes in 16 bits converts to few formats
    copy.name = "network"
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    logits = copy(keras.layers.Rescaling(1.0, name="as_float", dtype="float32")(images))
    return keras.Model(images, LabelsAndConfidence(class_names, name="segmentation")(logits), name="segmenter")
