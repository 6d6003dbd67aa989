"""The graph that other toolkits convert: one TensorFlow function over pictures of any size."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_IMAGES = tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")
_LARGE = 2**14  # numbers; what is smaller costs nothing to copy


class Segmenter(tf.Module):
    """A model as a TensorFlow function of one signature.

    Not `keras.Model.export`, whose SavedModel holds every weight twice.

    Args:
      model: from `segmentation.segmentation_model`.
    """

    def __init__(self, model: keras.Model):
        super().__init__(name="segmenter")
        self.weights = [variable.value for variable in model.variables]
        last = model.get_layer("segmentation")
        network = keras.Model(model.input, last.input)
        # Behind a function: a SavedModel would hold the weights of a Keras model, which it keeps track of, once more.
        self._network = lambda: network
        self._dtype = tf.as_dtype(model.output["labels"].dtype)

        @tf.function(input_signature=[_IMAGES])
        def label(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._decide(network(images, training=False))

        self.label = label

    def without_kernels(self) -> tuple[Any, dict[str, np.ndarray]]:
        """The function with its large weights as further arguments, for converters that copy constants many times.

        Returns:
          A tf.function (images, *weights), and {name of the argument: weight} of these, in order.
        """
        network = self._network()
        variables = [*network.trainable_variables, *network.non_trainable_variables]
        large = [number for number, each in enumerate(variables) if math.prod(each.shape) >= _LARGE]
        names = {f"weight_{number}": variables[number] for number in large}
        specs = [tf.TensorSpec(each.shape, tf.float32, name=name) for name, each in names.items()]

        @tf.function(input_signature=[_IMAGES, *specs])
        def label(images: tf.Tensor, *weights: tf.Tensor) -> dict[str, tf.Tensor]:
            given = dict(zip(large, weights, strict=True))
            values = [given.get(number, each.value) for number, each in enumerate(variables)]
            count = len(network.trainable_variables)
            return self._decide(network.stateless_call(values[:count], values[count:], images, training=False)[0])

        return label, {name: np.asarray(each) for name, each in names.items()}

    def _decide(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        # As the layer does, but without Keras' argmax, which looks at the bits of its input: few toolkits can.
        return {
            "labels": tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), self._dtype),
            "confidence": tf.reduce_max(tf.nn.softmax(logits), axis=-1),
        }
