"""Which tf.distribute strategy a run uses."""

import os

import tensorflow as tf

from fcn_tf.errors import UserError


def choose_strategy() -> tf.distribute.Strategy:
    """Several machines if TF_CONFIG is set, all GPUs if there is more than one, else the one device there is.

    Call it before any other TensorFlow operation: collectives cannot be set up later.

    Raises:
      UserError: if TF_CONFIG is not as it should be.
    """
    if config := os.environ.get("TF_CONFIG"):
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"TF_CONFIG is {config!r} ({reason}); expected JSON such as "
                '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}.'
            ) from None
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the checkpoints, summaries and reports of the run."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    cluster = resolver.cluster_spec().as_dict()
    return resolver.task_type == "chief" or ("chief" not in cluster and resolver.task_id == 0)


def replica_batch_size(strategy: tf.distribute.Strategy, batch_size: int, *, accumulate: int = 1) -> int:
    """The images a step of one replica.

    Args:
      strategy: whose replicas share a batch.
      batch_size: images a step over all replicas.
      accumulate: in how many parts a replica computes its share.

    Raises:
      UserError: if `batch_size` cannot be split evenly.
    """
    replicas = strategy.num_replicas_in_sync
    parts = replicas * accumulate
    if batch_size % parts:
        raise UserError(
            f"--batch_size={batch_size} cannot be shared by {replicas} replicas"
            f"{f' in --accumulate={accumulate} parts each' if accumulate > 1 else ''}; "
            f"use a multiple of {parts}, such as {parts * max(1, round(batch_size / parts))}."
        )
    return batch_size // replicas
