"""How the run that a command is about completes its flags."""

import pytest

from fcn_tf.config import RESUMABLE, Config, merge
from fcn_tf.errors import UserError
from tests.config.saved import saved


def test_a_run_that_saved_its_crops_as_a_number_goes_on():
    run = {**saved(dataset="camvid"), "image_size": 320}
    assert merge({}, run).image_size == merge({"image_size": "320x320"}, run).image_size == "320"
    with pytest.raises(UserError, match="--image_size=320, got --image_size=320x416"):
        merge({"image_size": "320x416"}, run)


def test_staged_training_scores_skips_as_they_come_unless_told_otherwise():
    assert merge({"staged": True}, None).plain_skips and not merge({"arch": "fcn8s_paper"}, None).plain_skips
    assert not merge({"staged": True, "plain_skips": False}, None).plain_skips
    assert not merge({}, saved(staged=True)).plain_skips  # a run continues as it was started


def test_a_new_run_has_the_network_of_the_one_it_starts_from():
    origin = saved(arch="original", precision="bfloat16", weights="some.mat", seed=5, dataset="camvid")
    config = merge({"init_from": "there"}, None, origin=origin)
    assert (config.arch, config.precision, config.weights) == ("original", "bfloat16", "some.mat")
    assert (config.seed, config.dataset) == (0, "shapes")
    config = merge({"arch": "fcn8s"}, None, origin=origin)
    assert (config.arch, config.precision, config.weights) == ("fcn8s", "float32", "some.mat")


@pytest.mark.parametrize(
    ("origin", "given", "trunk"),
    [
        ({"arch": "fcn8s_mindspore"}, {}, ""),
        ({"arch": "fcn8s_mindspore"}, {"arch": "light"}, "vgg_bn"),
        ({"arch": "fcn8s_mindspore"}, {"staged": True}, "vgg_bn"),
        ({"arch": "fcn32s_alexnet"}, {"arch": "fcn16s"}, "alexnet"),
        ({"arch": "light", "trunk": "vgg_bn"}, {"arch": "fcn8s"}, "vgg_bn"),
        ({"arch": "light"}, {"arch": "fcn8s_mindspore"}, "vgg"),
        ({"arch": "light"}, {"arch": "fcn8s_mindspore", "trunk": "vgg_bn"}, "vgg_bn"),
    ],
)
def test_a_new_run_has_the_trunk_of_the_one_it_starts_from_whatever_its_own_arch_would_take(origin, given, trunk):
    assert merge({"init_from": "there", **given}, None, origin=saved(**origin)).trunk == trunk


def test_without_a_run_only_what_was_given_counts():
    assert merge({"arch": "original"}, None) == Config(arch="original")


def test_other_modes_take_what_was_not_given_from_the_run():
    run = saved(dataset="camvid", data_dir="cam", arch="original", image_size=64, ignore_label="none", seed=5)
    config = merge({"mode": "evaluate", "logs_dir": "there"}, run)
    assert config == Config(
        mode="evaluate",
        logs_dir="there",
        dataset="camvid",
        data_dir="cam",
        arch="original",
        image_size=64,
        ignore_label="none",
        seed=5,
    )


def test_evaluate_may_name_another_folder_or_split():
    config = merge({"mode": "evaluate", "data_dir": "other", "split": "test"}, saved(dataset="camvid", data_dir="cam"))
    assert (config.dataset, config.data_dir, config.split) == ("camvid", "other", "test")


def test_resume_takes_the_run_as_it_was():
    assert merge({}, saved(learning_rate=3e-4, max_steps=9)) == Config(learning_rate=3e-4, max_steps=9)


@pytest.mark.parametrize("name", RESUMABLE)
def test_resume_may_change_how_long_and_how_often(name):
    texts = {"log_to": "mlflow", "on_nan": "rollback", "data_dir": "moved"}
    value = texts.get(name) or {bool: True}.get(type(getattr(Config(), name)), 77)
    dataset = "camvid" if name == "data_dir" else "shapes"  # which needs no folder
    assert getattr(merge({name: value}, saved(batch_size=77, dataset=dataset)), name) == value


