"""Flags that were typed and that nothing would read. They may stand in the config of a run. No TensorFlow."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from fcn_tf import registry
from fcn_tf.config.config import Config
from fcn_tf.config.conflicts import not_staged
from fcn_tf.config.flag import flag_name, flag_of, listed
from fcn_tf.errors import UserError


class _Location(NamedTuple):
    """A flag that names a folder, which only some values of another flag read."""

    flag: str
    holds: str
    chooser: str
    read: Callable[[Config], bool]
    modes: Collection[str]  # in other modes nobody reads it
    fix: str


_LOCATIONS = (
    _Location(
        "data_dir",
        "holds a data set in files",
        "dataset",
        lambda config: registry.resolve(registry.DATASETS[config.dataset]).in_files,
        [mode for mode in registry.MODES if mode not in ("predict", "explain", "serve")],
        "--dataset=ade20k (FCN.tensorflow's data) or --dataset=folder (your own images and masks)",
    ),
    _Location(
        "model_dir",
        "holds downloaded weights",
        "weights",
        lambda config: config.weights in registry.WEIGHTS,
        ("train", "search"),
        "--weights=vgg19",
    ),
)


def _idle(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Flags of a training that would do nothing, or not what they say: their names, and what is wrong.

    A run that has them is as it is: it may be continued and used, so these hold for what is typed.
    """
    if config.mode == "search" and config.class_weights != Config.class_weights:
        yield (
            ("class_weights",),
            f"--mode=search tries --class_weights itself, got --class_weights={config.class_weights}; leave it out.",
        )
    if config.class_weights != Config.class_weights and not registry.takes_class_weights(config.loss):
        users = [name for name in registry.LOSSES if registry.takes_class_weights(name)]
        yield (
            ("class_weights", "loss"),
            f"--class_weights={config.class_weights} has no effect on --loss={config.loss}; use --loss="
            f"{listed(users, 'or')}, alone or in a sum, or leave it out.",
        )
    if config.trunk_rate and config.freeze == ",".join(registry.STAGES):
        yield (
            ("trunk_rate", "freeze"),
            f"--trunk_rate={config.trunk_rate:g} has no effect with --freeze=trunk; leave one of the two out.",
        )
    if config.warmup_steps > config.max_steps:
        yield (
            ("warmup_steps", "max_steps"),
            f"--warmup_steps={config.warmup_steps} of --max_steps={config.max_steps} would end the training before it "
            "reaches its --learning_rate; give fewer, or more --max_steps.",
        )
    if config.staged and config.trunk == "alexnet":
        yield (
            ("staged", "trunk"),
            f"--staged trains {', '.join(registry.STAGED)}, which are no FCN-AlexNet, got --trunk=alexnet; give "
            "--trunk=vgg, or --arch=fcn32s_alexnet without --staged.",
        )
    if config.arch == "fcn32s_alexnet" and config.trunk not in ("", "alexnet"):
        yield (
            ("arch", "trunk"),
            f"--arch=fcn32s_alexnet has layers for AlexNet, got --trunk={config.trunk}; give --trunk=alexnet, or "
            "--arch=fcn32s.",
        )
    if config.freeze and config.weights == "none" and not config.init_from:
        yield (
            ("freeze", "weights"),
            f"--freeze={config.freeze} would keep the random weights of --weights=none; leave --freeze out, or give "
            "other --weights or --init_from.",
        )


def effective(config: Config, given: Mapping[str, Any]) -> Config:
    """The same config, unless something was typed that nothing would read.

    Raises:
      UserError: if so.
    """
    if config.mode in ("train", "search"):
        for names, message in _idle(config):
            if not given.keys().isdisjoint(names):
                raise UserError(message)
    for field in dataclasses.fields(Config):
        modes = flag_of(field).modes
        if modes and config.mode not in modes and given.get(field.name, field.default) != field.default:
            raise UserError(
                f"--{flag_name(field)} has no effect on --mode={config.mode}; use --mode={listed(modes, 'or')}, or "
                "leave it out."
            )
    if config.staged and given.get("arch", config.arch) != config.arch:
        raise UserError(not_staged(given["arch"]))  # typed, though it is the default, which --staged has replaced
    wrong = [
        f"--{each.flag}={getattr(config, each.flag)} {each.holds}, but --{each.chooser} is "
        f"{getattr(config, each.chooser)}{'' if each.chooser in given else ', by default'}: "
        f"add {each.fix}, or leave out --{each.flag}."
        for each in _LOCATIONS
        if each.flag in given and config.mode in each.modes and not each.read(config)
    ]
    if wrong:
        raise UserError(" ".join(wrong))
    return config
