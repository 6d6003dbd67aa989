"""What the package offers by name, such as every value of `--mode`, `--dataset` and `--arch`, and where it is defined.

An entry is "module:attribute", imported when it is asked for: the flags, the checks and the code share one table, and
listing what there is imports nothing.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


class WithFlags(str):
    """An entry whose object has flags of its own; here, to be known before it is imported.

    Attributes:
      flags: their names.
    """

    flags: tuple[str, ...]

    def __new__(cls, entry: str, *flags: str) -> "WithFlags":
        """The entry "module:attribute" with these flags."""
        made = super().__new__(cls, entry)
        made.flags = flags
        return made


MODES = {
    "train": "fcn_tf.train:run",
    "visualize": "fcn_tf.visualize:run",
    "evaluate": "fcn_tf.evaluate:run",
    "predict": "fcn_tf.predict:run",
    "explain": "fcn_tf.explain:run",
    "serve": "fcn_tf.serve:run",
    "search": "fcn_tf.search:run",
    "check": "fcn_tf.check:run",
    "prepare": "fcn_tf.prepare:run",
    "export": "fcn_tf.export:run",
}
DATASETS = {
    "shapes": "fcn_tf.data.datasets.shapes:ENTRY",
    "ade20k": "fcn_tf.data.datasets.ade20k:ENTRY",
    "camvid": "fcn_tf.data.datasets.camvid:ENTRY",
    "voc": "fcn_tf.data.datasets.voc:ENTRY",
    "folder": "fcn_tf.data.datasets.folder:ENTRY",
    "records": "fcn_tf.data.datasets.records:ENTRY",
}

HEADS = {
    "original": WithFlags("fcn_tf.models.original:ORIGINAL", "quirks"),
    "fcn8s": WithFlags("fcn_tf.models.heads:FCN8S", "fuse"),
    "light": "fcn_tf.models.light:LIGHT",
    "fcn32s": WithFlags("fcn_tf.models.paper:FCN32S", "learn_last_upsampling"),
    "fcn16s": WithFlags("fcn_tf.models.paper:FCN16S", "learn_last_upsampling", "fuse", "plain_skips"),
    "fcn8s_paper": WithFlags("fcn_tf.models.paper:FCN8S", "learn_last_upsampling", "fuse", "plain_skips"),
    "fcn4s": WithFlags("fcn_tf.models.paper:FCN4S", "learn_last_upsampling", "fuse", "plain_skips"),
    "fcn2s": WithFlags("fcn_tf.models.paper:FCN2S", "learn_last_upsampling", "fuse", "plain_skips"),
    "fcn32s_alexnet": WithFlags("fcn_tf.models.paper:FCN32S_ALEXNET", "learn_last_upsampling"),
    "fcn8s_keras": "fcn_tf.models.keras_tutorial:FCN8S",
    "fcn8s_pytorch": "fcn_tf.models.pytorch_tutorial:FCN8S",
    "fcn32s_mindspore": "fcn_tf.models.mindspore_tutorial:FCN32S",
    "fcn16s_mindspore": WithFlags("fcn_tf.models.mindspore_tutorial:FCN16S", "fuse"),
    "fcn8s_mindspore": WithFlags("fcn_tf.models.mindspore_tutorial:FCN8S", "fuse"),
}
STAGED = ("fcn32s", "fcn16s", "fcn8s_paper")  # of --staged: each starts from the one before
TRUNKS = {
    "vgg": "fcn_tf.models.vgg:vgg",
    "vgg_bn": "fcn_tf.models.vgg_bn:vgg_bn",
    "alexnet": "fcn_tf.models.alexnet:alexnet",
}
FUSIONS = {  # how heads join skips
    "add": "fcn_tf.models.blocks:add",
    "concat": "fcn_tf.models.blocks:concat",
}
QUIRKS = (  # of FCN.tensorflow, see docs/original.md
    "transposed",
    "average_pooling",
    "no_last_relu",
    "raw_skips",
    "init",
    "random_classifier",
    "one_rate",
)
WEIGHTS = {  # those that are downloaded
    "vgg19": "fcn_tf.io.downloads:VGG19",
    "vgg16": "fcn_tf.io.downloads:VGG16",
}
PALETTES = {
    "hls": "fcn_tf.data.palette:hls_colors",
    "voc": "fcn_tf.data.datasets.voc:palette_colors",
    "ade20k": "fcn_tf.data.datasets.ade20k:palette_colors",
    "camvid": "fcn_tf.data.datasets.camvid:palette_colors",
}
CROPS = ("scale", "squash")
RESIZES = ("area", "nearest")
STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")  # of every trunk: each ends at half the resolution

LOSSES = {
    "cross_entropy": WithFlags("fcn_tf.training.losses:cross_entropy", "class_weights"),
    "focal": WithFlags("fcn_tf.training.pixel_losses:focal", "class_weights"),
    "dice": "fcn_tf.training.dice:dice",
    "binary_cross_entropy": WithFlags("fcn_tf.training.pixel_losses:binary_cross_entropy", "class_weights"),
}
OPTIMIZERS = {
    "adam": "fcn_tf.training.optimizers:adam",
    "adamw": "fcn_tf.training.optimizers:adamw",
    "sgd": "fcn_tf.training.optimizers:sgd",
}
SCHEDULES = {
    "constant": "fcn_tf.training.schedules:constant",
    "step": "fcn_tf.training.schedules:step",
    "poly": "fcn_tf.training.schedules:poly",
    "cosine": "fcn_tf.training.schedules:cosine",
}
OUTPUTS = {
    "labels": "fcn_tf.inference.segmentation:LABELS",
    "overlay": "fcn_tf.inference.segmentation:OVERLAY",
    "confidence": "fcn_tf.inference.segmentation:CONFIDENCE",
    "probabilities": "fcn_tf.inference.segmentation:PROBABILITIES",
    "legend": "fcn_tf.inference.segmentation:LEGEND",
    "areas": "fcn_tf.inference.segmentation:AREAS",
}

EXPORTS = {
    "savedmodel": "fcn_tf.formats.savedmodel:ENTRY",
    "onnx": "fcn_tf.formats.onnx:ENTRY",
    "tflite": "fcn_tf.formats.tflite:ENTRY",
    "openvino": "fcn_tf.formats.openvino:ENTRY",
    "keras": "fcn_tf.formats.keras:ENTRY",
    "web": "fcn_tf.formats.web:ENTRY",
}
EXPORT_PRECISIONS = ("float32", "float16", "int8")
RUNTIMES = {  # beside TensorFlow: the one of `EXPORTS` that each of them runs
    "openvino": "fcn_tf.formats.openvino:ENTRY",
    "onnxruntime": "fcn_tf.formats.onnx:ENTRY",
}
INFERENCE_PRECISIONS = ("auto", "float32", "bfloat16")
TRACKERS = {  # each is the package of this name
    "mlflow": "fcn_tf.training.trackers:MlflowTracker",
    "wandb": "fcn_tf.training.trackers:WandbTracker",
}


def resolve(entry: str) -> Any:
    """The object that "module:attribute" names; imports the module."""
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def arch_flags(arch: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of flag values by name, those that are this arch's own."""
    return {name: values[name] for name in getattr(HEADS[arch], "flags", ()) if name in values}


def own_trunk(arch: str) -> str:
    """The trunk of an arch where --trunk names no other. Its head says so, too, but not without Keras."""
    family = arch.rpartition("_")[2]
    return {"alexnet": "alexnet", "mindspore": "vgg_bn"}.get(family, "vgg")


def takes_class_weights(loss: str) -> bool:
    """Whether a loss, or one of a sum, uses --class_weights."""
    return any("class_weights" in getattr(LOSSES[name], "flags", ()) for name in loss.split("+"))


def lazy(package: str, entries: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562) that imports each of its public names on first use.

    Args:
      package: the module's `__name__`.
      entries: "module:attribute" by public name.
    """

    def attribute(name: str) -> Any:
        if name in entries:
            return resolve(entries[name])
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute
