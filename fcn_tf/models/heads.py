"""Heads: from a trunk's features to a score for every class at every pixel."""

import keras

from fcn_tf.models import layers

_UPSTREAM_INIT = keras.initializers.TruncatedNormal(stddev=0.02)


def original(features, images, *, num_classes, dropout_rate, dtype="float32"):
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
    options = {"init": _UPSTREAM_INIT, "dtype": dtype}
    scores = _fully_convolutional(
        features["stride32"],
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        dtype=dtype,
        hidden_init=_UPSTREAM_INIT,
        score_init=_UPSTREAM_INIT,
    )
    x = _upsample(pool4.shape[-1], 4, 2, name="conv_t1", **options)(scores, like=pool4)
    x = keras.layers.Add(name="fuse_pool4", dtype=dtype)([x, pool4])  # (B, H/16, W/16, 512)
    x = _upsample(pool3.shape[-1], 4, 2, name="conv_t2", **options)(x, like=pool3)
    x = keras.layers.Add(name="fuse_pool3", dtype=dtype)([x, pool3])  # (B, H/8, W/8, 256)
    return _upsample(num_classes, 16, 8, name="conv_t3", **options)(x, like=images)


def fcn8s(features, images, *, num_classes, dropout_rate, dtype="float32"):
    """FCN-8s (Long et al. 2015, section 4.2): scores of three strides, added up through bilinear upsampling.

    Arguments and result as in `original`. Each skip is normalised before it is scored, and every score layer
    starts at zero, so the first loss is ln(num_classes) whatever the trunk's magnitudes.
    """
    pool3, pool4 = features["stride8"], features["stride16"]
    scores = _fully_convolutional(
        layers.RMSNormalize(name="norm_pool5", dtype=dtype)(features["stride32"]),
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        dtype=dtype,
        hidden_init="he_normal",
        score_init="zeros",
    )
    x = _upsample(num_classes, 4, 2, name="conv_t1", dtype=dtype)(scores, like=pool4)
    x = keras.layers.Add(name="fuse_pool4", dtype=dtype)([x, _skip_scores(pool4, "pool4", num_classes, dtype)])
    x = _upsample(num_classes, 4, 2, name="conv_t2", dtype=dtype)(x, like=pool3)
    x = keras.layers.Add(name="fuse_pool3", dtype=dtype)([x, _skip_scores(pool3, "pool3", num_classes, dtype)])
    return _upsample(num_classes, 16, 8, name="conv_t3", dtype=dtype)(x, like=images)


def _skip_scores(features, name, num_classes, dtype):
    x = layers.RMSNormalize(name=f"norm_{name}", dtype=dtype)(features)
    return layers.Conv2D(num_classes, 1, kernel_initializer="zeros", name=f"score_{name}", dtype=dtype)(x)


def _fully_convolutional(x, *, num_classes, dropout_rate, dtype, hidden_init, score_init):
    """conv6, conv7 and conv8: VGG's classifier as convolutions; (B, h, w, C) -> (B, h, w, num_classes)."""
    width = 8 * x.shape[-1]  # 512 -> 4096
    for salt, (name, layer) in enumerate(
        (
            ("conv6", layers.PatchConv2D(width, 7, kernel_initializer=_clone(hidden_init), name="conv6", dtype=dtype)),
            ("conv7", layers.PatchConv2D(width, 1, kernel_initializer=_clone(hidden_init), name="conv7", dtype=dtype)),
        )
    ):
        x = keras.layers.ReLU(name=name.replace("conv", "relu"), dtype=dtype)(layer(x))
        x = layers.StepDropout(dropout_rate, salt=salt, name=name.replace("conv", "dropout"), dtype=dtype)(x)
    return layers.Conv2D(num_classes, 1, kernel_initializer=_clone(score_init), name="conv8", dtype=dtype)(x)


def _upsample(filters, kernel, stride, *, init=None, **kwargs):
    layer = layers.SubPixelUpsampleLike if stride == 8 else layers.UpsampleLike  # whichever is faster
    return layer(filters, kernel, stride, kernel_initializer=_clone(init or layers.BilinearInitializer()), **kwargs)


def _clone(initializer):
    """A fresh initializer: a used one would start the next layer with the same numbers."""
    return initializer.clone() if isinstance(initializer, keras.initializers.Initializer) else initializer
