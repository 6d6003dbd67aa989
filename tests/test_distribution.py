"""Who leads, and how a batch is shared; what replicas compute together is in test_trainer.py and test_optimizers.py."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from fcn_tf.distribution import choose_strategy, is_chief, replica_batch_size
from fcn_tf.errors import UserError


def strategy(task_type="", task_id=0, roles=("worker",), replicas=1):
    """What is asked of a tf.distribute.Strategy."""
    cluster = SimpleNamespace(as_dict=lambda: {role: ["host:1", "host:2"] for role in roles})
    resolver = SimpleNamespace(task_type=task_type, task_id=task_id, cluster_spec=lambda: cluster)
    return SimpleNamespace(cluster_resolver=resolver, num_replicas_in_sync=replicas)


def test_one_device_is_used_as_it_is(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if len(tf.config.list_logical_devices("GPU")) > 1:
        pytest.skip("this machine has several GPUs")
    chosen = choose_strategy()
    assert chosen is tf.distribute.get_strategy()
    assert is_chief(chosen) and replica_batch_size(chosen, 7) == 7


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


@pytest.mark.parametrize("value", ["{", '{"cluster": {"worker": ["a:1"]}}'])
def test_a_wrong_tf_config_is_told(monkeypatch, value):
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(UserError, match="TF_CONFIG") as caught:
        choose_strategy()
    assert "\n" not in str(caught.value)
