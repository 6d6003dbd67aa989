"""`--mode=train`: trains a run, or continues it."""

import contextlib
import dataclasses
import functools
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcn_tf import __version__, registry
from fcn_tf.config import ARCH_FLAGS, RESUMABLE, Config
from fcn_tf.data import augment, class_weights, crops, datasets, validation_split
from fcn_tf.data.base import Dataset, DatasetSpec
from fcn_tf.data.datasets import run_classes, run_examples
from fcn_tf.data.datasets.run_examples import RunExamples
from fcn_tf.data.masks import infer
from fcn_tf.data.quality import screening
from fcn_tf.data.quality.scan import FileScanCache
from fcn_tf.errors import UserError
from fcn_tf.io import checksums, files, run_log, system, trained
from fcn_tf.io.run_dir import Run, checkpoint_steps
from fcn_tf.models import pretrained

_MOST_HALVINGS = 3  # of the learning rate, by --on_nan=rollback


class _Stage(NamedTuple):
    """One training: the only one of a command, or that of one network of --staged.

    Attributes:
      config: its settings.
      run: where it is written.
      described: the settings for config.json, those of the command where the run is that of the command.
      factor: what --stage_rate has made of the command's --learning_rate.
    """

    config: Config
    run: Run
    described: Config
    factor: float = 1.0


class _Common(NamedTuple):
    """What all trainings of a command have in common.

    Attributes:
      train, validation: the examples.
      weights_file: the path of what --weights names; of "none", of a file as wide.
      loss: a `PixelLoss`.
      strategy: of tf.distribute.
      interrupts: `Interrupts` that listen already; None where this worker is alone.
    """

    train: Dataset
    validation: Dataset
    weights_file: str
    loss: Any
    strategy: Any
    interrupts: Any


def run(config: Config) -> int:
    """Trains to --max_steps, from the newest checkpoint under --logs_dir where there is one, or from the best.

    With --staged the networks of `registry.STAGED` one after another, each from the one before.

    Returns:
      The exit status: 0, or 130 / 143 after SIGINT / SIGTERM.

    Raises:
      UserError: when something about the flags, the data or the weights must be fixed first.
    """
    target = Run(config.logs_dir)
    checkpoint = _best_checkpoint(_remaining(_stages(config))[0].run) if config.resume_from == "best" else None
    with run_examples.locating(target, config.data_dir):
        resolved = datasets.resolve(config.dataset, config.data_dir, **config.data_flags(), cache=target.facts)
    if resolved:
        config = dataclasses.replace(config, **resolved)
    stages = _stages(config)
    _require_same_settings(stages[:-1])
    remaining = _remaining(stages)
    examples, train, validation = _load_data(config, target, remaining[0].run)
    pixel_counts = _check_masks(train, validation, target.facts)
    weights_of_classes = _class_weights(config.class_weights, train, pixel_counts)
    for name in _trackers(config):
        system.require_packages(f"--log_to={name}", {name: name})
    weights_file = pretrained.find(config.weights, config.model_dir)
    origin = _origin(remaining[0])
    if origin is not None:
        _learn_from(config, examples, validation)

    run_log.attach(make=True)
    if (finished := _finished(config, target)) is not None:
        with target.claimed():
            _store(stages, config.data_dir, train)
        print(finished)
        return 0

    # Here, because it takes seconds and mistakes should show at once.
    system.load_tensorflow()
    from fcn_tf.training import distribution

    loss = _loss(config, train.spec, weights_of_classes)
    strategy = distribution.choose_strategy()
    distribution.replica_batch_size(strategy, config.batch_size, accumulate=config.accumulate)
    _note_precision(config.precision)
    chief = distribution.is_chief(strategy)
    # Before a run in the folder is touched. Workers share it, so one of them keeps others out.
    claim = target.claimed() if chief else contextlib.nullcontext()
    together = distribution.several_workers(strategy, lambda: _remaining(stages)[0].run.resume_step())
    with claim, together as interrupts:
        common = _Common(train, validation, weights_file, loss, strategy, interrupts)
        if chief:
            _store(stages, config.data_dir, train)
        if config.staged and chief and not target.has_checkpoint():
            kept = RunExamples(target, config.dataset, config.data_dir, started=False).write(train, validation)
            target.write_config(_describe(config, train.spec, examples=kept))
        for stage in remaining:
            if config.staged:
                number = stages.index(stage) + 1
                print(f"stage {number} of {len(stages)}: --arch={stage.config.arch} in {stage.run.logs_dir}")
            if stage is not remaining[0]:
                origin, checkpoint = _origin(stage), None
                examples = RunExamples(stage.run, config.dataset, config.data_dir, started=False)
                _learn_from(stage.config, examples, validation)
            if status := _train(stage, common, examples=examples, origin=origin, checkpoint=checkpoint):
                return status
    if config.staged:
        print("\n".join(_gains(stages)))
    return 0


def _load_data(config: Config, target: Run, first: Run) -> tuple[RunExamples, Dataset, Dataset]:
    """Loads both splits, compared with the run that is continued, and with the names that it gives its classes.

    Args:
      config: its flags about classes are resolved.
      target: the run of the command.
      first: the run that is trained first, of a network of --staged perhaps.

    Returns:
      What `first` knows of the examples, the training and the validation examples.
    """
    # Without a checkpoint nothing is continued, so another seed may split anew.
    examples = RunExamples(first, config.dataset, config.data_dir, started=first.has_checkpoint())
    for rows in (first.read_history, first.read_training):
        rows()  # what is damaged should show before work begins
    settings = _begun(first) or None
    flags = {**config.data_flags(), "cache": target.facts, "split_rule": examples.split_rule}
    with run_examples.locating(target, config.data_dir):
        datasets.name_skipped(config.dataset, config.data_dir, **config.data_flags())
        train, validation = (
            datasets.load(config.dataset, config.data_dir, split, **flags) for split in ("train", "validation")
        )
    if examples.find_moved(train, validation):
        run_classes.require_same(first, train)
    examples.compare(train, validation)
    if not len(validation):
        raise UserError(f"{config.data_dir} has no validation examples; training needs some to choose the best model.")
    if not first.has_checkpoint():
        _note_few(config, train, validation)
    train = run_classes.in_run(train, settings, config.palette, own=True)
    return examples, train, dataclasses.replace(validation, spec=train.spec)


def _begun(run: Run) -> dict[str, Any]:
    """The config.json of a run that has a checkpoint; {} where there is nothing to continue."""
    return run.read_config() if run.has_checkpoint() and run.exists() else {}


def _loss(config: Config, spec: DatasetSpec, weights: Sequence[float] | None) -> Any:
    """The `PixelLoss` of --loss, with a weight a class or equal ones.

    Raises:
      UserError: if it cannot be computed in the parts of a batch that --accumulate asks for.
    """
    from fcn_tf.training import losses

    loss = losses.PixelLoss(config.loss.split("+"), ignore_label=spec.ignore_label, class_weights=weights)
    if config.accumulate > 1 and loss.indivisible:
        raise UserError(
            f"--accumulate={config.accumulate} cannot divide --loss={config.loss}: {loss.indivisible[0]} compares sums "
            "over the whole batch; use --accumulate=1, with --recompute to save memory."
        )
    return loss


def _stages(config: Config) -> list[_Stage]:
    """The trainings of a command, the last of which is written to --logs_dir, those before to folders in there."""
    if not config.staged:
        return [_Stage(config, Run(config.logs_dir), config)]
    stages: list[_Stage] = []
    for number, arch in enumerate(registry.STAGED):
        last, factor = number == len(registry.STAGED) - 1, config.stage_rate**number
        stage = dataclasses.replace(
            config,
            arch=arch,
            logs_dir=config.logs_dir if last else files.join(config.logs_dir, arch),
            init_from=stages[-1].run.logs_dir if stages else config.init_from,
            learning_rate=config.learning_rate * factor,
            staged=False,
            stage_rate=1.0,
            **{name: getattr(Config, name) for name in ARCH_FLAGS if not registry.arch_flags(arch, {name: None})},
        )
        stages.append(_Stage(stage, Run(stage.logs_dir), config if last else stage, factor))
    return stages


def _remaining(stages: Sequence[_Stage]) -> Sequence[_Stage]:
    """The stages from the last one on that has a checkpoint: those before it are finished."""
    begun = [number for number, stage in enumerate(stages) if stage.run.has_checkpoint()]
    return stages[max(begun, default=0) :]


def _require_same_settings(stages: Sequence[_Stage]) -> None:
    """Raises UserError if the folder of a network of --staged holds a run of other settings, of another command."""
    for stage in stages:
        saved = _begun(stage.run).get("flags") or {}
        for name, value in stage.config.to_json().items():
            if name not in RESUMABLE and saved.get(name, value) != value:
                raise UserError(
                    f"{stage.run.logs_dir} holds a run with --{name}={saved[name]}, but --staged would train there "
                    f"with --{name}={value}; give another --logs_dir."
                )


def _store(stages: Sequence[_Stage], data_dir: str, train: Dataset) -> None:
    """Lets whoever uses a run, or a finished network of --staged, find its data, and call its classes the same."""
    for run in (stage.run for stage in stages if stage.run.exists()):
        saved = run.read_config()
        flags = saved.get("flags") or {}
        if flags.get("data_dir", data_dir) != data_dir:
            run.write_config({**saved, "flags": {**flags, "data_dir": data_dir}})
        run_classes.store(run, train.spec.class_names, claimed=True)


def _finished(config: Config, run: Run) -> str | None:
    """What to say where the files alone show that nothing is left to do; None where they do not.

    They do not where the newest checkpoint has no checksums or other ones, so that an earlier one may have to be used,
    where its validation is missing, and where several networks or processes have to be asked.
    """
    start, alone = run.resume_step(), not (config.staged or config.accumulate > 1 or os.environ.get("TF_CONFIG"))
    if not (start and alone and config.resume_from == "latest" and run.validated(start)):
        return None
    reason = _nothing_to_do(config, run, start, validated=True)
    record = f"{run.newest_checkpoint()}.json"
    if reason is None or not files.exists(record) or checksums.problem(record) is not None:
        return None
    return f"resumed at step {start}\n{reason}"


def _nothing_to_do(config: Config, run: Run, start: int, *, validated: bool) -> str | None:
    """Why a training that has taken `start` steps does not go on; None if it does, as where a validation is missing."""
    if start >= config.max_steps and validated:
        return f"nothing to do: the run has taken {start} of {config.max_steps} steps; give a higher --max_steps"
    if 0 < config.early_stopping <= run.validations_since_best(start):
        return (
            f"nothing to do: the run stopped early at step {start}, with {config.early_stopping} validations since the "
            "best; give a higher --early_stopping, or 0"
        )
    return None


def _origin(stage: _Stage) -> trained.TrainedModel | None:
    """What a training starts from; what a checkpoint holds needs no other start."""
    return trained.find(stage.config.init_from) if stage.config.init_from and not stage.run.has_checkpoint() else None


def _learn_from(config: Config, examples: RunExamples, validation: Dataset) -> None:
    """Lets a run that starts from another know what that was trained on; see `RunExamples.start_from`."""
    examples.start_from(RunExamples(trained.run_of(config.init_from), config.dataset, config.data_dir), validation)


def _gains(stages: Sequence[_Stage]) -> Iterable[str]:
    """A line for each network of --staged: its best mean IoU, and what that gained over the one before."""
    before = None
    for stage in stages:
        best = stage.run.best_validation()
        score = best["val_mean_iou"] if best else math.nan
        gain = "" if before is None else f" ({score - before:+.4f})"
        yield f"{stage.config.arch}: mean IoU {score:.4f}{gain}"
        before = score


