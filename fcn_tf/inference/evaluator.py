"""The one place that runs a trained model over pictures.

Training (at each validation), evaluate, visualize and predict all come through here, so that what is measured
is what is shown. Each picture is labelled at its own size, by default in one look (inference/views.py knows others).
Labels, confusion counts and cross-entropy are computed in the graph, only what is asked for crosses to the
host, and nothing grows with the number of images.
"""

import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.data import pipeline
from fcn_tf.data.base import Dataset, DatasetSpec
from fcn_tf.errors import UserError
from fcn_tf.inference.views import Scoring, scorer, windows
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import confusion
from fcn_tf.models import layers as _layers  # noqa: F401  (registers what model.keras is made of)
from fcn_tf.training import checkpoints

OnBatch = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
_PLAIN = Scoring()


@dataclass(frozen=True)
class Evaluation:
    """What one pass over a data set measured.

    Attributes:
      counts: int64 (C, C) confusion, rows = truth.
      ignore_label: the data set's.
      loss: mean cross-entropy (nats) over the counted pixels; NaN where there are none.
      images: how many pictures.
      seconds: wall time of the pass, reading included.
    """

    counts: np.ndarray
    ignore_label: int | None
    loss: float
    images: int
    seconds: float

    @property
    def pixel_accuracy(self) -> float:
        """See `metrics.pixel_accuracy`."""
        return confusion.pixel_accuracy(self.counts, self.ignore_label)

    @property
    def mean_accuracy(self) -> float:
        """See `metrics.mean_accuracy`."""
        return confusion.mean_accuracy(self.counts, self.ignore_label)

    @property
    def mean_iou(self) -> float:
        """See `metrics.mean_iou`."""
        return confusion.mean_iou(self.counts, self.ignore_label)

    @property
    def images_per_second(self) -> float:
        """Pictures a second, reading included."""
        return self.images / self.seconds if self.seconds > 0 else 0.0


def load_model(source: Run | str) -> keras.Model:
    """Loads the best model of a run, or a model.keras from anywhere.

    Args:
      source: a run, or the path of a `.keras` file.

    Raises:
      UserError: if there is none, the file is damaged, or its weights are not finite.
    """
    path = source.model if isinstance(source, Run) else source
    if not files.exists(path):
        raise UserError(f"{path} does not exist: there is no trained model; train one first with --mode=train.")
    try:
        model = keras.models.load_model(path, compile=False)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a model this version can load ({reason}); train again, or restore it."
        ) from error
    if (variable := checkpoints.not_finite(model.variables)) is not None:
        raise UserError(
            f"{path} labels nothing: {variable} holds NaN or infinity, expected finite weights: its training diverged; "
            "train again with a lower --learning_rate, or restore it."
        )
    return model


