"""The head of FCN-8s: from a trunk's features to logits for every class at every pixel. Pure Keras.

Other heads are files of their own (docs/networks.md), made of the same blocks.py.
"""

from collections.abc import Mapping
from typing import NamedTuple

import keras

from fcn_tf.models import blocks, layers
from fcn_tf.models.base import Head

# (name of the upsampling, of the skip, its feature), from the coarsest on.
_SKIPS = (("conv_t1", "pool4", "stride16"), ("conv_t2", "pool3", "stride8"))


class Inits(NamedTuple):
    """Makers of initializers."""

    hidden: blocks.Initializer
    scores: blocks.Initializer
    upsampling: blocks.Initializer


INITS = Inits(keras.initializers.HeNormal, keras.initializers.Zeros, layers.BilinearInitializer)


def fcn8s(
    features: Mapping[str, keras.KerasTensor],
    images: keras.KerasTensor,
    *,
    num_classes: int,
    dropout_rate: float,
    fuse: str = "add",
    raw_skips: bool = False,
    inits: Inits = INITS,
    dtype: str = "float32",
) -> keras.KerasTensor:
    """FCN-8s (Long et al. 2015, section 4.2): scores of three strides, added up through bilinear upsampling.

    Each skip is normalised before it is scored, and every score layer starts at zero, so the first loss is
    ln(num_classes) whatever the trunk's magnitudes.

    Args:
      features: {"stride8", "stride16", "stride32"} from the trunk.
      images: the model's input, for its height and width.
      num_classes: channels of the result.
      dropout_rate: after conv6 and conv7.
      fuse: as in `blocks.fuse`.
      raw_skips: as FCN.tensorflow: nothing is normalised, and pool4 and pool3 are added as they are to maps of their
        width.
      inits: what layers start from.
      dtype: Keras dtype policy.

    Returns:
      (B, H, W, num_classes) logits.
    """
    x = features["stride32"] if raw_skips else _normalized(features["stride32"], "pool5", dtype)
    x = blocks.hidden_layers(x, dropout_rate=dropout_rate, init=inits.hidden, dtype=dtype)
    x = blocks.scores(x, num_classes, "conv8", dtype, init=inits.scores)
    for up, name, feature in _SKIPS:
        skip = features[feature]
        width = skip.shape[-1] if raw_skips else num_classes
        x = blocks.upsample(width, 4, 2, init=inits.upsampling, name=up, dtype=dtype)(x, like=skip)
        if not raw_skips:
            skip = blocks.scores(_normalized(skip, name, dtype), num_classes, f"score_{name}", dtype)
        x = blocks.fuse(fuse, x, skip, f"fuse_{name}", dtype)  # (B, H/16, W/16, width), then (B, H/8, W/8, width)
    return blocks.upsample(num_classes, 16, 8, init=inits.upsampling, name="conv_t3", dtype=dtype)(x, like=images)


def _normalized(features, name, dtype):
    return layers.RMSNormalize(name=f"norm_{name}", dtype=dtype)(features)


FCN8S = Head(fcn8s, trunk_rate=0.3, head_rate=10.0)
