"""Joins a trunk and a head, and fills the trunk from a MatConvNet file. Pure Keras."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import keras

from fcn_tf.errors import UserError
from fcn_tf.models import heads, matconvnet
from fcn_tf.models import pretrained as weight_files
from fcn_tf.models.vgg import vgg


@dataclass(frozen=True)
class Arch:
    """One value of `--arch`.

    Attributes:
      head: builds the layers above the trunk (see models/heads.py).
      pooling: of pool1 to pool4, "max" or "average".
      top: the trunk layer below pool5, None for its last ReLU.
      transposed: whether VGG kernels are loaded with height and width swapped.
      classifier: whether conv6 and conv7 start from the file's fc6 and fc7 where it has them.
      trunk_rate, head_rate: factors on the learning rate of pretrained and of new layers.
    """

    head: Callable
    pooling: str = "max"
    top: str | None = None
    transposed: bool = False
    classifier: bool = True
    trunk_rate: float = 1.0
    head_rate: float = 1.0


ARCHS = {
    # FCN.tensorflow to the bit, quirks included.
    "original": Arch(head=heads.original, pooling="average", top="conv5_3", transposed=True, classifier=False),
    "fcn8s": Arch(head=heads.fcn8s, trunk_rate=0.3, head_rate=10.0),
}


def build_model(arch, *, num_classes, weights="tiny", model_dir="data/models/", dropout_rate=0.15, dtype="float32"):
    """Builds a fully convolutional network.

    Args:
      arch: a name in `ARCHS`.
      num_classes: how many classes to tell apart.
      weights: "tiny" (embedded), "vgg19" or "vgg16" (downloaded to `model_dir`), the path of a MatConvNet
        VGG11/13/16/19 `.mat` file, or None: an untrained trunk of the tiny one's widths.
      model_dir: where "vgg19" and "vgg16" are looked for.
      dropout_rate: after conv6 and conv7, while training.
      dtype: "float32", "bfloat16" or "float16": what the layers compute in. Weights and logits stay float32.

    Returns:
      A Keras model: float (B, H, W, 3) RGB in [0, 255] of any size -> float32 logits (B, H, W, num_classes).

    Raises:
      UserError: on an unknown arch, or a weights file that is missing, damaged or another network's.
    """
    if arch not in ARCHS:
        raise UserError(f"arch is {arch!r}; expected one of {', '.join(ARCHS)}.")
    chosen = ARCHS[arch]
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    net = matconvnet.read(weight_files.find(weights, model_dir))
    widths = {name: conv.kernel.shape[3] for name, conv in net.convs.items() if name.startswith("conv")}

    images = keras.Input((None, None, 3), name="images")
    try:
        features = vgg(images, widths, mean_rgb=net.mean_rgb, pooling=chosen.pooling, top=chosen.top, dtype=policy)
    except ValueError as error:
        raise UserError(f"{weights}: {error} Choose another --arch.") from error
    scores = chosen.head(features, images, num_classes=num_classes, dropout_rate=dropout_rate, dtype=policy)
    logits = keras.layers.Activation("linear", name="logits", dtype="float32")(scores)
    model = keras.Model(images, logits, name=arch)
    if weights not in (None, "none"):
        _load(model, net, transposed=chosen.transposed, classifier=chosen.classifier)
    return model


def learning_rate_factors(model, arch, *, pretrained):
    """How fast each trainable variable of `model` learns next to the base rate.

    Args:
      model: from `build_model`.
      arch: its name in `ARCHS`.
      pretrained: whether the trunk was loaded; an untrained one learns at the base rate.

    Returns:
      {variable path: factor}, every trainable variable once.
    """
    chosen = ARCHS[arch]
    factors = {}
    for layer in model.layers:
        trunk_rate = chosen.trunk_rate if pretrained else 1.0
        factor = trunk_rate if is_trunk(layer.name) else chosen.head_rate
        factors.update({variable.path: factor for variable in layer.trainable_variables})
    return factors


def freeze(model, stages):
    """Keeps the weights of some of the trunk's stages as they are.

    Args:
      model: from `build_model`; before an optimiser is built for it.
      stages: such as ["conv1", "conv2"]: all their convolutions.
    """
    for layer in model.layers:
        if is_trunk(layer.name) and layer.name.split("_")[0] in stages:
            layer.trainable = False


def stages(model):
    """The trunk of a model from `build_model`, stage by stage: its layers in order, each stage up to its pooling."""
    found, stage = [], []
    for layer in model.layers:
        if layer.name == "subtract_mean" or re.fullmatch(r"(conv|relu)\d_\d|pool\d", layer.name):
            stage.append(layer)
            if layer.name.startswith("pool"):
                found.append(stage)
                stage = []
    return found


def is_trunk(name: str) -> bool:
    """Whether a layer of this name is one of VGG's convolutions."""
    return name.startswith("conv") and "_" in name and name[4].isdigit()


def _load(model, net, *, transposed, classifier):
    """Fills the trunk (every convolution the model has, from the file) and conv6, conv7 where widths agree."""
    for layer in model.layers:
        if is_trunk(layer.name):
            conv = net.convs[layer.name]
            kernel = conv.kernel.transpose(1, 0, 2, 3) if transposed else conv.kernel
            layer.set_weights([kernel, conv.bias])
    if classifier:
        for name, source in (("conv6", "fc6"), ("conv7", "fc7")):
            layer, conv = model.get_layer(name), net.convs.get(source)
            if conv is not None and tuple(layer.kernel.shape) == conv.kernel.shape:
                layer.set_weights([conv.kernel, conv.bias])