class Predictor:
    """Labels pictures with a model, tracing once for every size of picture.

    Attributes:
      num_classes: how many classes the model tells apart.
    """

    def __init__(self, model: keras.Model, scoring: Scoring = _PLAIN):
        """Wraps a model that maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C)."""
        self.num_classes = int(model.output_shape[-1])
        self._window = scoring.window
        dtype, scores = _label_dtype(self.num_classes), scorer(model, scoring)

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
        def label(images):
            return tf.cast(tf.argmax(scores(images), axis=-1, output_type=tf.int32), dtype)

        self._label = label

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Labels every pixel.

        Args:
          images: uint8 (B, H, W, 3) RGB.

        Returns:
          Class ids (B, H, W), in the narrowest of uint8, uint16 and int32 that holds them all.
        """
        labels = np.empty(images.shape[:3], _label_dtype(self.num_classes).as_numpy_dtype)
        for window in windows(images.shape[1], images.shape[2], self._window):
            top, left, height, width = window.inside
            seen = self._label(tf.convert_to_tensor(images[:, *window.seen], tf.uint8)).numpy()
            labels[:, *window.kept] = seen[:, top : top + height, left : left + width]
        return labels


class Evaluator:
    """Measures a model against label maps; build it once and run it as often as wanted, it traces once."""

    def __init__(self, model: keras.Model, spec: DatasetSpec, scoring: Scoring = _PLAIN):
        """Prepares the graph.

        Args:
          model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C); weights may change later.
          spec: of the data sets to come: the same classes, the same ignored label.
          scoring: how pictures are looked at.

        Raises:
          UserError: if the model tells another number of classes apart than the data set has.
        """
        classes = spec.num_classes
        if model.output_shape[-1] != classes:
            raise UserError(
                f"The model has {model.output_shape[-1]} classes but {spec.name} has {classes}; "
                "give the --dataset it was trained on, or train on this one."
            )
        dtype, scores = _label_dtype(classes), scorer(model, scoring)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, None, None, 3), tf.uint8),
                tf.TensorSpec((None, None, None), tf.int32),
                tf.TensorSpec((4,), tf.int32),
            ]
        )
        def step(images, labels, inside):
            logits = scores(images)  # (B, H, W, C)
            # A window is judged by what it keeps: the labels are those of that part.
            begin = tf.stack([0, inside[0], inside[1], 0])
            logits = tf.slice(logits, begin, tf.stack([-1, inside[2], inside[3], -1]))
            predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
            cells = _image_cells(labels, predictions, spec)
            counted, known = _counted(labels, spec)
            # Written out, because TensorFlow's fused op computes the gradient too, at 2.5 times the price.
            target = tf.gather(logits, tf.where(known, labels, 0), batch_dims=3)
            entropy = tf.reduce_logsumexp(logits, axis=-1) - target
            loss = tf.reduce_sum(tf.cast(tf.where(counted & known, entropy, 0.0), tf.float64))
            return cells, loss, tf.cast(predictions, dtype)

        self._spec, self._window = spec, scoring.window
        self._step = step

    def run(
        self,
        dataset: Dataset,
        *,
        batch_size: int = 1,
        max_examples: int | None = None,
        indices: Sequence[int] | None = None,
        on_batch: OnBatch | None = None,
    ) -> Evaluation:
        """One pass over a data set.

        Args:
          dataset: of the spec given at the start.
          batch_size: pictures of equal size that go through the model at once.
          max_examples: look at the first so many only.
          indices: look at these only, in this order.
          on_batch: called after every batch, for pictures and statistics of the same pass, with NumPy arrays
            indices into `dataset.examples` (B,), uint8 images (B, H, W, 3), int32 labels (B, H, W),
            predictions (B, H, W) and each picture's int64 counts (B, C, C).

        Raises:
          UserError: if an example cannot be read.
          ValueError: if a label is neither a class nor ignored.
        """
        spec = self._spec
        chosen = (range(len(dataset)) if indices is None else indices)[:max_examples]
        total = np.zeros((spec.num_classes, spec.num_classes), np.int64)
        loss, images_seen, start = 0.0, 0, time.perf_counter()
        for places, images, labels in _batches(dataset, chosen, batch_size):
            counts, strays, batch_loss, predictions = self._batch(images, labels)
            total += counts.sum(0)
            loss += batch_loss
            images_seen += len(counts)
            if strays.any():
                names = ", ".join(dataset.examples[int(i)].name for i in places[strays > 0])
                raise ValueError(
                    f"{names}: {strays.sum()} pixels have a label that is neither one of the {spec.num_classes} "
                    f"classes nor the ignored label ({spec.ignore_label})."
                )
            if on_batch is not None:
                on_batch(places, images, labels, predictions, counts)
        pixels = int(total.sum())
        return Evaluation(
            counts=total,
            ignore_label=spec.ignore_label,
            loss=loss / pixels if pixels else float("nan"),
            images=images_seen,
            seconds=time.perf_counter() - start,
        )

    def _batch(self, images, labels):
        """One batch, window after window: counts (B, C, C), stray labels (B,), summed loss, predictions."""
        classes = self._spec.num_classes
        cells = np.zeros((len(images), classes**2 + 2), np.int64)
        predictions = np.empty(labels.shape, _label_dtype(classes).as_numpy_dtype)
        loss = 0.0
        for window in windows(labels.shape[1], labels.shape[2], self._window):
            part = images[:, *window.seen], labels[:, *window.kept], np.array(window.inside, np.int32)
            part_cells, part_loss, part_predictions = self._step(*part)
            cells += part_cells.numpy()
            loss += float(part_loss)
            predictions[:, *window.kept] = part_predictions.numpy()
        return cells[:, :-2].reshape(-1, classes, classes), cells[:, -1], loss, predictions


def confusion_cells(logits: tf.Tensor, labels: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """Counts (truth, prediction) pairs in the graph.

    Args:
      logits: float (B, H, W, C).
      labels: int32 (B, H, W).
      spec: of the data set.

    Returns:
      int64 (C * C + 2,): the confusion matrix row by row (rows = truth), then the number of ignored pixels
      and of those whose label is neither a class nor ignored. `counts_from_cells` makes a matrix of a sum.
    """
    cell = _cell_numbers(labels, tf.argmax(logits, axis=-1, output_type=tf.int32), spec)
    size = spec.num_classes**2 + 2
    return tf.math.bincount(tf.reshape(cell, [-1]), minlength=size, maxlength=size, dtype=tf.int64)


def counts_from_cells(cells, spec: DatasetSpec) -> np.ndarray:
    """The int64 (C, C) confusion matrix in a sum of `confusion_cells`."""
    return np.asarray(cells)[:-2].reshape(spec.num_classes, spec.num_classes)


def _counted(labels: tf.Tensor, spec: DatasetSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Two masks: of the pixels that are not ignored, and of those whose label is a class."""
    ignore = spec.ignore_label
    counted = tf.ones_like(labels, tf.bool) if ignore is None else tf.not_equal(labels, ignore)
    return counted, (labels >= 0) & (labels < spec.num_classes)


