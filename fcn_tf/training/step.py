"""One optimiser step, on every replica: scores, loss, gradients, update.

Which activations a step drops follows from the seed and its number (see models/dropout.py), so nothing random has to be
saved.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fcn_tf.data.base import DatasetSpec
from fcn_tf.metrics import in_graph
from fcn_tf.models import batch_norm, cpu, dropout, remat
from fcn_tf.models.build import Network
from fcn_tf.models.custom_gradient import released
from fcn_tf.training import losses
from fcn_tf.training.gradients import GradientNorms, accumulated, without_all_reduce


class StepResult(NamedTuple):
    """What a step computed; reading a tensor waits for the device.

    Attributes:
      loss: float32 scalar, of the whole batch before the update.
      gradient_norms: {name of the curve: float32 scalar}, 0 unless they were asked for.
      cells: int64 confusion cells of the whole batch, as of `in_graph.confusion_cells`.
      stop_requests: int64, summed over replicas.
    """

    loss: tf.Tensor
    gradient_norms: dict[str, tf.Tensor]
    cells: tf.Tensor
    stop_requests: tf.Tensor


class TrainingStep:
    """Trains a model on one batch.

    Args:
      network: from `build_network`.
      optimizer: any Keras optimiser, built.
      strategy: in whose scope both were created.
      loss: to be minimised.
      spec: of the data set trained on.
      seed: of the dropout masks.
      accumulate: in how many parts a replica computes its share of a batch, one after the other: the same gradient,
        dropout aside, with the activations of one part in memory at a time. Batch normalisation takes the statistics of
        the batch on all replicas, but in parts those of each part.
      recompute: whether to compute the trunk's activations again instead of keeping them (see models/remat.py).
    """

    def __init__(
        self,
        network: Network,
        optimizer: keras.optimizers.Optimizer,
        *,
        strategy: tf.distribute.Strategy,
        loss: losses.PixelLoss,
        spec: DatasetSpec,
        seed: int,
        accumulate: int = 1,
        recompute: bool = False,
    ):
        self._model, self._optimizer, self._strategy = network.model, optimizer, strategy
        self._loss, self._spec, self._seed, self._accumulate = loss, spec, seed, accumulate
        self._forward = cpu.accelerated(network.model)
        if recompute:
            self._forward = remat.with_gradient_checkpointing(self._forward, network.stages.values())
        self._statistics = batch_norm.moving_statistics(network.model.layers)
        self._norms = GradientNorms(network)
        # Without AutoGraph, which takes longest of the first trace: no tensor decides an `if` or a loop here.
        self._function = tf.function(self._distributed, autograph=False)

    def __call__(
        self, images: tf.Tensor, labels: tf.Tensor, *, number: int, log: bool, stop_requests: Sequence[int] = ()
    ) -> StepResult:
        """Takes one step.

        Args:
          images: uint8 (B, H, W, 3), one such tensor a replica.
          labels: int32 (B, H, W).
          number: steps taken before.
          log: whether the norms of the gradients are asked for.
          stop_requests: integers to sum over workers. They travel with the cells: no worker waits for others once more.
        """
        return self._function(images, labels, *_scalars(number, log, stop_requests))

    def graph(self, images: tf.Tensor, labels: tf.Tensor, *, stop_requests: Sequence[int] = ()) -> tf.Graph:
        """The graph of a step on such a batch, with so many stop_requests."""
        return self._function.get_concrete_function(images, labels, *_scalars(0, True, stop_requests)).graph

    def gradients(
        self, images: tf.Tensor, labels: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor, list[tf.Tensor]]:
        """This replica's part of a step, before anything is summed over replicas.

        Args:
          images: uint8 (B, H, W, 3), those of this replica.
          labels: int32 (B, H, W).
          number: int32 scalar, steps taken before.

        Returns:
          Its share of the loss (float32 scalar); the gradients of the trainable variables, times the optimiser's loss
          scale; int64 confusion cells, see `in_graph.confusion_cells`; and the new moving statistics.
        """
        context = tf.distribute.get_replica_context()
        seed = tf.random.experimental.stateless_fold_in([self._seed, number], context.replica_id_in_sync_group)
        add_up = functools.partial(_all_reduce, context, tf.distribute.ReduceOp.SUM)
        statistics = [tf.convert_to_tensor(variable.value) for variable in self._statistics]
        if self._accumulate == 1:
            with batch_norm.synchronized(self._model.layers, context.num_replicas_in_sync > 1):
                return self._part(images, labels, seed, add_up, context.num_replicas_in_sync, statistics)

        # Of the whole batch, first: each part divides by it, and replicas cannot meet in the loop over parts.
        weight = add_up(self._loss.weight(labels))

        def part(i, images, labels, statistics):
            part_seed = tf.random.experimental.stateless_fold_in(seed, i)
            return self._part(images, labels, part_seed, lambda _: weight, context.num_replicas_in_sync, statistics)

        return accumulated(
            part,
            images,
            labels,
            parts=self._accumulate,
            variables=self._model.trainable_variables,
            num_cells=self._spec.num_classes**2 + 2,
            statistics=statistics,
        )

    def _part(self, images, labels, seed, reduce, replicas, statistics):
        """As `gradients`, of some images; `reduce` as `PixelLoss` takes it."""
        # Moving statistics go in and out as values: no replica, part or second forward pass may move the variables.
        state = zip(self._statistics, statistics, strict=True)
        # By hand: left to itself the tape follows frozen variables too, and gradients would go down to them.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self._model.trainable_variables])
            with dropout.step_seed(seed), keras.StatelessScope(state) as scope:
                logits = self._forward(tf.cast(images, tf.float32), training=True)
            loss = self._loss(logits, labels, reduce=reduce, replicas=replicas)
            scaled = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self._model.trainable_variables)
        moved = [scope.get_current_value(variable) for variable in self._statistics]
        return loss, gradients, in_graph.confusion_cells(logits, labels, self._spec), moved

    def _distributed(self, images, labels, number, log, stop_requests) -> StepResult:
        with without_all_reduce(self._optimizer):
            results = self._strategy.run(self._on_replica, args=(images, labels, number, log, stop_requests))
        # Already summed over the replicas: each holds the same.
        result, statistics = tf.nest.map_structure(
            lambda result: self._strategy.experimental_local_results(result)[0], results
        )
        with self._strategy.scope():
            for variable, value in zip(self._statistics, statistics, strict=True):
                variable.assign(value)
        return result

    def _on_replica(self, images, labels, number, log, stop_requests) -> tuple[StepResult, list[tf.Tensor]]:
        context = tf.distribute.get_replica_context()
        add_up = functools.partial(_all_reduce, context, tf.distribute.ReduceOp.SUM)
        loss, gradients, cells, statistics = self.gradients(images, labels, number)
        # Sums and no means: the loss was divided by the pixels of all replicas.
        gradients = add_up(gradients)
        norms = self._norms(gradients, optimizer=self._optimizer, wanted=log)
        self._optimizer.apply_gradients(zip(gradients, self._model.trainable_variables, strict=True))
        # One by one: replicas cannot sum tensors of different types together.
        counts = add_up(tf.concat([cells, stop_requests], 0))
        cells, stop_requests = tf.split(counts, [-1, stop_requests.shape[0]])
        if statistics:  # equal on all replicas already, unless each has those of its own parts
            statistics = _all_reduce(context, tf.distribute.ReduceOp.MEAN, statistics)
        return StepResult(add_up(loss), norms, cells, stop_requests), statistics


def _all_reduce(context: tf.distribute.ReplicaContext, kind: tf.distribute.ReduceOp, values: Any) -> Any:
    """`values` of all replicas together."""
    return released(context.all_reduce(kind, values))


def _scalars(number: int, log: bool, stop_requests: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """As tensors: TensorFlow would trace the step again for another Python number."""
    return tf.constant(number, tf.int32), tf.constant(log), tf.constant(stop_requests, tf.int64)
