"""The settings of a run: one frozen dataclass, one field a flag, which checks itself. No TensorFlow."""

import dataclasses
import enum
import functools
import math
import re
import secrets
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fcn_tf import registry
from fcn_tf.data import base, crops
from fcn_tf.errors import UserError
from fcn_tf.io import parts, texts, trained
from fcn_tf.io.run_dir import Run

ALIASES = {"test": "evaluate"}
PRECISIONS = ("float32", "bfloat16", "float16")
ON_BAD_EXAMPLE = ("fail", "skip")
ON_NAN = ("stop", "rollback")
RESUME_FROM = ("latest", "best")
TRAINED_WEIGHTS = "vgg16"  # what a printed command trains from instead of the tiny weights
_OF_A_RUN = ("evaluate", "visualize", "predict", "explain", "export", "serve")  # the modes that use a run's model
_LABELLING = ("visualize", "evaluate", "predict", "serve")  # the modes that label pictures with the run's model
_SMALLEST_WINDOW = 32  # pixels: one cell of the coarsest feature map


class Scope(enum.Enum):
    """How long a setting holds. All but those of one command are saved in config.json."""

    COMMAND = "this command only"
    DATA = "as long as the data set: not taken over by a command that names another one"
    MODEL = "as long as the model: fixed once it is trained"
    RUN = "as long as the run: a resumed training keeps it"
    RESUMABLE = "until a resumed training changes it"


class Check(NamedTuple):
    """The values that a flag accepts.

    Attributes:
      accepts: whether a value of the flag's type is one of them.
      expected: names them, to follow "must be".
      choices: all of them, where they can be listed.
    """

    accepts: Callable[[Any], bool]
    expected: str
    choices: tuple[str, ...] = ()


class Flag(NamedTuple):
    """What `Config`'s fields say about themselves beside name, type and default.

    Attributes:
      help: for `--help`.
      scope: how long the setting holds.
      check: the values it accepts; None for any.
      section: heading in `--help` that starts with this flag; "" to stay in the section of the flag before.
      modes: those that use it; () for all. Only of flags of one command: the others are of the data, model or run.
    """

    help: str
    scope: Scope
    check: Check | None
    section: str
    modes: tuple[str, ...]


def flag_name(field: dataclasses.Field) -> str:
    """A flag's name: the field's, less the underscore that follows a word of Python's."""
    return field.name.rstrip("_")


def flag_of(field: dataclasses.Field) -> Flag:
    """What a field of `Config` says about its flag."""
    return field.metadata["flag"]


def _flag(
    default: Any,
    help_text: str,
    *,
    scope: Scope = Scope.RUN,
    check: Check | None = None,
    section: str = "",
    modes: tuple[str, ...] = (),
) -> Any:
    """A field of `Config`; the help is begun with its modes, and "{choices}" there stands for those of the check."""
    if check is not None:
        help_text = help_text.replace("{choices}", " | ".join(check.choices))
    if modes:
        help_text = f"{_listed(modes)}: {help_text}"
    return dataclasses.field(default=default, metadata={"flag": Flag(help_text, scope, check, section, modes)})


def _listed(names: Sequence[str], last: str = "and") -> str:
    """a, b and c."""
    return f" {last} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _one_of(choices: Collection[str]) -> Check:
    return Check(lambda value: value in choices, f"one of {', '.join(choices)}", tuple(choices))


def _different(values: list[str], known: Collection[str]) -> bool:
    return set(values) <= set(known) and len(set(values)) == len(values)