def _cell_numbers(labels: tf.Tensor, predictions: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """(B, H, W): which of the C * C + 2 cells a pixel counts in."""
    classes = spec.num_classes
    counted, known = _counted(labels, spec)
    # Two more cells: for pixels that don't count, and for labels that must not be.
    cell = tf.where(known, labels * classes + predictions, classes * classes + 1)
    return tf.where(counted, cell, classes * classes)


def _image_cells(labels: tf.Tensor, predictions: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """`confusion_cells` of each picture: int64 (B, C * C + 2)."""
    size, images = spec.num_classes**2 + 2, tf.shape(labels)[0]
    cell = _cell_numbers(labels, predictions, spec) + size * tf.range(images)[:, None, None]
    cells = size * images
    counts = tf.math.bincount(tf.reshape(cell, [-1]), minlength=cells, maxlength=cells, dtype=tf.int64)
    return tf.reshape(counts, [-1, size])


def evaluate_dataset(model: keras.Model, dataset: Dataset, *, scoring: Scoring = _PLAIN, **options) -> Evaluation:
    """Measures a model once.

    Args:
      model: see `Evaluator`, which is for measuring again and again.
      dataset: what to measure it on.
      scoring: how pictures are looked at.
      **options: those of `Evaluator.run`.
    """
    return Evaluator(model, dataset.spec, scoring).run(dataset, **options)


def _batches(dataset: Dataset, indices: Sequence[int], batch_size: int):
    try:
        yield from pipeline.evaluation_batches(dataset, batch_size=batch_size, indices=indices)
    except tf.errors.OpError as error:
        mistake = pipeline.raised_user_error(error)
        if mistake is None:
            raise
        raise mistake from None


def _label_dtype(num_classes: int) -> tf.DType:
    return tf.uint8 if num_classes <= 2**8 else tf.uint16 if num_classes <= 2**16 else tf.int32
