"""The networks: upstream's graph against a twin in plain TensorFlow, how the better ones start, what they refuse."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import build_model, registry
from fcn_tf.config import ARCH_FLAGS, Config
from fcn_tf.errors import UserError
from fcn_tf.models import cpu, remat
from fcn_tf.models.build import build_network
from fcn_tf.training import optimizers
from tests import matfiles
from tests.conftest import ROOT
from tests.models import reference

NEW_LAYERS = ("conv6", "conv7", "conv8", "conv_t1", "conv_t2", "conv_t3")
ARCHS = ("original", "fcn8s")  # with layers of these names


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A narrow VGG19 with fc6 and fc7 as wide as conv6 and conv7 of its network: 8 x 6."""
    path = tmp_path_factory.mktemp("weights") / "narrow.mat"
    convs = matfiles.vgg_convs(19, (2, 3, 4, 5, 6), hidden=48)
    return matfiles.write_mat(path, convs), convs


def photos(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.float32)


@pytest.mark.parametrize("arch", ARCHS)
def test_layers_carry_upstreams_names_and_hold_kernel_and_bias(arch, narrow):
    path, convs = narrow
    model = build_model(arch, num_classes=7, weights=path)
    top = {"original": "conv5_3"}.get(arch, "conv5_4")
    trunk = [name for name in convs if name.startswith("conv") and name <= top]
    for name in (*trunk, *NEW_LAYERS):
        kernel, bias = model.get_layer(name).weights
        assert kernel.path == f"{name}/kernel" and bias.path == f"{name}/bias"
    assert [layer.name for layer in model.layers if layer.name[4:5].isdigit() and "_" in layer.name][:1] == ["conv1_1"]
    assert {w.path.split("/")[0] for w in model.trainable_weights} >= {*trunk, *NEW_LAYERS}
    assert model.get_layer("conv6").kernel.shape == (7, 7, 6, 48) and model.get_layer("conv7").kernel.shape[3] == 48


@pytest.mark.parametrize("arch", registry.HEADS)
def test_any_size_gives_float32_logits_of_that_size_and_comes_back_from_a_file(arch, narrow, tmp_path):
    weights = narrow[0]
    if registry.resolve(registry.HEADS[arch]).trunk == "alexnet":
        weights = matfiles.write_alexnet(tmp_path / "alex.mat", matfiles.alexnet_convs())
    model = build_model(arch, num_classes=7, weights=weights)
    for size in ((2, 32, 32), (1, 33, 47), (1, 1, 100), (1, 70, 31)):
        logits = model(photos(*size))
        assert logits.shape == (*size, 7) and logits.dtype == "float32" and np.isfinite(logits).all()
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy(photos(1, 33, 40)), model(photos(1, 33, 40)))


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_computes_inside_and_stays_there(arch, dtype, narrow):
    model = build_model(arch, num_classes=3, weights=narrow[0], dtype=dtype)
    assert model.get_layer("conv6").compute_dtype == dtype
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert model(photos(1, 16, 16)).dtype == "float32" and model.output.dtype == "float32"


def upstream(images, trunk, new):
    """FCN.tensorflow's `inference` (dropout off) in plain operations.

    Args:
      images: float32 (B, H, W, 3).
      trunk: {name: (kernel (h, w, in, out), bias)} as in the .mat.
      new: {name: (kernel, bias)} of conv6 to conv_t3.
    """
    x = images - np.array(matfiles.MEAN_RGB, np.float32)
    pools = {}
    for name, (kernel, bias) in trunk.items():
        if name.endswith("_1") and name != "conv1_1":
            stage = int(name[4]) - 1
            pools[stage] = x = tf.nn.avg_pool2d(x, 2, 2, "SAME")
        x = tf.nn.conv2d(x, tf.transpose(kernel, (1, 0, 2, 3)), 1, "SAME") + bias
        if name == "conv5_3":
            break
        x = tf.nn.relu(x)
    x = tf.nn.max_pool2d(x, 2, 2, "SAME")
    for name in ("conv6", "conv7"):
        x = tf.nn.relu(tf.nn.conv2d(x, new[name][0], 1, "SAME") + new[name][1])
    x = tf.nn.conv2d(x, new["conv8"][0], 1, "SAME") + new["conv8"][1]
    for name, skip, stride in (("conv_t1", pools[4], 2), ("conv_t2", pools[3], 2), ("conv_t3", None, 8)):
        kernel, bias = new[name]
        batch, height, width, _ = images.shape if skip is None else skip.shape
        x = tf.nn.conv2d_transpose(x, kernel, (batch, height, width, kernel.shape[2]), stride) + bias
        x = x if skip is None else x + skip
    return x


@pytest.mark.parametrize("arch", ARCHS)
def test_the_networks_come_to_the_logits_of_a_reference_in_numpy(arch):
    """Stored ones; see reference.py, which computes them again here."""
    with np.load(reference.FILE) as stored:
        image, want = stored["image"], stored[arch]
    np.testing.assert_array_equal(image, reference.photo())
    np.testing.assert_allclose(reference.logits(arch, image), want, atol=1e-6)
    model = build_model(arch, num_classes=reference.CLASSES)
    widths = {
        layer.name: layer.filters for layer in model.layers if layer.name.startswith("conv") and "_" in layer.name
    }
    for name, weights in reference.new_weights(reference.shapes(arch, widths)).items():
        model.get_layer(name).set_weights(weights)
    assert np.std(want) > 0.2 and len(np.unique(want.argmax(-1))) == reference.CLASSES
    for network in (model, cpu.accelerated(model)):
        got = network(image[None].astype(np.float32))[0]
        np.testing.assert_allclose(got, want, atol=1e-5)
        np.testing.assert_array_equal(np.argmax(got, -1), want.argmax(-1))


def mean_loss(logits, labels):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


@pytest.mark.parametrize("size", [(48, 64), (49, 75)])
def test_original_is_upstreams_graph(size, narrow):
    path, convs = narrow
    trunk = {name: tuple(map(tf.Variable, conv)) for name, conv in convs.items() if name.startswith("conv")}
    model = build_model("original", num_classes=7, weights=path)
    rng = np.random.default_rng(1)
    new = {}
    for name in NEW_LAYERS:
        weights = [rng.normal(0, 0.1, weight.shape).astype(np.float32) for weight in model.get_layer(name).weights]
        model.get_layer(name).set_weights(weights)
        new[name] = tuple(map(tf.Variable, weights))
    images, labels = photos(2, *size), rng.integers(0, 7, (2, *size))

    used = [name for name in trunk if name <= "conv5_3"]
    theirs = [variable for name in used for variable in trunk[name]] + [v for name in NEW_LAYERS for v in new[name]]
    ours = [weight.value for name in (*used, *NEW_LAYERS) for weight in model.get_layer(name).weights]
    assert len(ours) == len(model.trainable_weights)
    results = []
    for network, variables in ((model, ours), (lambda x: upstream(x, trunk, new), theirs)):
        with tf.GradientTape() as tape:
            logits = network(images)
            loss = mean_loss(logits, labels)
        results.append((logits, loss, tape.gradient(loss, variables)))
    (logits, loss, gradients), (want_logits, want_loss, want_gradients) = results
    assert np.std(want_logits) > 1
    np.testing.assert_allclose(logits, want_logits, atol=1e-3)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
    swapped = {id(weight.value) for name in used for weight in model.get_layer(name).weights[:1]}
    for variable, got, want in zip(ours, gradients, want_gradients, strict=True):
        # The twin holds the file's kernel and swaps it on the way; the model holds the swapped one.
        want = tf.transpose(want, (1, 0, 2, 3)) if id(variable) in swapped else want
        np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max() + 1e-9)


