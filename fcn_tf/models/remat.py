"""A model whose trunk forgets: its activations are computed again where the backward pass needs them.

Between the passes only what leaves a stage of the trunk is kept (Chen et al. 2016, Training Deep Nets with Sublinear
Memory Cost), for the price of a second forward pass through the trunk. The head, which holds little, is left as it is.
"""

import keras
import tensorflow as tf

from fcn_tf.models.build import stages
from fcn_tf.models.twice import computed_twice


def forgetful(model: keras.Model) -> keras.Model:
    """A model of the same layers and variables that keeps less from the forward to the backward pass.

    Args:
      model: from `build_model`; it stays as it was.

    Returns:
      A Keras model with the same results and gradients, for use inside a tf.function.
    """
    ends = {stage[-1].name: stage for stage in stages(model)}
    inside = {layer.name for stage in ends.values() for layer in stage[:-1]}

    def replaced(layer):
        if layer.name in inside:
            return keras.layers.Identity(autocast=False)
        return _Twice(ends[layer.name]) if layer.name in ends else layer

    return keras.models.clone_model(model, clone_function=replaced)


class _Twice(keras.layers.Layer):
    """Layers one after another, computed again for their gradient.

    Args:
      chain: built layers without randomness.
    """

    def __init__(self, chain: list[keras.layers.Layer]):
        # Each layer casts for itself.
        super().__init__(name=f"{chain[-1].name}_again", dtype=chain[-1].dtype_policy, autocast=False)
        self.chain = list(chain)

    def call(self, inputs):
        """What the last layer makes of (B, H, W, C)."""
        weights = [tf.convert_to_tensor(variable.value) for variable in self.trainable_variables]
        frozen = [tf.convert_to_tensor(variable.value) for variable in self.non_trainable_variables]
        return computed_twice(lambda x, *weights: self._apply(x, weights, frozen), inputs, *weights)

    def _apply(self, x, weights, frozen):
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        with keras.StatelessScope(list(zip(variables, [*weights, *frozen], strict=True))):
            for layer in self.chain:
                x = layer(x)
        return x

    def compute_output_shape(self, input_shape):
        """The last layer's."""
        for layer in self.chain:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape
