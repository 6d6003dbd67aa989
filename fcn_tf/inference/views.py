"""How an image gets its scores: in one forward pass, or in several views (test-time augmentation).

Scores are (B, H, W, C) floats whose largest is the label and whose softmax is the probability. Every forward pass of a
trained model goes through `scoring`.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from fcn_tf.inference import tiles
from fcn_tf.models import cpu, resizing

_Scorer = Callable[[tf.Tensor], tf.Tensor]
_TINY = 1e-30  # keeps the logarithm of a probability of 0 finite


@dataclass(frozen=True)
class InferenceOptions:
    """What is done beyond one forward pass over the whole image.

    Attributes:
      tta: average the probabilities of the views given by `scales` and `flip`.
      tile: label tiles of this side in pixels one after the other, which bounds the memory; 0: the whole image.
      scales: of the views, as factors on the sides.
      flip: whether each view is also mirrored.
    """

    tta: bool = False
    tile: int = 0
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)
    flip: bool = True


class Scoring(NamedTuple):
    """The two halves of scoring images, each for a graph: all networks, and the scores of a part of the images.

    Attributes:
      look: uint8 images (B, H, W, 3) -> `looks` tensors, float32 (B, *, *, C).
      part: these, int32 (top, left, h, w) of a part, and int32 (H, W) -> scores of the part, float32 (B, h, w, C).
      looks: how many tensors there are.
      in_bands: whether they are smaller than the images, so that it saves memory to take part after part.
    """

    look: Callable[[tf.Tensor], list[tf.Tensor]]
    part: Callable[[Sequence[tf.Tensor], tf.Tensor, tf.Tensor], tf.Tensor]
    looks: int
    in_bands: bool


def scoring(model: keras.Model, options: InferenceOptions) -> Scoring:
    """Makes the functions that score images.

    Args:
      model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C).
      options: which views; tiles are the caller's part (see tiles.py).

    Raises:
      UserError: if there are to be tiles, and the model resizes what it is given.
    """
    side = resizing.longest_side(model)
    tiles.require_none(options.tile, longest_side=side)
    if side:
        return _at_own_size(resizing.with_scores_of_own_size(model), side, options)
    plain = _logits(model)
    views = [plain if scale == 1 else _scaled(plain, scale) for scale in options.scales]

    def look(images: tf.Tensor) -> list[tf.Tensor]:
        return [_log_mean(_seen(views, images, options)) if options.tta else plain(images)]

    def part(looked: Sequence[tf.Tensor], inside: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        begin, end = tf.stack([0, inside[0], inside[1], 0]), tf.stack([-1, inside[2], inside[3], -1])
        return tf.slice(looked[0], begin, end)

    return Scoring(look, part, looks=1, in_bands=False)


def _at_own_size(model: keras.Model, side: int, options: InferenceOptions) -> Scoring:
    """Of a model that brings images to this longer side, and leaves its scores there; views are other sides."""
    scales = options.scales if options.tta else (1.0,)
    sides = [round(side * scale) for scale in scales]
    views = [_logits(model if each == side else resizing.with_longest_side(model, each)) for each in sides]

    def look(images: tf.Tensor) -> list[tf.Tensor]:
        return list(_seen(views, images, options)) if options.tta else [views[0](images)]

    def part(looked: Sequence[tf.Tensor], inside: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        shown = (resizing.interpolate(each, size[0], size[1], part=tf.unstack(inside)) for each in looked)
        return _log_mean(shown) if options.tta else next(shown)

    return Scoring(look, part, looks=len(views) * (2 if options.tta and options.flip else 1), in_bands=True)


def _seen(views: Iterable[_Scorer], images: tf.Tensor, options: InferenceOptions) -> Iterable[tf.Tensor]:
    """The logits of every view, the right way round."""
    for scores, mirrored in itertools.product(views, (False, True) if options.flip else (False,)):
        found = scores(images[:, :, ::-1] if mirrored else images)
        yield found[:, :, ::-1] if mirrored else found


def _log_mean(logits: Iterable[tf.Tensor]) -> tf.Tensor:
    """Logarithms of the mean of the views' probabilities: (B, H, W, C)."""
    total, count = 0.0, 0
    for each in logits:
        total, count = total + tf.nn.softmax(each), count + 1
    return tf.math.log(tf.maximum(total / count, _TINY))


def _logits(model: keras.Model) -> _Scorer:
    accelerated = cpu.accelerated(model)
    return lambda images: tf.cast(accelerated(tf.cast(images, tf.float32), training=False), tf.float32)


def _scaled(logits: _Scorer, scale: float) -> _Scorer:
    """The logits of pictures that are scaled by a factor on their sides, brought back to their size."""

    def scaled(images: tf.Tensor) -> tf.Tensor:
        size = tf.shape(images)[1:3]
        other = tf.maximum(1, tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32))
        return tf.image.resize(logits(tf.image.resize(images, other, antialias=True)), size)

    return scaled