def test_original_starts_as_upstream_did(narrow):
    model = build_model("original", num_classes=7, weights=narrow[0])
    for name in NEW_LAYERS:
        kernel, bias = model.get_layer(name).get_weights()
        assert np.abs(kernel).max() <= 0.04 + 1e-6, "truncated at two standard deviations"
        assert 0.014 < kernel.std() < 0.021, name  # 0.02 before the truncation, 0.0176 after
        assert not bias.any()
    assert [model.get_layer(name).rate for name in ("dropout6", "dropout7")] == [0.15, 0.15]
    kernels = [model.get_layer(name).get_weights()[0].ravel()[:50] for name in NEW_LAYERS]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels), "no two start with the same numbers"


def test_dropout_is_used_while_training(narrow):
    model = build_model("original", num_classes=7, weights=narrow[0], dropout_rate=0.5)
    images = photos(1, 64, 64)
    assert np.any(model(images, training=True) != model(images))
    model = build_model("original", num_classes=7, weights=narrow[0], dropout_rate=0)
    np.testing.assert_array_equal(model(images, training=True), model(images))


def test_trunk_and_classifier_come_from_the_file_as_they_are(narrow):
    path, convs = narrow
    model = build_model("fcn8s", num_classes=7, weights=path)
    for name, (kernel, bias) in convs.items():
        layer = model.get_layer(name.replace("fc", "conv"))
        for got, want in zip(layer.get_weights(), (kernel, bias), strict=True):
            np.testing.assert_array_equal(got, want)


def test_original_takes_only_the_trunk_and_turns_it(narrow):
    path, convs = narrow
    model = build_model("original", num_classes=7, weights=path)
    np.testing.assert_array_equal(
        model.get_layer("conv3_2").get_weights()[0], convs["conv3_2"][0].transpose(1, 0, 2, 3)
    )
    assert np.any(model.get_layer("conv6").get_weights()[0] != convs["fc6"][0])


def test_a_classifier_of_another_width_is_left_out(tmp_path):
    convs = matfiles.vgg_convs(11, (2, 3, 4, 5, 6), hidden=40)
    model = build_model("fcn8s", num_classes=7, weights=matfiles.write_mat(tmp_path / "net.mat", convs))
    assert model.get_layer("conv6").kernel.shape == (7, 7, 6, 48)


@pytest.mark.parametrize("depth", [11, 13, 16])
def test_other_depths_follow_from_the_file(depth, tmp_path):
    path = matfiles.write_mat(tmp_path / "net.mat", matfiles.vgg_convs(depth), layout="newer")
    model = build_model("fcn8s", num_classes=3, weights=path)
    assert sum(layer.name.startswith("conv") for layer in model.layers) == depth - 3 + len(NEW_LAYERS)
    assert model(photos(1, 40, 40)).shape == (1, 40, 40, 3)


def scaled(convs, factor):
    """A trunk whose activations are `factor` times as large: ReLU and pooling pass factors on."""
    return {
        name: (kernel * factor if name == "conv1_1" else kernel, bias * factor)
        for name, (kernel, bias) in convs.items()
    }


def pool3_rms(model, images):
    pool3 = keras.Model(model.input, model.get_layer("pool3").output)(images)
    return float(np.sqrt(np.mean(np.square(pool3))))


def striped_scenes():
    """Four classes a network can tell apart after a few steps: red, green, blue and grey stripes."""
    labels = np.repeat(np.arange(4), 12)[None, :, None] * np.ones((4, 48, 48), np.int32)
    labels[1], labels[2] = labels[1].T, labels[2][::-1]
    colors = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220], [128, 128, 128]], np.float32)
    return colors[labels] + np.random.default_rng(0).normal(0, 10, (*labels.shape, 3)).astype(np.float32), labels


