"""Which tf.distribute strategy a run uses, and what the workers of several machines need of each other."""

import contextlib
import faulthandler
import functools
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence

import tensorflow as tf
from tensorflow.python.eager import context  # the limit of `_limit_connecting` has no public name

from fcn_tf.data import pipeline
from fcn_tf.errors import UserError, WorkerLost
from fcn_tf.io import texts
from fcn_tf.training.interrupts import Interrupts, default_signals

_PATIENCE = 600.0  # seconds until every worker must have come
_PROBE = 1.0  # seconds between looks at who is there, and for an answer
_CONNECTING = 40.0  # seconds for TensorFlow to connect workers that are all there
_GIVING_UP = 15.0  # seconds more, within which TensorFlow says that it could not
_FAREWELL = 60.0  # seconds for the others to leave before the chief
# What TensorFlow raises where another worker is gone; the second kind also for other reasons.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)
_PERHAPS_LOST = (tf.errors.InternalError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


def choose_strategy() -> tf.distribute.Strategy:
    """Several machines if TF_CONFIG is set, all GPUs if there is more than one, else the one device there is.

    With TF_CONFIG it waits for the other workers, and says so. Call it before any other TensorFlow operation:
    collectives cannot be set up later.

    Raises:
      UserError: if TF_CONFIG is not as it should be.
      WorkerLost: if another worker does not come.
    """
    if config := os.environ.get("TF_CONFIG"):
        try:
            return _connect(tf.distribute.cluster_resolver.TFConfigClusterResolver())
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"TF_CONFIG is {config!r} ({texts.first_line(error)}); expected JSON such as "
                '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}.'
            ) from None
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return _mirrored()
    return tf.distribute.get_strategy()


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    """The only one of a process: TensorFlow counts the sums of each from the same number, and confuses those of two."""
    return tf.distribute.MirroredStrategy()


def _connect(resolver) -> tf.distribute.Strategy:
    # TensorFlow would wait itself, for an hour, in native code that keeps signals and Python's other threads out.
    if elsewhere := _others(resolver):
        port = _port(resolver.cluster_spec().task_address(resolver.task_type, resolver.task_id))
        await_workers(elsewhere, port)
        _limit_connecting(resolver.cluster_spec())
    # If it does not say so, after all: this ends without Python, which native code keeps out.
    faulthandler.dump_traceback_later(_CONNECTING + _GIVING_UP, exit=True)
    try:
        with default_signals():
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except tf.errors.OpError as error:
        reason, _, _ = texts.first_line(error).partition(". ")  # the rest is advice
        raise WorkerLost(
            f"TensorFlow cannot connect the workers of TF_CONFIG ({reason}); restart all workers with the same command."
        ) from None
    finally:
        faulthandler.cancel_dump_traceback_later()


def _limit_connecting(cluster: tf.train.ClusterSpec) -> None:
    """All workers were there a moment ago. Should one end right now, TensorFlow would wait for it, for an hour."""
    jobs = [
        context.coordination_config_pb2.CoordinatedJob(name=job, num_tasks=cluster.num_tasks(job))
        for job in ("chief", "worker")
        if job in cluster.jobs
    ]
    # As its strategy does where nobody has, but for the limit, and for counting all workers before anything else.
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=f"/job:{jobs[0].name}/replica:0/task:0",
        cluster_register_timeout_in_ms=round(1000 * _CONNECTING),
        coordinated_jobs=jobs,
    )
    context.context().coordination_service.cluster_register_with_barrier = True


def others(strategy: tf.distribute.Strategy) -> list[str]:
    """The addresses, each "host:port", of all workers but this one."""
    return _others(strategy.cluster_resolver) if strategy.cluster_resolver else []


def _others(resolver) -> list[str]:
    cluster = resolver.cluster_spec()
    own = resolver.task_type, resolver.task_id
    jobs = [job for job in ("chief", "worker") if job in cluster.jobs]
    if own[0] not in jobs:
        return []
    tasks = [(job, index) for job in jobs for index in cluster.task_indices(job)]
    return [cluster.task_address(*task) for task in tasks if task != own]


