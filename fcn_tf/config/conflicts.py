"""Flags, each right by itself, that contradict each other in whatever config they stand. No TensorFlow."""

from collections.abc import Iterator

from fcn_tf import registry
from fcn_tf.config.fields import Fields

ARCH_FLAGS = sorted({name for entry in registry.HEADS.values() for name in getattr(entry, "flags", ())})
_OR_SEVERAL = "a folder, a quoted pattern such as 'photos/*.jpg', or - for paths on standard input"


def conflicts(config: Fields) -> Iterator[str]:
    """What two flags, each right by itself, cannot mean together."""
    if config.mode == "evaluate" and config.predictions:
        for name in ("tta", "sliding_window"):
            if getattr(config, name):
                yield (
                    f"--predictions scores label images made elsewhere, so --{name} has no model to work on; "
                    "drop one of the two."
                )
    if config.mode == "train" and config.batch_size % config.accumulate:
        divisors = [str(parts) for parts in range(1, config.batch_size + 1) if config.batch_size % parts == 0]
        yield (
            f"--accumulate={config.accumulate} does not divide --batch_size={config.batch_size}; use one of "
            f"{', '.join(divisors)}."
        )
    if config.longest_side and config.crop == "squash":
        yield (
            f"--crop=squash trains on whole photos whatever their size, got --longest_side={config.longest_side}; "
            "leave one of the two out."
        )
    if config.longest_side and config.sliding_window:
        yield (
            f"the run has --longest_side={config.longest_side}, to which every picture is brought, so --sliding_window="
            f"{config.sliding_window} would save no memory and show no more; leave it out, or for finer labels train "
            "with a larger --longest_side."
        )
    if config.optimizer != "sgd" and config.momentum != Fields.momentum:
        yield (
            f"--momentum={config.momentum:g} has no effect on --optimizer={config.optimizer}; add --optimizer=sgd, or "
            "leave it out."
        )
    for name in ("scales", "class_crops", "rotate", "jitter"):
        without = "--noaugment" if not config.augment else ""
        if config.crop == "squash" and name in ("scales", "class_crops"):
            without = without or "--crop=squash, which takes whole photos"
        if without and getattr(config, name) != getattr(Fields, name):
            yield f"--{name}={getattr(config, name)} has no effect with {without}; leave one of the two out."
    if config.staged and config.arch != registry.STAGED[-1]:
        yield not_staged(config.arch)
    if config.stage_rate != Fields.stage_rate and not config.staged:
        yield f"--stage_rate={config.stage_rate:g} has no effect without --staged; add it, or leave this out."
    if config.optimizer == "adam" and config.weight_decay:
        yield (
            f"--optimizer=adam has no weight decay, got --weight_decay={config.weight_decay:g}; use --optimizer=adamw "
            "or sgd."
        )
    if config.nesterov and (config.optimizer != "sgd" or not config.momentum):
        yield (
            f"--nesterov has no effect on --optimizer={config.optimizer} with --momentum={config.momentum:g}; use "
            "--optimizer=sgd with a --momentum, or leave it out."
        )
    for name in ARCH_FLAGS:
        value = getattr(config, name)
        if value != getattr(Fields, name) and not registry.arch_flags(config.arch, {name: value}):
            owners = [arch for arch in registry.HEADS if registry.arch_flags(arch, {name: value})]
            yield (
                f"--{name}={value} has no effect on --arch={config.arch}; use --arch={' or '.join(owners)}, or leave "
                "it out."
            )
    if config.web_runtime != Fields.web_runtime and "web" not in config.format.split(","):
        yield f"--web_runtime has no effect on --format={config.format}; add web, or leave it out."
    if config.mode == "predict" and not config.input:
        yield f"--mode=predict needs --input: an image, a video, {_OR_SEVERAL}."
    if config.mode == "explain" and not config.input:
        yield f"--mode=explain needs --input: an image, {_OR_SEVERAL}."
    if config.mode == "prepare" and not config.output_dir:
        yield "--mode=prepare needs --output_dir: where the shards go, such as data/prepared."


def not_staged(arch: str) -> str:
    """What is said of --staged with an --arch that it does not end with."""
    return f"--staged trains {', '.join(registry.STAGED)}, got --arch={arch}; leave out --arch."
