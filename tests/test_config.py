"""A run's settings: what they must be, what a data set fills in, and how a saved run completes them."""

import dataclasses
import json
from typing import Any

import pytest

from fcn_tf import registry
from fcn_tf.config import RESUMABLE, Config, merge
from fcn_tf.errors import UserError


def saved(**flags):
    """The "flags" of config.json after training with these."""
    return json.loads(json.dumps(Config(**flags).to_json()))


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Config(), "seed", 1)  # noqa: B010 (mypy would not let it through)


@pytest.mark.parametrize("dataset", ["shapes", "camvid", "ade20k"])
def test_the_data_set_fills_in_what_was_not_given(dataset):
    config = Config(dataset=dataset)
    for name in ("image_size", "batch_size", "max_steps", "eval_every", "save_every"):
        assert int(getattr(config, name)) > 0
        seven: dict[str, Any] = {name: 7}
        assert int(getattr(dataclasses.replace(config, **seven), name)) == 7


def test_zero_is_told_where_it_is_a_default():
    with pytest.raises(
        UserError, match=r"^--batch_size must be 1 or more, up to 65536 \(or 0: the data set's .*\), got -3\.$"
    ):
        Config(batch_size=-3)
    with pytest.raises(UserError, match=r"^--log_every must be 1 or more, up to 10\^15, got 0\.$"):
        Config(log_every=0)


def test_no_text_holds_a_character_that_no_path_does():
    for name in ("input", "logs_dir", "class_"):
        values: dict[str, Any] = {name: "a\0b"}
        with pytest.raises(UserError, match=rf"^--{name.rstrip('_')} must have no NUL characters, got 'a\\x00b'\.$"):
            Config(**values)


@pytest.mark.parametrize(
    ("flag", "typed", "meant"),
    [
        ("mode", "visualise", "visualize"),
        ("mode", "Eval", "evaluate"),
        ("split", "val", "validation"),
        ("dataset", "ade", "ade20k"),
        ("schedule", "cosin", "cosine"),
        ("loss", "cross_entropy+dise", "dice"),
        ("freeze", "conv1,trunc", "trunk"),
    ],
)
def test_a_value_near_a_choice_is_told(flag, typed, meant):
    values: dict[str, Any] = {flag: typed}
    with pytest.raises(UserError, match=rf"^--{flag} must be .*, got '.*'; did you mean {meant}\?$"):
        Config(**values)


def test_a_value_near_nothing_is_not_guessed_at():
    with pytest.raises(UserError, match=r"got 'sing'\.$"):
        Config(mode="sing")


def test_ade20k_trains_as_upstream_did():
    config = Config(dataset="ade20k")
    assert (config.batch_size, config.image_size, config.max_steps, config.learning_rate) == (2, "224", 100_000, 1e-4)


@pytest.mark.parametrize(
    ("given", "text", "size"),
    [
        (96, "96", (96, 96)),
        ("96", "96", (96, 96)),
        ("96x96", "96", (96, 96)),
        ("360x480", "360x480", (360, 480)),
        ("360X480", "360x480", (360, 480)),
        ("0", "224", (224, 224)),
        ("", "224", (224, 224)),
    ],
)
def test_the_size_of_crops_is_a_side_or_height_and_width(given, text, size):
    config = Config(dataset="camvid", image_size=given)
    assert (config.image_size, config.crop_size) == (text, size)


@pytest.mark.parametrize("wrong", ["360x", "x480", "360x480x3", "0x480", "3.5", "360,480", "-1x5", "²"])
def test_a_wrong_size_of_crops(wrong):
    with pytest.raises(UserError, match="--image_size must be a side.*HEIGHTxWIDTH"):
        Config(image_size=wrong)


def test_a_run_that_saved_its_crops_as_a_number_goes_on():
    run = {**saved(dataset="camvid"), "image_size": 320}
    assert merge({}, run).image_size == merge({"image_size": "320x320"}, run).image_size == "320"
    with pytest.raises(UserError, match="--image_size=320, got --image_size=320x416"):
        merge({"image_size": "320x416"}, run)


def test_test_is_another_name_of_evaluate():
    assert Config(mode="test").mode == "evaluate"


