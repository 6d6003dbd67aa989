"""One run's settings: a frozen dataclass that checks itself. No TensorFlow."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from fcn_tf import registry
from fcn_tf.errors import UserError

MODES = tuple(registry.MODES)
ALIASES = {"test": "evaluate"}
DATASETS = tuple(registry.DATASETS)
ARCHS = tuple(registry.HEADS)
SPLITS = ("train", "validation", "test", "all")
PRECISIONS = ("float32", "bfloat16", "float16")
CROPS = ("scale", "squash")
RESIZES = ("area", "nearest")
ON_BAD_EXAMPLE = ("fail", "skip")
LOSSES = ("cross_entropy", "focal", "dice")
RESUME_FROM = ("latest", "best")
_SMALLEST_WINDOW = 32  # pixels: one cell of the coarsest feature map

# A resumed run may be given others of these; history.csv tells the learning rate, everything else that decides what is
# learned stays.
RESUMABLE = ("max_steps", "eval_every", "save_every", "log_every", "learning_rate", "accumulate", "recompute", "debug")


@dataclass(frozen=True)
class Config:
    """Every flag, resolved. Zero and "" mean "not given" where a data set has a default of its own.

    Attributes: see `python main.py --help`; each is named as its flag.

    Raises:
      UserError: when a value is none that its flag takes.
    """

    mode: str = "train"
    dataset: str = "shapes"
    data_dir: str = "data/"
    weights: str = "tiny"
    model_dir: str = "data/models/"
    arch: str = "fcn8s"
    logs_dir: str = "logs/"
    image_size: int = 0
    batch_size: int = 0
    learning_rate: float = 1e-4
    max_steps: int = 0
    eval_every: int = 0
    save_every: int = 0
    log_every: int = 10
    split: str = ""  # "all" when checking or preparing, else "validation"
    precision: str = "float32"
    freeze: str = ""
    accumulate: int = 1
    recompute: bool = False
    resume_from: str = "latest"
    seed: int = 0
    ignore_label: str = "auto"
    num_classes: int = 0
    mask_values: str = ""
    mask_colors: str = ""
    on_bad_example: str = "fail"
    loss: str = "cross_entropy"
    class_weights: str = "none"
    crop: str = "scale"
    resize: str = "area"
    augment: bool = True
    dropout: float = 0.15
    input: str = ""
    output_dir: str = ""
    predictions: str = ""
    tta: bool = False
    sliding_window: int = 0
    boundary: bool = False
    compare: str = ""
    profile: bool = False
    debug: bool = False

    def __post_init__(self):
        object.__setattr__(self, "mode", ALIASES.get(self.mode, self.mode))
        if self.mode == "prepare" and self.split not in ("", "all"):
            raise UserError(f"--mode=prepare writes every split there is, got --split={self.split}; leave it out.")
        if not self.split:
            object.__setattr__(self, "split", "all" if self.mode in ("check", "prepare") else "validation")
        for name, choices in (
            ("mode", (*MODES, *ALIASES)),
            ("dataset", DATASETS),
            ("arch", ARCHS),
            ("split", SPLITS),
            ("precision", PRECISIONS),
            ("crop", CROPS),
            ("resize", RESIZES),
            ("on_bad_example", ON_BAD_EXAMPLE),
            ("resume_from", RESUME_FROM),
        ):
            _one_of(name, getattr(self, name), choices)
        defaults = registry.resolve(registry.DATASETS[self.dataset]).defaults
        for name, value in defaults.items():
            if getattr(self, name) == 0:
                object.__setattr__(self, name, value)
        object.__setattr__(self, "freeze", ",".join(_stages(self.freeze)))
        for name in ("image_size", "batch_size", "max_steps", "eval_every", "save_every", "log_every", "accumulate"):
            if getattr(self, name) < 1:
                default = " (or 0: the data set's default)" if name in defaults else ""
                raise UserError(f"--{name} must be 1 or more{default}, got {getattr(self, name)}.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UserError(f"--learning_rate must be a positive number, got {self.learning_rate}; try 1e-4.")
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout must be in [0, 1), got {self.dropout}.")
        if not 0 <= self.seed < 2**31:  # it becomes an int32 in the training step
            raise UserError(f"--seed must be from 0 to {2**31 - 1}, got {self.seed}.")
        if self.ignore_label not in ("auto", "none") and not self.ignore_label.isdecimal():
            raise UserError(f"--ignore_label must be auto, none or a label id from 0, got {self.ignore_label!r}.")
        if self.sliding_window and self.sliding_window < _SMALLEST_WINDOW:
            raise UserError(
                f"--sliding_window must be 0 (off) or {_SMALLEST_WINDOW} pixels or more, got {self.sliding_window}."
            )
        if self.mode == "evaluate" and self.predictions:
            for name in ("tta", "sliding_window"):
                if getattr(self, name):
                    raise UserError(
                        f"--predictions scores label images made elsewhere, so --{name} has no model to work on; "
                        "drop one of the two."
                    )
        if self.num_classes < 0 or self.num_classes == 1:
            raise UserError(f"--num_classes must be 2 or more, got {self.num_classes}.")
        for name in self.loss.split("+"):
            _one_of("loss", name, LOSSES)
        if len(set(self.loss.split("+"))) < len(self.loss.split("+")):
            raise UserError(f"--loss names a loss twice, got {self.loss!r}; expected such as cross_entropy+dice.")
        if self.mode == "train" and self.batch_size % self.accumulate:
            divisors = [str(parts) for parts in range(1, self.batch_size + 1) if self.batch_size % parts == 0]
            raise UserError(
                f"--accumulate={self.accumulate} does not divide --batch_size={self.batch_size}; use one of "
                f"{', '.join(divisors)}."
            )
        if self.mode == "train" and self.accumulate > 1 and "dice" in self.loss.split("+"):
            raise UserError(
                f"--accumulate={self.accumulate} cannot divide --loss={self.loss}: dice compares sums over the whole "
                "batch; use --accumulate=1, with --recompute to save memory."
            )
        if self.mode == "predict" and not self.input:
            raise UserError(
                "--mode=predict needs --input: a picture, a folder or a quoted pattern such as 'photos/*.jpg'."
            )
        if self.mode == "prepare" and not self.output_dir:
            raise UserError("--mode=prepare needs --output_dir: where the shards go, such as data/prepared.")

    def data_flags(self) -> dict[str, Any]:
        """What the flags say about the data set, as `datasets.load` takes it."""
        return {name: getattr(self, name) for name in _DATA_FLAGS}

    def to_json(self) -> dict[str, Any]:
        """The flags that describe a run, for config.json: everything but what is asked of it this time."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _THIS_TIME}


