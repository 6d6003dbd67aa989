"""What a trunk hands to a head, and what either says about itself. Pure Keras."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from fcn_tf.models.matconvnet import STANDARD_DEVIATION
from fcn_tf.models.weights_table import TrainedHead

Weights = Mapping[str, Sequence[np.ndarray]]  # layer name -> arrays, as `Layer.set_weights` takes them


@dataclass(frozen=True)
class Trunk:
    """A trunk, built.

    Attributes:
      features: "stride2", "stride4", ... "stride32", float (B, ceil(H / stride), ceil(W / stride), C): what each stage
        is pooled to; and "conv1" to "conv5", what it was pooled from, of twice that size.
      stages: the names of its layers in order, a list for each name in `registry.STAGES`.
      weights: pretrained ones of its layers; empty where it starts untrained.
      classifier: pretrained ones of conv6 and conv7, for heads that have them in this shape.
      head: what the weights file has for the head, or None.
      feature_scale: how many times larger its features are than those of a network that is trained on pixels divided by
        their standard deviation; 1 where batch normalisation makes them as large as those.
    """

    features: Mapping[str, keras.KerasTensor]
    stages: Sequence[list[str]]
    weights: Weights = field(default_factory=dict)
    classifier: Weights = field(default_factory=dict)
    head: TrainedHead | None = None
    feature_scale: float = STANDARD_DEVIATION


@dataclass(frozen=True)
class Head:
    """One value of `--arch`: the layers above a trunk, and what they need of it.

    Attributes:
      build: (features, images, *, num_classes, dropout_rate, dtype) -> float (B, H, W, num_classes) logits; and the
        flags that its line in `registry.HEADS` says it has, and what `takes_scale` adds, by keyword.
      trunk: its name in `registry.TRUNKS`, unless --trunk names another.
      trunk_options: keyword arguments of that trunk.
      finest: the smallest stride that it takes features of.
      takes_scale: whether `build` is given the trunk's `feature_scale`, by keyword.
      classifier: whether conv6 and conv7 start from the trunk's classifier where the shapes agree.
      trunk_rate, head_rate: factors on the learning rate of pretrained and of new layers.
      variant: (**flags) -> the head with these flags, where they change more than `build`.
    """

    build: Callable[..., keras.KerasTensor]
    trunk: str = "vgg"
    trunk_options: Mapping[str, Any] = field(default_factory=dict)
    finest: int = 8
    takes_scale: bool = False
    classifier: bool = True
    trunk_rate: float = 1.0
    head_rate: float = 1.0
    variant: Callable[..., "Head"] | None = None

    def with_flags(self, **flags: Any) -> "Head":
        """The head with values of its own flags."""
        if self.variant is not None and flags:
            return self.variant(**flags)
        return dataclasses.replace(self, build=functools.partial(self.build, **flags))