def test_no_black_predictions(tmp_path):
    """The default network on a trunk as loud as the real VGG19 starts at ln(classes) and learns every class."""
    arch, classes = Config().arch, 4
    images, labels = striped_scenes()
    convs = matfiles.vgg_convs(11, (4, 4, 8, 8, 8))
    quiet = build_model(arch, num_classes=classes, weights=matfiles.write_mat(tmp_path / "quiet.mat", convs))
    loud = matfiles.write_mat(tmp_path / "loud.mat", scaled(convs, 200 / pool3_rms(quiet, images)))
    keras.utils.set_random_seed(0)
    network = build_network(arch, num_classes=classes, weights=loud)
    model = network.model
    assert 190 < pool3_rms(model, images) < 210
    optimizer = optimizers.build("adam", Config().learning_rate, factors=network.learning_rate_factors())
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = mean_loss(model(images, training=True), labels)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    trained = [float(step()) for _ in range(50)]
    assert abs(trained[0] / np.log(classes) - 1) < 0.1
    assert trained[-1] < trained[0]
    assert len(np.unique(np.argmax(model(images), axis=-1))) == classes


def test_untrained_has_the_widths_of_the_embedded_file_but_not_its_weights(narrow, monkeypatch):
    path, convs = narrow
    monkeypatch.setattr("fcn_tf.models.pretrained.embedded", lambda: path)
    for nothing in (None, "none"):
        model = build_model("fcn8s", num_classes=3, weights=nothing)
        kernel = model.get_layer("conv3_2").get_weights()[0]
        assert kernel.shape == convs["conv3_2"][0].shape and np.any(kernel != convs["conv3_2"][0])
    np.testing.assert_array_equal(
        build_model("fcn8s", num_classes=3).get_layer("conv3_2").get_weights()[0], convs["conv3_2"][0]
    )


def test_every_arch_takes_the_flags_that_its_line_names():
    for arch, entry in registry.HEADS.items():
        flags = registry.arch_flags(arch, {name: getattr(Config, name) for name in ARCH_FLAGS})
        assert callable(registry.resolve(entry).with_flags(**flags).build) and [*flags] == [
            *getattr(entry, "flags", ())
        ]


def test_the_trunk_of_an_arch_is_known_without_its_head():
    trunks = {arch: registry.resolve(entry).trunk for arch, entry in registry.HEADS.items()}
    assert trunks == {arch: registry.own_trunk(arch) for arch in registry.HEADS}


def with_quirks(narrow, arch="original", **flags):
    keras.utils.set_random_seed(0)
    return build_network(arch, num_classes=7, weights=narrow[0], flags=flags)