def _reads(parse: Callable[[str], Any], text: str) -> bool:
    """Whether `parse` takes a text."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


_LARGEST = 10**15  # TensorFlow counts in 64 bits, products of two counts included
_COUNT = Check(lambda value: 1 <= value <= _LARGEST, "1 or more, up to 10^15")
_NOT_NEGATIVE = Check(lambda value: 0 <= value <= _LARGEST, "0 or more, up to 10^15")
_SIZE = Check(
    lambda text: _reads(crops.parse_size, text) and max(crops.parse_size(text)) <= crops.LARGEST,
    "a side in pixels such as 224, or HEIGHTxWIDTH such as 360x480 (or 0: the data set's default), each up to "
    f"{crops.LARGEST}",
)
_COUNT_OR_DEFAULT = Check(lambda value: 1 <= value <= _LARGEST, "1 or more, up to 10^15 (or 0: the data set's default)")
_MOST_IMAGES = 65_536
_BATCH = Check(
    lambda value: 1 <= value <= _MOST_IMAGES, f"1 or more, up to {_MOST_IMAGES} (or 0: the data set's default)"
)
_CLASSES = Check(lambda value: value == 0 or value >= 2, "2 or more (or 0: as many as the masks show)")
_LABEL = Check(lambda text: text in ("auto", "none") or text.isdecimal(), "auto, none or a label id from 0")
_RATE = Check(lambda value: value > 0 and math.isfinite(value), "a positive number such as 1e-4")
_FINITE = Check(lambda value: value >= 0 and math.isfinite(value), "0 or a positive number")
_FACTOR = Check(lambda value: value > 0 and math.isfinite(value), "a positive number such as 2")
_FRACTION = Check(lambda value: 0 <= value < 1, "in [0, 1)")
_PREFIXES = Check(
    lambda text: text == "" or all(map(str.strip, text.split(","))), "starts of file names with commas between"
)
_SHARE = Check(lambda value: 0 <= value <= 1, "in [0, 1]")
_ANGLE = Check(lambda value: 0 <= value <= 180, "in [0, 180] degrees")
_SCALES = Check(
    lambda text: _reads(crops.parse_scales, text), "a range such as 0.5-2 or a list such as 0.5,0.75,1 of factors"
)
_SEEDS = 2**31  # it becomes an int32 in the training step
_SEED = Check(lambda value: 0 <= value < _SEEDS, f"from 0 to {_SEEDS - 1}")
_WINDOW = Check(lambda value: value == 0 or value >= _SMALLEST_WINDOW, f"0 (off) or {_SMALLEST_WINDOW} pixels or more")
_LONGEST_SIDE = Check(
    lambda value: value == 0 or _SMALLEST_WINDOW <= value <= crops.LARGEST,
    f"0 (off) or from {_SMALLEST_WINDOW} to {crops.LARGEST} pixels",
)
_LOSS = Check(
    lambda text: _different(text.split("+"), registry.LOSSES),
    f"one of {', '.join(registry.LOSSES)}, or a sum of different ones such as cross_entropy+dice",
    tuple(registry.LOSSES),
)
_TRACKERS = Check(
    lambda text: text == "" or _different(text.split(","), registry.TRACKERS),
    f"some of {', '.join(registry.TRACKERS)} with commas between",
    tuple(registry.TRACKERS),
)
_POINT = Check(
    lambda text: text == "" or re.fullmatch(r"\d+,\d+", text) is not None, "x,y: a column and a row, such as 120,80"
)
_HOST = Check(lambda text: text.strip() != "", "an address such as 127.0.0.1, or 0.0.0.0 for all of this machine's")
_PORT = Check(lambda value: 0 <= value <= 65535, "from 0 to 65535")
_TOKEN = Check(
    lambda text: text == "" or re.fullmatch(r"[\w.~+/=-]{8,}", text, re.ASCII) is not None,
    "8 or more letters, digits and ._~+/=- without spaces",
)
_OUTPUTS = Check(
    lambda text: text == "" or _different(text.split(","), registry.OUTPUTS),
    f"some of {', '.join(registry.OUTPUTS)}, with commas between",
    tuple(registry.OUTPUTS),
)
_TRUNK = Check(
    lambda text: text == "" or text in registry.TRUNKS, f"one of {', '.join(registry.TRUNKS)}", tuple(registry.TRUNKS)
)
_QUIRKS = Check(
    lambda text: text in ("all", "none") or _different(text.split(","), registry.QUIRKS),
    f"all, none, or some of {', '.join(registry.QUIRKS)} with commas between",
)
_PART = Check(
    lambda text: text == "" or _reads(parts.parse, text),
    f"k/n such as 2/8, the second of eight: k from 1 to n, n up to {parts.MOST}",
)
_FORMATS = Check(
    lambda text: _different(text.split(","), registry.EXPORTS),
    f"some of {', '.join(registry.EXPORTS)} with commas between",
    tuple(registry.EXPORTS),
)
_FREEZE = Check(
    lambda text: text == "" or {*text.split(",")} <= {*registry.STAGES, "trunk"},
    f"some of {', '.join(registry.STAGES)} with commas between, or trunk",
    (*registry.STAGES, "trunk"),
)


@dataclass(frozen=True)
class Config:
    """Every flag, resolved. Zero and "" mean "not given" where a data set has a default of its own.

    A field is a flag: its name, type, default, help, scope and check. `flags.py` defines the flags from them, in this
    order.

    Raises:
      UserError: when a value is none that its flag takes, or two flags contradict each other.
    """

    mode: str = _flag(
        "train",
        "{choices}; test is another name of evaluate",
        scope=Scope.COMMAND,
        check=_one_of(registry.MODES),  # aliases are replaced before
        section="Command",
    )
    logs_dir: str = _flag(
        "logs/", "the run: events, checkpoints, config.json, history.csv, pictures, reports", scope=Scope.COMMAND
    )
    verbosity: int = _flag(
        0,
        "1, or -v: what libraries say, and tracebacks, on the console; 0: they go to run.log under --logs_dir",
        scope=Scope.COMMAND,
        check=Check(lambda value: value in (0, 1), "0 or 1"),
    )

    dataset: str = _flag("shapes", "{choices}", check=_one_of(registry.DATASETS), section="Data")
    data_dir: str = _flag(
        "data/",
        "where the data set is, or is downloaded to; of a run that is continued, where it is now",
        scope=Scope.RESUMABLE,
    )
    split: str = _flag(
        "",
        "{choices}; default: validation; check and prepare: all",
        scope=Scope.COMMAND,
        modes=("visualize", "evaluate", "check", "prepare", "export"),
        check=_one_of((*base.SPLITS, "all")),
    )
    ignore_label: str = _flag(
        "auto",
        "label id that is not trained or scored; auto: the data set's; none",
        scope=Scope.DATA,
        check=_LABEL,
    )
    num_classes: int = _flag(
        0, "folder: how many classes; 0: as many as the masks show", scope=Scope.DATA, check=_CLASSES
    )
    mask_values: str = _flag(
        "", "folder: the value masks hold for class 0, 1, ..., as in 0,255 or 0-20", scope=Scope.DATA
    )
    mask_colors: str = _flag("", "folder: the colour of class 0, 1, ..., as in 000000,ff0000", scope=Scope.DATA)
    holdout: str = _flag(
        "",
        "validate on the training files whose names start so, as in 0001TP,0006R0, and train on the others",
        scope=Scope.DATA,
        check=_PREFIXES,
    )
    palette: str = _flag(
        "auto",
        "{choices}: colours of the classes; auto: the data set's; hls: evenly spaced hues",
        scope=Scope.DATA,
        check=_one_of(("auto", *registry.PALETTES)),
    )
    on_bad_example: str = _flag(
        "fail",
        "{choices}; skip leaves out files that cannot be read, have no partner or another size than it, and names them",
        scope=Scope.DATA,
        check=_one_of(ON_BAD_EXAMPLE),
    )
    image_size: str = _flag(
        "",
        "training crops in pixels: the side of a square, or HEIGHTxWIDTH as in 360x480; default: the data set's",
        check=_SIZE,
    )
    crop: str = _flag(
        "scale",
        "{choices}; scale: random crops, aspect kept; squash: the whole picture, as the original",
        check=_one_of(registry.CROPS),
    )
    resize: str = _flag(
        "area",
        "{choices}; photos by area (or bilinearly when enlarged), or nearest as the original",
        check=_one_of(registry.RESIZES),
    )
    longest_side: int = _flag(
        0,
        "photos are trained on and labelled with their longer side brought to so many pixels; 0: at their own size",
        scope=Scope.MODEL,
        check=_LONGEST_SIDE,
    )
    augment: bool = _flag(True, "random flips and scales while training, and what the next four flags add")
    scales: str = _flag(
        str(crops.Scales()), "scale factors of crops: a range as in 0.5-2, or a list as in 0.5,0.75,1", check=_SCALES
    )
    class_crops: float = _flag(
        0.0, "share of the crops that are centred on a pixel of a class drawn from those in the photo", check=_SHARE
    )
    rotate: float = _flag(0.0, "turn crops by up to so many degrees either way", check=_ANGLE)
    jitter: float = _flag(0.0, "vary brightness, contrast, saturation and hue, up to this strength", check=_SHARE)

    arch: str = _flag("light", "{choices}", scope=Scope.MODEL, check=_one_of(registry.HEADS), section="Model")
    trunk: str = _flag("", "{choices}; default: the arch's own", scope=Scope.MODEL, check=_TRUNK)
    fuse: str = _flag(
        "add",
        "{choices}: how heads join skips: scores added, or side by side and mixed by a 1x1 convolution",
        scope=Scope.MODEL,
        check=_one_of(registry.FUSIONS),
    )
    learn_last_upsampling: bool = _flag(
        False, "of the paper's heads: the last upsampling learns instead of staying bilinear", scope=Scope.MODEL
    )
    plain_skips: bool = _flag(
        False,
        "of the paper's heads: skips are scored as they come, not scaled down; --staged trains so by default",
        scope=Scope.MODEL,
    )
    quirks: str = _flag(
        "all",
        f"of arch original, which ones it keeps: all | none | some of {', '.join(registry.QUIRKS)}",
        scope=Scope.MODEL,
        check=_QUIRKS,
    )
    weights: str = _flag(
        "tiny",
        "tiny (embedded) | " + " | ".join(registry.WEIGHTS) + " | none | path of a VGG: MatConvNet's .mat, Keras' .h5, "
        "torchvision's .safetensors, of original a checkpoint of FCN.tensorflow, of fcn8s_paper Caffe's FCN as .npz",
    )
    model_dir: str = _flag("data/models/", "where .mat files are, or are downloaded to")
    init_from: str = _flag(
        "",
        "start from what fits of a trained run's --logs_dir or a .keras file; --arch, --weights, --precision and "
        "others default to its",
    )
    dropout: float = _flag(0.15, "dropout rate after conv6 and conv7", check=_FRACTION)
    precision: str = _flag(
        "float32",
        "{choices}: of activations; the 16-bit types take less memory",
        scope=Scope.MODEL,
        check=_one_of(PRECISIONS),
    )
    freeze: str = _flag(
        "", "stages of the trunk that are not trained: some of conv1,conv2,... or trunk for all", check=_FREEZE
    )

    staged: bool = _flag(
        False,
        f"train {', '.join(registry.STAGED)} for --max_steps each, every one from the one before",
        section="Training",
    )
    stage_rate: float = _flag(
        1.0, "of --staged: factor on the learning rate from one network to the next", check=_FACTOR
    )
    batch_size: int = _flag(
        0,
        "images a step, over all replicas; 0: the data set's default",
        check=_BATCH,
    )
    loss: str = _flag("cross_entropy", "{choices}, or a sum such as cross_entropy+dice", check=_LOSS)
    class_weights: str = _flag("none", "none | balanced (rare classes weigh more) | a file of name,weight lines")
    optimizer: str = _flag("adam", "{choices}", check=_one_of(registry.OPTIMIZERS))
    learning_rate: float = _flag(
        1e-4, "of the optimiser; --schedule says how it changes", scope=Scope.RESUMABLE, check=_RATE
    )
    schedule: str = _flag(
        "constant", "{choices}: of the learning rate, over --max_steps steps", check=_one_of(registry.SCHEDULES)
    )
    warmup_steps: int = _flag(0, "steps over which the learning rate rises linearly", check=_NOT_NEGATIVE)
    weight_decay: float = _flag(0.0, "of kernels: adamw's, decoupled, or sgd's, in the gradient", check=_FRACTION)
    momentum: float = _flag(0.9, "of sgd", check=_FRACTION)
    nesterov: bool = _flag(False, "Nesterov momentum, of sgd")
    clip_norm: float = _flag(
        0.0, "largest global norm of the gradients, which are scaled down to it; 0: off", check=_FINITE
    )
    trunk_rate: float = _flag(
        0.0, "factor on the learning rate of the pretrained trunk; 0: the arch's own", check=_FINITE
    )
    head_rate: float = _flag(0.0, "factor on the learning rate of all other layers; 0: the arch's own", check=_FINITE)
    bias_rate: float = _flag(1.0, "further factor on the learning rate of biases; 2 in Caffe", check=_FACTOR)
    ema: float = _flag(
        0.0,
        "decay of the exponential moving average of the weights, as 0.999, which is validated and saved; 0: off",
        check=_FRACTION,
    )
    accumulate: int = _flag(
        1, "gradient accumulation over so many parts of a batch; less memory", scope=Scope.RESUMABLE, check=_COUNT
    )
    recompute: bool = _flag(False, "gradient checkpointing of the trunk; less memory, more time", scope=Scope.RESUMABLE)
    max_steps: int = _flag(
        0, "train up to this step; 0: the data set's default", scope=Scope.RESUMABLE, check=_COUNT_OR_DEFAULT
    )
    eval_every: int = _flag(
        0, "steps between validations; 0: the data set's default", scope=Scope.RESUMABLE, check=_COUNT_OR_DEFAULT
    )
    save_every: int = _flag(
        0, "steps between checkpoints; 0: the data set's default", scope=Scope.RESUMABLE, check=_COUNT_OR_DEFAULT
    )
    on_nan: str = _flag(
        "stop",
        "{choices}, when the loss is no longer finite: back to the best validation, with half the learning rate, at "
        "most three times",
        scope=Scope.RESUMABLE,
        check=_one_of(ON_NAN),
    )
    early_stopping: int = _flag(
        0,
        "stop after so many validations without a better mean IoU; 0: off",
        scope=Scope.RESUMABLE,
        check=_NOT_NEGATIVE,
    )
    log_every: int = _flag(10, "steps between points in TensorBoard's curves", scope=Scope.RESUMABLE, check=_COUNT)
    log_to: str = _flag(
        "",
        "beside TensorBoard, send the curves to {choices} (with commas between): needs the package of that name",
        scope=Scope.RESUMABLE,
        check=_TRACKERS,
    )
    resume_from: str = _flag(
        "latest",
        "{choices}; best: the best validation's checkpoint, dropping what came after",
        scope=Scope.COMMAND,
        modes=("train",),
        check=_one_of(RESUME_FROM),
    )
    seed: int = _flag(
        0, "everything random follows from it; visualize without it shows other examples each time", check=_SEED
    )
    trials: int = _flag(
        20, "trainings in all, those of an earlier start included", scope=Scope.COMMAND, modes=("search",), check=_COUNT
    )
    profile: bool = _flag(
        False,
        "trace a few steps of this start, for TensorBoard's profile plugin (pip install xprof)",
        scope=Scope.COMMAND,
        modes=("train", "search"),
    )
    debug: bool = _flag(False, "histograms of weights, gradients and activations in TensorBoard", scope=Scope.RESUMABLE)

    input: str = _flag(
        "",
        "an image, a video, a folder with all in it, a quoted pattern, or - for paths on standard input; explain takes "
        "no videos",
        scope=Scope.COMMAND,
        modes=("predict", "explain"),
        section="Evaluation and prediction",
    )
    class_: str = _flag("", "the class, by name or id", scope=Scope.COMMAND, modes=("explain",))
    point: str = _flag(
        "", "x,y of a pixel; alone: the class predicted there", scope=Scope.COMMAND, modes=("explain",), check=_POINT
    )
    layers: str = _flag(
        "",
        "names of layers with commas between; default: where the last three stages end",
        scope=Scope.COMMAND,
        modes=("explain",),
    )
    output_dir: str = _flag(
        "",
        "where results go, by default LOGS_DIR/predict or LOGS_DIR/export; for prepare, where the shards go",
        scope=Scope.COMMAND,
        modes=("predict", "prepare", "export"),
    )
    outputs: str = _flag(
        "",
        "some of {choices}, with commas between; default: labels,overlay,legend,areas, of videos without labels",
        scope=Scope.COMMAND,
        modes=("predict",),
        check=_OUTPUTS,
    )
    part: str = _flag(
        "",
        "k/n, only the k-th of n parts of --input, which follow from names alone: one for each process",
        scope=Scope.COMMAND,
        modes=("predict",),
        check=_PART,
    )
    inference_precision: str = _flag(
        "auto",
        "{choices}; auto: bfloat16 where the processor multiplies it and the labels are those of float32",
        scope=Scope.COMMAND,
        modes=("predict",),
        check=_one_of(registry.INFERENCE_PRECISIONS),
    )
    runtime: str = _flag(
        "tensorflow",
        "{choices}; the others label with the run's export for them, of the weights that --quantize says",
        scope=Scope.COMMAND,
        modes=("predict", "serve"),
        check=_one_of(("tensorflow", *registry.RUNTIMES)),
    )
    overwrite: bool = _flag(False, "do again what was done before", scope=Scope.COMMAND, modes=("predict",))
    count: int = _flag(
        0, "how many examples; 0: --batch_size of them", scope=Scope.COMMAND, modes=("visualize",), check=_NOT_NEGATIVE
    )
    predictions: str = _flag(
        "",
        "score this folder of label PNGs instead of a model, of a run into LOGS_DIR/evaluation_predictions",
        scope=Scope.COMMAND,
        modes=("evaluate",),
    )
    tta: bool = _flag(
        False,
        "test-time augmentation: average the predictions over scales and flips",
        scope=Scope.COMMAND,
        modes=_LABELLING,
    )
    sliding_window: int = _flag(
        0,
        "predict tiles of this side in pixels, which bounds the memory; 0: off",
        scope=Scope.COMMAND,
        modes=_LABELLING,
        check=_WINDOW,
    )
    boundary: bool = _flag(False, "also boundary F1 (BF) and trimap IoU", scope=Scope.COMMAND, modes=("evaluate",))
    compare: str = _flag(
        "",
        "another evaluated --logs_dir, or the folder of an evaluation; tests whether the two differ",
        scope=Scope.COMMAND,
        modes=("evaluate",),
    )

    format: str = _flag(
        "savedmodel",
        "{choices}, or several with commas between",
        scope=Scope.COMMAND,
        modes=("export",),
        check=_FORMATS,
        section="Export",
    )
    quantize: str = _flag(
        "float32",
        "{choices}: of the exported weights, and of those that --runtime runs; int8 is calibrated on the run's "
        "training data",
        scope=Scope.COMMAND,
        modes=("predict", "serve", "export"),
        check=_one_of(registry.EXPORT_PRECISIONS),
    )
    web_runtime: str = _flag(
        "node_modules/onnxruntime-web",
        "of web: the npm package onnxruntime-web that the page carries along: its folder, or the .tgz of `npm pack`",
        scope=Scope.COMMAND,
        modes=("export",),
    )

    host: str = _flag(
        "127.0.0.1",
        "the address to listen on; whoever comes from outside this machine needs the token",
        scope=Scope.COMMAND,
        modes=("serve",),
        check=_HOST,
        section="Serving",
    )
    port: int = _flag(
        8000, "the TCP port; 0: any free one, which is printed", scope=Scope.COMMAND, modes=("serve",), check=_PORT
    )
    token: str = _flag(
        "",
        "what every request must show; default: none where --host is this machine, else a random one, printed",
        scope=Scope.COMMAND,
        modes=("serve",),
        check=_TOKEN,
    )
    request_megabytes: int = _flag(32, "the largest upload, in MB", scope=Scope.COMMAND, modes=("serve",), check=_COUNT)
    request_megapixels: int = _flag(
        25, "the largest picture, in millions of pixels", scope=Scope.COMMAND, modes=("serve",), check=_COUNT
    )
    request_seconds: float = _flag(
        60.0, "the longest time from a request to its answer", scope=Scope.COMMAND, modes=("serve",), check=_FACTOR
    )
    queue_size: int = _flag(
        256, "how many requests are taken in at once", scope=Scope.COMMAND, modes=("serve",), check=_COUNT
    )

    def __post_init__(self) -> None:
        self._set(mode=ALIASES.get(self.mode, self.mode))
        if self.mode == "prepare" and self.split not in ("", "all"):
            raise UserError(f"--mode=prepare writes every split there is, got --split={self.split}; leave it out.")
        if not self.split:
            self._set(split="all" if self.mode in ("check", "prepare") else "validation")
        if self.staged and self.arch == Config.arch:
            self._set(arch=registry.STAGED[-1])
        defaults = (
            registry.resolve(registry.DATASETS[self.dataset]).defaults if self.dataset in registry.DATASETS else {}
        )
        self._set(**{name: value for name, value in defaults.items() if getattr(self, name) in (0, "", "0")})
        self._set(image_size=_size_text(self.image_size))
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), flag_of(field).check
            if isinstance(value, str) and "\0" in value:
                raise UserError(f"--{flag_name(field)} must have no NUL characters, got {value!r}.")
            if check is not None and not check.accepts(value):
                raise UserError(
                    f"--{field.name} must be {check.expected}, got {value!r}{_suggestion(value, check.choices)}"
                )
        # The same scales and stages are the same text in every config.json.
        self._set(scales=str(crops.parse_scales(self.scales)))
        frozen = self.freeze.split(",")
        self._set(freeze=",".join(stage for stage in registry.STAGES if stage in frozen or "trunk" in frozen))
        if self.quirks not in ("all", "none"):
            kept = [quirk for quirk in registry.QUIRKS if quirk in self.quirks.split(",")]
            self._set(quirks="all" if len(kept) == len(registry.QUIRKS) else ",".join(kept))
        for message in _conflicts(self):
            raise UserError(message)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def crop_size(self) -> crops.Size:
        """(height, width) of `image_size`."""
        return crops.parse_size(self.image_size)

    @property
    def needs_run(self) -> bool:
        """Whether the mode can do nothing where `logs_dir` holds no run."""
        return self.mode in _OF_A_RUN and not self.predictions

    def data_flags(self) -> dict[str, Any]:
        """The options of the data set, as `datasets.load` takes them."""
        return {name: getattr(self, name) for name in (*_names(Scope.DATA), "seed")}

    def arch_flags(self) -> dict[str, Any]:
        """The flags of the arch, as `build_network` takes them."""
        return registry.arch_flags(self.arch, dataclasses.asdict(self))

    def to_json(self) -> dict[str, Any]:
        """The flags that describe a run, for config.json: all but those of one command."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _names(Scope.COMMAND)}


