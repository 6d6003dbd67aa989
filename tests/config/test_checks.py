"""Values that flags do not take, and what is said of them."""

from typing import Any

import pytest

from fcn_tf.config import Config
from fcn_tf.errors import UserError


def test_zero_is_told_where_it_is_a_default():
    with pytest.raises(
        UserError, match=r"^--batch_size must be 1 or more, up to 65536 \(or 0: the data set's .*\), got -3\.$"
    ):
        Config(batch_size=-3)
    with pytest.raises(UserError, match=r"^--log_every must be 1 or more, up to 10\^15, got 0\.$"):
        Config(log_every=0)


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


@pytest.mark.parametrize("wrong", ["360x", "x480", "360x480x3", "0x480", "3.5", "360,480", "-1x5", "²"])
def test_a_wrong_size_of_crops(wrong):
    with pytest.raises(UserError, match="--image_size must be a side.*HEIGHTxWIDTH"):
        Config(image_size=wrong)


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
