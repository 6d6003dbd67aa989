"""Every flag: a field each, with its name, type, default, help, check and scope. No TensorFlow."""

from dataclasses import dataclass

from fcn_tf import registry
from fcn_tf.config import checks
from fcn_tf.config.flag import Scope, flag
from fcn_tf.data import base, crops

_LABELLING = ("visualize", "evaluate", "predict", "serve")  # the modes that label pictures with the run's model


@dataclass(frozen=True)
class Fields:
    """The fields of `Config`, which completes and checks them. Zero and "" mean "not given".

    `command/flags.py` defines the flags from them, in this order.
    """

    mode: str = flag(
        "train",
        "{choices}; test is another name of evaluate",
        scope=Scope.COMMAND,
        check=checks.one_of(registry.MODES),  # aliases are replaced before
        section="Command",
    )
    logs_dir: str = flag(
        "logs/", "the run: events, checkpoints, config.json, history.csv, pictures, reports", scope=Scope.COMMAND
    )
    verbosity: int = flag(
        0,
        "1, or -v: what libraries say, and tracebacks, on the console; 0: they go to run.log under --logs_dir",
        scope=Scope.COMMAND,
        check=checks.ZERO_OR_ONE,
    )

    dataset: str = flag("shapes", "{choices}", check=checks.one_of(registry.DATASETS), section="Data")
    data_dir: str = flag(
        "data/",
        "where the data set is, or is downloaded to; of a run that is continued, where it is now",
        scope=Scope.RESUMABLE,
    )
    split: str = flag(
        "",
        "{choices}; default: validation; check and prepare: all",
        scope=Scope.COMMAND,
        modes=("visualize", "evaluate", "check", "prepare", "export"),
        check=checks.one_of((*base.SPLITS, "all")),
    )
    ignore_label: str = flag(
        "auto",
        "label id that is not trained or scored; auto: the data set's; none",
        scope=Scope.DATA,
        check=checks.LABEL,
    )
    num_classes: int = flag(
        0, "folder: how many classes; 0: as many as the masks show", scope=Scope.DATA, check=checks.CLASSES
    )
    mask_values: str = flag(
        "", "folder: the value masks hold for class 0, 1, ..., as in 0,255 or 0-20", scope=Scope.DATA
    )
    mask_colors: str = flag("", "folder: the colour of class 0, 1, ..., as in 000000,ff0000", scope=Scope.DATA)
    holdout: str = flag(
        "",
        "validate on the training files whose names start so, as in 0001TP,0006R0, and train on the others",
        scope=Scope.DATA,
        check=checks.PREFIXES,
    )
    palette: str = flag(
        "auto",
        "{choices}: colours of the classes; auto: the data set's; hls: evenly spaced hues",
        scope=Scope.DATA,
        check=checks.one_of(("auto", *registry.PALETTES)),
    )
    on_bad_example: str = flag(
        "fail",
        "{choices}; skip leaves out files that cannot be read, have no partner or another size than it, and names them",
        scope=Scope.DATA,
        check=checks.one_of(checks.ON_BAD_EXAMPLE),
    )
    image_size: str = flag(
        "",
        "training crops in pixels: the side of a square, or HEIGHTxWIDTH as in 360x480; default: the data set's",
        check=checks.SIZE,
    )
    crop: str = flag(
        "scale",
        "{choices}; scale: random crops, aspect kept; squash: the whole picture, as the original",
        check=checks.one_of(registry.CROPS),
    )
    resize: str = flag(
        "area",
        "{choices}; photos by area (or bilinearly when enlarged), or nearest as the original",
        check=checks.one_of(registry.RESIZES),
    )
    longest_side: int = flag(
        0,
        "photos are trained on and labelled with their longer side brought to so many pixels; 0: at their own size",
        scope=Scope.MODEL,
        check=checks.LONGEST_SIDE,
    )
    augment: bool = flag(True, "random flips and scales while training, and what the next four flags add")
    scales: str = flag(
        str(crops.Scales()),
        "scale factors of crops: a range as in 0.5-2, or a list as in 0.5,0.75,1",
        check=checks.SCALES,
    )
    class_crops: float = flag(
        0.0,
        "share of the crops that are centred on a pixel of a class drawn from those in the photo",
        check=checks.SHARE,
    )
    rotate: float = flag(0.0, "turn crops by up to so many degrees either way", check=checks.ANGLE)
    jitter: float = flag(0.0, "vary brightness, contrast, saturation and hue, up to this strength", check=checks.SHARE)

    arch: str = flag("light", "{choices}", scope=Scope.MODEL, check=checks.one_of(registry.HEADS), section="Model")
    trunk: str = flag("", "{choices}; default: the arch's own", scope=Scope.MODEL, check=checks.TRUNK)
    fuse: str = flag(
        "add",
        "{choices}: how heads join skips: scores added, or side by side and mixed by a 1x1 convolution",
        scope=Scope.MODEL,
        check=checks.one_of(registry.FUSIONS),
    )
    learn_last_upsampling: bool = flag(
        False, "of the paper's heads: the last upsampling learns instead of staying bilinear", scope=Scope.MODEL
    )
    plain_skips: bool = flag(
        False,
        "of the paper's heads: skips are scored as they come, not scaled down; --staged trains so by default",
        scope=Scope.MODEL,
    )
    quirks: str = flag(
        "all",
        f"of arch original, which ones it keeps: all | none | some of {', '.join(registry.QUIRKS)}",
        scope=Scope.MODEL,
        check=checks.QUIRKS,
    )
    weights: str = flag(
        "tiny",
        "tiny (embedded) | " + " | ".join(registry.WEIGHTS) + " | none | path of a VGG: MatConvNet's .mat, Keras' .h5, "
        "torchvision's .safetensors, of original a checkpoint of FCN.tensorflow, of fcn8s_paper Caffe's FCN as .npz",
    )
    model_dir: str = flag("data/models/", "where .mat files are, or are downloaded to")
    init_from: str = flag(
        "",
        "start from what fits of a trained run's --logs_dir or a .keras file; --arch, --weights, --precision and "
        "others default to its",
    )
    dropout: float = flag(0.15, "dropout rate after conv6 and conv7", check=checks.FRACTION)
    precision: str = flag(
        "float32",
        "{choices}: of activations; the 16-bit types take less memory",
        scope=Scope.MODEL,
        check=checks.one_of(checks.PRECISIONS),
    )
    freeze: str = flag(
        "", "stages of the trunk that are not trained: some of conv1,conv2,... or trunk for all", check=checks.FREEZE
    )

    staged: bool = flag(
        False,
        f"train {', '.join(registry.STAGED)} for --max_steps each, every one from the one before",
        section="Training",
    )
    stage_rate: float = flag(
        1.0, "of --staged: factor on the learning rate from one network to the next", check=checks.FACTOR
    )
    batch_size: int = flag(0, "images a step, over all replicas; 0: the data set's default", check=checks.BATCH)
    loss: str = flag("cross_entropy", "{choices}, or a sum such as cross_entropy+dice", check=checks.LOSS)
    class_weights: str = flag("none", "none | balanced (rare classes weigh more) | a file of name,weight lines")
    optimizer: str = flag("adam", "{choices}", check=checks.one_of(registry.OPTIMIZERS))
    learning_rate: float = flag(
        1e-4, "of the optimiser; --schedule says how it changes", scope=Scope.RESUMABLE, check=checks.RATE
    )
    schedule: str = flag(
        "constant", "{choices}: of the learning rate, over --max_steps steps", check=checks.one_of(registry.SCHEDULES)
    )
    warmup_steps: int = flag(0, "steps over which the learning rate rises linearly", check=checks.NOT_NEGATIVE)
    weight_decay: float = flag(0.0, "of kernels: adamw's, decoupled, or sgd's, in the gradient", check=checks.FRACTION)
    momentum: float = flag(0.9, "of sgd", check=checks.FRACTION)
    nesterov: bool = flag(False, "Nesterov momentum, of sgd")
    clip_norm: float = flag(
        0.0, "largest global norm of the gradients, which are scaled down to it; 0: off", check=checks.FINITE
    )
    trunk_rate: float = flag(
        0.0, "factor on the learning rate of the pretrained trunk; 0: the arch's own", check=checks.FINITE
    )
    head_rate: float = flag(
        0.0, "factor on the learning rate of all other layers; 0: the arch's own", check=checks.FINITE
    )
    bias_rate: float = flag(1.0, "further factor on the learning rate of biases; 2 in Caffe", check=checks.FACTOR)
    ema: float = flag(
        0.0,
        "decay of the exponential moving average of the weights, as 0.999, which is validated and saved; 0: off",
        check=checks.FRACTION,
    )
    accumulate: int = flag(
        1, "gradient accumulation over so many parts of a batch; less memory", scope=Scope.RESUMABLE, check=checks.COUNT
    )
    recompute: bool = flag(False, "gradient checkpointing of the trunk; less memory, more time", scope=Scope.RESUMABLE)
    max_steps: int = flag(
        0, "train up to this step; 0: the data set's default", scope=Scope.RESUMABLE, check=checks.COUNT_OR_DEFAULT
    )
    eval_every: int = flag(
        0, "steps between validations; 0: the data set's default", scope=Scope.RESUMABLE, check=checks.COUNT_OR_DEFAULT
    )
    save_every: int = flag(
        0, "steps between checkpoints; 0: the data set's default", scope=Scope.RESUMABLE, check=checks.COUNT_OR_DEFAULT
    )
    on_nan: str = flag(
        "stop",
        "{choices}, when the loss is no longer finite: back to the best validation, with half the learning rate, at "
        "most three times",
        scope=Scope.RESUMABLE,
        check=checks.one_of(checks.ON_NAN),
    )
    early_stopping: int = flag(
        0,
        "stop after so many validations without a better mean IoU; 0: off",
        scope=Scope.RESUMABLE,
        check=checks.NOT_NEGATIVE,
    )
    log_every: int = flag(10, "steps between points in TensorBoard's curves", scope=Scope.RESUMABLE, check=checks.COUNT)
    log_to: str = flag(
        "",
        "beside TensorBoard, send the curves to {choices} (with commas between): needs the package of that name",
        scope=Scope.RESUMABLE,
        check=checks.TRACKERS,
    )
    resume_from: str = flag(
        "latest",
        "{choices}; best: the best validation's checkpoint, dropping what came after",
        scope=Scope.COMMAND,
        modes=("train",),
        check=checks.one_of(checks.RESUME_FROM),
    )
    seed: int = flag(
        0, "everything random follows from it; visualize without it shows other examples each time", check=checks.SEED
    )
    trials: int = flag(
        20,
        "trainings in all, those of an earlier start included",
        scope=Scope.COMMAND,
        modes=("search",),
        check=checks.COUNT,
    )
    profile: bool = flag(
        False,
        "trace a few steps of this start, for TensorBoard's profile plugin (pip install xprof)",
        scope=Scope.COMMAND,
        modes=("train", "search"),
    )
    debug: bool = flag(False, "histograms of weights, gradients and activations in TensorBoard", scope=Scope.RESUMABLE)

    input: str = flag(
        "",
        "an image, a video, a folder with all in it, a quoted pattern, or - for paths on standard input; explain takes "
        "no videos",
        scope=Scope.COMMAND,
        modes=("predict", "explain"),
        section="Evaluation and prediction",
    )
    class_: str = flag("", "the class, by name or id", scope=Scope.COMMAND, modes=("explain",))
    point: str = flag(
        "",
        "x,y of a pixel; alone: the class predicted there",
        scope=Scope.COMMAND,
        modes=("explain",),
        check=checks.POINT,
    )
    layers: str = flag(
        "",
        "names of layers with commas between; default: where the last three stages end",
        scope=Scope.COMMAND,
        modes=("explain",),
    )
    output_dir: str = flag(
        "",
        "where results go, by default LOGS_DIR/predict or LOGS_DIR/export; for prepare, where the shards go",
        scope=Scope.COMMAND,
        modes=("predict", "prepare", "export"),
    )
    outputs: str = flag(
        "",
        "some of {choices}, with commas between; default: labels,overlay,legend,areas, of videos without labels",
        scope=Scope.COMMAND,
        modes=("predict",),
        check=checks.OUTPUTS,
    )
    part: str = flag(
        "",
        "k/n, only the k-th of n parts of --input, which follow from names alone: one for each process",
        scope=Scope.COMMAND,
        modes=("predict",),
        check=checks.PART,
    )
    inference_precision: str = flag(
        "auto",
        "{choices}; auto: bfloat16 where the processor multiplies it and the labels are those of float32",
        scope=Scope.COMMAND,
        modes=("predict",),
        check=checks.one_of(registry.INFERENCE_PRECISIONS),
    )
    runtime: str = flag(
        "tensorflow",
        "{choices}; the others label with the run's export for them, of the weights that --quantize says",
        scope=Scope.COMMAND,
        modes=("predict", "serve"),
        check=checks.one_of(("tensorflow", *registry.RUNTIMES)),
    )
    overwrite: bool = flag(False, "do again what was done before", scope=Scope.COMMAND, modes=("predict",))
    count: int = flag(
        0,
        "how many examples; 0: --batch_size of them",
        scope=Scope.COMMAND,
        modes=("visualize",),
        check=checks.NOT_NEGATIVE,
    )
    predictions: str = flag(
        "",
        "score this folder of label PNGs instead of a model, of a run into LOGS_DIR/evaluation_predictions",
        scope=Scope.COMMAND,
        modes=("evaluate",),
    )
    tta: bool = flag(
        False,
        "test-time augmentation: average the predictions over scales and flips",
        scope=Scope.COMMAND,
        modes=_LABELLING,
    )
    sliding_window: int = flag(
        0,
        "predict tiles of this side in pixels, which bounds the memory; 0: off",
        scope=Scope.COMMAND,
        modes=_LABELLING,
        check=checks.WINDOW,
    )
    boundary: bool = flag(False, "also boundary F1 (BF) and trimap IoU", scope=Scope.COMMAND, modes=("evaluate",))
    compare: str = flag(
        "",
        "another evaluated --logs_dir, or the folder of an evaluation; tests whether the two differ",
        scope=Scope.COMMAND,
        modes=("evaluate",),
    )

    format: str = flag(
        "savedmodel",
        "{choices}, or several with commas between",
        scope=Scope.COMMAND,
        modes=("export",),
        check=checks.FORMATS,
        section="Export",
    )
    quantize: str = flag(
        "float32",
        "{choices}: of the exported weights, and of those that --runtime runs; int8 is calibrated on the run's "
        "training data",
        scope=Scope.COMMAND,
        modes=("predict", "serve", "export"),
        check=checks.one_of(registry.EXPORT_PRECISIONS),
    )
    web_runtime: str = flag(
        "node_modules/onnxruntime-web",
        "of web: the npm package onnxruntime-web that the page carries along: its folder, or the .tgz of `npm pack`",
        scope=Scope.COMMAND,
        modes=("export",),
    )

    host: str = flag(
        "127.0.0.1",
        "the address to listen on; whoever comes from outside this machine needs the token",
        scope=Scope.COMMAND,
        modes=("serve",),
        check=checks.HOST,
        section="Serving",
    )
    port: int = flag(
        8000,
        "the TCP port; 0: any free one, which is printed",
        scope=Scope.COMMAND,
        modes=("serve",),
        check=checks.PORT,
    )
    token: str = flag(
        "",
        "what every request must show; default: none where --host is this machine, else a random one, printed",
        scope=Scope.COMMAND,
        modes=("serve",),
        check=checks.TOKEN,
    )
    request_megabytes: int = flag(
        32, "the largest upload, in MB", scope=Scope.COMMAND, modes=("serve",), check=checks.COUNT
    )
    request_megapixels: int = flag(
        25, "the largest picture, in millions of pixels", scope=Scope.COMMAND, modes=("serve",), check=checks.COUNT
    )
    request_seconds: float = flag(
        60.0,
        "the longest time from a request to its answer",
        scope=Scope.COMMAND,
        modes=("serve",),
        check=checks.FACTOR,
    )
    queue_size: int = flag(
        256, "how many requests are taken in at once", scope=Scope.COMMAND, modes=("serve",), check=checks.COUNT
    )