def _size_text(size: str | int | crops.Size) -> str:
    """`--image_size`, the same text for the same size; what is no size stays as it is."""
    if not isinstance(size, str):
        return crops.format_size(size)
    return crops.format_size(crops.parse_size(size)) if _reads(crops.parse_size, size) else size


def _suggestion(value: Any, choices: Collection[str]) -> str:
    """The end of an error about a value: which choice it, or a part of it, is nearly or begins."""
    for part in re.split(r"[+,]", str(value).strip().lower()):
        if part not in choices and (near := texts.nearest(part, choices)):
            return f"; did you mean {near}?"
    return "."


@functools.cache
def _names(scope: Scope) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(Config) if flag_of(field).scope is scope)


RESUMABLE = _names(Scope.RESUMABLE)
_OF_DATA = ("dataset", "data_dir", *_names(Scope.DATA))
_READ = {  # of the flags of the data, model and run, those that modes other than trainings read from the command line
    "visualize": (*_OF_DATA, "batch_size", "seed"),
    "evaluate": (*_OF_DATA, "batch_size", "seed"),
    "export": (*_OF_DATA, "seed"),
    "predict": ("palette",),
    "explain": ("palette",),
    "serve": ("palette",),
}


def flags_of(mode: str) -> list[dataclasses.Field]:
    """The fields of the flags that a mode reads; of a mode that is none of ours, all but those of other modes alone."""

    def reads(field: dataclasses.Field) -> bool:
        modes, scope = flag_of(field).modes, flag_of(field).scope
        if modes or scope is Scope.COMMAND:
            return not modes or mode in modes
        return field.name in _READ.get(mode, (field.name,))  # check and prepare print them all

    return [field for field in dataclasses.fields(Config) if reads(field)]


