"""Joins a trunk and a head, and fills them with pretrained weights. Pure Keras."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.io import texts
from fcn_tf.models import resizing, weights_table
from fcn_tf.models.base import Head


@dataclass(frozen=True)
class Network:
    """A model and what a training has to know of its layers.

    Attributes:
      model: float (B, H, W, 3) RGB in [0, 255] of any size -> float32 logits (B, H, W, C).
      stages: the names of the trunk's layers in order, by stage.
      trunk_name: a name in `registry.TRUNKS`.
      trunk_rate, head_rate: factors on the learning rate of the trunk's and of all other layers.
    """

    model: keras.Model
    stages: Mapping[str, list[str]]
    trunk_name: str = "vgg"
    trunk_rate: float = 1.0
    head_rate: float = 1.0

    @property
    def trunk(self) -> frozenset[str]:
        """The names of the trunk's layers."""
        return frozenset(name for names in self.stages.values() for name in names)

    def learning_rate_factors(self) -> dict[str, float]:
        """{variable path: factor on the learning rate}, every trainable variable once."""
        trunk = self.trunk
        return {
            variable.path: self.trunk_rate if layer.name in trunk else self.head_rate
            for layer in self.model.layers
            for variable in layer.trainable_variables
        }

    def freeze(self, stages: Collection[str]) -> None:
        """Keeps the weights of some stages as they are; call it before an optimiser is built.

        Args:
          stages: such as ["conv1", "conv2"].
        """
        for stage in stages:
            for name in self.stages[stage]:
                self.model.get_layer(name).trainable = False


def build_network(
    arch: str,
    *,
    num_classes: int,
    weights: str | None = "tiny",
    model_dir: str = "data/models/",
    dropout_rate: float = 0.15,
    dtype: str = "float32",
    trunk: str = "",
    longest_side: int = 0,
    flags: Mapping[str, Any] | None = None,
) -> Network:
    """Builds a fully convolutional network.

    Args:
      arch: a name in `registry.HEADS`.
      num_classes: how many classes to tell apart.
      weights: "tiny" (embedded), "vgg19" or "vgg16" (downloaded to `model_dir`), the path of a file that fits the trunk
        (see `pretrained.read`), or None: an untrained trunk, for "vgg" as wide as the tiny one.
      model_dir: where "vgg19" and "vgg16" are looked for.
      dropout_rate: after conv6 and conv7, while training.
      dtype: "float32", "bfloat16" or "float16": what the layers compute in. Weights and logits stay float32.
      trunk: a name in `registry.TRUNKS`; "" for the arch's own.
      longest_side: photos are labelled with their longer side brought to so many pixels, and the logits brought back to
        their size; 0: as they are. Not while training.
      flags: of the arch, by name, as `registry.arch_flags` finds them; its defaults otherwise.

    Raises:
      UserError: on an unknown arch, a trunk that it cannot stand on, or a weights file that is missing, damaged or
        another network's.
    """
    if arch not in registry.HEADS:
        raise UserError(_unknown(arch))
    head: Head = registry.resolve(registry.HEADS[arch]).with_flags(**(flags or {}))
    trunk = trunk or head.trunk
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    images = keras.Input((None, None, 3), name="images")
    shown = resizing.FitLongestSide(longest_side, name="fit", dtype="float32")(images) if longest_side else images
    build_trunk = registry.resolve(registry.TRUNKS[trunk])
    built = build_trunk(shown, weights=weights, model_dir=model_dir, dtype=policy, **head.trunk_options)
    trained = built.head
    if trained and arch not in trained.archs:
        raise UserError(
            f"{weights} is {trained.source}, whose networks are --arch={', '.join(trained.archs)}; give one."
        )
    strides = [name for name in built.features if name.startswith("stride")]
    if f"stride{head.finest}" not in strides:
        raise UserError(
            f"--arch={arch} takes features of stride {head.finest}; --trunk={trunk} has {', '.join(strides)}: "
            "choose another of the two."
        )
    more = {"feature_scale": built.feature_scale} if head.takes_scale else {}
    scores = head.build(built.features, shown, num_classes=num_classes, dropout_rate=dropout_rate, dtype=policy, **more)
    if longest_side:
        scores = resizing.ResizeLike(name="resize", dtype="float32")(scores, like=images)
    logits = keras.layers.Activation("linear", name="logits", dtype="float32")(scores)
    model = keras.Model(images, logits, name=arch)

    for name, arrays in built.weights.items():
        model.get_layer(name).set_weights(arrays)
    known = {layer.name: layer for layer in model.layers}
    of_head = trained.weights if trained else {}
    for name, arrays in {**(built.classifier if head.classifier else {}), **of_head}.items():
        layer = known.get(name)  # a head with fewer skips lacks some
        if layer is not None and [variable.shape for variable in layer.weights] == [array.shape for array in arrays]:
            scale = weights_table.skip_scale(model, name)
            layer.set_weights(arrays if scale == 1 else [arrays[0] / scale, *arrays[1:]])
    return Network(
        model,
        dict(zip(registry.STAGES, built.stages, strict=True)),
        trunk_name=trunk,
        trunk_rate=head.trunk_rate if built.weights else 1.0,  # an untrained trunk learns at the base rate
        head_rate=head.head_rate,
    )


def build_model(arch: str, **options: Any) -> keras.Model:
    """The model of `build_network`, whose arguments it takes.

    Raises:
      UserError: as `build_network`, and without `num_classes`.
    """
    if "num_classes" not in options:
        wrong = [_unknown(arch)] if arch not in registry.HEADS else []
        raise UserError(" ".join([*wrong, "Give num_classes, too: how many classes the model is to tell apart."]))
    return build_network(arch, **options).model


def _unknown(arch: str) -> str:
    near = texts.nearest(str(arch), registry.HEADS)
    meant = f"; did you mean {near!r}?" if near else "."
    return f"arch is {arch!r}; expected one of {', '.join(registry.HEADS)}{meant}"
