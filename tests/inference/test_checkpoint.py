"""A run that was not validated yet: its newest checkpoint is the model."""

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import predict
from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator
from fcn_tf.io import images
from fcn_tf.io.run_dir import Run
from fcn_tf.models import build
from fcn_tf.training.checkpoints import Checkpoints
from tests import tiny_run, tiny_training


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints of steps 4 and 8, and no model.keras; returns the run and the model of step 8."""
    weights = tiny_training.write_weights(tmp_path)
    run = Run(str(tmp_path / "run"))
    flags = {"arch": "fcn8s", "weights": weights, "model_dir": "", "dropout": 0.15, "precision": "float32"}
    names, colors = tiny_training.SPEC.class_names, tiny_training.SPEC.colors
    run.write_config({"flags": flags, "num_classes": 3, "class_names": names, "colors": colors})
    model = build.build_model("fcn8s", num_classes=3, weights=weights)
    checkpoints = Checkpoints(run.checkpoints, model.variables)
    for step in (4, 8):
        for variable in model.trainable_variables:
            variable.assign(variable + 0.01 * step * np.random.default_rng(step).normal(size=variable.shape))
        checkpoints.save(step)
    return run, model


def test_the_newest_checkpoint_is_used_and_named(run, capsys):
    where, model = run
    photo = np.float32(tiny_training.scene(0)[0][None])
    np.testing.assert_allclose(evaluator.load_model(where)(photo), model(photo), rtol=1e-5, atol=1e-6)
    assert capsys.readouterr().out == "no validated model yet: using checkpoint of step 8\n"


def test_predict_labels_with_it(run, tmp_path, capsys):
    where, model = run
    photo = tiny_training.scene(0)[0]
    (tmp_path / "photo.png").write_bytes(images.encode_png(photo))
    options = {"input": str(tmp_path / "photo.png"), "inference_precision": "float32"}  # whatever is faster here
    assert predict.run(tiny_run.config("predict", where.logs_dir, **options)) == 0
    labels = images.decode_label((tmp_path / "run/predict/photo_label.png").read_bytes(), name="")
    np.testing.assert_array_equal(labels, np.argmax(model(np.float32(photo[None]))[0], axis=-1))
    assert "checkpoint of step 8" in capsys.readouterr().out


def test_a_validated_model_comes_first(run, capsys):
    where, _ = run
    tiny_run.color_model().save(where.model)
    assert evaluator.load_model(where).get_layer("pick") is not None
    assert capsys.readouterr().out == ""


def test_flags_of_the_arch_make_the_model(run, capsys):
    where, _ = run
    config = where.read_config()
    flags = config["flags"] | {"arch": "fcn16s", "trunk": "vgg", "fuse": "concat", "learn_last_upsampling": True}
    where.write_config(config | {"flags": flags})
    options = {"trunk": "vgg", "flags": {"fuse": "concat", "learn_last_upsampling": True}}
    model = build.build_model("fcn16s", num_classes=3, weights=flags["weights"], **options)
    Checkpoints(where.checkpoints, model.variables).save(12)
    loaded = evaluator.load_model(where)
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]


def test_another_network_is_refused(run):
    where, _ = run
    classes = {"num_classes": 5, "class_names": [*"abcde"], "colors": [[0, 0, 0]] * 5}
    where.write_config({**where.read_config(), **classes})
    with pytest.raises(UserError, match=r"ckpt-8 holds another network: .* expected \[.*5\]"):
        evaluator.load_model(where)
    where.write_config({"num_classes": 3})
    with pytest.raises(UserError, match="config.json does not describe a model"):
        evaluator.load_model(where)


def test_an_error_without_a_word_is_named_by_its_kind(run, monkeypatch):
    where, model = run

    def fail(path):
        raise RuntimeError

    monkeypatch.setattr(tf.compat.v1.train, "NewCheckpointReader", fail)
    with pytest.raises(UserError, match=r"ckpt-8 cannot be read \(RuntimeError\); remove"):
        evaluator.load_model(where)
    with pytest.raises(UserError, match=r"ckpt-8 cannot be read \(RuntimeError\); remove"):
        Checkpoints(where.checkpoints, model.variables).restore()


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    where, _ = run
    for path in (tmp_path / "run/checkpoints").glob("ckpt-8.[di]*"):
        path.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"ckpt-8 is damaged: ckpt-8\.\S+ has 4 bytes, expected"):
        evaluator.load_model(where)
    (tmp_path / "run/checkpoints/ckpt-8.json").unlink()  # of a version that wrote no checksums
    with pytest.raises(UserError, match="ckpt-8 cannot be read"):
        evaluator.load_model(where)
