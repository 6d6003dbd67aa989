"""Exponential moving average of the weights (`--ema`): the model that is validated and saved.

Weights that learn fast are noisy; their average over the last steps scores better than any of them (Polyak & Juditsky
1992; Tarvainen & Valpola 2017).
"""

import keras
import tensorflow as tf

from fcn_tf.training.hooks import Hook, TrainingState


class AverageWeights(Hook):
    """Keeps a second model, whose weights are the average of those of the model that is trained.

    Moving statistics of batch normalisation are averaged as the weights are: they belong to them. Layers that are
    frozen or have no weights are shared by both models.

    Args:
      model: the one trained.
      decay: of the average after a step, in (0, 1). The first steps take less of what was before, min(decay, (1 + n) /
        (10 + n)) after n steps: otherwise a short training would be an average with its start.
      strategy: in whose scope `model` was created, and this is created, too.

    Attributes:
      model: with the averages.
      variables: the averages.
    """

    def __init__(self, model: keras.Model, decay: float, *, strategy: tf.distribute.Strategy):
        self._decay, self._strategy = decay, strategy
        self.model = keras.models.clone_model(model, clone_function=_copied)
        self._pairs = [
            pair
            for layer in model.layers
            if _learns(layer)
            for pair in zip(self.model.get_layer(layer.name).weights, layer.weights, strict=True)
        ]
        for average, weight in self._pairs:
            average.assign(weight.numpy())
        self._update = tf.function(self._averaged, autograph=False)

    @property
    def variables(self) -> list[keras.Variable]:
        """The averages; a weight and its average have the same path."""
        return [average for average, _ in self._pairs]

    def after_step(self, state: TrainingState) -> None:
        """Adds the weights of `state.step`."""
        steps = state.step - 1
        with state.clock:  # as much a part of training as the update
            self._update(tf.constant(min(self._decay, (1 + steps) / (10 + steps)), tf.float32))

    def _averaged(self, decay: tf.Tensor) -> None:
        def add(average, weight):
            average.assign_sub((average - weight) * (1 - decay))

        for average, weight in self._pairs:
            self._strategy.extended.update(average.value, add, args=(weight.value,), group=False)


def _learns(layer: keras.layers.Layer) -> bool:
    return layer.trainable and bool(layer.weights)


def _copied(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.from_config(layer.get_config()) if _learns(layer) else layer