def _trackers(config: Config) -> list[str]:
    return config.log_to.split(",") if config.log_to else []


def _best_checkpoint(target: Run) -> int:
    best = target.best_checkpoint()
    if best is None:
        steps = checkpoint_steps(target.checkpoints)
        raise UserError(
            f"--resume_from=best: {target.checkpoints} holds no checkpoint of a validation, found "
            f"{', '.join(f'ckpt-{step}' for step in steps) or 'none'}; leave the flag out to continue from the newest, "
            "or to start."
        )
    return best["step"]


def _train(
    stage: _Stage,
    common: _Common,
    *,
    examples: RunExamples,
    origin: trained.TrainedModel | None,
    checkpoint: int | None,
) -> int:
    """Trains; with --on_nan=rollback again from the best validation, or the newest checkpoint, where that diverges.

    Args:
      stage: the training.
      common: to all of the command.
      examples: what the run knows of them.
      origin: the model to start from, where there is no checkpoint.
      checkpoint: the step of the one to continue from; None for the newest.

    Returns:
      The exit status.
    """
    from fcn_tf.training import distribution
    from fcn_tf.training.failures import Diverged

    config, target = stage.config, stage.run
    if config.on_nan == "rollback" and distribution.others(common.strategy):
        raise UserError("--on_nan=rollback is of one process, and TF_CONFIG names several; use --on_nan=stop.")
    halvings = _halvings(stage)
    while True:
        try:
            return _attempt(stage, common, examples=examples, origin=origin, checkpoint=checkpoint, halvings=halvings)
        except Diverged as error:
            if config.on_nan != "rollback":
                raise
            reason = error.reason
        if halvings == _MOST_HALVINGS:
            raise UserError(
                f"{reason}, though --on_nan=rollback halved the learning rate {halvings} times; look at these files, "
                "or try --precision=float32 or a --learning_rate below "
                f"{config.learning_rate / 2**halvings / stage.factor:g}."
            )
        halvings += 1
        best = target.best_checkpoint()
        checkpoint = best["step"] if best else None
        origin = None if target.has_checkpoint() else origin
        where = f"the best validation, step {checkpoint}" if best else f"step {target.resume_step()}"
        print(f"{reason}; back to {where}, with half the learning rate ({halvings} of {_MOST_HALVINGS} times)")


def _halvings(stage: _Stage) -> int:
    """How often --on_nan=rollback has halved the learning rate of a run; another --learning_rate starts anew."""
    saved = _begun(stage.run)
    same = (saved.get("flags") or {}).get("learning_rate") == stage.described.learning_rate
    halvings = saved.get("halvings")
    return min(halvings, _MOST_HALVINGS) if same and isinstance(halvings, int) and halvings > 0 else 0


def _attempt(
    stage: _Stage,
    common: _Common,
    *,
    examples: RunExamples,
    origin: trained.TrainedModel | None,
    checkpoint: int | None,
    halvings: int,
) -> int:
    """Puts the parts together and runs the loop; arguments as of `_train`, and how often the rate was halved."""
    import keras

    from fcn_tf.training import distribution, resume, schedules
    from fcn_tf.training.hooks import TrainingIntervals

    config, target = stage.config, stage.run
    learning_rate = config.learning_rate / 2**halvings
    keras.backend.clear_session()  # of a training before
    keras.utils.set_random_seed(config.seed)
    network, optimizer = _build(stage, common, learning_rate, origin)
    rate = schedules.learning_rate(
        config.schedule, learning_rate, max_steps=config.max_steps, warmup_steps=config.warmup_steps
    )
    trainer = _trainer(stage, common, network, optimizer, rate)
    start = trainer.restore(checkpoint, by_flag=config.resume_from == "best")
    if start:
        print(f"resumed at step {start}")
    intervals = TrainingIntervals(config.max_steps, config.eval_every, config.save_every, config.log_every)
    validated = not resume.lacks_validation(target, intervals, start)
    if (reason := _nothing_to_do(config, target, start, validated=validated)) is not None:
        print(reason)
        return 0
    if start and (was := schedules.change_rate(optimizer, rate(start - 1))) is not None:
        print(f"learning rate now {rate(start - 1):g} (was {was:g})")
    if distribution.is_chief(common.strategy):
        _begin_records(stage, common, trainer.checkpoints, examples, start=start, halvings=halvings)
    _announce(config, common, network, learning_rate, halvings=halvings, resumed=start > 0)
    status = trainer.fit(intervals, start=start)
    if status == 0:
        step = target.resume_step()
        print(f"done: step {step}; best model in {target.model}; tensorboard --logdir {config.logs_dir}")
    return status


