"""What --debug shows: how weights, gradients and activations are spread."""

import keras
import tensorflow as tf

from fcn_tf.training import losses


def collect(
    model: keras.Model, loss: losses.PixelLoss, images: tf.Tensor, labels: tf.Tensor
) -> dict[str, dict[str, tf.Tensor]]:
    """Looks into a model at work, without dropout.

    Args:
      model: (B, H, W, 3) RGB in [0, 255] -> float32 logits (B, H, W, C).
      loss: what it is trained with.
      images: uint8 (B, H, W, 3).
      labels: int32 (B, H, W).

    Returns:
      {"weights" | "gradients" | "activations": {name: tensor}}, as `Summaries.histograms` takes it.
    """
    images = tf.cast(images, tf.float32)
    variables = model.trainable_variables
    shown = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    activations = keras.Model(model.input, [layer.output for layer in shown])(images)
    with tf.GradientTape() as tape:
        value = loss(model(images, training=False), labels, reduce=tf.identity)
    gradients = tape.gradient(value, variables)
    return {
        "weights": {variable.path: variable.value for variable in variables},
        "gradients": {variable.path: gradient for variable, gradient in zip(variables, gradients, strict=True)},
        "activations": {layer.name: values for layer, values in zip(shown, activations, strict=True)},
    }
