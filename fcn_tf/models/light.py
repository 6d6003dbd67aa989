"""A light FCN: a sixteenth of the weights of FCN-8s above the trunk, and skips of twice the resolution. Pure Keras."""

from collections.abc import Mapping

import keras

from fcn_tf.models import blocks, layers
from fcn_tf.models.base import Head

_HIDDEN = 128  # channels
_SKIPS = ("conv5", "conv4", "conv3")  # of strides 16, 8 and 4


def light(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """Scores of four strides, added up through bilinear upsampling as in FCN-8s, each from features as they are.

    Two things differ from `heads.fcn8s`. conv6 and conv7 are DeepLab's LargeFOV (Chen et al. 2015): 3x3 with dilation
    and 1x1, twice as wide as pool5 instead of eight times. And skips are what stages 5, 4 and 3 hold before they are
    pooled, at strides 16, 8 and 4 instead of 16 and 8, each seen by a hidden 3x3 layer of its own before it is scored.
    No new layer stands above another stride's, so all of them learn from the first step on.

    Arguments and result as in `heads.fcn8s`.
    """

    def normalized(name):
        return layers.RMSNormalize(name=f"norm_{name}", dtype=dtype)

    x = normalized("pool5")(features["stride32"])
    x = blocks.hidden_layers(x, dropout_rate=dropout_rate, side=3, dilation=2, widening=2, dtype=dtype)
    x = blocks.scores(x, num_classes, "conv8", dtype)
    for number, stage in enumerate(_SKIPS, 1):
        skip = normalized(stage)(features[stage])
        hidden = {"padding": "same", "kernel_initializer": "he_normal", "name": f"hidden_{stage}", "dtype": dtype}
        skip = keras.layers.Conv2D(_HIDDEN, 3, activation="relu", **hidden)(skip)
        skip = blocks.scores(skip, num_classes, f"score_{stage}", dtype)
        x = blocks.upsample(num_classes, 4, 2, name=f"conv_t{number}", dtype=dtype)(x, like=skip)
        x = blocks.add([x, skip], f"fuse_{stage}", dtype)
    return blocks.upsample(num_classes, 8, 4, name="conv_t4", dtype=dtype)(x, like=images)


LIGHT = Head(light, finest=4, classifier=False, trunk_rate=0.3, head_rate=10.0)
