"""Why a model labels pixels as it does: which features count (Grad-CAM), and which part of the picture does.

Grad-CAM (Selvaraju et al. 2017) for segmentation (Vinogradova et al. 2020): the channels of a layer, weighted by the
mean gradient of the class's logits, summed over the pixels to be explained. The measured receptive field is the size of
the gradient to the input (Luo et al. 2016); models/receptive_field.py has the theoretical one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.errors import UserError
from fcn_tf.models.receptive_field import Box, ReceptiveFields

_STAGES = 3  # how many of the coarsest resolutions `stage_ends` gives
_MOST = 0.9545  # two standard deviations of a normal distribution, as Luo et al. count
_HELD = 3 * 4  # bytes for each number that a layer puts out: kept for the backward pass, its gradient, and a copy


@dataclass(frozen=True)
class Field:
    """What one unit of a layer sees.

    Attributes:
      layer: its name.
      box: the theoretical receptive field.
      gradient: float32 (H, W), |gradient| of each pixel of the picture, the largest 1; 0 where nothing counts.
      centre: row and column that the unit looks at, between two pixels where the box has an even side.
    """

    layer: str
    box: Box
    gradient: np.ndarray
    centre: tuple[float, float]

    @property
    def effective_side(self) -> float:
        """The effective receptive field (Luo et al. 2016, section 3.1): the root of the number of pixels that count."""
        return math.sqrt(np.count_nonzero(self.gradient > 1 - _MOST))

    @property
    def measured(self) -> Box:
        """The smallest square around the centre that holds 95.45 % of the gradient; may reach beyond the picture."""
        (row, column), (rows, columns) = self.centre, np.indices(self.gradient.shape)
        distance = np.maximum(abs(rows - row), abs(columns - column))
        steps = np.rint(2 * distance).astype(int)  # of half a pixel
        held = np.cumsum(np.bincount(steps.ravel(), weights=self.gradient.ravel()))
        radius = np.searchsorted(held, _MOST * held[-1]) / 2
        return Box(
            math.ceil(row - radius), math.ceil(column - radius), math.floor(row + radius), math.floor(column + radius)
        )


@dataclass(frozen=True)
class Explanation:
    """What a model made of a picture, and why.

    Attributes:
      class_id: the class explained.
      point: row and column of the pixel whose field is shown.
      labels: int32 (H, W), the predicted class ids.
      region: bool (H, W), the pixels whose logits Grad-CAM explains.
      probabilities: float32 (C,), of the classes at the point.
      cams: float32 (H, W) in [0, 1] by layer; all 0 where a layer has nothing that speaks for the class.
      output: the field of the class's logit at the point.
      fields: those of the layers' units at the point.
    """

    class_id: int
    point: tuple[int, int]
    labels: np.ndarray
    region: np.ndarray
    probabilities: np.ndarray
    cams: Mapping[str, np.ndarray]
    output: Field
    fields: Sequence[Field]


def stage_ends(fields: ReceptiveFields, model: keras.Model) -> list[str]:
    """Where the last stages of a trunk end: the layers whose Grad-CAM is worth a look.

    Of each of the three coarsest resolutions before anything is upsampled, the last sum of a residual trunk, or else
    the first layer, which is the pooling of a plain one: pool3, pool4 and pool5 of VGG.
    """
    stages: dict[float, list[str]] = {}
    for name in fields.layers:
        layer = model.get_layer(name)
        if isinstance(layer, keras.layers.Conv2DTranspose | keras.layers.UpSampling2D | keras.layers.Resizing):
            break
        stages.setdefault(fields.stride(name), []).append(name)

    def end(names: list[str]) -> str:
        sums = [name for name in names if isinstance(model.get_layer(name), keras.layers.Add)]
        return sums[-1] if sums else names[0]

    return [end(stages[stride]) for stride in sorted(stages)[-_STAGES:]]


def explain(
    model: keras.Model,
    picture: np.ndarray,
    *,
    layers: Sequence[str],
    class_id: int | None = None,
    point: tuple[int, int] | None = None,
    fields: ReceptiveFields | None = None,
) -> Explanation:
    """Explains a class in a picture, or the label of one pixel.

    Args:
      model: float (B, H, W, 3) RGB in [0, 255] -> logits (B, H, W, C).
      picture: uint8 (H, W, 3) RGB.
      layers: names of those to look at.
      class_id: the class; None for the one predicted at `point`.
      point: row and column: explains that pixel alone. None explains all pixels predicted as the class, and shows the
        field of the one where it is most probable; where none is predicted so, that one is explained.
      fields: of the model, where the caller has them already.

    Raises:
      ValueError: without a class and a point.
      UserError: if there is not enough memory.
    """
    fields = fields or ReceptiveFields(model)
    height, width = picture.shape[:2]
    parts = keras.Model(model.input, [*(model.get_layer(name).output for name in layers), model.output])
    images = tf.constant(picture[None], tf.float32)
    try:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(images)
            *maps, logits = parts(images, training=False)
        labels = tf.argmax(logits[0], axis=-1, output_type=tf.int32).numpy()
        probabilities = tf.nn.softmax(logits[0]).numpy()
        class_id, point, region = _chosen(class_id, point, labels, probabilities)
        of_class = tf.one_hot(class_id, logits.shape[-1])

        def logits_of(pixels: np.ndarray) -> tf.Tensor:
            return tf.cast(pixels[None, ..., None], tf.float32) * of_class

        gradients = tape.gradient(logits, maps, output_gradients=logits_of(region))
        cams = {
            name: _grad_cam(values, gradient, picture.shape[:2], stride=fields.stride(name))
            for name, values, gradient in zip(layers, maps, gradients, strict=True)
        }
        output = tape.gradient(logits, images, output_gradients=logits_of(_only(point, labels.shape)))
        units = [fields.unit(name, *point, height=height, width=width) for name in layers]
        seen = [
            tape.gradient(values, images, output_gradients=_all_channels(values, unit))
            for values, unit in zip(maps, units, strict=True)
        ]
    except tf.errors.ResourceExhaustedError:
        raise UserError(
            f"there is not enough memory to explain {width}x{height} pixels; make the picture smaller."
        ) from None
    last = model.operations[-1].name
    boxes = [fields.box(name, *unit, height=height, width=width) for name, unit in zip(layers, units, strict=True)]
    return Explanation(
        class_id=class_id,
        point=point,
        labels=labels,
        region=region,
        probabilities=probabilities[point],
        cams=cams,
        output=Field(last, fields.box(last, *point, height=height, width=width), _magnitude(output), point),
        fields=[
            Field(name, box, _magnitude(gradient), ((box.top + box.bottom) / 2, (box.left + box.right) / 2))
            for name, box, gradient in zip(layers, boxes, seen, strict=True)
        ],
    )


def _chosen(
    class_id: int | None, point: tuple[int, int] | None, labels: np.ndarray, probabilities: np.ndarray
) -> tuple[int, tuple[int, int], np.ndarray]:
    """The class, the point and the pixels (H, W) to explain; see `explain`."""
    if point is not None:
        return int(labels[point]) if class_id is None else class_id, point, _only(point, labels.shape)
    if class_id is None:
        raise ValueError("explain needs a class_id or a point.")
    region = labels == class_id
    likely = probabilities[..., class_id] * (region if region.any() else 1)
    row, column = np.unravel_index(likely.argmax(), likely.shape)
    point = int(row), int(column)
    return class_id, point, region if region.any() else _only(point, labels.shape)


def memory_needed(fields: ReceptiveFields, height: int, width: int) -> int:
    """Roughly how many bytes it takes to explain a picture of this size, most of them for the backward pass."""
    return _HELD * sum(math.prod(shape) for shape in fields.shapes(height, width).values())


def _grad_cam(values: tf.Tensor, gradient: tf.Tensor | None, size: tuple[int, int], *, stride: float) -> np.ndarray:
    """Maps (1, h, w, C) and their gradient -> what speaks for the class: float32 (H, W) in [0, 1]."""
    if gradient is None:  # the layer does not lead to the logits
        return np.zeros(size, np.float32)
    weights = tf.reduce_mean(tf.cast(gradient, tf.float32), axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * tf.cast(values, tf.float32), axis=-1, keepdims=True))
    # Unit i stands for the pixels from i * stride; the last one may reach beyond the picture.
    whole = [max(math.ceil(length * stride), side) for length, side in zip(cam.shape[1:3], size, strict=True)]
    cam = tf.image.resize(cam, whole)[0, : size[0], : size[1], 0].numpy()
    return cam / cam.max() if cam.max() > 0 else cam


def _magnitude(gradient: tf.Tensor) -> np.ndarray:
    """(1, H, W, 3) -> float32 (H, W), the sum of the channels' absolute values, its largest 1."""
    size = tf.reduce_sum(tf.abs(gradient[0]), axis=-1).numpy()
    return size / size.max() if size.max() > 0 else size


def _all_channels(values: tf.Tensor, unit: tuple[int, int]) -> tf.Tensor:
    """1 in all channels of one unit, 0 elsewhere: as values (1, h, w, C)."""
    return tf.ones_like(values) * tf.cast(_only(unit, values.shape[1:3])[None, ..., None], values.dtype)


def _only(point: tuple[int, int], size: tuple[int, ...]) -> np.ndarray:
    """A mask of this size, True at one place."""
    mask = np.zeros(size, bool)
    mask[point] = True
    return mask
