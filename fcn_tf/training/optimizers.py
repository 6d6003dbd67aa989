"""The optimisers of --optimizer, each with a learning rate factor a variable; Adam is one fused operation."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.errors import UserError


@keras.saving.register_keras_serializable("fcn_tf")
class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam (Kingma & Ba 2015), each variable updated by one fused kernel.

    Equal to `keras.optimizers.Adam` up to rounding; half its time at 141 M parameters (see benchmarks/README.md),
    and no temporary copies of the weights.

    Args:
      learning_rate: a float.
      epsilon: added to the root of the second moment; 1e-8 as in TensorFlow 1.
      factors: {variable path: factor on the learning rate}; 1 for a variable that is not named.
    """

    def __init__(self, learning_rate=1e-4, *, epsilon=1e-8, factors=None, **kwargs):
        super().__init__(learning_rate, epsilon=epsilon, **kwargs)
        self._factors = dict(factors or {})

    def update_step(self, gradient, variable, learning_rate):
        """Applies one update; `variable` is the tf.Variable (of this replica) behind a Keras one."""
        index = self._get_variable_index(variable)
        factor = self._factors.get(self._trainable_variables[index].path, 1.0)
        step = tf.cast(self.iterations.value + 1, tf.float32)
        beta_1, beta_2 = tf.constant(self.beta_1, tf.float32), tf.constant(self.beta_2, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, tf.float32) * factor,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, tf.float32),
            grad=tf.cast(gradient, tf.float32),
            use_locking=False,
        )

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "factors": self._factors}


@keras.saving.register_keras_serializable("fcn_tf")
class FactorSGD(keras.optimizers.SGD):
    """Keras' SGD with a learning rate factor a variable.

    Args:
      learning_rate: a float.
      factors: {variable path: factor on the learning rate}; 1 for a variable that is not named.
    """

    def __init__(self, learning_rate: float = 1e-2, *, factors: Mapping[str, float] | None = None, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self._factors = dict(factors or {})

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Applies one update; `variable` is the tf.Variable (of this replica) behind a Keras one."""
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self._factors.get(path, 1.0))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "factors": self._factors}


def adam(learning_rate: float, *, factors: Mapping[str, float], weight_decay: float, momentum: float):
    """Adam (Kingma & Ba 2015); ignores momentum.

    Raises:
      UserError: if there is a weight decay, which adaptive rates would distort.
    """
    if weight_decay:
        raise UserError(
            f"--optimizer=adam has no weight decay, got --weight_decay={weight_decay:g}; use --optimizer=adamw or sgd."
        )
    return FusedAdam(learning_rate, factors=factors, name="adam")


def adamw(learning_rate: float, *, factors: Mapping[str, float], weight_decay: float, momentum: float):
    """Adam with decoupled weight decay, but not of biases (Loshchilov & Hutter 2019); ignores momentum."""
    return _without_bias_decay(FusedAdam(learning_rate, factors=factors, weight_decay=weight_decay, name="adamw"))


def sgd(learning_rate: float, *, factors: Mapping[str, float], weight_decay: float, momentum: float):
    """Stochastic gradient descent with momentum and decoupled weight decay, but not of biases."""
    options = {"momentum": momentum, "weight_decay": weight_decay or None, "name": "sgd"}
    return _without_bias_decay(FactorSGD(learning_rate, factors=factors, **options))


def _without_bias_decay(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def build(
    name: str,
    learning_rate: float,
    *,
    factors: Mapping[str, float] | None = None,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    scale_loss: bool = False,
) -> keras.optimizers.Optimizer:
    """An optimiser as every run uses it.

    Args:
      name: in `registry.OPTIMIZERS`.
      learning_rate: the base rate.
      factors: {variable path: factor on the learning rate}; 1 for a variable that is not named.
      weight_decay: share of the weights that a step takes off, times the learning rate.
      momentum: of SGD.
      scale_loss: whether to scale losses dynamically, which float16's short range of exponents needs.
    """
    make = registry.resolve(registry.OPTIMIZERS[name])
    optimizer = make(learning_rate, factors=factors or {}, weight_decay=weight_decay, momentum=momentum)
    # Named, as Keras would name only the first one of a process: a checkpoint knows variables by their path.
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer") if scale_loss else optimizer


def build_adam(
    learning_rate: float, *, factors: Mapping[str, float] | None = None, scale_loss: bool = False
) -> keras.optimizers.Optimizer:
    """`build` of "adam"."""
    return build("adam", learning_rate, factors=factors, scale_loss=scale_loss)
