"""The AlexNet trunk (Krizhevsky, Sutskever & Hinton 2012), as MatConvNet stores Caffe's. Pure Keras."""

from typing import Any

import keras

from fcn_tf.errors import UserError
from fcn_tf.models import more_layers, pretrained
from fcn_tf.models.base import Trunk

# (name, filters, side of the kernel, stride, groups, whether normalised, whether pooled)
_CONVS = (
    ("conv1", 96, 11, 4, 1, True, True),
    ("conv2", 256, 5, 1, 2, True, True),
    ("conv3", 384, 3, 1, 1, False, False),
    ("conv4", 384, 3, 1, 2, False, False),
    ("conv5", 256, 3, 1, 2, False, True),
)
_NORMALIZATION = (5, 1.0, 2e-5, 0.75)  # channels, bias, alpha of each of them, beta


def alexnet(
    images: keras.KerasTensor, *, weights: str | None, model_dir: str, dtype: str = "float32", **options: Any
) -> Trunk:
    """Builds the trunk from imagenet-caffe-alex.mat, or untrained, at the widths of the publication.

    Its features are pool1, pool2 and pool5, at strides 8, 16 and 32. Convolutions and poolings pad ("same") where the
    source's do not, so that features have the sizes that heads expect.

    Args:
      images: float (B, H, W, 3), RGB in [0, 255].
      weights: the path of the file; None or "none" for an untrained trunk.
      model_dir: see `pretrained.find`.
      dtype: Keras dtype policy of the layers.
      **options: of other trunks, which some heads need and this one does not have.

    Raises:
      UserError: if there are options, or the file is missing, damaged or another network's.
    """
    if options:
        raise UserError(
            f"--trunk=alexnet has no {', '.join(options)}, which this --arch needs of its trunk; leave --trunk out."
        )
    net, _ = pretrained.read(weights, model_dir)
    untrained = weights in (None, "none")
    if not untrained and not net.is_alexnet:
        raise UserError(
            f"{weights} is a VGG network, expected an AlexNet such as MatConvNet's imagenet-caffe-alex.mat; give "
            "that, --weights=none, or --trunk=vgg."
        )
    x = keras.layers.Rescaling(1.0, [-float(m) for m in net.mean_rgb], name="subtract_mean", dtype="float32")(images)
    stages: list[list[str]] = [["subtract_mean"]]
    features, stride = {}, 1
    for number, (name, filters, side, step, groups, normalized, pooled) in enumerate(_CONVS, 1):
        if number > 1:
            stages.append([])
        if not untrained:
            kernel = net.convs[name].kernel
            filters, side, groups = kernel.shape[3], kernel.shape[0], x.shape[-1] // kernel.shape[2]
        chain = [
            keras.layers.Conv2D(
                filters,
                side,
                strides=step,
                groups=groups,
                padding="same",
                kernel_initializer="he_normal",
                name=name,
                dtype=dtype,
            ),
            keras.layers.ReLU(name=f"relu{number}", dtype=dtype),
        ]
        if normalized:
            values = net.normalizations.get(f"norm{number}", _NORMALIZATION)
            chain.append(more_layers.LocalResponseNormalization(*values, name=f"norm{number}", dtype=dtype))
        if pooled:
            chain.append(keras.layers.MaxPooling2D(3, strides=2, padding="same", name=f"pool{number}", dtype=dtype))
        for layer in chain:
            x = layer(x)
            stages[-1].append(layer.name)
        stride *= step * (2 if pooled else 1)
        if pooled:
            features[f"stride{stride}"] = x
    if untrained:
        return Trunk(features, stages)
    arrays = {name: [conv.kernel, conv.bias] for name, conv in net.convs.items()}
    return Trunk(
        features,
        stages,
        weights={name: arrays[name] for name, *_ in _CONVS},
        classifier={name.replace("fc", "conv"): arrays[name] for name in ("fc6", "fc7") if name in arrays},
    )