@pytest.mark.parametrize("name", [name for name in Config().to_json() if name not in RESUMABLE])
def test_resume_refuses_every_other_change(name):
    others = {
        "dataset": "camvid",
        "arch": "original",
        "precision": "float16",
        "crop": "squash",
        "resize": "nearest",
        "augment": False,
        "ignore_label": "7",
        "on_bad_example": "skip",
        "loss": "focal",
        "freeze": "conv1",
        "optimizer": "adamw",
        "schedule": "poly",
        "momentum": 0.5,
        "image_size": "12",
        "scales": "0.5,1",
        "nesterov": True,
        "palette": "hls",
        "trunk": "vgg_bn",
        "fuse": "concat",
        "learn_last_upsampling": True,
        "plain_skips": True,
        "quirks": "none",
        "staged": True,
        "longest_side": 512,
    }
    other = others.get(name, "other" if isinstance(getattr(Config(), name), str) else 0.5)
    other = 12 if isinstance(getattr(Config(), name), int) and name not in others else other
    users = {
        "momentum": {"optimizer": "sgd"},
        "nesterov": {"optimizer": "sgd"},
        "weight_decay": {"optimizer": "adamw"},
        "fuse": {"arch": "fcn8s"},
        "learn_last_upsampling": {"arch": "fcn32s"},
        "plain_skips": {"arch": "fcn16s"},
        "quirks": {"arch": "original"},
        "stage_rate": {"arch": "fcn8s_paper", "staged": True},
    }
    run = saved(**users.get(name, {}))
    with pytest.raises(UserError) as caught:
        merge({name: other}, run)
    message = str(caught.value)
    assert f"--{name}={other}" in message and f"--{name}={run[name]}" in message and "--logs_dir" in message


@pytest.mark.parametrize("mode", ["evaluate", "test", "visualize", "predict"])
@pytest.mark.parametrize(("name", "other"), [("arch", "original"), ("precision", "bfloat16")])
def test_a_model_is_used_as_it_was_trained(mode, name, other):
    given = {"mode": mode} | ({"input": "photos"} if mode == "predict" else {})
    with pytest.raises(UserError, match=f"--{name}={other}.*leave the flag out"):
        merge({name: other, **given}, saved())
    assert getattr(merge({name: other, **given}, saved(**{name: other})), name) == other
    assert getattr(merge(given, saved(**{name: other})), name) == other


def test_resume_accepts_the_same_values_again():
    flags = saved(arch="original", batch_size=4)
    assert merge({"arch": "original", "batch_size": 4, "mode": "train"}, flags) == Config(arch="original", batch_size=4)


def test_flags_of_other_versions_are_passed_over():
    older = saved(arch="original")
    del older["dropout"]
    assert merge({"dropout": 0.15}, {**older, "of_the_future": 1}) == Config(arch="original")
    with pytest.raises(UserError, match="holds a run with --dropout=0.15, got --dropout=0.5"):
        merge({"dropout": 0.5}, older)


@pytest.mark.parametrize("flags", [{"batch_size": "8"}, {"arch": ["fcn8s"]}, {"augment": "yes"}, {"seed": None}])
def test_a_value_of_another_type_in_config_json_is_a_mistake_to_fix(flags):
    with pytest.raises(UserError, match=f"config.json.*{next(iter(flags))}"):
        merge({"mode": "evaluate"}, flags)


def test_an_empty_value_of_a_run_is_told_by_what_it_means():
    with pytest.raises(UserError) as caught:
        merge({"mode": "train", "trunk": "vgg_bn"}, saved(arch="fcn8s_mindspore") | {"trunk": "vgg"})
    assert "holds a run with --trunk=vgg, got --trunk=vgg_bn:" in str(caught.value)
    for arch, trunk, other in (("fcn8s", "vgg", "vgg_bn"), ("fcn32s_mindspore", "vgg_bn", "vgg")):
        with pytest.raises(UserError) as caught:
            merge({"mode": "train", "trunk": other}, saved(arch=arch))
        assert f"holds a run without --trunk ({trunk}, its arch's own), got --trunk={other}:" in str(caught.value)
        assert str(caught.value).endswith(", or leave out --trunk to continue this one.")
        with pytest.raises(
            UserError, match=rf"trained without --trunk \({trunk}, its arch's own\), got --trunk={other}"
        ):
            merge({"mode": "evaluate", "trunk": other}, saved(arch=arch))
        for mode in ("train", "evaluate"):
            assert merge({"mode": mode, "trunk": trunk}, saved(arch=arch)).trunk == "", "its own, by name"
    with pytest.raises(UserError, match="holds a run without --freeze, got .* or leave out --freeze to continue"):
        merge({"mode": "train", "freeze": "trunk"}, saved())
