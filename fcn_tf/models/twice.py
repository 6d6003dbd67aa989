"""A computation that is done again for its gradient, so that nothing but its inputs is kept in between."""

from collections.abc import Callable

import tensorflow as tf


def computed_twice(function: Callable, x, *weights):
    """`function(x, *weights)`; for use inside a tf.function.

    Args:
      function: without randomness; reads no other variables that learn.
      x: a float tensor.
      weights: float tensors, and no variables: what a custom gradient reads itself it takes for trained, frozen or not.

    Returns:
      What `function` returns, a float tensor.
    """

    @tf.custom_gradient
    def forward(x, *weights):
        def backward(slope):
            # Without the wait TensorFlow would see that both passes compute the same, and keep the first.
            with tf.control_dependencies([slope]):
                again = tf.identity(x)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([again, *weights])
                result = function(again, *weights)
            return tape.gradient(result, [again, *weights], output_gradients=slope)

        return function(x, *weights), backward

    return forward(x, *weights)
