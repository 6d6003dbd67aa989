"""Heads: from a trunk's features to logits for every class at every pixel. Pure Keras."""

import functools
from collections.abc import Mapping

import keras

from fcn_tf.models import layers
from fcn_tf.models.base import Head

# Made anew for each layer: a used initializer would start the next one with the same numbers.
_ORIGINAL_INIT = functools.partial(keras.initializers.TruncatedNormal, stddev=0.02)


def original(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """The head of FCN.tensorflow: raw pool4 and pool3 added to upsampled maps of their width.

    Args:
      features: {"stride8", "stride16", "stride32"} from the trunk.
      images: the model's input, for its height and width.
      num_classes: channels of the result.
      dropout_rate: after conv6 and conv7.
      dtype: Keras dtype policy.

    Returns:
      (B, H, W, num_classes) logits.
    """
    pool3, pool4 = features["stride8"], features["stride16"]
    options = {"init": _ORIGINAL_INIT, "dtype": dtype}
    scores = _convolutional_classifier(
        features["stride32"],
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        dtype=dtype,
        hidden_init=_ORIGINAL_INIT,
        score_init=_ORIGINAL_INIT,
    )
    x = _upsample(pool4.shape[-1], 4, 2, name="conv_t1", **options)(scores, like=pool4)
    x = keras.layers.Add(name="fuse_pool4", dtype=dtype)([x, pool4])  # (B, H/16, W/16, 512)
    x = _upsample(pool3.shape[-1], 4, 2, name="conv_t2", **options)(x, like=pool3)
    x = keras.layers.Add(name="fuse_pool3", dtype=dtype)([x, pool3])  # (B, H/8, W/8, 256)
    return _upsample(num_classes, 16, 8, name="conv_t3", **options)(x, like=images)


def fcn8s(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """FCN-8s (Long et al. 2015, section 4.2): scores of three strides, added up through bilinear upsampling.

    Arguments and result as in `original`. Each skip is normalised before it is scored, and every score layer
    starts at zero, so the first loss is ln(num_classes) whatever the trunk's magnitudes.
    """
    pool3, pool4 = features["stride8"], features["stride16"]
    scores = _convolutional_classifier(
        layers.RMSNormalize(name="norm_pool5", dtype=dtype)(features["stride32"]),
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        dtype=dtype,
        hidden_init=keras.initializers.HeNormal,
        score_init=keras.initializers.Zeros,
    )
    x = _upsample(num_classes, 4, 2, name="conv_t1", dtype=dtype)(scores, like=pool4)
    x = keras.layers.Add(name="fuse_pool4", dtype=dtype)([x, _skip_scores(pool4, "pool4", num_classes, dtype)])
    x = _upsample(num_classes, 4, 2, name="conv_t2", dtype=dtype)(x, like=pool3)
    x = keras.layers.Add(name="fuse_pool3", dtype=dtype)([x, _skip_scores(pool3, "pool3", num_classes, dtype)])
    return _upsample(num_classes, 16, 8, name="conv_t3", dtype=dtype)(x, like=images)


# FCN.tensorflow to the bit, quirks included.
ORIGINAL = Head(
    original,
    trunk_options={"pooling": "average", "last_conv": "conv5_3", "transposed": True},
    classifier=False,
)
FCN8S = Head(fcn8s, trunk_rate=0.3, head_rate=10.0)


def _skip_scores(features, name, num_classes, dtype):
    x = layers.RMSNormalize(name=f"norm_{name}", dtype=dtype)(features)
    return keras.layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name=f"score_{name}", dtype=dtype)(x)


def _convolutional_classifier(x, *, num_classes, dropout_rate, dtype, hidden_init, score_init):
    """conv6, conv7 and conv8: VGG's classifier as convolutions; (B, h, w, C) -> (B, h, w, num_classes)."""
    width = 8 * x.shape[-1]  # 512 -> 4096
    convs = [
        keras.layers.Conv2D(width, side, padding="same", kernel_initializer=hidden_init(), name=name, dtype=dtype)
        for name, side in (("conv6", 7), ("conv7", 1))
    ]
    for salt, conv in enumerate(convs):
        number = conv.name.removeprefix("conv")
        x = keras.layers.ReLU(name=f"relu{number}", dtype=dtype)(conv(x))
        x = layers.StepDropout(dropout_rate, salt=salt, name=f"dropout{number}", dtype=dtype)(x)
    return keras.layers.Conv2D(num_classes, 1, kernel_initializer=score_init(), name="conv8", dtype=dtype)(x)


def _upsample(filters, kernel, stride, *, init=layers.BilinearInitializer, **kwargs):
    return layers.UpsampleLike(filters, kernel, stride, kernel_initializer=init(), **kwargs)
