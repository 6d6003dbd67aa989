"""Weights of FCN.tensorflow: a checkpoint as TensorFlow 1 writes it, under the names of FCN.py."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.models import build, pretrained, tf1_checkpoint, weights_table
from fcn_tf.models.matconvnet import ConvWeights, MatConvNet
from tests.models import reference

CLASSES = reference.CLASSES
FILTERS = (3, 4, 5, 6, 7)  # of a stage
WIDTHS = {f"conv{s}_{i}": FILTERS[s - 1] for s, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)}
HEAD = {"conv6": "6", "conv7": "7", "conv8": "8", "conv_t1": "_t1", "conv_t2": "_t2", "conv_t3": "_t3"}


def graph_names(layer):
    """What FCN.py calls a layer's kernel and bias."""
    return (f"W{HEAD[layer]}", f"b{HEAD[layer]}") if layer in HEAD else (f"{layer}_w", f"{layer}_b")


def layers():
    """{layer: [kernel, bias]} as the graph holds them."""
    rng = np.random.default_rng(0)
    found, channels = {}, 3
    for name, width in WIDTHS.items():
        kernel = rng.standard_normal((3, 3, channels, width)) * np.sqrt(2 / 9 / channels)
        found[name] = [kernel.astype(np.float32), rng.standard_normal(width).astype(np.float32)]
        channels = width
    return found | reference.new_weights(reference.shapes("original", WIDTHS))


def save(folder, arrays, *, scope="inference", adam=True, extra=None):
    """Saves variables as FCN.py does, after a step of Adam; returns the checkpoint's prefix."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        with tf.compat.v1.variable_scope(scope):
            variables = [
                tf.compat.v1.get_variable(name, initializer=array, use_resource=False)
                for layer, pair in arrays.items()
                for name, array in zip(graph_names(layer), pair, strict=True)
            ]
        for name, value in (extra or {}).items():
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        if adam:
            loss = tf.add_n([tf.reduce_sum(variable) for variable in variables])
            tf.compat.v1.train.AdamOptimizer(1e-4).minimize(loss)
        session.run(tf.compat.v1.global_variables_initializer())
        return tf.compat.v1.train.Saver().save(session, f"{folder}/model.ckpt", global_step=500)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save(tmp_path_factory.mktemp("logs"), layers())


def test_the_network_computes_what_the_graph_did(checkpoint):
    arrays, image = layers(), reference.photo()
    convs = {name: ConvWeights(arrays[name][0].transpose(1, 0, 2, 3), arrays[name][1]) for name in WIDTHS}
    net = MatConvNet(convs, np.array(tf1_checkpoint.MEAN_RGB, np.float32))
    expected = reference.original(image.astype(np.float64), net, {name: arrays[name] for name in HEAD})
    model = build.build_model("original", num_classes=CLASSES, weights=checkpoint)
    np.testing.assert_allclose(model(image[None].astype(np.float32))[0], expected, rtol=1e-3, atol=1e-3)


def test_the_table_tells_what_became_of_every_variable(checkpoint):
    model = build.build_model("original", num_classes=CLASSES, weights=checkpoint)
    rows = {row.variable: row for row in tf1_checkpoint.table(checkpoint, model)}
    assert rows["inference/W6"] == ("inference/W6", (7, 7, 7, 56), "loaded", "conv6 kernel")
    assert rows["inference/b_t3"].note == "conv_t3 bias"
    assert rows["inference/conv5_4_w"].action == "skipped" and "feeds nothing" in rows["inference/conv5_4_w"].note
    slots = [row for row in rows.values() if row.note == "of the optimiser"]
    assert {row.action for row in slots} == {"skipped"} and len(slots) == 2 * 2 * 22 + 2  # Adam's, and beta powers
    assert sum(row.action == "loaded" for row in rows.values()) == 2 * 21
    text = weights_table.show(list(rows.values())).splitlines()
    assert len(text) == 2 * 22 + 1
    assert text[-1] == "42 loaded, 0 reshaped, 92 skipped, 90 of these variables of the optimiser"


def test_another_number_of_classes_starts_those_layers_anew(checkpoint):
    model = build.build_model("original", num_classes=CLASSES + 1, weights=checkpoint)
    np.testing.assert_array_equal(model.get_layer("conv7").get_weights()[0], layers()["conv7"][0])
    rows = tf1_checkpoint.table(checkpoint, model)
    skipped = {row.note.split()[0] for row in rows if "starts anew" in row.note}
    assert skipped == {"conv8", "conv_t1", "conv_t3"}
    assert any(row.note == "conv8 starts anew: its kernel is (1, 1, 56, 5) here" for row in rows)


def test_other_shapes_of_the_same_numbers_are_reshaped(tmp_path):
    arrays = layers()
    arrays["conv6"][0] = arrays["conv6"][0].reshape(-1, 56)
    arrays["conv1_1"][1] = arrays["conv1_1"][1].reshape(1, -1)
    prefix = save(tmp_path, arrays, scope="fcn/net", adam=False)
    model = build.build_model("original", num_classes=CLASSES, weights=prefix)
    np.testing.assert_array_equal(model.get_layer("conv6").get_weights()[0], layers()["conv6"][0])
    reshaped = [row.variable for row in tf1_checkpoint.table(prefix, model) if row.action == "reshaped"]
    assert reshaped == ["fcn/net/W6", "fcn/net/conv1_1_b"]


def test_unknown_variables_are_named(tmp_path):
    prefix = save(tmp_path, layers(), adam=False, extra={"mine": np.zeros(3, np.float32)})
    model = build.build_model("original", num_classes=CLASSES, weights=prefix)
    assert ("mine", (3,), "skipped", "unknown") in tf1_checkpoint.table(prefix, model)


@pytest.mark.parametrize("ending", ["", ".index", ".meta", ".data-00000-of-00001"])
def test_a_checkpoint_by_any_of_its_files(checkpoint, ending):
    assert pretrained.find(checkpoint + ending) == checkpoint


def test_a_folder_means_its_newest_checkpoint_wherever_it_lies_now(tmp_path):
    save(tmp_path / "before", {"conv1_1": layers()["conv1_1"]}, adam=False)
    (tmp_path / "before").rename(tmp_path / "now")
    assert pretrained.find(str(tmp_path / "now")) == str(tmp_path / "now/model.ckpt-500")


def test_another_arch_is_refused(checkpoint):
    with pytest.raises(UserError, match="is a checkpoint of FCN.tensorflow, whose network is --arch=original"):
        build.build_model("fcn8s", num_classes=CLASSES, weights=checkpoint)


def test_another_checkpoint_is_refused(tmp_path):
    prefix = save(tmp_path, {"conv6": layers()["conv6"]}, adam=False)
    with pytest.raises(UserError, match="is no checkpoint of FCN.tensorflow: it has no conv1_1_w and conv1_1_b"):
        pretrained.read(prefix)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    arrays = layers()
    arrays["conv7"][0][0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="conv7 has NaN"):
        pretrained.read(save(tmp_path, arrays, adam=False))


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint_is_one_line(tmp_path, part):
    path = f"{save(tmp_path, layers(), adam=False)}.{part}"
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(UserError, match="cannot be read .* copy it again"):
        pretrained.read(path)
