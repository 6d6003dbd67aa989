"""What TensorBoard shows: curves, pictures in colour, the graph, and with --debug histograms.

None of it is worth a training: where it cannot be written, for a full disk or another reason, a warning says so once.
"""

import contextlib

import numpy as np
import tensorflow as tf

from fcn_tf.data import palette
from fcn_tf.data.base import DatasetSpec
from fcn_tf.io.run_dir import Run
from fcn_tf.metrics import confusion
from fcn_tf.reports import charts
from fcn_tf.training.progress import BestEffort

_TALLEST = 240  # pixels: an events file is kept for ever, and a page shows dozens of these


class Summaries:
    """Writes the events of one run: `train/` and `validation/` share their tags, so that curves lie in one plot.

    Args:
      run: where.
      spec: class names and colours.
      enabled: False on every worker but the chief, which then writes nothing.
    """

    def __init__(self, run: Run, spec: DatasetSpec, *, enabled: bool = True):
        self._spec = spec
        self._train, self._validation = (
            _Events(folder, enabled=enabled) for folder in (run.train_events, run.validation_events)
        )

    def train_scalars(self, values: dict[str, float], step: int) -> None:
        """Adds a point to each training curve."""
        _scalars(self._train, values, step)

    def validation_scalars(self, values: dict[str, float], step: int) -> None:
        """Adds a point to each validation curve."""
        _scalars(self._validation, values, step)

    def pictures(self, samples, step: int) -> None:
        """Shows validation examples as strips of photo, truth, prediction and errors.

        Args:
          samples: (uint8 (H, W, 3) photo, truth (H, W), prediction (H, W)) each.
          step: of the evaluation.
        """
        with self._validation.open():
            for number, (photo, truth, prediction) in enumerate(samples):
                strip = self._strip(photo, truth, prediction)[None]
                tf.summary.image(f"photo, truth, prediction, errors/{number}", strip, step=step)

    def classes(self, counts: np.ndarray, step: int) -> None:
        """Adds a point to the validation curve of each class that occurs, and shows the confusion matrix.

        Args:
          counts: int64 (C, C), rows = truth.
          step: of the evaluation.
        """
        names = self._spec.class_names
        ious = zip(names, confusion.iou(counts, self._spec.ignore_label), strict=True)
        _scalars(self._validation, {f"iou/{name}": value for name, value in ious if not np.isnan(value)}, step)
        with self._validation.open():
            tf.summary.image("confusion (rows: truth)", charts.confusion_image(counts, names)[None], step=step)

    def graph(self, function_graph: tf.Graph) -> None:
        """Shows the graph of the training step."""
        with self._train.open():
            tf.summary.graph(function_graph)

    def histograms(self, groups: dict[str, dict[str, tf.Tensor]], step: int) -> None:
        """Shows how values are spread, and which share of them is zero.

        Args:
          groups: {"weights" | "gradients" | "activations": {name: tensor}}.
          step: of the training.
        """
        with self._train.open():
            for group, tensors in groups.items():
                for name, tensor in tensors.items():
                    values = tf.cast(tensor, tf.float32)
                    tf.summary.histogram(f"{group}/{name}", values, step=step)
                    if group == "activations":
                        tf.summary.scalar(f"sparsity/{name}", tf.math.zero_fraction(values), step=step)

    def flush(self) -> None:
        """Makes everything written so far visible."""
        for events in (self._train, self._validation):
            events.flush()

    def _strip(self, photo, truth, prediction):
        colors, ignore = self._spec.colors, self._spec.ignore_label
        cells = (
            photo,
            palette.colorize(truth, colors, ignore),
            palette.colorize(prediction, colors),
            palette.errors_image(photo, truth, prediction, ignore),
        )
        strip = np.concatenate(cells, axis=1)
        height = min(_TALLEST, strip.shape[0])
        width = round(strip.shape[1] * height / strip.shape[0])
        return tf.cast(tf.image.resize(strip, (height, width), method="area"), tf.uint8)


class _Events:
    """The events of one folder; once they cannot be written, none are, for what follows half an event is lost."""

    def __init__(self, folder, *, enabled):
        self._folder, self._silent = folder, tf.summary.create_noop_writer()
        self._writer = None if enabled else self._silent
        self._effort = BestEffort(f"TensorBoard's events in {folder}", tf.errors.OpError, OSError)

    @contextlib.contextmanager
    def open(self):
        """Makes them the default writer; leaving flushes."""
        if (
            self._writer is None and not self._effort.failed
        ):  # only now: a writer makes a file, even if nothing is ever written
            with self._effort:
                self._writer = tf.summary.create_file_writer(self._folder)
        writer = self._silent if self._effort.failed else self._writer
        with self._effort, writer.as_default():
            yield

    def flush(self):
        if self._writer and not self._effort.failed:
            with self._effort:
                self._writer.flush()


def _scalars(events, values, step):
    with events.open():
        for name, value in values.items():
            tf.summary.scalar(name, value, step=step)
