"""Adam as one fused TensorFlow operation a variable, with a learning rate factor a variable."""

import keras
import tensorflow as tf


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


def build_adam(
    learning_rate: float, *, factors: dict[str, float] | None = None, scale_loss: bool = False
) -> keras.optimizers.Optimizer:
    """Adam as every run uses it.

    Args:
      learning_rate: the base rate.
      factors: see `FusedAdam`.
      scale_loss: whether to scale losses dynamically, which float16's short range of exponents needs.
    """
    optimizer = FusedAdam(learning_rate, factors=factors, name="adam")
    # Named, as Keras would name only the first one of a process: a checkpoint knows variables by their path.
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer") if scale_loss else optimizer
