"""FCN-32s, 16s and 8s as published, and 4s and 2s by the same rule. Pure Keras.

J. Long, E. Shelhamer, T. Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015 and PAMI 2017, in
the variant that trains all skips at once, and with `plain_skips` in the one that trains one network after another.
"""

import functools
from collections.abc import Mapping

import keras

from fcn_tf.models import blocks
from fcn_tf.models.base import Head

# (stride, name, factor): skips are made small where the trunk's activations are large. The factors of pool4 and pool3
# are the paper's; pool2 and pool1 are about as large as pool3.
SKIPS = ((16, "pool4", 1e-2), (8, "pool3", 1e-4), (4, "pool2", 1e-4), (2, "pool1", 1e-4))


def paper(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    stride: int,
    num_classes: int,
    dropout_rate: float,
    fuse: str = "add",
    learn_last_upsampling: bool = False,
    plain_skips: bool = False,
    side: int = 7,
    widening: int = 8,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """Scores of pool5, of the pools from stride 16 down to `stride`, and one upsampling from there.

    Args:
      features: {"stride32", "stride16", ...} from the trunk, down to `stride`.
      images: the model's input, for its height and width.
      stride: 32 (no skips), 16, 8, 4 or 2.
      num_classes: channels of the result.
      dropout_rate: after conv6 and conv7.
      fuse: see `blocks.fuse`.
      learn_last_upsampling: whether the last upsampling learns; it stays bilinear otherwise. Those before it do learn.
      plain_skips: whether skips are scored as they come, not times the factors of `SKIPS`.
      side: see `blocks.hidden_layers`.
      widening: see there.
      dtype: Keras dtype policy.

    Returns:
      (B, H, W, num_classes) logits.
    """
    x = blocks.hidden_layers(features["stride32"], dropout_rate=dropout_rate, dtype=dtype, side=side, widening=widening)
    x = blocks.scores(x, num_classes, "conv8", dtype)
    for skip_stride, name, factor in SKIPS:
        if skip_stride < stride:
            break
        skip = features[f"stride{skip_stride}"]
        x = blocks.upsample(num_classes, 4, 2, name=f"upsample_{name}", use_bias=False, dtype=dtype)(x, like=skip)
        scaled = skip if plain_skips else keras.layers.Rescaling(factor, name=f"scale_{name}", dtype=dtype)(skip)
        scores = blocks.scores(scaled, num_classes, f"score_{name}", dtype)
        x = blocks.fuse(fuse, x, scores, f"fuse_{name}", dtype)
    last = blocks.upsample(num_classes, 2 * stride, stride, name=f"upsample{stride}", use_bias=False, dtype=dtype)
    last.trainable = learn_last_upsampling
    return last(x, like=images)


FCN32S, FCN16S, FCN8S, FCN4S, FCN2S = (
    Head(functools.partial(paper, stride=stride), finest=stride) for stride in (32, 16, 8, 4, 2)
)
# AlexNet's classifier: fc6 is a 6x6 convolution of 256 channels into 4096.
FCN32S_ALEXNET = Head(functools.partial(paper, stride=32, side=6, widening=16), trunk="alexnet", finest=32)
