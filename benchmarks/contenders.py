"""What takes turns in worker processes: the product's own training step, the twin's, and a matrix product."""

import functools
import shutil
import tempfile
import time
import weakref

from fcn_tf.io import system

system.load_tensorflow()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmarks.stepper import Stepper  # noqa: E402
from benchmarks.twin import Twin  # noqa: E402
from fcn_tf.data.base import Dataset, DatasetSpec, Example  # noqa: E402
from fcn_tf.data.palette import distinct_colors  # noqa: E402
from fcn_tf.io.run_dir import Run  # noqa: E402
from fcn_tf.models import build, matconvnet  # noqa: E402
from fcn_tf.training import distribution, loop, losses, optimizers  # noqa: E402

_LOG_EVERY = 10  # steps; the default of --log_every: these also compute gradient norms


class Product(Stepper):
    """The step that `--mode=train` takes, on a batch that lies in memory.

    Model, optimiser, loss and `Trainer` are put together as `fcn_tf/train.py` does; what is timed is the trainer's own
    `tf.function` with loss, gradients, update, confusion counts and, where it would log, gradient norms.

    Args:
      arch, weights, num_classes, image_size, batch_size, precision, dropout: as the flags of main.py.
      learning_rate: of Adam.
      validation: how many validation examples `fit` meets.
    """

    def __init__(
        self,
        *,
        arch: str = "original",
        weights: str,
        num_classes: int,
        image_size: int,
        batch_size: int,
        precision: str = "float32",
        dropout: float = 0.15,
        learning_rate: float = 1e-4,
        validation: int = 1,
    ):
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)  # at the latest when the process ends
        self.strategy = strategy = distribution.choose_strategy()  # before any other operation
        self._images, self._labels = random_batch(num_classes, image_size, batch_size)
        spec = _spec(num_classes)
        with strategy.scope():
            network = build.build_network(
                arch, num_classes=num_classes, weights=weights, dropout_rate=dropout, dtype=precision
            )
            optimizer = optimizers.build("adam", learning_rate, factors=network.learning_rate_factors())
        self.model = network.model
        self._trainer = loop.Trainer(
            network,
            optimizer,
            strategy=strategy,
            train=self._dataset(spec, "train", batch_size),
            validation=self._dataset(spec, "validation", validation),
            run=Run(folder),
            batch_size=batch_size,
            batches=self._batches,
            seed=0,
            loss=losses.PixelLoss(("cross_entropy",), ignore_label=None),
        )
        self._done = 0
        self._asked: list[float] = []

    def losses(self, count: int) -> list[float]:
        """Takes `count` steps; the loss before each."""
        found = []
        for _ in range(count):
            self._done += 1
            log = self._done % _LOG_EVERY == 0
            # The trainer's own, because the public `fit` also validates and saves, which no step is to be charged for.
            result = self._trainer._step(self._images, self._labels, number=self._done - 1, log=log)
            found.append(float(result.loss))  # a number: the step is over
        return found

    def fit(self, count: int, *, log_every: int) -> list[float]:
        """Trains `count` more steps by the public loop, with everything that a training writes.

        Args:
          count: steps.
          log_every: see --log_every.

        Returns:
          When the loop asked for each batch, by `time.perf_counter`: what lies between is one turn of the loop.
        """
        start, self._done, self._asked = self._done, self._done + count, []
        intervals = loop.TrainingIntervals(
            self._done, eval_every=self._done, save_every=self._done, log_every=log_every
        )
        self._trainer.fit(intervals, start=start)
        return self._asked[:count]

    def _batches(self, *, num_steps, **_):
        def batches():
            for _ in range(num_steps):
                self._asked.append(time.perf_counter())
                yield self._images, self._labels

        signature = tuple(tf.TensorSpec(part.shape, part.dtype) for part in (self._images, self._labels))
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # a batch asked for ahead would tell nothing
        return tf.data.Dataset.from_generator(batches, output_signature=signature).with_options(options)

    def _dataset(self, spec, split, count):
        examples = tuple(Example(f"{split}{i}") for i in range(count))
        picture = self._images[0].numpy(), self._labels[0].numpy()
        return Dataset(spec, split, examples, lambda _: picture)


class PlainTwin(Stepper):
    """The step of `twin.Twin` on the same batch as `Product`'s; `step` and `losses` as there."""

    def __init__(self, *, weights: str, num_classes: int, image_size: int, batch_size: int, dropout: float = 0.15):
        self.twin = Twin(matconvnet.read(weights), num_classes, dropout_rate=dropout)
        images, self._labels = random_batch(num_classes, image_size, batch_size)
        self._images = tf.cast(images, tf.float32)  # as upstream is fed

    def losses(self, count: int) -> list[float]:
        """Takes `count` steps; the loss before each."""
        return [float(self.twin.step(self._images, self._labels)) for _ in range(count)]


class MatMul:
    """The product of two square matrices: what the machine can do at most."""

    def __init__(self, *, size: int):
        square = tf.random.stateless_normal((size, size), seed=(0, 1))
        self._pairs = {dtype: (tf.cast(square, dtype), tf.cast(square, dtype)) for dtype in ("float32", "bfloat16")}
        self._product = tf.function(tf.matmul)

    def step(self, dtype: str) -> float:
        """The seconds of one product in "float32" or "bfloat16"."""
        began = time.perf_counter()
        product = self._product(*self._pairs[dtype])
        float(product[0, 0])  # waits for it
        return time.perf_counter() - began


@functools.cache
def random_batch(num_classes: int, image_size: int, batch_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Images uint8 (B, S, S, 3) and labels int32 (B, S, S): noise, the same in every process."""
    rng = np.random.default_rng(0)
    shape = (batch_size, image_size, image_size)
    images = rng.integers(0, 256, (*shape, 3), np.uint8)
    return tf.constant(images), tf.constant(rng.integers(0, num_classes, shape, np.int32))


def _spec(num_classes):
    names = tuple(f"class {i}" for i in range(num_classes))
    return DatasetSpec("noise", names, distinct_colors(num_classes), ignore_label=None)