ARCH_FLAGS = sorted({name for entry in registry.HEADS.values() for name in getattr(entry, "flags", ())})
_OR_SEVERAL = "a folder, a quoted pattern such as 'photos/*.jpg', or - for paths on standard input"


def _conflicts(config: Config) -> Iterator[str]:
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
    if config.optimizer != "sgd" and config.momentum != Config.momentum:
        yield (
            f"--momentum={config.momentum:g} has no effect on --optimizer={config.optimizer}; add --optimizer=sgd, or "
            "leave it out."
        )
    for name in ("scales", "class_crops", "rotate", "jitter"):
        without = "--noaugment" if not config.augment else ""
        if config.crop == "squash" and name in ("scales", "class_crops"):
            without = without or "--crop=squash, which takes whole photos"
        if without and getattr(config, name) != getattr(Config, name):
            yield f"--{name}={getattr(config, name)} has no effect with {without}; leave one of the two out."
    if config.staged and config.arch != registry.STAGED[-1]:
        yield _not_staged(config.arch)
    if config.stage_rate != Config.stage_rate and not config.staged:
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
        if value != getattr(Config, name) and name not in config.arch_flags():
            owners = [arch for arch in registry.HEADS if registry.arch_flags(arch, {name: value})]
            yield (
                f"--{name}={value} has no effect on --arch={config.arch}; use --arch={' or '.join(owners)}, or leave "
                "it out."
            )
    if config.web_runtime != Config.web_runtime and "web" not in config.format.split(","):
        yield f"--web_runtime has no effect on --format={config.format}; add web, or leave it out."
    if config.mode == "predict" and not config.input:
        yield f"--mode=predict needs --input: an image, a video, {_OR_SEVERAL}."
    if config.mode == "explain" and not config.input:
        yield f"--mode=explain needs --input: an image, {_OR_SEVERAL}."
    if config.mode == "prepare" and not config.output_dir:
        yield "--mode=prepare needs --output_dir: where the shards go, such as data/prepared."


