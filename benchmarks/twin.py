"""The training step of FCN.tensorflow in plain TensorFlow operations: what the product is measured against.

The same layers, loss and optimiser as the published graph builds, written anew for TensorFlow 2: raw `tf.nn`
operations in one `tf.function`, every variable float32, and Adam as the one fused operation a variable that
TensorFlow 1 used. Upstream builds conv5_4 and feeds its head from conv5_3, so TensorFlow 1 pruned conv5_4 from the
training step; it is not computed here either.
"""

import math

import numpy as np
import tensorflow as tf

from benchmarks import network
from fcn_tf.models import matconvnet

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # the defaults of TensorFlow 1's AdamOptimizer


class Twin:
    """Upstream's graph with its variables.

    Attributes:
      variables: {layer name: (kernel, bias)}, tf.Variables; trunk kernels with height and width swapped, as upstream
        loads them.

    Args:
      net: the trunk.
      num_classes: channels of the logits.
      learning_rate: of Adam.
      dropout_rate: after conv6 and conv7, while training.
      seed: of the new kernels, truncated N(0, 0.02), and of dropout.
    """

    def __init__(
        self,
        net: matconvnet.MatConvNet,
        num_classes: int,
        *,
        learning_rate: float = 1e-4,
        dropout_rate: float = 0.15,
        seed: int = 0,
    ):
        self._mean = tf.constant(net.mean_rgb)
        self._learning_rate, self._dropout_rate = learning_rate, dropout_rate
        self._random = tf.random.Generator.from_seed(seed)
        self.variables: dict[str, tuple[tf.Variable, tf.Variable]] = {}
        for layer in network.original_layers(network.trunk_widths(net), num_classes):
            if layer.name in net.convs:
                conv = net.convs[layer.name]
                kernel, bias = np.ascontiguousarray(conv.kernel.transpose(1, 0, 2, 3)), conv.bias
            else:
                kernel = self._random.truncated_normal(layer.kernel, stddev=0.02)
                bias = np.zeros(layer.filters, np.float32)
            self.variables[layer.name] = tf.Variable(kernel), tf.Variable(bias)
        self._flat = [variable for pair in self.variables.values() for variable in pair]
        self._moments = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in self._flat]
        self._powers = tf.Variable(_BETA_1), tf.Variable(_BETA_2)
        self.step = tf.function(self._step)

    def logits(self, images: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """Scores every class at every pixel.

        Args:
          images: float32 (B, H, W, 3), RGB in [0, 255].
          training: whether to drop activations.

        Returns:
          float32 (B, H, W, C).
        """
        x = images - self._mean
        pools = {}
        for name in (name for name in self.variables if "_" in name and name[4].isdigit()):
            stage, index = int(name[4]), name[6:]
            if index == "1" and stage > 1:
                pools[stage - 1] = x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
            x = self._conv(x, name)
            if name != "conv5_3":
                x = tf.nn.relu(x)
        x = tf.nn.max_pool2d(x, 2, 2, "SAME")  # (B, H/32, W/32, 512)
        for name in ("conv6", "conv7"):
            x = tf.nn.relu(self._conv(x, name))
            if training and self._dropout_rate:
                x = tf.nn.dropout(x, self._dropout_rate)
        x = self._conv(x, "conv8")
        x = self._enlarge(x, "conv_t1", like=pools[4], stride=2) + pools[4]  # (B, H/16, W/16, 512)
        x = self._enlarge(x, "conv_t2", like=pools[3], stride=2) + pools[3]  # (B, H/8, W/8, 256)
        return self._enlarge(x, "conv_t3", like=images, stride=8)

    def _conv(self, x, name):
        kernel, bias = self.variables[name]
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)

    def _enlarge(self, x, name, *, like, stride):
        kernel, bias = self.variables[name]
        shape = tf.concat([tf.shape(like)[:3], [kernel.shape[2]]], axis=0)
        return tf.nn.bias_add(tf.nn.conv2d_transpose(x, kernel, shape, stride, "SAME"), bias)

    def _step(self, images, labels):
        with tf.GradientTape() as tape:
            logits = self.logits(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, self._flat)
        for variable, (m, v), gradient in zip(self._flat, self._moments, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=self._powers[0],
                beta2_power=self._powers[1],
                lr=self._learning_rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )
        for power, beta in zip(self._powers, (_BETA_1, _BETA_2), strict=True):
            power.assign(power * beta)
        return loss

    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(math.prod(variable.shape) for variable in self._flat)
