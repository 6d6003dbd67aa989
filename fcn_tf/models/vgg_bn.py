"""The VGG trunk with batch normalisation; trained from scratch it is VGG16 as published. Pure Keras."""

import functools

from fcn_tf.models.vgg import vgg

_VGG16 = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # (convolutions, filters) by stage

vgg_bn = functools.partial(
    vgg,
    batch_normalized=True,
    untrained={
        f"conv{stage}_{i}": filters for stage, (count, filters) in enumerate(_VGG16, 1) for i in range(1, count + 1)
    },
)
