"""FCN-32s, 16s and 8s of the MindSpore tutorials: batch normalisation everywhere, trained from scratch. Pure Keras."""

import functools
from collections.abc import Mapping

import keras

from fcn_tf.models import blocks
from fcn_tf.models.base import Head

_SKIPS = ((16, "pool4"), (8, "pool3"))


def mindspore(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    stride: int,
    num_classes: int,
    dropout_rate: float,
    fuse: str = "add",
    dtype: str = "float32",
) -> keras.KerasTensor:
    """The paper's heads with batch normalisation in conv6 and conv7, raw skips, and all upsampling learned.

    Everything new starts Glorot-uniform, and transposed convolutions have no bias.

    Args:
      features: {"stride32", "stride16", ...} from the trunk, down to `stride`.
      images: the model's input, for its height and width.
      stride: 32, 16 or 8.
      num_classes: channels of the result.
      dropout_rate: after conv6 and conv7.
      fuse: see `blocks.fuse`.
      dtype: Keras dtype policy.

    Returns:
      (B, H, W, num_classes) logits.
    """
    glorot = keras.initializers.GlorotUniform

    def enlarged(x, factor, name, like):
        layer = blocks.upsample(num_classes, 2 * factor, factor, init=glorot, use_bias=False, name=name, dtype=dtype)
        return layer(x, like=like)

    x = blocks.hidden_layers(features["stride32"], dropout_rate=dropout_rate, dtype=dtype, init=glorot, normalized=True)
    x = blocks.scores(x, num_classes, "conv8", dtype, init=glorot)
    for skip_stride, name in _SKIPS:
        if skip_stride >= stride:
            skip = features[f"stride{skip_stride}"]
            x = enlarged(x, 2, f"upsample_{name}", skip)
            scores = blocks.scores(skip, num_classes, f"score_{name}", dtype, init=glorot)
            x = blocks.fuse(fuse, x, scores, f"fuse_{name}", dtype)
    return enlarged(x, stride, f"upsample{stride}", images)


FCN32S, FCN16S, FCN8S = (
    Head(functools.partial(mindspore, stride=stride), trunk="vgg_bn", finest=stride, classifier=False)
    for stride in (32, 16, 8)
)
