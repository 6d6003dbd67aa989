"""Who leads, and how a batch is shared; what replicas compute together is in test_loop.py and test_optimizers.py."""

import json
import signal
import socket
import threading
from types import SimpleNamespace

import pytest
import tensorflow as tf

from fcn_tf.errors import UserError, WorkerLost
from fcn_tf.training import distribution
from fcn_tf.training.distribution import await_workers, choose_strategy, is_chief, replica_batch_size, several_workers
from tests import processes


def strategy(task_type="", task_id=0, roles=("worker",), replicas=1):
    """What is asked of a tf.distribute.Strategy."""
    cluster = tf.train.ClusterSpec({role: ["host:1", "host:2"] for role in roles})
    resolver = SimpleNamespace(task_type=task_type, task_id=task_id, cluster_spec=lambda: cluster)
    return SimpleNamespace(cluster_resolver=resolver, num_replicas_in_sync=replicas)


def test_one_device_is_used_as_it_is(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if len(tf.config.list_logical_devices("GPU")) > 1:
        pytest.skip("this machine has several GPUs")
    chosen = choose_strategy()
    assert chosen is tf.distribute.get_strategy()
    assert is_chief(chosen) and replica_batch_size(chosen, 7) == 7


def test_trainings_of_one_process_share_a_strategy():
    """With one each, the second of another network fails: "Shape mismatch in the collective instance 100"."""
    output, _ = (process := processes.start("-c", _TWO_TRAININGS)).communicate(timeout=600)
    assert process.returncode == 0 and output.splitlines()[-1] == "2 [2.0] [2.0, 2.0]", output


_TWO_TRAININGS = """
import functools
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
devices = tf.config.list_logical_devices("CPU")
tf.config.list_logical_devices = lambda kind: devices  # as two GPUs
tf.distribute.MirroredStrategy = functools.partial(tf.distribute.MirroredStrategy, ["CPU:0", "CPU:1"])

from fcn_tf.training import distribution

def summed(length):
    strategy = distribution.choose_strategy()
    context = tf.distribute.get_replica_context
    run = tf.function(lambda: strategy.run(lambda: context().all_reduce("SUM", tf.ones(length))), autograph=False)
    return strategy.experimental_local_results(run())[0].numpy().tolist()

print(distribution.choose_strategy().num_replicas_in_sync, summed(1), summed(2))
"""


@pytest.mark.parametrize(
    "task_type, task_id, roles, leads",
    [
        ("", 0, (), True),
        ("worker", 0, ("worker",), True),
        ("worker", 1, ("worker",), False),
        ("chief", 0, ("chief", "worker"), True),
        ("worker", 0, ("chief", "worker"), False),
    ],
)
def test_there_is_one_chief(task_type, task_id, roles, leads):
    assert is_chief(strategy(task_type, task_id, roles)) == leads


def test_a_batch_is_shared_evenly():
    assert replica_batch_size(strategy(replicas=4), 12) == 3


@pytest.mark.parametrize("batch_size, replicas, instead", [(10, 4, 8), (1, 4, 4), (7, 2, 8)])
def test_a_batch_that_cannot_be_shared_is_told_with_one_that_can(batch_size, replicas, instead):
    with pytest.raises(UserError, match=rf"--batch_size={batch_size} .*{replicas} replicas.* {instead}\.") as caught:
        replica_batch_size(strategy(replicas=replicas), batch_size)
    assert "\n" not in str(caught.value)


def test_each_replica_computes_its_share_in_equal_parts():
    assert replica_batch_size(strategy(replicas=2), 12, accumulate=3) == 6
    with pytest.raises(UserError, match=r"--batch_size=8 .*2 replicas in --accumulate=3 parts each; .* 6, such as 6\."):
        replica_batch_size(strategy(replicas=2), 8, accumulate=3)


NO_PORT = '{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}'


@pytest.mark.parametrize("value", ["{", '{"cluster": {"worker": ["a:1"]}}', NO_PORT])
def test_a_wrong_tf_config_is_told(monkeypatch, value):
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(UserError, match="TF_CONFIG") as caught:
        choose_strategy()
    assert "\n" not in str(caught.value)


def test_workers_wait_until_all_are_there(capsys):
    ports = [processes.free_port() for _ in range(3)]
    addresses = [f"localhost:{port}" for port in ports]
    met, over = [], threading.Event()

    def come(i):
        await_workers([each for each in addresses if each != addresses[i]], ports[i], patience=60)
        met.append(i)
        with socket.create_server(("", ports[i])):  # as TensorFlow then does
            over.wait()

    threads = [threading.Thread(target=come, args=(i,), daemon=True) for i in range(3)]
    for thread in threads[:2]:
        thread.start()
    while f"waiting for the other workers: {addresses[2]}\n" not in capsys.readouterr().out:
        assert threads[0].is_alive()
        threads[0].join(0.1)
    assert not met
    threads[2].start()
    while len(met) < 3 and all(thread.is_alive() for thread in threads):
        threads[0].join(0.1)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(met) == [0, 1, 2]


def test_a_worker_that_does_not_come_is_named():
    absent = f"localhost:{processes.free_port()}"
    with pytest.raises(WorkerLost, match=f"did not come within 0 minutes: {absent};") as caught:
        await_workers([absent], processes.free_port(), patience=0)
    assert caught.value.status == 75


def test_a_port_that_another_program_has_is_told(monkeypatch):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        task = {"cluster": {"worker": [f"localhost:{port}", "localhost:1"]}, "task": {"type": "worker", "index": 0}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        with pytest.raises(
            UserError, match=f"TF_CONFIG gives this worker port {port}, .* expected a free one"
        ) as caught:
            choose_strategy()
    assert caught.value.status == 2


def test_workers_that_meet_but_cannot_be_connected_are_one_line(monkeypatch):
    def fail(**_):
        raise tf.errors.DeadlineExceededError(None, None, "Barrier timed out. Id: 7. Advice.\nand more")

    task = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    for name in ("await_workers", "_limit_connecting"):  # the limit would stay with this process
        monkeypatch.setattr(distribution, name, lambda *_: None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", fail)
    with pytest.raises(WorkerLost, match=r"cannot connect the workers of TF_CONFIG \(Barrier timed out\); restart all"):
        choose_strategy()


GONE = tf.errors.UnavailableError(None, None, "Collective ops is aborted by: Socket closed")
CUDA = tf.errors.InternalError(None, None, "cuDNN launch failure")


def test_a_lost_worker_is_one_line():
    aborted = tf.errors.InternalError(None, None, "Collective ops is aborted by: another\nreason")
    for error in (GONE, aborted):
        with pytest.raises(WorkerLost, match=r"lost another worker \(host:2\); .* at step 7\.$") as caught:
            with several_workers(strategy("worker", 0), lambda: 7):
                raise error
        assert caught.value.status == 75 and "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_was_asked_to_stop_ends_so_where_the_other_is_gone(number):
    """A signal to both ends one that does not listen yet."""
    before = signal.getsignal(number)
    with pytest.raises(WorkerLost, match=rf"^stopped by {number.name}, and .*host:2\) is gone; .* step 7\.$") as caught:
        with several_workers(strategy("worker", 0), lambda: 7) as interrupts:
            signal.raise_signal(number)
            assert interrupts.signal is number
            raise GONE
    assert caught.value.status == 128 + number and signal.getsignal(number) is before


@pytest.mark.parametrize("where, error", [(strategy("worker", 0), CUDA), (strategy(roles=()), GONE)])
def test_what_has_nothing_to_do_with_other_workers_stays_as_it_is(where, error):
    with pytest.raises(type(error)), several_workers(where, lambda: 7):
        raise error


def test_the_chief_leaves_last(monkeypatch):
    answers = iter([True, False])
    monkeypatch.setattr(distribution, "_answers", lambda address: next(answers))
    with several_workers(strategy("worker", 0), lambda: 0):
        pass
    assert next(answers, None) is None
    with several_workers(strategy("worker", 1), lambda: 0):
        pass  # would ask once more
