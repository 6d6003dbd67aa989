"""The graph that other toolkits convert: one TensorFlow function over pictures of any size."""

import keras
import tensorflow as tf


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
        logits_of = keras.Model(model.input, last.input)
        dtype = tf.as_dtype(model.output["labels"].dtype)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")])
        def label(images: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = logits_of(images, training=False)
            # As the layer does, but without Keras' argmax, which looks at the bits of its input: few toolkits can.
            return {
                "labels": tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), dtype),
                "confidence": tf.reduce_max(tf.nn.softmax(logits), axis=-1),
            }

        self.label = label