def await_workers(addresses: Sequence[str], port: int, *, patience: float = _PATIENCE) -> None:
    """Returns once all other workers answer at once, each of which may wait in the same way, or be done with it.

    Args:
      addresses: theirs, each "host:port".
      port: of this worker, where it answers meanwhile, and no longer afterwards.
      patience: seconds to wait.

    Raises:
      UserError: if this worker's port is not free.
      WorkerLost: if they are not there in time.
    """
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        # Nobody accepts: to be let in is answer enough.
        server = socket.create_server(("", port), family=family, backlog=len(addresses) + 128, dualstack_ipv6=dual)
    except OSError as error:
        raise UserError(
            f"TF_CONFIG gives this worker port {port}, which cannot be used ({error.strerror}); expected a free one: "
            "end the program that has it, or name another port in every worker's TF_CONFIG."
        ) from None
    with server:
        deadline = time.monotonic() + patience
        announced: list[str] = []
        while absent := [address for address in addresses if not _answers(address)]:
            if time.monotonic() > deadline:
                raise WorkerLost(
                    f"these workers of TF_CONFIG did not come within {patience / 60:g} minutes: {', '.join(absent)}; "
                    "start all workers with the same command, each with its own index."
                )
            if absent != announced:
                print(f"waiting for the other workers: {', '.join(absent)}", flush=True)
                announced = absent
            time.sleep(_PROBE)


def _answers(address: str) -> bool:
    host, _, _ = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), _port(address)), timeout=_PROBE) as connection:
            # On one machine, a call to a port where nobody listens may happen to reach itself.
            return connection.getsockname() != connection.getpeername()
    except OSError:
        return False


def _port(address: str) -> int:
    _, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise ValueError(f"{address!r} has no port")
    return int(port)


@contextlib.contextmanager
def several_workers(strategy: tf.distribute.Strategy, resume_step: Callable[[], int]) -> Iterator[Interrupts | None]:
    """Surrounds what workers do together: notices when one is lost, and lets the chief leave last.

    It listens for signals all the time: one that reaches every worker would else end those that do not listen yet, or
    no longer, and the others would miss them.

    Args:
      strategy: that of this worker; nothing is done where it is alone.
      resume_step: gives the step of the newest checkpoint.

    Yields:
      What listens; None where this worker is alone.

    Raises:
      WorkerLost: instead of what TensorFlow raises when another worker is gone.
    """
    elsewhere = others(strategy)
    if not elsewhere:
        yield None
        return
    with Interrupts() as interrupts:
        try:
            yield interrupts
        except (*_LOST, *_PERHAPS_LOST) as error:
            if not is_lost_worker(error):
                raise
            raise _lost(elsewhere, resume_step(), interrupts.signal) from None
        # The others would look for it, for twenty seconds, to say goodbye.
        deadline = time.monotonic() + _FAREWELL
        while is_chief(strategy) and time.monotonic() < deadline and any(map(_answers, elsewhere)):
            time.sleep(_PROBE / 10)


def _lost(elsewhere: Sequence[str], step: int, asked: signal.Signals | None) -> WorkerLost:
    gone = f"another worker ({', '.join(elsewhere)})"
    if asked is None:
        message = f"lost {gone}; restart all workers with the same command: training resumes at step {step}."
    else:  # it may have reached the other one while that did not listen
        message = f"stopped by {asked.name}, and {gone} is gone; the same command for all continues at step {step}."
    return WorkerLost(message, asked=asked)


def is_lost_worker(error: tf.errors.OpError) -> bool:
    """Whether an error of a collective operation means that another worker is gone."""
    return isinstance(error, _LOST) or bool(re.search("collective|coordination|remote target", str(error), re.I))


def summing(strategy: tf.distribute.Strategy) -> Callable[[Sequence[int]], list[int]]:
    """Makes a function that adds up what each worker gives it, once for each of its replicas; all must call it."""

    @tf.function(autograph=False)
    def total(numbers):
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, args=(numbers,)), axis=None)

    return lambda numbers: total(tf.constant(numbers, tf.int64)).numpy().tolist()


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


def batches(
    strategy: tf.distribute.Strategy, make: Callable[..., tf.data.Dataset], *, batch_size: int, start: int, end: int
) -> Generator[tuple[tf.Tensor, tf.Tensor], None, None]:
    """The batches of some steps, each shared by the replicas; close it when leaving early.

    Args:
      strategy: whose replicas share them.
      make: `pipeline.training_batches` with everything but batch_size, start_step, num_steps and shard filled in.
      batch_size: images a step over all replicas.
      start: steps taken before.
      end: steps taken after the last batch.
    """

    def local_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local_replicas = strategy.num_replicas_in_sync // context.num_input_pipelines  # fed by this worker
        return make(
            batch_size=replica_batch_size(strategy, batch_size),
            start_step=start * local_replicas,
            num_steps=(end - start) * local_replicas,
            shard=(context.input_pipeline_id, context.num_input_pipelines),
        )

    distributed = strategy.distribute_datasets_from_function(local_batches)
    with contextlib.closing(pipeline.iterate(distributed)) as shared:
        yield from shared
