"""The VGG trunk (Simonyan & Zisserman 2014), as wide and deep as its weights file says. Pure Keras."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from fcn_tf.errors import UserError
from fcn_tf.models import pretrained
from fcn_tf.models.base import Trunk
from fcn_tf.models.batch_norm import batch_norm
from fcn_tf.models.matconvnet import STANDARD_DEVIATION

_CLASSIFIER = {"conv6": "fc6", "conv7": "fc7"}  # layers of a head: those of the file that they may start from


def vgg(
    images: keras.KerasTensor,
    *,
    weights: str | None,
    model_dir: str,
    dtype: str = "float32",
    transposed: bool = False,
    untrained: Mapping[str, int] | None = None,
    **options: Any,
) -> Trunk:
    """Builds the trunk from a file of weights.

    Args:
      images: float (B, H, W, 3), RGB in [0, 255].
      weights: see `pretrained.find`; None or "none" for an untrained trunk.
      model_dir: see there.
      dtype: Keras dtype policy of the layers.
      transposed: whether kernels are loaded with height and width swapped.
      untrained: widths as `build_layers` takes them where there are no weights; None for those of the tiny network.
      **options: of `build_layers`.

    Raises:
      UserError: if the file is missing, damaged, another network's, or has no layer `last_conv`.
    """
    net, head = pretrained.read(weights, model_dir)
    if net.is_alexnet:
        raise UserError(f"{weights} is an AlexNet, expected a VGG network; give one, or add --trunk=alexnet.")
    if head and head.transposed and not transposed:
        raise UserError(f"{weights} is {head.source}, whose network is --arch={head.archs[0]}; add that.")
    widths: Mapping[str, int] = {
        name: conv.kernel.shape[3] for name, conv in net.convs.items() if name.startswith("conv")
    }
    if weights in (None, "none"):
        widths = untrained or widths
    try:
        features, stages = build_layers(images, widths, mean_rgb=net.mean_rgb, dtype=dtype, **options)
    except ValueError as error:
        raise UserError(f"{weights}: {error} Choose another --arch.") from error
    scale = 1.0 if options.get("batch_normalized") else STANDARD_DEVIATION
    if weights in (None, "none"):
        return Trunk(features, stages, feature_scale=scale)
    arrays = {
        name: [conv.kernel.transpose(1, 0, 2, 3) if transposed else conv.kernel, conv.bias]
        for name, conv in net.convs.items()
    }
    return Trunk(
        features,
        stages,
        weights={name: arrays[name] for stage in stages for name in stage if name in widths},
        head=head,
        classifier={name: arrays[source] for name, source in _CLASSIFIER.items() if source in arrays},
        feature_scale=scale,
    )


def build_layers(
    images: keras.KerasTensor,
    widths: Mapping[str, int],
    *,
    mean_rgb: Iterable[float],
    pooling: str = "max",
    last_conv: str | None = None,
    batch_normalized: bool = False,
    unit_inputs: bool = False,
    dtype: str = "float32",
) -> tuple[dict[str, keras.KerasTensor], list[list[str]]]:
    """The layers themselves.

    Args:
      images: float (B, H, W, 3), RGB in [0, 255].
      widths: {"conv1_1": 64, ...}: output channels by name, in order.
      mean_rgb: (3,), subtracted from every pixel.
      pooling: of pool1 to pool4: "max", as VGG was trained, or "average".
      last_conv: the layer that feeds pool5; the last ReLU unless given. Convolutions above it are not built.
      batch_normalized: whether every convolution is followed by batch normalisation.
      unit_inputs: whether pixels are scaled to [-1, 1] instead.
      dtype: Keras dtype policy.

    Returns:
      Features and stages, as in `Trunk`; "stride2" to "stride32" are the outputs of pool1 to pool5 (always max).

    Raises:
      ValueError: if `last_conv` is not a layer of this trunk.
    """
    if last_conv is not None and last_conv not in widths:
        raise ValueError(f"this VGG has no layer {last_conv}, which the arch takes; it has {', '.join(widths)}.")
    stages: list[list[str]] = [[]]

    def apply(layer, x):
        stages[-1].append(layer.name)
        return layer(x)

    # Float32 whatever the policy: bfloat16 would round the mean to half a grey level.
    scale, offset = (1 / 127.5, -1.0) if unit_inputs else (1.0, [-float(m) for m in mean_rgb])
    x = apply(keras.layers.Rescaling(scale, offset, name="subtract_mean", dtype="float32"), images)
    pool = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}[pooling]
    features = {}
    for name, width in widths.items():
        stage, index = name.removeprefix("conv").split("_")
        if index == "1" and stage != "1":
            features[f"conv{len(stages)}"] = x
            x = apply(pool(2, padding="same", name=f"pool{len(stages)}", dtype=dtype), x)
            features[f"stride{2 ** len(stages)}"] = x
            stages.append([])
        conv = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal", name=name, dtype=dtype)
        x = apply(conv, x)
        if batch_normalized:
            x = apply(batch_norm(f"bn{stage}_{index}", dtype), x)
        if last_conv == name:
            break
        x = apply(keras.layers.ReLU(name=f"relu{stage}_{index}", dtype=dtype), x)
    features["conv5"] = x
    features["stride32"] = apply(keras.layers.MaxPooling2D(2, padding="same", name="pool5", dtype=dtype), x)
    return features, stages
