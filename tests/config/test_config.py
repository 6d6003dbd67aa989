"""A run's settings: what a data set fills in, one text for what is the same, and what is saved of them."""

import dataclasses
from typing import Any

import pytest

from fcn_tf import registry
from fcn_tf.config import Config, merge
from fcn_tf.errors import UserError
from tests.config.saved import saved


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


def test_no_text_holds_a_character_that_no_path_does():
    for name in ("input", "logs_dir", "class_"):
        values: dict[str, Any] = {name: "a\0b"}
        with pytest.raises(UserError, match=rf"^--{name.rstrip('_')} must have no NUL characters, got 'a\\x00b'\.$"):
            Config(**values)


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


def test_test_is_another_name_of_evaluate():
    assert Config(mode="test").mode == "evaluate"


def test_the_same_stages_are_the_same_wish():
    assert Config(freeze="conv2,conv1,conv2").freeze == "conv1,conv2" == merge({}, saved(freeze="conv2,conv1")).freeze
    assert Config(freeze="trunk").freeze == Config(freeze="conv5,conv4,conv3,conv2,conv1").freeze


def test_the_same_quirks_are_the_same_text():
    def quirks(text):
        return Config(arch="original", quirks=text).quirks

    assert quirks("init,transposed") == "transposed,init"
    assert quirks(",".join(reversed(registry.QUIRKS))) == "all" and quirks("none") == "none"
    with pytest.raises(UserError, match="--quirks=none has no effect on --arch=light; use --arch=original, or"):
        Config(quirks="none")


def test_the_same_scales_are_the_same_text():
    assert Config(scales="0.50-2.0") == Config() == merge({"scales": "0.5-2.0"}, saved())


def test_config_json_holds_the_run_but_not_the_request():
    flags = saved(mode="train", logs_dir="elsewhere", arch="original", seed=3)
    assert flags["arch"] == "original" and flags["seed"] == 3 and flags["batch_size"] == 8
    assert not {"mode", "logs_dir", "split", "input", "output_dir", "predictions", "resume_from"} & set(flags)
