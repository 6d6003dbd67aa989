"""The FCN8s of the PyTorch tutorials: five learned doublings, two of them joined by skips. Pure Keras."""

from collections.abc import Mapping

import keras

from fcn_tf.models import blocks
from fcn_tf.models.base import Head
from fcn_tf.models.batch_norm import batch_norm


def fcn8s_pytorch(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    feature_scale: float,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """Five 3x3 transposed convolutions of stride 2, each with ReLU and batch normalisation, and a 1x1 classifier.

    pool4 is added to what comes of the first, pool3 to that of the second, as they are, and the sums are normalised; so
    these two are as wide as those, and the other three a half, a quarter and an eighth of pool3: 512, 256, 128, 64, 32.

    The source divides photos by their standard deviation; here features are divided by it, which is the same. Those of
    a trunk with batch normalisation are as large as the source's already.

    Args:
      features: {"stride2", "stride4", ..., "stride32"} from the trunk; of the first two only the sizes.
      images: the model's input, for its height and width.
      num_classes: channels of the result.
      dropout_rate: before the classifier.
      feature_scale: what features are divided by.
      dtype: Keras dtype policy.

    Returns:
      (B, H, W, num_classes) logits.
    """
    x, pool4, pool3 = (
        keras.layers.Rescaling(1 / feature_scale, name=f"scale_{name}", dtype=dtype)(features[stride])
        for name, stride in (("pool5", "stride32"), ("pool4", "stride16"), ("pool3", "stride8"))
    )
    width = pool3.shape[-1]
    doublings = (
        (pool4.shape[-1], pool4),
        (width, pool3),
        (max(width // 2, 1), features["stride4"]),
        (max(width // 4, 1), features["stride2"]),
        (max(width // 8, 1), images),
    )
    for number, (filters, like) in enumerate(doublings, 1):
        layer = blocks.upsample(
            filters, 3, 2, init=keras.initializers.GlorotUniform, name=f"conv_t{number}", dtype=dtype
        )
        x = keras.layers.ReLU(name=f"relu_t{number}", dtype=dtype)(layer(x, like=like))
        if like is pool4 or like is pool3:
            x = keras.layers.Add(name=f"fuse_{number}", dtype=dtype)([x, like])
        x = batch_norm(f"bn_t{number}", dtype)(x)
    x = blocks.dropout(x, dropout_rate, dtype)
    return blocks.scores(x, num_classes, "classifier", dtype, init=keras.initializers.GlorotUniform)


FCN8S = Head(fcn8s_pytorch, finest=2, takes_scale=True, classifier=False)
