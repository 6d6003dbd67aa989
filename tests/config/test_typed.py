"""Flags that are refused where they are typed, and taken where a run has them."""

import pytest

from fcn_tf import registry
from fcn_tf.config import Config, merge
from fcn_tf.errors import UserError
from tests.config.saved import saved


def test_staged_training_ends_with_the_last_arch(monkeypatch):
    monkeypatch.setattr(registry, "STAGED", ("fcn8s", "original"))
    assert Config(staged=True).arch == "original" == merge({"staged": True, "arch": "original"}, None).arch
    for given in ({"staged": True, "arch": "fcn8s"}, {"arch": "fcn8s"}):
        with pytest.raises(UserError, match="^--staged trains fcn8s, original, got --arch=fcn8s; leave out --arch.$"):
            merge(given, saved(staged=True) if len(given) == 1 else None)
    with pytest.raises(UserError, match="--stage_rate=0.01 has no effect without --staged"):
        Config(stage_rate=0.01)


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