def _build(
    stage: _Stage, common: _Common, learning_rate: float, origin: trained.TrainedModel | None
) -> tuple[Any, Any]:
    """The network, with the weights that it starts from, and its optimiser."""
    from fcn_tf.models import build, weights_table
    from fcn_tf.training import optimizers, resume

    config, spec = stage.config, common.train.spec
    build_network = functools.partial(
        build.build_network,
        config.arch,
        dropout_rate=config.dropout,
        dtype=config.precision,
        trunk=config.trunk,
        longest_side=config.longest_side,
        flags=config.arch_flags(),
    )
    with common.strategy.scope():
        weights = None if config.weights == "none" else common.weights_file
        network = build_network(num_classes=spec.num_classes, weights=weights)
        if stage.run.has_checkpoint():
            resume.require_same_network(network.model, stage.run)
        elif known := pretrained.table(common.weights_file, network.model):
            print(weights_table.show(known))
        network.freeze(config.freeze.split(",") if config.freeze else ())
        network = _with_rates(network, config)
        optimizer = optimizers.build(
            config.optimizer,
            learning_rate,
            factors=network.learning_rate_factors(),
            bias_rate=config.bias_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            nesterov=config.nesterov,
            clip_norm=config.clip_norm,
            scale_loss=config.precision == "float16",
        )
    if origin is not None:
        _start_from(origin, network, spec, build_network)
    return network, optimizer


def _trainer(stage: _Stage, common: _Common, network: Any, optimizer: Any, rate: Callable[[int], float]) -> Any:
    """The `Trainer` of these settings."""
    from fcn_tf.data import pipeline
    from fcn_tf.training.loop import Trainer
    from fcn_tf.training.trackers import TrackMetrics

    config = stage.config
    return Trainer(
        network,
        optimizer,
        strategy=common.strategy,
        train=common.train,
        validation=common.validation,
        run=stage.run,
        batch_size=config.batch_size,
        batches=functools.partial(
            pipeline.training_batches,
            common.train,
            image_size=config.crop_size,
            seed=config.seed,
            augment=_augmentation(config),
            crop=config.crop,
            resize=config.resize,
            longest_side=config.longest_side,
        ),
        seed=config.seed,
        loss=common.loss,
        rate=rate,
        rate_factor=stage.factor,
        ema=config.ema,
        early_stopping=config.early_stopping,
        accumulate=config.accumulate,
        recompute=config.recompute,
        profile=config.profile,
        debug=config.debug,
        more_hooks=[TrackMetrics(name, stage.run, config.to_json()) for name in _trackers(config)],
        interrupts=common.interrupts,
    )


