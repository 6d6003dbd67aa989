"""Each format on a small trained network: written, read back in its own runtime, and its class names found."""

import importlib.util
import json
import zipfile

import numpy as np
import pytest

import fcn_tf
from fcn_tf import export, registry
from fcn_tf.data import datasets
from fcn_tf.inference import evaluator
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from tests import matfiles, tiny_run, tiny_training
from tests.formats import web_runtime

CLASSES = ["red", "green", "blue"]


def installed(name, precision="float32"):
    """Skips the test where the runtime of a format is not installed; returns the format's entry."""
    entry = registry.resolve(registry.EXPORTS[name])
    for module, dist in {**entry.packages, **entry.packages_for.get(precision, {})}.items():
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {dist}")
    return entry


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An fcn8s of 16 filters in a --logs_dir, trained until it tells three colours apart."""
    import keras

    from fcn_tf.models import build

    folder = tmp_path_factory.mktemp("run")
    run = tiny_run.write_run(folder, tiny_training.SPEC)
    weights = matfiles.write_mat(str(folder / "narrow.mat"), matfiles.vgg_convs(11, (16,) * 5))
    keras.utils.set_random_seed(0)
    model = build.build_model("fcn8s", num_classes=3, weights=weights, dropout_rate=0.0)
    scenes = [tiny_training.scene(seed) for seed in range(16)]
    images, labels = (np.stack(each) for each in zip(*scenes, strict=True))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images.astype(np.float32), labels, batch_size=8, epochs=40, verbose=0)
    model.save(run.model)
    return folder


@pytest.fixture(autouse=True)
def _data(monkeypatch):
    monkeypatch.setattr(datasets, "load", tiny_training.load)


def exported(logs, name, precision="float32"):
    """Exports, once; returns the format's entry, its folder and its row."""
    entry = installed(name, precision)

    def rows():
        path = logs / "export/export.json"
        found = json.loads(path.read_text())["exports"] if path.exists() else []
        return {(row["format"], row["quantize"]): row for row in found}

    if (name, precision) not in rows():
        runtime = {"web_runtime": web_runtime.stub(logs / "runtime")} if name == "web" else {}
        assert export.run(tiny_run.config("export", logs, format=name, quantize=precision, **runtime)) == 0
    row = rows()[name, precision]
    return entry, row["folder"], row


@pytest.mark.parametrize("name", registry.EXPORTS)
def test_float32_says_the_same(name, trained):
    entry, folder, row = exported(trained, name)
    assert row["agreement"] > 0.999 and row["confidence_difference"] < 1e-3
    images = np.stack([tiny_training.scene(seed)[0] for seed in (200, 201)])[:, :29, :31]
    run, model = entry.load(folder), evaluator.load_model(Run(str(trained)))
    logits = np.asarray(model(images.astype(np.float32)))
    found = run(images)  # two at once, odd sides
    assert found.labels.dtype == np.uint8 and found.confidence.dtype == np.float32
    np.testing.assert_array_equal(found.labels, logits.argmax(-1))
    assert len(np.unique(found.labels)) == 3
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(found.confidence, (powers / powers.sum(-1, keepdims=True)).max(-1), atol=1e-4)
    assert run(images[:1, :1, :1]).labels.shape == (1, 1, 1)


@pytest.fixture(scope="module")
def resizing(trained, tmp_path_factory):
    """The same network in a --logs_dir, for photos whose longer side is brought to 48 pixels."""
    from fcn_tf.models import build

    folder = tmp_path_factory.mktemp("resizing")
    run = tiny_run.write_run(folder, tiny_training.SPEC, flags={"longest_side": 48})
    weights = str(trained / "narrow.mat")
    model = build.build_model("fcn8s", num_classes=3, weights=weights, dropout_rate=0.0, longest_side=48)
    model.set_weights(evaluator.load_model(Run(str(trained))).get_weights())
    model.save(run.model)
    return folder


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, "float32") for name in registry.EXPORTS if name != "web"] + [("onnx", "float16"), ("tflite", "float16")],
)
def test_a_model_that_resizes_does_so_in_every_format(name, precision, resizing):
    """Of pictures of 16 times the size, too, whose rows are more than 16 bits count one by one."""
    entry, folder, row = exported(resizing, name, precision)
    image, label = tiny_training.scene(200)
    large = image.repeat(96, 0).repeat(2, 1)[:3001, :61]
    found, wanted = entry.load(folder)(large[None]), evaluator.Predictor(evaluator.load_model(Run(str(resizing))))
    assert (found.labels == wanted.labels(large[None])).mean() > (0.9999 if precision == "float32" else 0.99)
    small = entry.load(folder)(image[None])
    assert (small.labels[0] == label).mean() > 0.9
    assert fcn_tf.Segmenter.from_run(folder).longest_side == 48


SMALLER = [
    (name, precision)
    for name, entry in registry.EXPORTS.items()
    for precision in registry.resolve(entry).precisions
    if name != "web" and precision != "float32"  # most of a web folder is its runtime
]


@pytest.mark.parametrize(("name", "precision"), SMALLER)
def test_smaller_weights_take_less_room(name, precision, trained, monkeypatch):
    from fcn_tf.formats import verify

    # Layers of 16 filters lose more in 8 bits than those of 64 to 4096; it is the room that is looked at here.
    monkeypatch.setitem(verify._LEAST_AGREEMENT, "int8", 0.9)
    monkeypatch.setattr(verify, "_MOST_MEAN_IOU_LOSS", 0.1)
    _, _, full = exported(trained, name)
    _, folder, row = exported(trained, name, precision)
    assert folder.endswith(f"{name}-{precision}") and row["quantize"] == precision
    assert row["bytes"] < {"float16": 0.75, "int8": 0.6}[precision] * full["bytes"]


def test_tflite_has_the_convolutions_alone_in_8_bits(trained, monkeypatch):
    """In 8 bits, the mean squares of the normalised skips cost more labels than all convolutions."""
    from fcn_tf.formats import verify

    installed("tflite", "int8")
    from ai_edge_litert.interpreter import Interpreter

    monkeypatch.setitem(verify._LEAST_AGREEMENT, "int8", 0.9)  # of narrow layers
    _, folder, _ = exported(trained, "tflite", "int8")
    details = Interpreter(model_path=f"{folder}/model.tflite").get_tensor_details()
    narrow = {each["name"] for each in details if each["dtype"] == np.int8}
    assert any("conv6" in name for name in narrow) and not any("norm_pool" in name for name in narrow)
    assert any("norm_pool" in each["name"] for each in details)


def test_onnx_spends_none_of_the_8_bits_on_what_relu_removes(trained, monkeypatch):
    """Quantized before its ReLU, a convolution has half of its 256 values below zero."""
    from fcn_tf.formats import verify

    installed("onnx", "int8")
    import onnx

    monkeypatch.setitem(verify._LEAST_AGREEMENT, "int8", 0.9)  # of narrow layers
    _, folder, _ = exported(trained, "onnx", "int8")
    graph = onnx.load(f"{folder}/model.onnx").graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    seen = 0
    for node in graph.node:
        if node.op_type != "Conv" or node.input[1] in constants:  # of a quantized one it is a DequantizeLinear's
            continue
        seen += 1
        users = [user for user in graph.node if node.output[0] in user.input]
        assert [user.op_type for user in users] == ["QuantizeLinear"]
        assert constants[users[0].input[2]] == 0
    assert seen == 9  # of this trunk all but the first, and conv6 and conv7


def names_in_savedmodel(folder):
    return [each["name"] for each in json.loads(files.read_bytes(f"{folder}/assets.extra/classes.json"))["classes"]]


def names_in_onnx(folder):
    import onnx

    return json.loads(
        {each.key: each.value for each in onnx.load(f"{folder}/model.onnx").metadata_props}["class_names"]
    )


def names_in_tflite(folder):
    with zipfile.ZipFile(f"{folder}/model.tflite") as packed:
        return [each["name"] for each in json.loads(packed.read("classes.json"))["classes"]]


def names_in_openvino(folder):
    import openvino

    model = openvino.Core().read_model(f"{folder}/model.xml")
    return json.loads(model.get_rt_info(["model_info", "class_names"]).astype(str))


def names_in_keras(folder):
    return list(evaluator.load_model(f"{folder}/model.keras").get_layer("segmentation").class_names)


@pytest.mark.parametrize(
    "names_in", [names_in_savedmodel, names_in_onnx, names_in_tflite, names_in_openvino, names_in_keras]
)
def test_class_names_are_in_the_file(names_in, trained):
    _, folder, _ = exported(trained, names_in.__name__.removeprefix("names_in_"))
    assert names_in(folder) == CLASSES


def test_weights_are_stored_once(trained):
    _, _, row = exported(trained, "savedmodel")
    count = evaluator.load_model(Run(str(trained))).count_params()
    assert 4 * count < row["bytes"] < 4 * count + 500_000  # the rest is the graph


def test_a_model_of_16_bits_is_exported_from_its_float32_weights(trained, tmp_path):
    import keras

    model = evaluator.load_model(Run(str(trained)))
    half = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"}),
    )
    for variable, original in zip(half.variables, model.variables, strict=True):
        variable.assign(original)
    run = tiny_run.write_run(tmp_path / "half", tiny_training.SPEC)
    half.save(run.model)
    entry, folder, _ = exported(tmp_path / "half", "savedmodel")
    image = tiny_training.scene(300)[0][None]
    wanted = np.asarray(model(image.astype(np.float32))).argmax(-1)
    np.testing.assert_array_equal(entry.load(folder)(image).labels, wanted)