_DATA_FLAGS = ("num_classes", "ignore_label", "mask_values", "mask_colors", "seed", "on_bad_example")
_THIS_TIME = (
    "mode", "logs_dir", "split", "input", "output_dir", "predictions", "tta", "sliding_window", "boundary", "compare",
    "profile", "resume_from",
)  # fmt: skip
_OF_THE_MODEL = ("arch", "precision")  # a trained one is what it is


def merge(given: dict[str, Any], saved: dict[str, Any] | None) -> Config:
    """Completes the flags given on the command line by those of the run they are about.

    Args:
      given: flag values by name, only those that were typed.
      saved: "flags" of the run's config.json, or None where there is no run.

    Raises:
      UserError: when a run would be continued with other settings than it was started with, or its model used with
        others than it has.
    """
    if saved is None:
        return Config(**given)
    kinds = {field.name: type(field.default) for field in dataclasses.fields(Config)}
    saved = {name: value for name, value in saved.items() if name in kinds}
    if given.get("dataset", saved.get("dataset")) != saved.get("dataset"):
        # What was said about the run's own data says nothing about other data.
        saved = {name: value for name, value in saved.items() if name not in _DATA_FLAGS or name == "seed"}
    for name, value in saved.items():
        if type(value) is not kinds[name]:
            raise UserError(
                f"config.json says {name} is {value!r}, expected {kinds[name].__name__}; restore it, or train into a "
                "new --logs_dir."
            )
    config = Config(**{**saved, **given})
    if config.mode == "train":
        for name, value in config.to_json().items():
            if name not in RESUMABLE and name in saved and saved[name] != value:
                raise UserError(
                    f"{config.logs_dir} holds a run with --{name}={saved[name]}, got --{name}={value}: a run continues "
                    f"as it was started; give another --logs_dir, or --{name}={saved[name]} to continue this one."
                )
    if config.mode in ("evaluate", "visualize", "predict"):
        for name in _OF_THE_MODEL:
            if saved.get(name) not in (None, getattr(config, name)):
                raise UserError(
                    f"the model in {config.logs_dir} was trained with --{name}={saved[name]}, got "
                    f"--{name}={getattr(config, name)}: it is used as it was trained; leave the flag out."
                )
    return config


def _stages(freeze):
    """The stages that --freeze names, in order, each once: the same wish is the same text in every config.json."""
    named = freeze.split(",") if freeze else []
    if not {*named} <= {*registry.STAGES, "trunk"}:
        raise UserError(
            f"--freeze must be some of {', '.join(registry.STAGES)} with commas between, or trunk, got {freeze!r}."
        )
    return [stage for stage in registry.STAGES if stage in named or "trunk" in named]


def _one_of(name, value, choices):
    if value not in choices:
        raise UserError(f"--{name} must be one of {', '.join(choices)}, got {value!r}.")