@pytest.mark.parametrize(
    "name, value",
    [
        ("mode", "sing"),
        ("dataset", "imagenet"),
        ("arch", "fcn9s"),
        ("split", "training"),
        ("precision", "float64"),
        ("crop", "round"),
        ("resize", "cubic"),
        ("palette", "rainbow"),
        ("sliding_window", -1),
        ("sliding_window", 31),
        ("image_size", -1),
        ("batch_size", -2),
        ("max_steps", -3),
        ("eval_every", -1),
        ("save_every", -1),
        ("log_every", 0),
        ("accumulate", 0),
        ("accumulate", 3),
        ("resume_from", "newest"),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-4),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("scales", "2-1"),
        ("class_crops", 1.5),
        ("rotate", -5.0),
        ("rotate", 200.0),
        ("jitter", -0.5),
        ("seed", -1),
        ("seed", 2**31),
        ("freeze", "conv6"),
        ("freeze", "conv1,conv1_2"),
        ("freeze", "conv1,"),
        ("ema", 1.0),
        ("clip_norm", -1.0),
        ("clip_norm", float("inf")),
        ("head_rate", -1.0),
        ("trunk_rate", float("nan")),
        ("bias_rate", 0.0),
        ("trunk", "resnet"),
        ("fuse", "mean"),
        ("quirks", "transposed,"),
        ("quirks", "transposed,transposed"),
        ("quirks", "none,init"),
        ("ignore_label", "some"),
        ("ignore_label", "-1"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_flag_and_the_value(name, value):
    with pytest.raises(UserError) as caught:
        Config(**{name: value})
    message = str(caught.value)
    assert f"--{name}" in message and str(value) in message and "\n" not in message


@pytest.mark.parametrize("value", ["auto", "none", "0", "255"])
def test_ignore_labels(value):
    assert Config(ignore_label=value).ignore_label == value


def test_the_same_stages_are_the_same_wish():
    assert Config(freeze="conv2,conv1,conv2").freeze == "conv1,conv2" == merge({}, saved(freeze="conv2,conv1")).freeze
    assert Config(freeze="trunk").freeze == Config(freeze="conv5,conv4,conv3,conv2,conv1").freeze


def test_a_flag_that_the_arch_does_not_have_is_a_conflict():
    of_paper = {"learn_last_upsampling": False, "plain_skips": False}
    assert Config(arch="fcn16s", fuse="concat").arch_flags() == {"fuse": "concat", **of_paper}
    assert Config(arch="fcn32s").arch_flags() == {"learn_last_upsampling": False}
    with pytest.raises(UserError, match="--fuse=concat has no effect on --arch=original; use --arch=fcn8s or fcn16s"):
        Config(arch="original", fuse="concat")
    with pytest.raises(UserError, match="--learn_last_upsampling=True has no effect on --arch=fcn8s; .* leave it out"):
        Config(arch="fcn8s", learn_last_upsampling=True)


def test_photos_of_one_size_need_no_tiles():
    assert Config(longest_side=512).longest_side == 512
    with pytest.raises(UserError, match="the run has --longest_side=512, .* --sliding_window=256 .* leave it out"):
        Config(mode="predict", input="a.png", longest_side=512, sliding_window=256)
    with pytest.raises(UserError, match="--crop=squash trains on whole photos .* got --longest_side=512"):
        Config(longest_side=512, crop="squash")
    origin = Config(longest_side=96).to_json()
    assert merge({"init_from": "x", "arch": "fcn8s"}, None, origin=origin).longest_side == 96
    for wrong in (-1, 31, 16_385):
        with pytest.raises(UserError, match="--longest_side must be 0 .* from 32 to 16384 pixels"):
            Config(longest_side=wrong)


def test_the_same_quirks_are_the_same_text():
    def quirks(text):
        return Config(arch="original", quirks=text).quirks

    assert quirks("init,transposed") == "transposed,init"
    assert quirks(",".join(reversed(registry.QUIRKS))) == "all" and quirks("none") == "none"
    with pytest.raises(UserError, match="--quirks=none has no effect on --arch=light; use --arch=original, or"):
        Config(quirks="none")


def test_parts_divide_what_is_trained():
    assert Config(batch_size=6, accumulate=3).accumulate == 3
    assert Config(mode="evaluate", batch_size=1, accumulate=3).batch_size == 1, "of the run that is evaluated"
    with pytest.raises(UserError, match="--accumulate=4 does not divide --batch_size=6; use one of 1, 2, 3, 6."):
        Config(batch_size=6, accumulate=4)


@pytest.mark.parametrize("flag", [{"scales": "1"}, {"class_crops": 0.5}, {"rotate": 10.0}, {"jitter": 0.3}])
def test_augmentation_that_would_do_nothing_is_refused(flag):
    (name,) = flag
    assert Config(**flag).scales in ("0.5-2", "1")
    with pytest.raises(UserError, match=f"--{name}=.* has no effect with --noaugment"):
        Config(augment=False, **flag)
    if name in ("scales", "class_crops"):
        with pytest.raises(UserError, match=f"--{name}=.* has no effect with --crop=squash"):
            Config(crop="squash", **flag)


def test_the_same_scales_are_the_same_text():
    assert Config(scales="0.50-2.0") == Config() == merge({"scales": "0.5-2.0"}, saved())


@pytest.mark.parametrize("flags", [{}, {"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_nesterov_needs_momentum(flags):
    with pytest.raises(UserError, match="^--nesterov has no effect on --optimizer=.*; use --optimizer=sgd with"):
        Config(nesterov=True, **flags)
    assert Config(nesterov=True, optimizer="sgd").nesterov


def test_staged_training_ends_with_the_last_arch(monkeypatch):
    monkeypatch.setattr(registry, "STAGED", ("fcn8s", "original"))
    assert Config(staged=True).arch == "original" == merge({"staged": True, "arch": "original"}, None).arch
    for given in ({"staged": True, "arch": "fcn8s"}, {"arch": "fcn8s"}):
        with pytest.raises(UserError, match="^--staged trains fcn8s, original, got --arch=fcn8s; leave out --arch.$"):
            merge(given, saved(staged=True) if len(given) == 1 else None)
    with pytest.raises(UserError, match="--stage_rate=0.01 has no effect without --staged"):
        Config(stage_rate=0.01)


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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "dice", "class_weights": "balanced"}, "--class_weights=balanced has no effect on --loss=dice; use"),
        ({"freeze": "trunk", "trunk_rate": 0.1}, "--trunk_rate=0.1 has no effect with --freeze=trunk; leave one"),
        ({"warmup_steps": 601}, "--warmup_steps=601 of --max_steps=600 would end .*; give fewer, or"),
        ({"staged": True, "trunk": "alexnet"}, "--staged trains .*, got --trunk=alexnet; give --trunk=vgg, or"),
        ({"arch": "fcn32s_alexnet", "trunk": "vgg"}, "--arch=fcn32s_alexnet .*, got --trunk=vgg; give --trunk=alexnet"),
        ({"freeze": "conv1", "weights": "none"}, "--freeze=conv1 would keep the random weights of --weights=none; "),
    ],
)
def test_flags_that_would_do_nothing_in_a_training_are_refused(given, said):
    with pytest.raises(UserError, match=f"^{said}"):
        merge(given, None)
    run = saved(**given)
    assert merge({}, run).to_json() == merge({"mode": "evaluate"}, run).to_json() == run, "an old run is used as it is"


def test_flags_like_these_that_do_something_are_taken():
    assert merge({"loss": "dice+focal", "class_weights": "balanced"}, None).class_weights == "balanced"
    assert merge({"warmup_steps": 600, "freeze": "conv1", "trunk_rate": 0.1}, None).warmup_steps == 600
    assert merge({"freeze": "conv1", "weights": "none", "init_from": "there"}, None).freeze == "conv1"
    assert merge({"mode": "evaluate", "loss": "dice", "class_weights": "balanced"}, saved()).loss == "dice"


def test_a_search_tries_class_weights_itself():
    with pytest.raises(UserError, match="^--mode=search tries --class_weights itself, got --class_weights=balanced; l"):
        merge({"mode": "search", "class_weights": "balanced"}, None)


def test_predict_needs_an_input():
    with pytest.raises(UserError, match="--input"):
        Config(mode="predict")
    assert Config(mode="predict", input="photo.jpg").input == "photo.jpg"


def test_config_json_holds_the_run_but_not_the_request():
    flags = saved(mode="train", logs_dir="elsewhere", arch="original", seed=3)
    assert flags["arch"] == "original" and flags["seed"] == 3 and flags["batch_size"] == 8
    assert not {"mode", "logs_dir", "split", "input", "output_dir", "predictions", "resume_from"} & set(flags)


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


@pytest.mark.parametrize("flags", [{"batch_size": "8"}, {"arch": ["fcn8s"]}, {"augment": "yes"}, {"seed": None}])
def test_a_value_of_another_type_in_config_json_is_a_mistake_to_fix(flags):
    with pytest.raises(UserError, match=f"config.json.*{next(iter(flags))}"):
        merge({"mode": "evaluate"}, flags)