def _not_staged(arch: str) -> str:
    return f"--staged trains {', '.join(registry.STAGED)}, got --arch={arch}; leave out --arch."


def complete(given: dict[str, Any]) -> Config:
    """The settings that were given, completed by those of the run that they are about, where there is one.

    Raises:
      UserError: see `merge`, or if the run's config.json is damaged.
    """
    saved = _saved(given)
    if given.get("mode") == "visualize" and "seed" not in given:
        given = {**given, "seed": secrets.randbelow(_SEEDS)}
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
        return _effective(Config(**{**_inherited(given, _known(origin or {})), **given}), given)
    saved = _known(saved)
    if given.get("dataset", saved.get("dataset")) != saved.get("dataset"):
        saved = {name: value for name, value in saved.items() if name not in _names(Scope.DATA)}
    arch = saved.get("arch", Config.arch)
    if saved.get("trunk") == "" and given.get("trunk") == registry.own_trunk(arch) and given.get("arch", arch) == arch:
        given = {**given, "trunk": ""}  # the same trunk by its name
    config = Config(**{**saved, **given})
    if config.mode == "train":
        # What was typed comes first: it may be why others differ.
        for name, value in sorted(config.to_json().items(), key=lambda item: item[0] not in given):
            was = saved.get(name, getattr(Config, name))  # of a run that is older than the flag, its default
            if name not in RESUMABLE and (name in saved or name in given) and was != value:
                fix = f"leave out --{name}" if was == "" else f"--{name}={was}"
                raise UserError(
                    f"{config.logs_dir} holds a run {_had(name, was, saved)}, got --{name}={value}: a run continues "
                    f"as it was started; give another --logs_dir, or {fix} to continue this one."
                )
    if config.mode in _OF_A_RUN:
        for name in _names(Scope.MODEL):
            was = saved.get(name, getattr(Config, name))
            if (name in saved or name in given) and was != getattr(config, name):
                raise UserError(
                    f"the model in {config.logs_dir} was trained {_had(name, was, saved)}, got "
                    f"--{name}={getattr(config, name)}: it is used as it was trained; leave the flag out."
                )
    return _effective(config, given)


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
        names = ["weights", "model_dir", *_names(Scope.MODEL)]
        return {name: origin[name] for name in names if name in origin}
    kept = {name: origin[name] for name in ("weights", "model_dir", "trunk", "longest_side") if name in origin}
    if not kept.get("trunk") and "arch" in origin:
        kept["trunk"] = registry.own_trunk(origin["arch"])
    return kept


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
            f"{_listed(users, 'or')}, alone or in a sum, or leave it out.",
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


