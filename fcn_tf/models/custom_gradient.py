"""Gradients of their own that are let go of together with the graph that they stand in.

TensorFlow keeps the gradient function of each `tf.custom_gradient` in a graph in a table, for good, and with it the
graph and all the variables that it reads: each training and each model of one process would take its memory anew. Tapes
in the same tf.function do without that table; `tf.gradients`, and tapes around the tf.function, do not. There is no
public way to take an entry out.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf
from tensorflow.python.framework import ops as framework_ops

_T = TypeVar("_T")
_lock = threading.Lock()  # replicas are traced by threads


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `tf.custom_gradient`, for tapes in the same tf.function.

    Args:
      function: tensors -> (tensor or tensors, function of their gradients).
    """
    registering = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return released(registering(*args))

    return call


def released(results: _T) -> _T:
    """What a function with a gradient of its own returned, as all_reduce of tf.distribute: its entry is taken out.

    Args:
      results: tensors in any structure; in a graph or not.
    """
    table = getattr(framework_ops.gradient_registry, "_registry", {})  # without it memory is lost, and nothing else
    if not tf.executing_eagerly():
        for operation in {tensor.op for tensor in tf.nest.flatten(results)}:
            if "_gradient_op_type" in operation.node_def.attr:
                with _lock:
                    table.pop(operation.get_attr("_gradient_op_type").decode(), None)
    return results
