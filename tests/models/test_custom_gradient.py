"""models/custom_gradient.py: the gradients are those that were given, and no graph is kept alive for them."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.models.custom_gradient import custom_gradient, released


def tripled(x, y):
    """A product whose gradient to x is three times its own, so that it can be told."""
    return x * y, lambda upstream: (3 * upstream * y, upstream * x)


def traced(product):
    """(a function of the gradients of a product, a weak reference to its graph)."""
    variable = tf.Variable([2.0, 5.0])

    @tf.function(input_signature=[tf.TensorSpec([2])])
    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = tf.reduce_sum(product(x, tf.convert_to_tensor(variable)))
        return tape.gradient(result, [x, variable])

    return gradients, weakref.ref(gradients.get_concrete_function().graph)


@pytest.mark.parametrize(("decorator", "stays"), [(custom_gradient, False), (tf.custom_gradient, True)])
def test_the_graph_ends_with_its_function(decorator, stays):
    gradients, graph = traced(decorator(tripled))
    to_x, to_variable = gradients(tf.constant([1.0, 10.0]))
    np.testing.assert_array_equal(to_x, [6, 15])
    np.testing.assert_array_equal(to_variable, [1, 10])
    del gradients
    gc.collect()
    assert (graph() is not None) == stays, "what tf.custom_gradient leaves is why the other is there"


def test_without_a_graph_it_is_the_same():
    x = tf.constant([1.0, 10.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = custom_gradient(tripled)(x, tf.constant([2.0, 5.0]))
    np.testing.assert_array_equal(tape.gradient(result, x), [6, 15])


def test_what_is_no_custom_gradient_passes():
    @tf.function
    def added(x):
        return released({"a": x + 1, "b": [x]})["a"]

    assert added(tf.constant(1.0)) == 2
