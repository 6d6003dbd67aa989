"""Gradient checkpointing (rematerialisation; Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost).

Between the forward and the backward pass only what leaves a stage of the trunk is kept, for the next one or for a skip;
inside, activations are computed again for the backward pass, for the price of a second forward pass through the trunk.
The head, which holds little, is left as it is.
"""

from collections.abc import Callable, Iterable, Sequence

import keras
import tensorflow as tf

from fcn_tf.models import batch_norm
from fcn_tf.models.custom_gradient import custom_gradient


def with_gradient_checkpointing(model: keras.Model, stages: Iterable[Sequence[str]]) -> keras.Model:
    """A model of the same layers and variables that keeps less from the forward to the backward pass.

    Args:
      model: stays as it was.
      stages: names of layers in order.

    Returns:
      A Keras model with the same results and gradients, for use inside a tf.function.
    """
    parts = [names for names in chains(model, stages) if len(names) > 1]
    chained = {names[-1]: [model.get_layer(name) for name in names] for names in parts}
    inside = {layer.name for chain in chained.values() for layer in chain[:-1]}

    def replaced(layer):
        if layer.name in inside:
            return _PassedThrough(autocast=False)
        return _Rematerialized(chained[layer.name]) if layer.name in chained else layer

    return keras.models.clone_model(model, clone_function=replaced)


def chains(model: keras.Model, stages: Iterable[Sequence[str]]) -> list[list[str]]:
    """Stages, cut after every layer that not only the next one reads, such as a skip: names of layers in order."""
    readers: dict[str, set[str]] = {}
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for source in node.parent_nodes:
                readers.setdefault(source.operation.name, set()).add(layer.name)
    found: list[list[str]] = []
    for names in stages:
        found.append([])
        for name, following in zip(names, [*names[1:], ""], strict=True):
            found[-1].append(name)
            if following and readers.get(name, set()) - {following}:
                found.append([])
    return found


class _PassedThrough(keras.layers.Layer):
    """Stands where a layer is that `_Rematerialized` computes."""

    def call(self, inputs, mask=None):
        """What came in; batch normalisation is called with a mask, of which there is none."""
        return inputs


class _Rematerialized(keras.layers.Layer):
    """Layers one after another, computed again for their gradient.

    Args:
      chain: built layers without randomness.
    """

    def __init__(self, chain: list[keras.layers.Layer]):
        # Float32: each layer casts inputs and weights for itself.
        super().__init__(name=f"{chain[-1].name}_rematerialized", dtype="float32", autocast=False)
        self.chain = list(chain)

    def call(self, inputs, training=None):
        """What the last layer makes of (B, H, W, C); the first pass alone moves moving statistics."""
        weights = [tf.convert_to_tensor(variable.value) for variable in self.trainable_variables]
        frozen = [tf.convert_to_tensor(variable.value) for variable in self.non_trainable_variables]
        statistics = batch_norm.moving_statistics(self.chain)

        def apply(x, *weights):
            return self._apply(x, weights, frozen, statistics, training)

        outputs, *moved = rematerialized(apply, inputs, *weights)
        for variable, value in zip(statistics, moved, strict=True):
            variable.assign(value)
        return outputs

    def _apply(self, x, weights, frozen, statistics, training):
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        with keras.StatelessScope(list(zip(variables, [*weights, *frozen], strict=True))) as scope:
            for layer in self.chain:
                # By hand: the second pass is outside of the call that says so.
                mode = {"training": training} if isinstance(layer, keras.layers.BatchNormalization) else {}
                x = layer(x, **mode)
        return [x, *(tf.stop_gradient(scope.get_current_value(variable)) for variable in statistics)]

    def compute_output_spec(self, inputs):
        """The last layer's."""
        for layer in self.chain:
            inputs = layer.compute_output_spec(inputs)
        return inputs


def rematerialized(function: Callable[..., list[tf.Tensor]], x: tf.Tensor, *weights: tf.Tensor) -> list[tf.Tensor]:
    """`function(x, *weights)`, computed again for its gradient; for use inside a tf.function.

    As `keras.remat`, which saves as much memory, but copies all arguments in the backward pass and computes the
    gradient to `x` where none is asked for: below the lowest layer that learns, too.

    Args:
      function: without randomness; reads no other variables that learn. Gradients go through the first of its results.
      x: float.
      weights: float tensors, and no variables: what a custom gradient reads itself it takes for trained, frozen or not.
    """

    @custom_gradient
    def forward(x, *weights):
        def backward(upstream, *_):
            # Without the wait TensorFlow would see that both passes compute the same, and keep the first.
            with tf.control_dependencies([upstream]):
                again = tf.identity(x)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([again, *weights])
                result = function(again, *weights)[0]
            return tape.gradient(result, [again, *weights], output_gradients=upstream)

        return function(x, *weights), backward

    return forward(x, *weights)
