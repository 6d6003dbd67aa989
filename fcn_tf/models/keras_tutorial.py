"""The FCN8 of the Keras tutorials: three score maps brought to stride 8 at once, one sum. Pure Keras."""

from collections.abc import Mapping

import keras

from fcn_tf.models import blocks
from fcn_tf.models.base import Head


def fcn8s_keras(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """conv7 enlarged 4 times, the scores of pool4 twice, and those of pool3 are added, and the sum enlarged 8 times.

    Skips are rectified after they are scored; transposed convolutions have kernels of their stride, and no bias, so
    each result follows from one pixel. What is new starts Glorot-uniform, as Keras starts it.

    Args:
      features: {"stride8", "stride16", "stride32"} from the trunk.
      images: the model's input, for its height and width.
      num_classes: channels of the result.
      dropout_rate: after conv6 and conv7.
      dtype: Keras dtype policy.

    Returns:
      (B, H, W, num_classes) logits.
    """
    glorot = keras.initializers.GlorotUniform
    pool3, pool4 = features["stride8"], features["stride16"]

    def enlarged(x, stride, name, like):
        layer = blocks.upsample(num_classes, stride, stride, init=glorot, use_bias=False, name=name, dtype=dtype)
        return layer(x, like=like)

    def scored(skip, name):
        scores = blocks.scores(skip, num_classes, f"score_{name}", dtype, init=glorot)
        return keras.layers.ReLU(name=f"relu_{name}", dtype=dtype)(scores)

    hidden = blocks.hidden_layers(features["stride32"], dropout_rate=dropout_rate, dtype=dtype, init=glorot)
    maps = [
        enlarged(hidden, 4, "upsample_conv7", pool3),
        enlarged(scored(pool4, "pool4"), 2, "upsample_pool4", pool3),
        scored(pool3, "pool3"),
    ]
    x = keras.layers.Add(name="fuse", dtype=dtype)(maps)  # (B, H/8, W/8, num_classes)
    return enlarged(x, 8, "upsample8", images)


FCN8S = Head(fcn8s_keras, trunk_options={"unit_inputs": True}, classifier=False)
