"""The flags of a command, completed by those of the run that it is about. No TensorFlow."""

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from fcn_tf import registry
from fcn_tf.config import checks, scopes
from fcn_tf.config.config import Config
from fcn_tf.config.flag import Scope, flag_of
from fcn_tf.config.typed import effective
from fcn_tf.errors import UserError
from fcn_tf.io import trained
from fcn_tf.io.run_dir import Run


def complete(given: dict[str, Any]) -> Config:
    """The settings that were given, completed by those of the run that they are about, where there is one.

    Raises:
      UserError: see `merge`, or if the run's config.json is damaged.
    """
    saved = _saved(given)
    if given.get("mode") == "visualize" and "seed" not in given:
        given = {**given, "seed": secrets.randbelow(checks.SEEDS)}
    origin = trained.config_of(given["init_from"]).get("flags") if saved is None and given.get("init_from") else None
    return merge(given, saved, origin=origin)


def _saved(given: dict[str, Any]) -> dict[str, Any] | None:
    """The flags of the run that --logs_dir names, where it exists.

    A training that never reached a checkpoint left nothing to continue: it may start anew with corrected flags.
    """
    run = Run(given.get("logs_dir", Config.logs_dir))
    run.require_layout()
    if given.get("mode") in ("check", "prepare") and "dataset" in given:
        return None  # other data than the run's, perhaps: it is looked at afresh
    if not run.exists() or (given.get("mode", "train") == "train" and not run.has_begun()):
        return None
    saved = run.read_config().get("flags")
    if not isinstance(saved, dict):
        raise UserError(f'{run.config} has no "flags"; restore it, or train into a new --logs_dir.')
    return saved


def merge(given: dict[str, Any], saved: dict[str, Any] | None, *, origin: Mapping[str, Any] | None = None) -> Config:
    """Completes the flags given on the command line by those of the run they are about.

    Args:
      given: flag values by name, only those that were typed.
      saved: "flags" of the run's config.json, or None where there is no run.
      origin: "flags" of the run that a new one starts from, which has the same network where nothing else is given.

    Raises:
      UserError: when a typed flag has no effect, a run would be continued with other settings than it was started
        with, or its model used with others than it has.
    """
    if saved is None:
        if given.get("staged"):  # a run that is there continues as it was started
            given = {**registry.arch_flags(registry.STAGED[-1], {"plain_skips": True}), **given}
        return effective(Config(**{**_inherited(given, _known(origin or {})), **given}), given)
    saved = _known(saved)
    if given.get("dataset", saved.get("dataset")) != saved.get("dataset"):
        saved = {name: value for name, value in saved.items() if name not in scopes.names(Scope.DATA)}
    arch = saved.get("arch", Config.arch)
    if saved.get("trunk") == "" and given.get("trunk") == registry.own_trunk(arch) and given.get("arch", arch) == arch:
        given = {**given, "trunk": ""}  # the same trunk by its name
    config = Config(**{**saved, **given})
    if config.mode == "train":
        # What was typed comes first: it may be why others differ.
        for name, value in sorted(config.to_json().items(), key=lambda item: item[0] not in given):
            was = saved.get(name, getattr(Config, name))  # of a run that is older than the flag, its default
            if name not in scopes.RESUMABLE and (name in saved or name in given) and was != value:
                fix = f"leave out --{name}" if was == "" else f"--{name}={was}"
                raise UserError(
                    f"{config.logs_dir} holds a run {_had(name, was, saved)}, got --{name}={value}: a run continues "
                    f"as it was started; give another --logs_dir, or {fix} to continue this one."
                )
    if config.mode in scopes.OF_A_RUN:
        for name in scopes.names(Scope.MODEL):
            was = saved.get(name, getattr(Config, name))
            if (name in saved or name in given) and was != getattr(config, name):
                raise UserError(
                    f"the model in {config.logs_dir} was trained {_had(name, was, saved)}, got "
                    f"--{name}={getattr(config, name)}: it is used as it was trained; leave the flag out."
                )
    return effective(config, given)


def _had(name: str, value: Any, saved: Mapping[str, Any]) -> str:
    """The value that a run has of a flag, to follow what it is: "with --arch=fcn8s"."""
    if value != "":
        return f"with --{name}={value}"
    own = f" ({registry.own_trunk(saved.get('arch', Config.arch))}, its arch's own)" if name == "trunk" else ""
    return f"without --{name}{own}"


def _known(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Those flags of a config.json that there are today.

    Raises:
      UserError: if one has a value that its flag does not take.
    """
    fields = {field.name: field for field in dataclasses.fields(Config)}
    known = {name: value for name, value in flags.items() if name in fields}
    if type(known.get("image_size")) is int:  # of a run that was made when crops were squares
        known["image_size"] = str(known["image_size"])
    for name, value in known.items():
        kind, check = type(fields[name].default), flag_of(fields[name]).check
        expected = kind.__name__ if type(value) is not kind else "" if check is None else check.expected
        if type(value) is not kind or not (check is None or value in (0, "") or check.accepts(value)):
            raise UserError(
                f"config.json says {name} is {repr(value)[:80]}, expected {expected}; restore it, or train into "
                "a new --logs_dir."
            )
    return known


def _inherited(given: Mapping[str, Any], origin: Mapping[str, Any]) -> dict[str, Any]:
    """What decides about the layers of a run's model, and their widths; of another arch, about those of its trunk."""
    if given.get("arch", origin.get("arch")) == origin.get("arch") and not given.get("staged"):
        names = ["weights", "model_dir", *scopes.names(Scope.MODEL)]
        return {name: origin[name] for name in names if name in origin}
    kept = {name: origin[name] for name in ("weights", "model_dir", "trunk", "longest_side") if name in origin}
    if not kept.get("trunk") and "arch" in origin:
        kept["trunk"] = registry.own_trunk(origin["arch"])
    return kept
