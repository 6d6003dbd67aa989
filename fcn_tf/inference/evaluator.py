"""The one place that runs a trained model over images.

Training (at each validation), evaluate, visualize and predict all come through here, so that what is measured
is what is shown. Each image is labelled at its own size, by default in one forward pass (inference/views.py has the
others). Labels, confusion counts and cross-entropy are computed in the graph, only what is asked for crosses to the
host, and memory does not grow with the number of images.
"""

import contextlib
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fcn_tf.data import pipeline
from fcn_tf.data.base import Dataset, DatasetSpec
from fcn_tf.errors import UserError
from fcn_tf.inference import checkpoint, tiles
from fcn_tf.inference.scoring_memory import ScoringMemory
from fcn_tf.inference.tiles import Prediction, label_dtype
from fcn_tf.inference.views import InferenceOptions, Scoring, scoring
from fcn_tf.io import archives, files, texts
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import confusion, in_graph
from fcn_tf.models import more_layers as _layers  # noqa: F401  (registers what model.keras is made of)
from fcn_tf.models import resizing, variables
from fcn_tf.models import segmentation as _segmentation  # noqa: F401  (the same, of exports)

OnBatch = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
_PLAIN = InferenceOptions()


@dataclass(frozen=True)
class Evaluation:
    """What one pass over a data set measured.

    Attributes:
      counts: int64 (C, C) confusion, rows = ground truth.
      ignore_label: the data set's.
      loss: mean cross-entropy (nats) over the counted pixels; NaN where there are none.
      images: how many images.
      seconds: wall time of the pass, reading included.
    """

    counts: np.ndarray
    ignore_label: int | None
    loss: float
    images: int
    seconds: float

    @property
    def pixel_accuracy(self) -> float:
        """See `confusion.pixel_accuracy`."""
        return confusion.pixel_accuracy(self.counts, self.ignore_label)

    @property
    def mean_accuracy(self) -> float:
        """See `confusion.mean_accuracy`."""
        return confusion.mean_accuracy(self.counts, self.ignore_label)

    @property
    def mean_iou(self) -> float:
        """See `confusion.mean_iou`."""
        return confusion.mean_iou(self.counts, self.ignore_label)

    @property
    def frequency_weighted_iou(self) -> float:
        """See `confusion.frequency_weighted_iou`."""
        return confusion.frequency_weighted_iou(self.counts, self.ignore_label)

    @property
    def images_per_second(self) -> float:
        """Images a second, reading included."""
        return self.images / self.seconds if self.seconds > 0 else 0.0


def load_model(source: Run | str, *, say: Callable[[str], Any] = print) -> keras.Model:
    """Loads the best model of a run, or a model.keras from anywhere.

    Before a run's first validation that is the model of its newest checkpoint, and a line says so.

    Args:
      source: a run, or the path of a `.keras` file.
      say: takes that line.

    Raises:
      UserError: if there is none, the file is damaged, or its weights are not finite.
    """
    path = source.require_model() if isinstance(source, Run) else source
    if isinstance(source, Run) and path != source.model:
        say(f"no validated model yet: using checkpoint of step {path.rpartition('-')[2]}")
        model = checkpoint.load_newest(source)
    else:
        model = _load_keras(path)
    if (variable := variables.not_finite(model.variables)) is not None:
        raise UserError(
            f"{path} labels nothing: {variable} holds NaN or infinity, expected finite weights: its training diverged; "
            "train again with a lower --learning_rate, or restore it."
        )
    return model


def _load_keras(path: str) -> keras.Model:
    if not files.exists(path):
        raise UserError(f"{path} does not exist: there is no trained model; train one first with --mode=train.")
    try:
        _check_archive(path)
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # on damaged bytes Keras and HDF5 raise nearly anything
        raise UserError(
            f"{path} is not a model this version can load ({texts.first_line(error)}); train again, or restore it."
        ) from error


def _check_archive(path: str) -> None:
    """Raises ValueError or OSError where a `.keras` file is damaged: HDF5 would not notice, and might crash."""
    if files.is_remote(path):
        return
    with files.open_regular(path) as stream:
        archives.check_zip(stream)
        with zipfile.ZipFile(stream) as opened:
            if (damaged := opened.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} in it is another one")


