"""Gradients between the tape and the optimiser: summed over parts of a batch, their norms, and summed only once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from fcn_tf.models.build import Network


def accumulated(
    compute: Callable[..., tuple[Any, ...]],
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    parts: int,
    variables: Sequence[keras.Variable],
    num_cells: int,
    statistics: list[tf.Tensor],
) -> tuple[Any, ...]:
    """What `compute` returns, summed over the parts of a batch, with the activations of one in memory at a time.

    Args:
      compute: (number of the part, its images, its labels, statistics) -> (loss, gradients, cells, statistics).
      images: (B, H, W, 3); `parts` must divide B.
      labels: (B, H, W).
      parts: how many.
      variables: of the gradients.
      num_cells: how many cells `compute` counts.
      statistics: those before the first part; each part is given those of the part before.

    Returns:
      The sums of losses, gradients and cells, and the last statistics.
    """
    images, labels = (
        tf.reshape(whole, (parts, whole.shape[0] // parts, *whole.shape[1:])) for whole in (images, labels)
    )

    def add_part(i, loss, gradients, cells, statistics):
        part = compute(i, images[i], labels[i], statistics)
        more = [sum_ + gradient for sum_, gradient in zip(gradients, part[1], strict=True)]
        return i + 1, loss + part[0], more, cells + part[2], part[3]

    start = (
        tf.constant(0),
        tf.constant(0.0),
        [tf.zeros(variable.shape, variable.dtype) for variable in variables],
        tf.zeros(num_cells, tf.int64),
        statistics,
    )
    # A loop, not its body so many times over: TensorFlow would start all of them at once.
    return tf.while_loop(lambda i, *_: i < parts, add_part, start, parallel_iterations=1)[1:]


class GradientNorms:
    """Do pretrained layers learn, and new ones? The norm of the gradients of either, by name of its curve.

    Frozen layers are in none, and a part that is frozen altogether has no curve.

    Args:
      network: whose trainable variables the gradients are of.

    Attributes:
      names: of the curves.
    """

    def __init__(self, network: Network):
        trunk = {v.path for name in network.trunk for v in network.model.get_layer(name).trainable_variables}
        pretrained, new = f"gradient_norm/{network.trunk_name}", "gradient_norm/new"
        parts: dict[str, list[int]] = {pretrained: [], new: []}
        for i, variable in enumerate(network.model.trainable_variables):
            parts[pretrained if variable.path in trunk else new].append(i)
        self._parts = {name: part for name, part in parts.items() if part}
        self.names = list(self._parts)

    def __call__(
        self, gradients: Sequence[tf.Tensor], *, optimizer: keras.optimizers.Optimizer, wanted: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """{name: float32 scalar}, without the scale of the optimiser's loss; 0 unless `wanted`."""

        def norms():
            scale = optimizer.scale_loss(tf.constant(1.0))
            parts = ([gradients[i] for i in part] for part in self._parts.values())
            return [tf.cast(tf.linalg.global_norm(part) / scale, tf.float32) for part in parts]

        values = tf.cond(wanted, norms, lambda: [tf.constant(0.0) for _ in self.names])
        return dict(zip(self.names, values, strict=True))


@contextmanager
def without_all_reduce(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """While a step is traced, keeps a Keras optimiser from summing gradients over replicas: they are sums already.

    They are summed before, because Keras would sum them after its loss scaling, which asks one replica whether all
    gradients are finite: what overflows on one must count as overflown on all.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
    try:
        yield
    finally:
        del inner._all_reduce_sum_gradients
