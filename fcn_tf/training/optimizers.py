"""The optimisers of --optimizer, each with a learning rate factor a variable, and one fused operation to update it.

The training step hands them gradients that are summed over all replicas, and unscaled: global norms are those of the
whole batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from fcn_tf import registry


@keras.saving.register_keras_serializable("fcn_tf")
class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam (Kingma & Ba 2015), each variable updated by one fused kernel.

    Equal to `keras.optimizers.Adam` up to rounding; a third of its time at 151 M parameters (see
    benchmarks/README.md), and no temporary copies of the weights.

    Args:
      learning_rate: a float.
      epsilon: added to the root of the second moment; 1e-8 as in TensorFlow 1.
      factors: {variable path: factor on the learning rate}; 1 for a variable that is not named.
      **kwargs: those of Keras' Adam; `global_clipnorm` takes no copies of the gradients either.
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

    def _clip_gradients(self, gradients):
        if not self.global_clipnorm:
            return super()._clip_gradients(gradients)
        # In place: nothing else looks at a gradient once all norms are known.
        scale = clip_scale(gradients, self.global_clipnorm)
        return [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "factors": self._factors}


@keras.saving.register_keras_serializable("fcn_tf")
class FusedSGD(keras.optimizers.SGD):
    """Keras' SGD, each variable updated by one fused kernel.

    Without weight decay equal to `keras.optimizers.SGD` up to rounding, Nesterov momentum included; a sixth of its
    time at 151 M parameters (see benchmarks/README.md), and no temporary copies of the weights.

    Weight decay is part of the gradient, as in Caffe and PyTorch, and so of the momentum: with 0.9 it decays ten times
    as much as Keras' own, which takes a share of the weights off beside the step.

    Args:
      learning_rate: a float.
      factors: {variable path: factor on the learning rate}; 1 for a variable that is not named.
      **kwargs: those of Keras' SGD; `global_clipnorm` goes into the learning rate, and holds without the decay.
    """

    def __init__(self, learning_rate: float = 1e-2, *, factors: Mapping[str, float] | None = None, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self._factors = dict(factors or {})
        self._clip_scale: float | tf.Tensor = 1.0  # of the step that is being traced

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Applies one update; `variable` is the tf.Variable (of this replica) behind a Keras one."""
        index = self._get_variable_index(variable)
        owner = self._trainable_variables[index]
        rate = tf.cast(learning_rate, tf.float32) * self._factors.get(owner.path, 1.0) * self._clip_scale
        gradient = tf.cast(gradient, tf.float32)
        if self.weight_decay and self._use_weight_decay(owner):
            gradient += self.weight_decay / self._clip_scale * variable  # the scale is of the gradient alone
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[index].value.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.constant(self.momentum, tf.float32),
            use_nesterov=self.nesterov,
        )

    def _clip_gradients(self, gradients):
        return gradients if self.global_clipnorm else super()._clip_gradients(gradients)

    def _apply_weight_decay(self, variables):
        """Done by `update_step`."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self._clip_scale = clip_scale(grads, self.global_clipnorm) if self.global_clipnorm else 1.0
        super()._backend_update_step(grads, trainable_variables, learning_rate)
        self._clip_scale = 1.0

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "factors": self._factors}


def clip_scale(gradients: Sequence[tf.Tensor], clip_norm: float) -> tf.Tensor:
    """What gradients are multiplied with so that their global norm is at most `clip_norm` (Pascanu et al. 2013).

    Args:
      gradients: float, of any shapes.
      clip_norm: positive.

    Returns:
      float32 scalar in (0, 1]; NaN where the norm is not finite, so that nobody takes such gradients for small ones.
    """
    norm = tf.linalg.global_norm([tf.cast(gradient, tf.float32) for gradient in gradients])
    return tf.where(tf.math.is_finite(norm), tf.minimum(1.0, clip_norm / norm), float("nan"))


def adam(learning_rate: float, *, factors: Mapping[str, float], clip_norm: float, **_: Any):
    """Adam (Kingma & Ba 2015), without weight decay, which its adaptive rates would distort."""
    return FusedAdam(learning_rate, factors=factors, global_clipnorm=clip_norm or None, name="adam")


def adamw(learning_rate: float, *, factors: Mapping[str, float], weight_decay: float, clip_norm: float, **_: Any):
    """Adam with decoupled weight decay of the kernels (Loshchilov & Hutter 2019)."""
    options = {"weight_decay": weight_decay, "global_clipnorm": clip_norm or None, "name": "adamw"}
    return _decaying_kernels(FusedAdam(learning_rate, factors=factors, **options))


def sgd(
    learning_rate: float,
    *,
    factors: Mapping[str, float],
    weight_decay: float,
    clip_norm: float,
    momentum: float,
    nesterov: bool,
):
    """Stochastic gradient descent with momentum, and weight decay of the kernels as part of the gradient."""
    options = {
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay or None,
        "global_clipnorm": clip_norm or None,
        "name": "sgd",
    }
    return _decaying_kernels(FusedSGD(learning_rate, factors=factors, **options))


def _decaying_kernels(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Biases, and the gains and offsets of normalisation, are not pulled to zero."""
    optimizer.exclude_from_weight_decay(var_names=["bias", "gain", "gamma", "beta"])
    return optimizer


def build(
    name: str,
    learning_rate: float,
    *,
    factors: Mapping[str, float] | None = None,
    bias_rate: float = 1.0,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    nesterov: bool = False,
    clip_norm: float = 0.0,
    scale_loss: bool = False,
) -> keras.optimizers.Optimizer:
    """An optimiser as every run uses it.

    Args:
      name: in `registry.OPTIMIZERS`.
      learning_rate: the base rate.
      factors: {variable path: factor on the learning rate}; 1 for a variable that is not named.
      bias_rate: a further factor, on the rate of those that are biases.
      weight_decay: of the kernels. adamw: the share of them that a step takes off, times the learning rate; sgd: the
        share of them that is added to the gradient.
      momentum: of SGD.
      nesterov: whether SGD's momentum is Nesterov's.
      clip_norm: largest global norm of the gradients, which are scaled down to it; 0 for any.
      scale_loss: whether to scale losses dynamically, which float16's short range of exponents needs.
    """
    make = registry.resolve(registry.OPTIMIZERS[name])
    rates = {path: each * bias_rate if path.endswith("/bias") else each for path, each in (factors or {}).items()}
    optimizer = make(
        learning_rate,
        factors=rates,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=nesterov,
        clip_norm=clip_norm,
    )
    # Named, as Keras would name only the first one of a process: a checkpoint knows variables by their path.
    return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale_optimizer") if scale_loss else optimizer