def _effective(config: Config, given: Mapping[str, Any]) -> Config:
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
                f"--{flag_name(field)} has no effect on --mode={config.mode}; use --mode={_listed(modes, 'or')}, or "
                "leave it out."
            )
    if config.staged and given.get("arch", config.arch) != config.arch:
        raise UserError(_not_staged(given["arch"]))  # typed, though it is the default, which --staged has replaced
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


def train_command(config: Config, *, logs_dir: str, without: Collection[str] = (), **changed: Any) -> str:
    """The command that trains with these settings, to be pasted into a POSIX shell.

    It names what is not a default of the data set's, and never the tiny weights, which are for trying out.

    Args:
      config: of a command about the data.
      logs_dir: of the new run.
      without: flags to leave out.
      **changed: settings to replace.
    """
    if config.weights == "tiny" and not config.init_from and "alexnet" not in (config.trunk, *config.arch.split("_")):
        changed.setdefault("weights", TRAINED_WEIGHTS)
    if changed.get("weights", config.weights) not in registry.WEIGHTS:  # nothing is downloaded
        without = (*without, "model_dir")
    values = {**config.to_json(), **changed}
    usual = Config(dataset=values["dataset"])
    first = {name: values.pop(name) for name in ("dataset", "data_dir")}
    rest = {name: each for name, each in values.items() if name not in without and each != getattr(usual, name)}
    return command_of({**first, **rest, "logs_dir": logs_dir})


def command_of(values: Mapping[str, Any]) -> str:
    """The command that trains with these values of fields of `Config`, in this order, for a POSIX shell."""
    names = {field.name: flag_name(field) for field in dataclasses.fields(Config)}
    flags = (
        f"--{names[name]}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()
    )
    return shlex.join(["python", "main.py", "--mode=train", *flags])