def _begin_records(
    stage: _Stage, common: _Common, checkpoints: Any, examples: RunExamples, *, start: int, halvings: int
) -> None:
    """Drops what the run holds of steps after `start`, and writes examples.json and config.json."""
    target = stage.run
    if start:
        _note_threads(target.read_config() if target.exists() else {})
    # In this order: the history never lacks a row of what would be continued from after a kill.
    dropped = checkpoints.drop_after(start)
    rows = target.truncate_history(start)
    if dropped:
        names = ", ".join(f"ckpt-{step}" for step in dropped)
        print(f"dropped what came after the best validation: {names}, {rows} row(s) of {target.history}")
    kept = examples.write(common.train, common.validation)
    target.write_config(_describe(stage.described, common.train.spec, examples=kept, halvings=halvings))


def _announce(
    config: Config, common: _Common, network: Any, learning_rate: float, *, halvings: int, resumed: bool
) -> None:
    """Prints what is about to be trained, on what, and what that takes."""
    spec, replicas = common.train.spec, common.strategy.num_replicas_in_sync
    trained_count = sum(math.prod(variable.shape) for variable in network.model.trainable_variables)
    print(
        f"{config.arch}, {network.model.count_params():,} parameters, {trained_count:,} of them trained; "
        f"{spec.name}: {len(common.train)} training and {len(common.validation)} validation examples, "
        f"{spec.num_classes} classes; {replicas} replica(s)"
    )
    print(
        f"learning rate {learning_rate:g}{f' (halved {halvings} times)' * bool(halvings)}, times "
        f"{network.trunk_rate:g} in the trunk and {network.head_rate:g} in other layers"
    )
    if config.longest_side:
        print(f"photos are trained on and labelled with {config.longest_side} pixels on their longer side")
        if config.longest_side < max(config.crop_size):
            print(
                f"note: --image_size={config.image_size} is larger than that, so crops are photos enlarged, and photos "
                f"are labelled smaller than the network learned them; --longest_side={max(config.crop_size)} or more "
                "avoids it, in a new run"
            )
    if spec.name != "shapes" and config.weights in ("tiny", "none"):
        print(f"note: --weights={config.weights} is for trying out; use --weights=vgg16 or vgg19 for good scores")
    print(_memory(config, network, replicas, resumed=resumed, divisible=not common.loss.indivisible))


def _with_rates(network: Any, config: Config) -> Any:
    """The network with the learning-rate factors of --trunk_rate and --head_rate, or of its arch."""
    # An untrained trunk learns at the base rate; one that starts from a trained model is a pretrained one.
    trunk_rate = network.trunk_rate
    if config.init_from and config.weights == "none":
        trunk_rate = registry.resolve(registry.HEADS[config.arch]).with_flags(**config.arch_flags()).trunk_rate
    return dataclasses.replace(
        network, trunk_rate=config.trunk_rate or trunk_rate, head_rate=config.head_rate or network.head_rate
    )


def _start_from(
    origin: trained.TrainedModel, network: Any, spec: DatasetSpec, build_network: Callable[..., Any]
) -> None:
    """Loads what fits of a trained model, and says what that is."""
    from fcn_tf.inference import evaluator
    from fcn_tf.models import weights_table
    from fcn_tf.training import warm_start

    same = origin.class_names == spec.class_names
    found = warm_start.load(
        network.model,
        evaluator.load_model(origin.source),
        name=origin.path,
        score_layers=()
        if same
        else warm_start.score_layers(lambda classes: build_network(num_classes=classes, weights=None).model),
        why="other classes" if origin.class_names else "its classes are not known",
    )
    print(f"from {origin.path}:\n{weights_table.show(found)}")


def _check_masks(train: Dataset, validation: Dataset, cache: str) -> Iterable[Mapping[int, int]]:
    """Checks every mask before its first use, and gives {class id or ignored label: pixels} of the training ones."""
    if not screening.in_files(train):
        counts = (np.bincount(train.read(example)[1].ravel()).tolist() for example in train.examples)
        return (dict(enumerate(pixels)) for pixels in counts)
    rules = screening.rules_of(train)
    scans = FileScanCache(cache)
    if train.rules is not None:
        print(infer.explain(rules))
    if train.checked is None and not rules.values:
        masks = scans.masks((*train.examples, *validation.examples)).values()
        if line := infer.explain_transparent(rules, [mask.histogram for mask in masks if mask.histogram]):
            print(line)
    screening.check_masks(validation, scans)
    return list(screening.check_masks(train, scans).values())


def _note_few(config: Config, train: Dataset, validation: Dataset) -> None:
    """Warns where --seed holds out very few of the examples."""
    if config.holdout or not datasets.entry(config.dataset).classes:
        return
    sides = [{validation_split.key(e, config.data_dir) for e in part.examples} for part in (train, validation)]
    keys = sorted(sides[0] | sides[1])
    few = validation_split.too_few(keys, config.seed)
    if few and validation_split.by_name(config.seed)(keys) == sides[1]:  # else the folders name the split
        print(f"warning: {few[0]}; to hold out more, add {few[1]}")


def _class_weights(wanted: str, train: Dataset, pixel_counts: Iterable[Mapping[int, int]]) -> tuple[float, ...] | None:
    if wanted == "none":
        return None
    spec = train.spec
    found = class_weights.balanced(pixel_counts, spec) if wanted == "balanced" else class_weights.read(wanted, spec)
    print(class_weights.show(found, spec))
    return found


def _memory(config: Config, network: Any, replicas: int, *, resumed: bool, divisible: bool) -> str:
    """A line that says how much memory a step will take."""
    from fcn_tf.training import memory

    plan = memory.Plan(
        config.batch_size // replicas,
        config.crop_size,
        accumulate=config.accumulate,
        recompute=config.recompute,
        averaged=config.ema > 0,
    )
    available = None if system.has_gpu() else system.memory_for_us()
    excluded = ["batch_size", "image_size"] if resumed else []  # a run continues as it was started
    if not divisible:
        excluded.append("accumulate")
    return memory.report(network, plan, available, replicas=replicas, excluded=excluded)


def _augmentation(config: Config) -> augment.Augmentation | None:
    """How much training crops are varied; None for not at all."""
    if not config.augment:
        return None
    return augment.Augmentation(
        scales=crops.parse_scales(config.scales),
        class_crops=config.class_crops,
        rotate=config.rotate,
        jitter=config.jitter,
    )


def _describe(config: Config, spec: DatasetSpec, *, examples: Mapping[str, int], halvings: int = 0) -> dict[str, Any]:
    """The content of config.json: everything that made the run, and what its model needs to be used.

    Args:
      config: the settings.
      spec: of the data set.
      examples: how many there are of each split; empty where they are generated.
      halvings: how often --on_nan=rollback has halved the learning rate.
    """
    import keras
    import tensorflow

    return {
        "flags": config.to_json(),
        "num_classes": spec.num_classes,
        "class_names": list(spec.class_names),
        "colors": [list(color) for color in spec.colors],
        "ignore_label": spec.ignore_label,
        "versions": {
            "fcn_tf": __version__,
            "python": platform.python_version(),
            "tensorflow": tensorflow.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "threads": system.threads(),
        **({"examples": dict(examples)} if examples else {}),
        **({"halvings": halvings} if halvings else {}),
    }


def _note_threads(saved: Mapping[str, Any]) -> None:
    """Says so when a run goes on with other threads than those of config.json: nothing is the same to the bit then."""
    was, now = saved.get("threads"), system.threads()
    if isinstance(was, dict) and (changed := [name for name in now if was.get(name) != now[name]]):
        words = (f"{name.replace('_', ' ')} {now[name]} (was {was.get(name)})" for name in changed)
        print(f"note: {', '.join(words)}; results differ in their last digits from those of the run until here")


def _note_precision(precision: str) -> None:
    """Says so when a narrow type will save no time."""
    from fcn_tf.models import mixed_precision

    if mixed_precision.emulated(precision):
        print(f"note: no {precision} instructions here: stored in {precision}, computed in float32; saves memory only")
