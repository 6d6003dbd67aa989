"""A light head: a feature pyramid instead of two 4,096-wide layers. Pure Keras."""

from collections.abc import Mapping

import keras

from fcn_tf.models import blocks, layers
from fcn_tf.models.base import Head

_WIDTH = 128
_LATERALS = ("conv5", "conv4", "conv3")  # of strides 16, 8 and 4


def fpn(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """A feature pyramid (Lin et al. 2017; Kirillov et al. 2019) over the last activations of stages 3 to 5.

    The context is a dilated 3x3 convolution over pool5, as DeepLab's LargeFOV (Chen et al. 2015) in place of VGG's
    7x7 one. Each finer stage joins as 128 normalised channels and not as scores, so that the last layers can weigh
    them against each other; scores are made at stride 4 and enlarged bilinearly by a learned transposed convolution.

    Arguments and result as in `heads.original`.
    """

    def conv(x, name, *, width=_WIDTH, side=3, dilation=1):
        options = {"padding": "same", "dilation_rate": dilation, "kernel_initializer": "he_normal"}
        x = keras.layers.Conv2D(width, side, name=name, dtype=dtype, **options)(x)
        return keras.layers.ReLU(name=f"relu_{name}", dtype=dtype)(x)

    x = layers.RMSNormalize(name="norm_pool5", dtype=dtype)(features["stride32"])
    x = conv(x, "conv6", width=2 * x.shape[-1], dilation=2)
    x = blocks.dropout(x, dropout_rate, dtype, name="dropout6")
    x = conv(x, "conv7", side=1)
    for number, stage in enumerate(_LATERALS, 1):
        skip = layers.RMSNormalize(name=f"norm_{stage}", dtype=dtype)(features[stage])
        skip = blocks.scores(skip, _WIDTH, f"lateral_{stage}", dtype, init=keras.initializers.HeNormal)
        x = blocks.upsample(_WIDTH, 4, 2, name=f"conv_t{number}", dtype=dtype)(x, skip)
        x = blocks.add([x, skip], f"fuse_{stage}", dtype)
        x = layers.RMSNormalize(name=f"norm_fuse_{stage}", dtype=dtype)(x)
        x = conv(x, f"refine_{stage}")
    x = blocks.dropout(x, dropout_rate, dtype, name="dropout_score", salt=1)
    x = blocks.scores(x, num_classes, "score", dtype)
    return blocks.upsample(num_classes, 8, 4, name="conv_t4", dtype=dtype)(x, images)


FPN = Head(fpn, finest=4, classifier=False, trunk_rate=0.3, head_rate=10.0)
