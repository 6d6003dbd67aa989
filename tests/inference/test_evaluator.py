"""Running a model over pictures: labels, counts and loss against values worked out by hand."""

import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator as inference
from fcn_tf.metrics import confusion
from tests import tiny_run


def test_predictor_labels_pictures_of_any_size_in_one_trace():
    predictor = inference.Predictor(tiny_run.color_model())
    for classes in ([[0, 1], [2, 2]], [[2, 0, 1]], [[1]] * 5):
        labels = predictor.labels(tiny_run.paint(classes)[None])
        np.testing.assert_array_equal(labels[0], classes)
        assert labels.dtype == np.uint8
    assert predictor._label.experimental_get_tracing_count() == 1


def test_predictor_has_room_for_many_classes():
    predictor = inference.Predictor(tiny_run.color_model(num_classes=300))
    assert predictor.labels(tiny_run.paint([[2]])[None]).dtype == np.uint16


def test_evaluation_by_hand():
    data = tiny_run.dataset([([[0, 1, 2]], [[0, 0, 3]]), ([[1, 1]], [[1, 2]])])
    result = inference.evaluate_dataset(tiny_run.color_model(), data)
    np.testing.assert_array_equal(result.counts, [[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert result.counts.dtype == np.int64
    assert result.images == 2 and result.images_per_second > 0
    assert result.pixel_accuracy == 2 / 4
    assert result.mean_accuracy == (1 / 2 + 1 + 0) / 3
    assert result.mean_iou == (1 / 2 + 1 / 3 + 0) / 3
    # Logits are 1 for the class seen and 0 for the others: two pixels right, two wrong.
    right, wrong = np.log(np.e + 2) - 1, np.log(np.e + 2)
    np.testing.assert_allclose(result.loss, (2 * right + 2 * wrong) / 4, rtol=1e-6)


@pytest.mark.parametrize("ignore", [None, 0, 3])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_evaluation_equals_its_numpy_twin(ignore, batch_size):
    rng = np.random.default_rng(0)
    spec = DatasetSpec("noise", tuple("abc"), ((0, 0, 0),) * 3, ignore)
    shapes = [(4, 5), (4, 5), (4, 5), (6, 3), (2, 2)]
    pictures = [
        (rng.integers(0, 256, (*shape, 3)).astype(np.uint8), rng.integers(0, 4 if ignore == 3 else 3, shape))
        for shape in shapes
    ]
    read = {Example(str(i)): (image, label.astype(np.int32)) for i, (image, label) in enumerate(pictures)}
    data = Dataset(spec, "validation", tuple(read), read.__getitem__)
    model, counts, total, pixels, seen = tiny_run.color_model(scale=0.02), np.zeros((3, 3), np.int64), 0.0, 0, []
    per_image = []

    for image, label in pictures:
        logits = image * np.float32(0.02)
        counts += confusion.confusion(label, logits.argmax(-1), num_classes=3, ignore_label=ignore)[:, :3]
        valid = label != ignore if ignore is not None else np.ones_like(label, bool)
        entropy = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(
            logits, np.where(valid, label, 0)[..., None], -1
        ).squeeze(-1)
        total, pixels = total + entropy[valid].sum(), pixels + valid.sum()

    def on_batch(indices, images, labels, predictions, image_counts):
        assert all(isinstance(array, np.ndarray) for array in (indices, images, labels, predictions))
        per_image.extend(image_counts)
        assert images.shape[:3] == labels.shape == predictions.shape and len(images) == len(indices)
        seen.extend(indices.tolist())

    result = inference.evaluate_dataset(model, data, batch_size=batch_size, on_batch=on_batch)
    np.testing.assert_array_equal(result.counts, counts)
    np.testing.assert_array_equal(np.sum(per_image, axis=0), counts)
    np.testing.assert_allclose(result.loss, total / pixels, rtol=1e-5)
    assert seen == [0, 1, 2, 3, 4]


def test_evaluator_sees_new_weights_without_tracing_again():
    data = tiny_run.dataset([([[0, 1, 2]], [[0, 1, 2]])])
    model = tiny_run.color_model()
    evaluator = inference.Evaluator(model, data.spec)
    assert evaluator.run(data).pixel_accuracy == 1
    model.set_weights([-model.get_weights()[0], model.get_weights()[1]])
    assert evaluator.run(data).pixel_accuracy == 0
    assert evaluator._score.experimental_get_tracing_count() == 1


def test_part_of_a_data_set():
    data = tiny_run.dataset([([[0]], [[0]]), ([[1]], [[0]]), ([[2]], [[2]])])
    evaluator = inference.Evaluator(tiny_run.color_model(), data.spec)
    assert evaluator.run(data, max_examples=1).pixel_accuracy == 1
    assert evaluator.run(data, indices=[2, 1]).counts.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_nothing_to_count_is_nan_not_an_error():
    data = tiny_run.dataset([([[0, 1]], [[3, 3]])])
    result = inference.evaluate_dataset(tiny_run.color_model(), data)
    assert np.isnan(result.loss) and np.isnan(result.mean_iou) and result.images == 1


def test_label_out_of_range_names_the_image():
    data = tiny_run.dataset([([[0]], [[0]]), ([[0, 0]], [[7, 0]])])
    with pytest.raises(ValueError, match="image1: 1 pixels have a label that is neither"):
        inference.evaluate_dataset(tiny_run.color_model(), data)


def test_unreadable_example_is_the_users_error_again():
    def read(example):
        raise UserError(f"{example.name}.png: not a readable image; copy it again.")

    data = Dataset(tiny_run.SPEC, "validation", (Example("bad"),), read)
    with pytest.raises(UserError, match=r"^bad.png: not a readable image; copy it again.$"):
        inference.evaluate_dataset(tiny_run.color_model(), data)


def test_model_of_another_number_of_classes_is_refused():
    with pytest.raises(UserError, match="4 classes but tiny has 3"):
        inference.Evaluator(tiny_run.color_model(4), tiny_run.SPEC)


def test_load_model(tmp_path):
    run = tiny_run.write_run(tmp_path)
    for source in (run, run.model):
        assert isinstance(inference.load_model(source), keras.Model)


@pytest.mark.parametrize("content", [b"", b"not a zip file"])
def test_load_model_that_is_damaged_names_the_file(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(UserError, match="model.keras is not a model"):
        inference.load_model(str(path))


def test_load_model_with_flipped_bits_and_cut_short(tmp_path):
    """HDF5 looks at no checksum, and its library ends the process on some damage: the zip file's are looked at."""
    path, rng = Path(tiny_run.write_run(tmp_path).model), np.random.default_rng(0)
    data = path.read_bytes()
    for number in range(120):
        harmed = bytearray(data)
        harmed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(harmed if number % 3 else data[: rng.integers(len(data))])
        try:
            inference.load_model(str(path))
        except UserError as error:
            assert "\n" not in str(error)


def test_load_model_runs_nothing_in_the_file(tmp_path):
    """A Lambda layer carries code of its maker's."""
    path, ran = tmp_path / "model.keras", tmp_path / "ran"
    run = keras.layers.Lambda(lambda x, ran=str(ran): (open(ran, "w").close(), x)[1], output_shape=(None, None, 3))
    keras.Sequential([keras.Input((None, None, 3)), run]).save(path)
    ran.unlink(missing_ok=True)
    with pytest.raises(UserError, match="model.keras is not a model this version can load"):
        inference.load_model(str(path))
    assert not ran.exists()


def test_load_model_that_is_a_bomb(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for i in range(5):
            opened.writestr(f"assets/{i}", bytes(1 << 24))
    with pytest.raises(UserError, match=r"would become 83,886,080; at most [\d,]+ are unpacked"):
        inference.load_model(str(path))


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_load_model_whose_weights_are_not_finite_is_refused(tmp_path, value):
    run = tiny_run.write_run(tmp_path)
    model = tiny_run.color_model()
    kernel, bias = model.get_weights()
    kernel[0, 0, 1, 1] = value
    model.set_weights([kernel, bias])
    model.save(run.model)
    with pytest.raises(UserError, match=r"^\S*model.keras labels nothing: pick/kernel holds NaN.*--learning_rate.*\.$"):
        inference.load_model(run)


def test_load_model_that_is_missing_says_to_train(tmp_path):
    with pytest.raises(UserError, match="no trained model; train one first with --mode=train"):
        inference.load_model(str(tmp_path / "model.keras"))


def test_mirrored_model_measures_the_same():
    code = """
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from tests import tiny_run
        from fcn_tf.inference import evaluator
        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
        with strategy.scope():
            model = tiny_run.color_model()
        data = tiny_run.dataset([([[0, 1, 2]], [[0, 0, 3]]), ([[1, 1]], [[1, 2]])])
        assert evaluator.evaluate_dataset(model, data).counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