def test_without_quirks_original_is_fcn8s(narrow):
    mended, fcn8s = with_quirks(narrow, quirks="none"), with_quirks(narrow, "fcn8s")
    assert [w.path for w in mended.model.weights] == [w.path for w in fcn8s.model.weights]
    for ours, theirs in zip(mended.model.trainable_weights, fcn8s.model.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        if not np.any(ours):
            for variable in (ours, theirs):
                variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    np.testing.assert_array_equal(mended.model(photos(1, 40, 33)), fcn8s.model(photos(1, 40, 33)))
    assert mended.learning_rate_factors() == fcn8s.learning_rate_factors()


def test_quirks_are_mended_one_by_one(narrow):
    path, convs = narrow

    def traits(network):
        model = network.model
        names = {layer.name for layer in model.layers}
        return {
            "transposed": not np.array_equal(model.get_layer("conv3_2").kernel, convs["conv3_2"][0]),
            "average_pooling": isinstance(model.get_layer("pool1"), keras.layers.AveragePooling2D),
            "no_last_relu": "relu5_4" not in names,
            "raw_skips": "score_pool4" not in names and "norm_pool5" not in names,
            "init": bool(np.any(model.get_layer("conv8").kernel)),
            "random_classifier": not any(
                np.array_equal(model.get_layer("conv6").kernel, fc6)
                for fc6 in (convs["fc6"][0], convs["fc6"][0].transpose(1, 0, 2, 3))  # as the trunk's kernels
            ),
            "one_rate": set(network.learning_rate_factors().values()) == {1.0},
        }

    assert (
        traits(with_quirks(narrow)) == traits(with_quirks(narrow, quirks="all")) == dict.fromkeys(registry.QUIRKS, True)
    )
    for mended in registry.QUIRKS:
        kept = [quirk for quirk in registry.QUIRKS if quirk != mended]
        network = with_quirks(narrow, quirks=",".join(kept))
        assert traits(network) == {quirk: quirk != mended for quirk in registry.QUIRKS}
        assert np.isfinite(network.model(photos(1, 40, 33))).all()


@pytest.mark.parametrize("arch", ARCHS)
def test_every_trainable_variable_has_a_rate(arch, narrow):
    network = build_network(arch, num_classes=3, weights=narrow[0])
    head, factors = registry.resolve(registry.HEADS[arch]), network.learning_rate_factors()
    assert set(factors) == {variable.path for variable in network.model.trainable_variables}
    assert factors["conv1_1/kernel"] == head.trunk_rate
    for name in NEW_LAYERS:
        assert factors[f"{name}/kernel"] == factors[f"{name}/bias"] == head.head_rate
    if arch == "original":
        assert set(factors.values()) == {1.0}
    untrained = build_network(arch, num_classes=3, weights=None).learning_rate_factors()
    assert untrained["conv1_1/kernel"] == 1.0 and untrained["conv6/kernel"] == head.head_rate


def test_a_stage_is_frozen_by_its_name(narrow):
    network = build_network("fcn8s", num_classes=3, weights=narrow[0])
    assert list(network.stages) == list(registry.STAGES)
    before = len(network.model.trainable_variables)
    network.freeze(["conv1", "conv3"])
    frozen = {name for name in network.trunk if not network.model.get_layer(name).trainable_variables}
    assert {name for name in frozen if name.startswith("conv")} == {
        *("conv1_1", "conv1_2"),
        *(f"conv3_{number}" for number in range(1, 5)),
    }
    assert before - len(network.model.trainable_variables) == 2 * 6


HEAD_FILE = """
import keras
from fcn_tf.models.base import Head

def fcn32s(features, images, *, num_classes, dropout_rate, dtype):
    x = keras.layers.Conv2D(num_classes, 1, name="score", dtype=dtype)(features["stride32"])
    x = keras.layers.UpSampling2D(32, interpolation="bilinear", name="upsample", dtype=dtype)(x)
    return x

FCN32S = Head(fcn32s, trunk_options={"pooling": "average"}, classifier=False, head_rate=2.0)
PLAIN = Head(fcn32s, trunk="plain")
"""
TRUNK_FILE = """
import keras
from fcn_tf.models.base import Trunk

def plain(images, *, weights, model_dir, dtype):
    x, features, stages = images, {}, []
    for number in range(1, 6):
        layers = [
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name=f"plain{number}", dtype=dtype),
            keras.layers.MaxPooling2D(2, padding="same", name=f"half{number}", dtype=dtype),
        ]
        for layer in layers:
            x = layer(x)
        stages.append([layer.name for layer in layers])
        features[f"stride{2 ** number}"] = x
    return Trunk(features, stages)
"""


def test_a_head_is_a_file_and_a_line(narrow, tmp_path, monkeypatch):
    (tmp_path / "new_head.py").write_text(HEAD_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.HEADS, "new", "new_head:FCN32S")
    network = build_network("new", num_classes=5, weights=narrow[0])
    assert network.model(photos(1, 64, 32)).shape == (1, 64, 32, 5)
    factors = network.learning_rate_factors()
    assert factors["score/kernel"] == 2.0 and factors["conv5_1/kernel"] == 1.0
    assert isinstance(network.model.get_layer("pool1"), keras.layers.AveragePooling2D)


def test_a_trunk_is_a_file_and_a_line(tmp_path, monkeypatch):
    """Which the checkpointed forward pass and the curves of a training step take as they take VGG."""
    (tmp_path / "new_parts.py").write_text(HEAD_FILE + TRUNK_FILE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.TRUNKS, "plain", "new_parts:plain")
    monkeypatch.setitem(registry.HEADS, "plain", "new_parts:PLAIN")
    network = build_network("plain", num_classes=3)
    images = photos(2, 64, 32)
    again = remat.with_gradient_checkpointing(cpu.accelerated(network.model), network.stages.values())
    np.testing.assert_allclose(again(images), network.model(images), rtol=1e-5, atol=1e-5)
    network.freeze(registry.STAGES)
    assert {variable.path.split("/")[0] for variable in network.model.trainable_variables} == {"score"}


@pytest.mark.parametrize("arch", registry.HEADS)
def test_every_network_can_be_computed_again(arch, monkeypatch):
    """Also where skips are taken before a pooling: a layer that two others read ends what is computed again."""
    head = registry.resolve(registry.HEADS[arch]).with_flags()
    if head.trunk == "alexnet":
        pytest.skip("in test_alexnet.py, for its full width takes long")
    keras.utils.set_random_seed(0)
    network = build_network(arch, num_classes=3, weights="tiny", dropout_rate=0.0, trunk="vgg")
    for layer in network.model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose) and layer.name not in network.trunk:
            layer.set_weights([np.random.default_rng(1).normal(0, 0.05, each.shape) for each in layer.get_weights()])
    images = photos(1, 64, 32)
    again = remat.with_gradient_checkpointing(cpu.accelerated(network.model), network.stages.values())
    wanted = np.asarray(network.model(images))
    assert np.ptp(wanted) > 0
    np.testing.assert_allclose(again(images), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def without(convs, name):
    return {key: value for key, value in convs.items() if key != name}


@pytest.mark.parametrize(
    "arch, damage, named",
    [
        ("fcn8s", lambda convs: without(convs, "conv4_3"), "conv4_3"),
        ("fcn8s", lambda convs: convs | {"conv9_9": convs["conv1_1"]}, "conv9_9"),
        ("fcn8s", lambda convs: convs | {"conv1_2": convs["conv3_1"]}, "conv1_2"),
        ("fcn8s", lambda convs: convs | {"conv1_2": (convs["conv1_2"][0] * np.nan, convs["conv1_2"][1])}, "conv1_2"),
        ("original", lambda convs: matfiles.vgg_convs(11), "conv5_3"),
    ],
    ids=["missing", "left over", "wrong shape", "NaN", "too shallow for the arch"],
)
def test_loading_is_strict(arch, damage, named, tmp_path):
    path = matfiles.write_mat(tmp_path / "net.mat", damage(matfiles.vgg_convs()))
    with pytest.raises(UserError, match=named) as caught:
        build_model(arch, num_classes=3, weights=path)
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_arch_and_a_missing_file_are_user_errors(narrow):
    with pytest.raises(UserError, match="fcn9s.*fcn8s"):
        build_model("fcn9s", num_classes=3, weights=narrow[0])
    with pytest.raises(UserError, match="no/such.mat"):
        build_model("fcn8s", num_classes=3, weights="no/such.mat")


BACKEND_PROGRAM = """
import sys
import keras, numpy as np
from fcn_tf.models.build import build_model
assert "tensorflow" not in sys.modules and keras.backend.backend() == sys.argv[1]
with np.load(sys.argv[2]) as arrays:
    arrays = dict(arrays)
images = arrays.pop("images")
for arch in ("original", "fcn8s"):
    model = build_model(arch, num_classes=3, weights=sys.argv[3])
    model.set_weights([arrays[f"{arch}/{i}"] for i in range(len(model.weights))])
    logits = model.predict(images, verbose=0)
    error = np.abs(logits - arrays[f"{arch}/logits"]).max()
    assert error < 1e-3, (arch, error)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_compute_the_same(backend, narrow, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}, which is not installed")
    arrays = {"images": photos(1, 49, 75)}
    rng = np.random.default_rng(0)
    for arch in ("original", "fcn8s"):
        model = build_model(arch, num_classes=3, weights=narrow[0])
        new = [w if w.dtype == "int64" or w.ndim == 0 else rng.normal(0, 0.1, w.shape) for w in model.get_weights()]
        new = [value.astype(old.dtype) for value, old in zip(new, model.get_weights(), strict=True)]
        model.set_weights(new)
        arrays |= {f"{arch}/{i}": weight for i, weight in enumerate(new)}
        arrays[f"{arch}/logits"] = np.asarray(model(arrays["images"]))
    np.savez(tmp_path / "arrays.npz", **arrays)
    command = [sys.executable, "-c", BACKEND_PROGRAM, backend, str(tmp_path / "arrays.npz"), narrow[0]]
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["original_forward", "original_forward_odd_size"])
def test_original_matches_the_reference_numbers(name, shared):
    """Logits, predictions, loss and gradients that upstream's own code computed (see golden/README.md there)."""
    weights = shared / "models" / "imagenet-vgg-verydeep-19.mat"
    golden_file = shared / "golden" / f"{name}.npz"
    for path in (weights, golden_file):
        if not path.exists():
            pytest.skip(f"needs {path}")
    golden = np.load(golden_file)
    model = build_model("original", num_classes=151, weights=str(weights))
    images = golden["image"].astype(np.float32)
    rng = np.random.default_rng(int(golden["seed"]))
    rng.integers(0, 256, images.shape)  # the pictures were drawn first
    for layer in NEW_LAYERS:
        kernel, bias = model.get_layer(layer).weights
        model.get_layer(layer).set_weights(
            [rng.standard_normal(kernel.shape, np.float32) * np.float32(0.02)]
            + [rng.standard_normal(bias.shape, np.float32) * np.float32(0.1)]
        )
    with tf.GradientTape() as tape:
        logits = model(images)
        loss = mean_loss(logits, golden["labels"][..., 0].astype(np.int32))
    paths = ("conv1_1/kernel", "conv_t3/bias", "conv5_3/bias", "conv8/kernel")
    by_path = {variable.path: variable.value for variable in model.trainable_variables}
    conv1_1, b_t3, conv5_3, conv8 = (g.numpy() for g in tape.gradient(loss, [by_path[path] for path in paths]))
    logits = logits.numpy()
    np.testing.assert_allclose(logits.ravel()[golden["logit_index"]], golden["logit_value"], rtol=0, atol=1e-3)
    np.testing.assert_allclose([logits.mean(), logits.std()], [golden["logit_mean"], golden["logit_std"]], atol=1e-3)
    assert (logits.argmax(-1) != golden["pred"].reshape(logits.shape[:3])).sum() <= 5
    assert abs(float(loss) - golden["loss"]) < 1e-4
    for got, want in (
        (conv1_1, golden["grad_conv1_1_kernel_hw_swapped"]),
        (b_t3, golden["grad_b_t3"]),
        (conv5_3, golden["grad_conv5_3_bias"]),
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-3 * np.abs(want).max())
    np.testing.assert_allclose(np.linalg.norm(conv8), golden["grad_W8_norm"], rtol=1e-3)


def test_what_build_model_lacks_is_told_at_once():
    with pytest.raises(UserError, match=r"^arch is 'fcn8'; .* did you mean 'fcn8s'\? Give num_classes, too: how many"):
        build_model("fcn8")
    with pytest.raises(UserError, match="^Give num_classes, too"):
        build_model("fcn8s")
    for typed in ("lihgt", "LIGHT", "lig"):
        with pytest.raises(UserError, match=r"did you mean 'light'\?$"):
            build_model(typed, num_classes=2)
