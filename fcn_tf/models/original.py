"""FCN.tensorflow's network, with all its quirks or some of them (docs/original.md). Pure Keras."""

import functools

import keras

from fcn_tf import registry
from fcn_tf.models.base import Head
from fcn_tf.models.heads import FCN8S, INITS, Inits, fcn8s

_TRUNCATED_NORMAL = Inits(*(functools.partial(keras.initializers.TruncatedNormal, stddev=0.02),) * 3)


def with_quirks(quirks: str) -> Head:
    """FCN.tensorflow's head and trunk, or what is left of them.

    Args:
      quirks: "all", "none", or some of `registry.QUIRKS` with commas between. Without any it is FCN8S.
    """
    kept = {"all": registry.QUIRKS, "none": ()}.get(quirks, quirks.split(","))
    rates = (1.0, 1.0) if "one_rate" in kept else (FCN8S.trunk_rate, FCN8S.head_rate)
    return Head(
        functools.partial(fcn8s, raw_skips="raw_skips" in kept, inits=_TRUNCATED_NORMAL if "init" in kept else INITS),
        trunk_options={
            "transposed": "transposed" in kept,
            "pooling": "average" if "average_pooling" in kept else "max",
            "last_conv": "conv5_3" if "no_last_relu" in kept else None,
        },
        classifier="random_classifier" not in kept,
        trunk_rate=rates[0],
        head_rate=rates[1],
        variant=with_quirks,
    )


ORIGINAL = with_quirks("all")  # to the bit
