"""A model whose trunk forgets: its activations are computed again where the backward pass needs them.

Between the passes only what leaves a stage of the trunk is kept (Chen et al. 2016, Training Deep Nets with Sublinear
Memory Cost), for the price of a second forward pass through the trunk. The head, which holds little, is left as it is.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from fcn_tf.model import pieces


def forgetful(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The same function of images as `model(images, training=True)`, with the same gradients, in less memory.

    Args:
      model: from `build_model`.

    Returns:
      float32 (B, H, W, 3) -> float32 logits (B, H, W, C), to be called inside a tf.function.
    """
    stages, head = pieces(model)

    def forward(images):
        outputs = [images]
        for stage in stages:
            outputs.append(_twice(stage, outputs[-1]))
        return head([images, *outputs[-3:]], training=True)  # from pool3 on

    return forward


def _twice(stage, inputs):
    """`stage(inputs)`, computed again for its gradient."""
    # Read out here: what a custom gradient finds read inside it takes for trained, frozen or not.
    weights = [tf.convert_to_tensor(variable.value) for variable in stage.trainable_variables]
    fixed = [tf.convert_to_tensor(variable.value) for variable in stage.non_trainable_variables]

    @tf.custom_gradient
    def call(x, *weights):
        def backward(slope):
            # Without the wait TensorFlow would see that both passes compute the same, and keep the first.
            with tf.control_dependencies([slope]):
                again = tf.identity(x)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([again, *weights])
                result, _ = stage.stateless_call(weights, fixed, again, training=True)
            return tape.gradient(result, [again, *weights], output_gradients=slope)

        result, _ = stage.stateless_call(weights, fixed, x, training=True)
        return result, backward

    return call(inputs, *weights)
