"""Flags that contradict each other."""

import pytest

from fcn_tf.config import Config, merge
from fcn_tf.errors import UserError


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


@pytest.mark.parametrize("flags", [{}, {"optimizer": "adamw"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_nesterov_needs_momentum(flags):
    with pytest.raises(UserError, match="^--nesterov has no effect on --optimizer=.*; use --optimizer=sgd with"):
        Config(nesterov=True, **flags)
    assert Config(nesterov=True, optimizer="sgd").nesterov


def test_predict_needs_an_input():
    with pytest.raises(UserError, match="--input"):
        Config(mode="predict")
    assert Config(mode="predict", input="photo.jpg").input == "photo.jpg"
