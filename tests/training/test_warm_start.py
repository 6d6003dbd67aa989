"""Starting from a trained model: what fits is loaded, and what was and was not is said."""

import dataclasses
import functools
import os
import re
import shutil

import keras
import numpy as np
import pytest

import flags
from fcn_tf import train
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.inference import evaluator
from fcn_tf.io import files, trained
from fcn_tf.io.run_dir import Run
from fcn_tf.models import build
from fcn_tf.training import warm_start
from tests import matfiles, tiny_training


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_training.write_weights(str(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def model(weights):
    """fcn8s of which no weight is as it is when built."""
    model = build.build_model("fcn8s", num_classes=3, weights=weights)
    for weight in model.weights:
        weight.assign(weight + 0.1 * np.random.default_rng(0).normal(size=weight.shape))
    return model


@pytest.fixture
def source(tmp_path, weights, model):
    """A run with that model and the classes of `tiny_training`."""
    run = Run(str(tmp_path / "source"))
    run.write_config(
        {"flags": {"arch": "fcn8s", "weights": weights}, "class_names": list(tiny_training.SPEC.class_names)}
    )
    model.save(run.model)
    return run


def equal(one, other, layers=""):
    """For the layers whose names match: whether weights agree, as a set of truths."""
    pairs = ((one.get_layer(layer.name), layer) for layer in other.layers if re.match(layers, layer.name))
    return {np.array_equal(a, b) for pair in pairs for a, b in zip(*(each.get_weights() for each in pair), strict=True)}


def test_a_run_starts_from_a_model_once(source, model, weights, tmp_path, monkeypatch, capsys):
    """Steps of 1e-12 change nothing that is seen."""
    monkeypatch.setattr(datasets, "load", tiny_training.load)
    settings = {"weights": weights, "init_from": source.logs_dir, "learning_rate": 1e-12, "eval_every": 5}
    assert train.run(tiny_training.config(str(tmp_path), **settings, max_steps=1)) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^from {source.model}:\nloaded +conv1_1 +\(3, 3, 3, 8\)\n", printed, re.M)
    assert ", 0 skipped\n" in printed
    run = Run(f"{tmp_path}/run")
    assert run.read_config()["flags"]["init_from"] == source.logs_dir
    trained_model = evaluator.load_model(run)
    for ours, theirs in zip(trained_model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    shutil.rmtree(source.logs_dir)
    assert train.run(tiny_training.config(str(tmp_path), **settings, max_steps=2)) == 0
    printed = capsys.readouterr().out
    assert "resumed at step 1" in printed and f"from {source.model}" not in printed


SCORES = ("conv8", "score_pool4", "score_pool3", "conv_t1", "conv_t2", "conv_t3")


@pytest.mark.parametrize(
    ("names", "why"), [(("sky", "sea", "sand"), "other classes"), (None, "its classes are not known")]
)
def test_other_classes_start_with_new_score_layers(names, why, source, model, weights, capsys):
    make = functools.partial(build.build_network, "fcn8s", weights=weights)
    network, origin = make(num_classes=3), dataclasses.replace(trained.find(source.model), class_names=names)
    before = keras.models.clone_model(network.model)
    before.set_weights(network.model.get_weights())
    train._start_from(origin, network, tiny_training.SPEC, lambda **options: make(**{**options, "weights": None}))
    printed = capsys.readouterr().out
    assert set(re.findall(rf"^new +(\w+) +\([\d, ]+\) +{why}$", printed, re.M)) == set(SCORES)
    assert printed.endswith(f"0 skipped, {len(SCORES)} new\n")
    assert equal(network.model, model, "conv[1-7]|norm") == {True}
    assert equal(network.model, before, "conv8|score|conv_t") == {True}


def test_the_same_classes_are_loaded_whole(source, model, weights):
    network = build.build_network("fcn8s", num_classes=3, weights=weights)
    origin = trained.find(source.model)
    assert origin.class_names == tiny_training.SPEC.class_names
    train._start_from(origin, network, tiny_training.SPEC, lambda **_: pytest.fail("there is no need"))
    assert equal(network.model, model) == {True}


def test_another_arch_takes_what_fits():
    model, other = (build.build_model(arch, num_classes=3) for arch in ("original", "fcn8s"))
    rows = {row.variable: row for row in warm_start.load(model, other, name="a.keras")}
    assert rows["conv1_1"].action == rows["conv7"].action == "loaded" and not rows["conv7"].note
    assert rows["conv_t1"].action == "new"
    assert re.fullmatch(r"4x4x\d+x3 \+ \d+, 4x4x3x3 \+ 3 there", rows["conv_t1"].note)
    assert rows["conv5_4"][2:] == rows["norm_pool5"][2:] == ("skipped", "not here")
    assert equal(model, other, "conv[1-4]|conv5_[1-3]|conv[678]") == {True}


def test_a_run_without_a_validation_gives_its_checkpoint(source):
    os.remove(source.model)
    with pytest.raises(UserError, match="there is no trained model"):
        trained.find(source.logs_dir)
    for step in (2, 4):
        files.write_bytes(os.path.join(source.checkpoints, f"ckpt-{step}.index"), b"")
    assert trained.find(source.logs_dir).path.endswith("ckpt-4")


def test_another_number_of_classes_is_told_with_both_shapes(weights):
    model, other = (build.build_model("fcn8s", num_classes=classes, weights=weights) for classes in (3, 5))
    rows = warm_start.load(model, other, name="other.keras")
    assert {row.variable: row.note for row in rows}["conv8"] == "1x1x64x3 + 3, 1x1x64x5 + 5 there"
    actions = [row.action for row in rows]
    assert (actions.count("loaded"), actions.count("skipped")) == (8 + 2 + 3, 0)


def test_what_fits_nowhere_is_a_mistake(tmp_path):
    narrow, wide = (matfiles.write_mat(tmp_path / f"{n}.mat", matfiles.vgg_convs(11, (n,) * 5)) for n in (4, 6))
    one, other = (build.build_model("fcn8s", num_classes=n, weights=str(path)) for n, path in ((3, narrow), (2, wide)))
    before = one.get_weights()
    with pytest.raises(UserError, match=r"--init_from=wide has no layer that fits .*conv1_1 \(3x3x3x4 \+ 4, 3x3x3x6"):
        warm_start.load(one, other, name="wide")
    assert all(np.array_equal(*pair) for pair in zip(before, one.get_weights(), strict=True))


def test_score_layers_are_those_that_change_with_the_classes():
    def network(classes):
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(3, 1, name="as_many_by_chance")(images)
        return keras.Model(images, keras.layers.Conv2D(classes, 1, name="scores")(x))

    assert warm_start.score_layers(network) == {"scores"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "does not exist"), ("a.txt", "is no .keras file"), ("none.keras", "does not exist"), ("", "is no run")],
)
def test_there_must_be_a_model(tmp_path, name, said, monkeypatch):
    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(train.system, "load_tensorflow", lambda: pytest.fail("it takes seconds"))
    with pytest.raises(UserError, match=said):
        trained.find(str(tmp_path / name))


def test_arch_and_weights_default_to_those_of_the_run(source, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (source.logs_dir, source.model):
        config = flags.config_from_flags(["main.py", f"--init_from={name}"])
        assert (config.arch, config.weights, config.dataset) == ("fcn8s", weights, "shapes")
    typed = flags.config_from_flags(["main.py", f"--init_from={name}", "--weights=tiny", "--arch=original"])
    assert (typed.arch, typed.weights) == ("original", "tiny")


def test_scores_stay_where_skips_are_scaled_otherwise(weights):
    """From a network of --staged to the one that is trained at once."""
    plain, scaled = (
        build.build_model("fcn8s_paper", num_classes=3, weights=weights, flags={"plain_skips": each})
        for each in (True, False)
    )
    for layer in plain.layers:
        if layer.weights:
            layer.set_weights([np.random.default_rng(0).normal(0, 0.1, weight.shape) for weight in layer.weights])
    assert {row.action for row in warm_start.load(scaled, plain, name="plain")} == {"loaded"}
    photos = np.random.default_rng(1).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    want = plain(photos)
    np.testing.assert_allclose(scaled(photos), want, rtol=1e-3, atol=1e-5 * np.abs(want).max())
