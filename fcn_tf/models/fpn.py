"""A light head: a feature pyramid instead of two 4,096-wide layers. Pure Keras."""

from collections.abc import Mapping

import keras

from fcn_tf.models import layers
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

    def upsample(x, name, *, like, stride=2):
        initializer = layers.BilinearInitializer()
        return layers.UpsampleLike(
            x.shape[-1], 2 * stride, stride, kernel_initializer=initializer, name=name, dtype=dtype
        )(x, like)

    x = layers.RMSNormalize(name="norm_pool5", dtype=dtype)(features["stride32"])
    x = conv(x, "conv6", width=2 * x.shape[-1], dilation=2)
    x = layers.StepDropout(dropout_rate, salt=0, name="dropout6", dtype=dtype)(x)
    x = conv(x, "conv7", side=1)
    for number, stage in enumerate(_LATERALS, 1):
        skip = layers.RMSNormalize(name=f"norm_{stage}", dtype=dtype)(features[stage])
        skip = keras.layers.Conv2D(_WIDTH, 1, kernel_initializer="he_normal", name=f"lateral_{stage}", dtype=dtype)(
            skip
        )
        x = upsample(x, f"conv_t{number}", like=skip)
        x = keras.layers.Add(name=f"fuse_{stage}", dtype=dtype)([x, skip])
        x = layers.RMSNormalize(name=f"norm_fuse_{stage}", dtype=dtype)(x)
        x = conv(x, f"refine_{stage}")
    x = layers.StepDropout(dropout_rate, salt=1, name="dropout_score", dtype=dtype)(x)
    x = keras.layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name="score", dtype=dtype)(x)
    return upsample(x, "conv_t4", like=images, stride=4)


FPN = Head(fpn, finest=4, classifier=False, trunk_rate=0.3, head_rate=10.0)
