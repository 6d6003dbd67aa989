"""Every command-line flag, and how a typed command becomes a `Config`. The only home of absl.flags."""

import dataclasses
import sys
import textwrap

from absl import flags

from fcn_tf import config as configs
from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.io.run_dir import Run

# A set of our own: what other packages define (--log_dir and forty more) is none of our users' business.
FLAGS = flags.FlagValues()

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Config)}


def _define(kind, name, help_text, **kwargs):
    kind(name, _DEFAULTS[name], help_text, flag_values=FLAGS, **kwargs)


# What to do.
_define(flags.DEFINE_string, "mode", f"{' | '.join(configs.MODES)}; test is another name of evaluate")
_define(flags.DEFINE_string, "logs_dir", "the run: events, checkpoints, config.json, history.csv, pictures, reports")
# Data.
_define(flags.DEFINE_string, "dataset", " | ".join(configs.DATASETS))
_define(flags.DEFINE_string, "data_dir", "where the data set is, or is downloaded to")
_define(flags.DEFINE_string, "split", f"{' | '.join(configs.SPLITS)}; default: validation; check: all")
_define(flags.DEFINE_string, "ignore_label", "label id that is not trained or scored; auto: the data set's; none")
_define(flags.DEFINE_integer, "num_classes", "folder: how many classes; 0: as many as the masks show")
_define(flags.DEFINE_string, "mask_values", "folder: the value masks hold for class 0, 1, ..., as in 0,255 or 0-20")
_define(flags.DEFINE_string, "mask_colors", "folder: the colour of class 0, 1, ..., as in 000000,ff0000")
_define(flags.DEFINE_string, "on_bad_example", "fail; or skip: leave out files that cannot be read, and name them")
_define(flags.DEFINE_integer, "image_size", "side of the square training crop in pixels; 0: the data set's default")
_define(flags.DEFINE_string, "crop", "scale: random crops, aspect kept; squash: the whole picture, as the original")
_define(flags.DEFINE_string, "resize", "photos by area (or bilinearly when enlarged), or nearest as the original")
_define(flags.DEFINE_bool, "augment", "random flips and scales while training")
# Model.
_define(flags.DEFINE_string, "arch", " | ".join(configs.ARCHS))
_define(flags.DEFINE_string, "weights", "tiny (embedded) | vgg19 | vgg16 | none | path of a MatConvNet .mat file")
_define(flags.DEFINE_string, "model_dir", "where .mat files are, or are downloaded to")
_define(flags.DEFINE_float, "dropout", "share of conv6 and conv7 dropped while training")
_define(
    flags.DEFINE_string,
    "precision",
    " | ".join(configs.PRECISIONS) + ": of activations; the narrow ones take less memory",
)
_define(
    flags.DEFINE_string, "freeze", "stages of the trunk that do not learn: some of conv1,conv2,... or trunk for all"
)
# Training.
_define(flags.DEFINE_integer, "batch_size", "images a step, over all replicas; 0: the data set's default")
_define(flags.DEFINE_string, "loss", f"{' | '.join(configs.LOSSES)}, or a sum such as cross_entropy+dice")
_define(flags.DEFINE_string, "class_weights", "none | balanced (rare classes weigh more) | a file of name,weight lines")
_define(flags.DEFINE_integer, "accumulate", "less memory: compute each step in so many parts, one after the other")
_define(flags.DEFINE_bool, "recompute", "less memory, more time: the trunk's activations are computed twice, not kept")
_define(flags.DEFINE_float, "learning_rate", "of Adam")
_define(flags.DEFINE_integer, "max_steps", "train up to this step; 0: the data set's default")
_define(flags.DEFINE_integer, "eval_every", "steps between validations; 0: the data set's default")
_define(flags.DEFINE_integer, "save_every", "steps between checkpoints; 0: the data set's default")
_define(flags.DEFINE_integer, "log_every", "steps between points in TensorBoard's curves")
_define(
    flags.DEFINE_string, "resume_from", "latest; or best: the best validation's checkpoint, dropping what came after"
)
_define(flags.DEFINE_integer, "seed", "everything random follows from it")
_define(
    flags.DEFINE_bool,
    "profile",
    "trace a few steps of this start, for TensorBoard's profile plugin (pip install xprof)",
)
_define(flags.DEFINE_bool, "debug", "histograms of weights, gradients and activations in TensorBoard")
# What to do with a trained model (tta and sliding_window: evaluate, predict and visualize).
_define(flags.DEFINE_string, "input", "predict: a picture, a folder or a quoted pattern")
_define(
    flags.DEFINE_string, "output_dir", "predict: where results go, LOGS_DIR/predict if not said; prepare: the shards"
)
_define(flags.DEFINE_string, "predictions", "evaluate: score this folder of label PNGs instead of a model")
_define(flags.DEFINE_bool, "tta", "test-time augmentation: average the probabilities at several scales, and mirrored")
_define(
    flags.DEFINE_integer,
    "sliding_window",
    "label tiles of this side in pixels, which bounds the memory; 0: off",
)
_define(flags.DEFINE_bool, "boundary", "evaluate: also score boundaries: BF and trimap IoU")
_define(flags.DEFINE_string, "compare", "evaluate: another evaluated --logs_dir; says whether the two really differ")
flags.DEFINE_bool("help", False, "show this help", short_name="h", flag_values=FLAGS)


def config_from_flags(argv: list[str]) -> Config | None:
    """Parses a command line.

    Args:
      argv: the program's name, then its arguments; `--flagfile=configs/NAME.cfg` reads more from a file.

    Returns:
      The settings, completed from the run's config.json, or None if help was asked for (and printed).

    Raises:
      UserError: on anything that is no flag, or a value that its flag does not take.
    """
    FLAGS.unparse_flags()
    for name in FLAGS:
        FLAGS[name].unparse()
    try:
        rest = FLAGS(argv)
    except flags.CantOpenFlagFileError as error:
        reason = str(error).removeprefix("ERROR:: ")
        raise UserError(f"--flagfile: {reason}; name a file of flags such as configs/original.cfg.") from None
    except flags.Error as error:
        message = str(error).strip().replace("\n", " ").replace(" ?", "?")
        raise UserError(f"{message}{'' if message.endswith(('.', '?')) else '.'} See --help.") from None
    except OSError as error:
        raise UserError(f"--flagfile: {error}; name a file of flags such as configs/original.cfg.") from None
    if FLAGS.help:
        print(_help())
        return None
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is no flag; flags look like --mode=train. See --help.")
    given = {name: FLAGS[name].value for name in _DEFAULTS if FLAGS[name].present}
    return configs.merge(given, _saved(given))


def _saved(given):
    """The flags of the run that --logs_dir names, where it exists.

    A training that never reached a checkpoint left nothing to continue: it may start anew with mended flags.
    """
    run = Run(given.get("logs_dir", _DEFAULTS["logs_dir"]))
    if given.get("mode") in ("check", "prepare") and "dataset" in given:
        return None  # other data than the run's, perhaps: it is looked at afresh
    if not run.exists() or (given.get("mode", "train") == "train" and not run.has_checkpoint()):
        return None
    saved = run.read_config().get("flags")
    if not isinstance(saved, dict):
        raise UserError(f'{run.config} has no "flags"; restore it, or train into a new --logs_dir.')
    return saved


def _help():
    lines = ["usage: python main.py --mode=MODE [--flag=value ...] [--flagfile=configs/NAME.cfg]", ""]
    for name, default in _DEFAULTS.items():
        text = f"{FLAGS[name].help} (default: {default!r})" if default != "" else str(FLAGS[name].help)
        lines.extend(textwrap.wrap(text, 100, initial_indent=f"  --{name:<14} ", subsequent_indent=" " * 19))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit("flags.py defines the flags of main.py; run python main.py --help.")