class Predictor:
    """Labels images with a model; one trace serves every size of image, and any number of threads.

    Attributes:
      num_classes: how many classes the model tells apart.
      longest_side: in pixels, what it brings the longer side of its pictures to; 0 where it takes them as they are.
    """

    def __init__(self, model: keras.Model, options: InferenceOptions = _PLAIN):
        """Wraps a model that maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C)."""
        self.num_classes = int(model.output_shape[-1])
        self.longest_side, self._tile = resizing.longest_side(model), options.tile
        dtype = label_dtype(self.num_classes)
        self._scoring = scoring(model, options)
        self._look = _looking(self._scoring)

        def label(logits: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"labels": tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), dtype)}

        def label_surely(logits: tf.Tensor) -> dict[str, tf.Tensor]:
            # Without the probabilities of the other classes: those take as much memory as the logits.
            confidence = tf.exp(tf.reduce_max(logits, axis=-1) - tf.reduce_logsumexp(logits, axis=-1))
            return {**label(logits), "confidence": confidence}

        def label_fully(logits: tf.Tensor) -> dict[str, tf.Tensor]:
            probabilities = tf.nn.softmax(logits)
            return {
                **label(logits),
                "confidence": tf.reduce_max(probabilities, axis=-1),
                "probabilities": tf.cast(probabilities, tf.float16),
            }

        def of_part(function: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> Callable:
            @tf.function(input_signature=_part_signature(self._scoring, self.num_classes), autograph=False)
            def labelled(looked: list[tf.Tensor], inside: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
                return function(self._scoring.part(looked, inside, size))

            return labelled

        self._label, self._label_surely, self._label_fully = map(of_part, (label, label_surely, label_fully))

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Labels every pixel.

        Args:
          images: uint8 (B, H, W, 3) RGB.

        Returns:
          Class ids (B, H, W), see `Prediction`.
        """
        return self.predict(images).labels

    def predict(
        self, images: np.ndarray, *, confidence: bool = False, probabilities: bool = False, tile: int | None = None
    ) -> Prediction:
        """Labels every pixel, and says how sure the model is.

        Args:
          images: uint8 (B, H, W, 3) RGB.
          confidence: whether to give the probability of each label.
          probabilities: whether to give the probabilities of all classes.
          tile: instead of that of the options; see `tiles.predict`, also for a model with a `longest_side`.
        """
        return tiles.predict(
            lambda part: self._look(tf.convert_to_tensor(part, tf.uint8)),
            self._label_fully if probabilities else self._label_surely if confidence else self._label,
            images,
            tile=self._tile if tile is None else tile,
            resizes=self.longest_side > 0,
            in_bands=self._scoring.in_bands,
            num_classes=self.num_classes,
            confidence=confidence,
            probabilities=probabilities,
        )


def _looking(of: Scoring) -> Callable[[Any], list[tf.Tensor]]:
    """The first half of scoring images as a graph."""
    return tf.function(of.look, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)


def _part_signature(of: Scoring, num_classes: int) -> list[Any]:
    """What the second half of scoring images takes."""
    looked = [tf.TensorSpec((None, None, None, num_classes), tf.float32)] * of.looks
    return [looked, tf.TensorSpec((4,), tf.int32), tf.TensorSpec((2,), tf.int32)]


class Evaluator:
    """Measures a model against label maps; build it once and run it as often as wanted, it traces once."""

    def __init__(self, model: keras.Model, spec: DatasetSpec, options: InferenceOptions = _PLAIN):
        """Prepares the graph.

        Args:
          model: maps float32 (B, H, W, 3) RGB in [0, 255] to logits (B, H, W, C); weights may change later.
          spec: of the data sets to come: the same classes, the same ignored label.
          options: views and tiles.

        Raises:
          UserError: if the model tells another number of classes apart than the data set has.
        """
        classes = spec.num_classes
        if model.output_shape[-1] != classes:
            raise UserError(
                f"The model has {model.output_shape[-1]} classes but {spec.name} has {classes}; "
                "give the --dataset it was trained on, or train on this one."
            )
        dtype = label_dtype(classes)
        self._scoring = scoring(model, options)
        self._look = _looking(self._scoring)

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, None, None), tf.int32),
                *_part_signature(self._scoring, classes),
            ],
            autograph=False,
        )
        def score(
            labels: tf.Tensor, looked: list[tf.Tensor], inside: tf.Tensor, size: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            logits = self._scoring.part(looked, inside, size)  # (B, h, w, C), and the labels are those of that part
            predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
            cells = in_graph.image_cells(labels, predictions, spec)
            counted, known = in_graph.pixel_masks(labels, spec)
            # Written out, because TensorFlow's fused op computes the gradient too, at 2.5 times the cost.
            target = tf.gather(logits, tf.where(known, labels, 0), batch_dims=3)
            entropy = tf.reduce_logsumexp(logits, axis=-1) - target
            loss = tf.reduce_sum(tf.cast(tf.where(counted & known, entropy, 0.0), tf.float64))
            return cells, loss, tf.cast(predictions, dtype)

        self._spec, self._tile = spec, options.tile
        self._score = score

    def run(
        self,
        dataset: Dataset,
        *,
        batch_size: int = 1,
        max_examples: int | None = None,
        indices: Sequence[int] | None = None,
        before_batch: Callable[[str, tuple[int, ...]], Any] | None = None,
        on_batch: OnBatch | None = None,
    ) -> Evaluation:
        """One pass over a data set.

        Args:
          dataset: of the spec given at the start.
          batch_size: images of equal size that go through the model at once.
          max_examples: evaluate the first so many only.
          indices: evaluate these only, in this order.
          before_batch: called before a batch goes through the model, with the name of its first example and the
            shape of its images (B, H, W, 3).
          on_batch: called after every batch, for charts and statistics of the same pass, with NumPy arrays
            indices into `dataset.examples` (B,), uint8 images (B, H, W, 3), int32 labels (B, H, W),
            predictions (B, H, W) and each image's int64 counts (B, C, C).

        Raises:
          UserError: if an example cannot be read.
          ValueError: if a label is neither a class nor ignored.
        """
        spec = self._spec
        chosen = (range(len(dataset)) if indices is None else indices)[:max_examples]
        total = np.zeros((spec.num_classes, spec.num_classes), np.int64)
        loss, image_count, start = 0.0, 0, time.perf_counter()
        batches = pipeline.evaluation_batches(dataset, batch_size=batch_size, indices=chosen)
        with contextlib.closing(batches):
            for places, images, labels in batches:
                if before_batch is not None:
                    before_batch(dataset.examples[int(places[0])].name, images.shape)
                counts, strays, batch_loss, predictions = self._batch(images, labels)
                total += counts.sum(0)
                loss += batch_loss
                image_count += len(counts)
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
            images=image_count,
            seconds=time.perf_counter() - start,
        )

    def _batch(self, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """One batch, part after part: counts (B, C, C), stray labels (B,), summed loss, predictions."""
        classes = self._spec.num_classes
        cells = np.zeros((len(images), classes**2 + 2), np.int64)
        predictions = np.empty(labels.shape, label_dtype(classes))
        loss = 0.0
        in_bands = self._scoring.in_bands
        for seen, parts in tiles.seen_in_parts(images, self._tile, num_classes=classes, in_bands=in_bands):
            looked = self._look(seen)
            for band in parts:
                of_band = self._score(labels[:, *band.kept], looked, band.inside, seen.shape[1:3])
                cells += of_band[0].numpy()
                loss += float(of_band[1])
                predictions[:, *band.kept] = of_band[2].numpy()
        return cells[:, :-2].reshape(-1, classes, classes), cells[:, -1], loss, predictions


def evaluate_dataset(
    model: keras.Model, dataset: Dataset, *, options: InferenceOptions = _PLAIN, **run_options: Any
) -> Evaluation:
    """Measures a model once, and asks for the memory before each batch.

    Args:
      model: see `Evaluator`, which is for measuring again and again.
      dataset: what to measure it on.
      options: views and tiles.
      **run_options: those of `Evaluator.run`.

    Raises:
      UserError: as `Evaluator` and its `run`, or if there is less memory than a batch takes.
    """
    memory = ScoringMemory(model, options)
    evaluator = Evaluator(model, dataset.spec, options)
    try:
        return evaluator.run(dataset, before_batch=memory.require, **run_options)
    except tf.errors.ResourceExhaustedError:
        raise memory.exhausted() from None
