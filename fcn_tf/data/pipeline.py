"""Examples -> batches in tf.data.

Nothing here has a state: which examples make up a training batch, and how each is augmented, follows from the
seed and the number of the step alone. So a resumed run meets exactly the batches that it would have met, no
shuffle buffer is held, and memory does not grow with the data set.
"""

import functools
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.data import crops
from fcn_tf.data.augment import Augmentation, transform
from fcn_tf.data.base import Dataset, Example
from fcn_tf.errors import UserError

# tf.data runs many examples at once; OpenCV's own threads would only get in their way.
cv2.setNumThreads(0)

_READERS = min(16, os.cpu_count() or 1)  # one a core keeps up with any network; more only hold more pictures


def training_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    image_size: int | crops.Size,
    seed: int,
    num_steps: int,
    start_step: int = 0,
    augment: Augmentation | None = Augmentation(),  # noqa: B008 (frozen)
    crop: str = "scale",
    resize: str = "area",
    longest_side: int = 0,
    shard: tuple[int, int] = (0, 1),
    parallel_calls: int = _READERS,
) -> tf.data.Dataset:
    """The batches of steps start_step ... start_step + num_steps - 1.

    Batches run across the ends of epochs, so that a data set smaller than a batch trains.

    Args:
      dataset: the examples.
      batch_size: examples a batch of this worker.
      image_size: (H, W) that each example becomes, or the side of a square.
      seed: the order of examples and their augmentation follow from it; not negative.
      num_steps: how many batches to give.
      start_step: the number of the first one.
      augment: what to vary; None takes every example unflipped, at its largest centred crop.
      crop: "scale" keeps the aspect and crops; "squash" fits the whole picture into it, as upstream.
      resize: "area" shrinks photos by area and enlarges them bilinearly; "nearest" takes the nearest
        pixel, as upstream. Label maps always take the nearest.
      longest_side: see `augment.transform`.
      shard: (k, n): this is worker k of n. Where the examples lie in n shards or more, it reads the shards k, k + n,
        ... and no others: its batches run through their examples, each once an epoch, in an order of its own. Else
        it gets its slice of every global batch. Either way what it reads follows from the seed and the step.
      parallel_calls: how many examples are read at once.

    Returns:
      A dataset of (images uint8 (batch_size, H, W, 3) RGB, labels int32 (batch_size, H, W)).

    Raises:
      UserError: if the data set is empty or an argument is none of the above.
    """
    if not len(dataset):
        raise UserError(f"{dataset.spec.name}: split {dataset.split!r} has no examples to train on.")
    for name, value, known in (("crop", crop, registry.CROPS), ("resize", resize, registry.RESIZES)):
        if value not in known:
            raise UserError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
    size = crops.as_size(image_size)
    place = _places(dataset, batch_size, seed, shard)

    def example(item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epoch, index = place(int(item))
        image, label = dataset.read(dataset.examples[index])
        rng = np.random.default_rng([seed, epoch, index])
        return transform(
            image,
            label,
            size=size,
            rng=rng,
            augment=augment,
            crop=crop,
            resize=resize,
            longest_side=longest_side,
            ignore_label=dataset.spec.ignore_label,
        )

    def load(item: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, label = tf.numpy_function(example, [item], (tf.uint8, tf.int32), stateful=False)
        image.set_shape((*size, 3))
        label.set_shape(size)
        return image, label

    batches = (
        tf.data.Dataset.range(start_step * batch_size, (start_step + num_steps) * batch_size)
        .map(load, num_parallel_calls=parallel_calls, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .prefetch(2)
    )
    return _as_is(batches)


def evaluation_batches(
    dataset: Dataset,
    *,
    batch_size: int,
    indices: Sequence[int] | None = None,
    shard: tuple[int, int] = (0, 1),
    parallel_calls: int = _READERS,
) -> Generator[tuple[np.ndarray, ...], None, None]:
    """Every example once, in order, at its own size.

    A batch holds consecutive examples of one size, at most `batch_size`: pictures are never padded.

    Args:
      dataset: the examples.
      batch_size: the most examples in a batch.
      indices: which examples, in this order; all of them if None.
      shard: (k, n): only every nth of these, starting at the kth.
      parallel_calls: how many examples are read at once.

    Yields:
      (indices int64 (b,), images uint8 (b, H, W, 3) RGB, labels int32 (b, H, W)).
    """
    chosen = np.asarray(range(len(dataset)) if indices is None else indices, np.int64)[shard[0] :: shard[1]]

    def example(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return dataset.read(dataset.examples[int(index)])

    def load(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return index, *tf.numpy_function(example, [index], (tf.uint8, tf.int32), stateful=False)

    examples = (
        tf.data.Dataset.from_tensor_slices(chosen)
        .map(load, num_parallel_calls=parallel_calls, deterministic=True)
        .prefetch(2)
    )
    yield from _equal_sizes(iterate(_NumPy(_as_is(examples))), batch_size)


def iterate(batches: Iterable[Any]) -> Generator[Any, None, None]:
    """The elements of a tf.data pipeline, whose threads end with this generator.

    They run Python code, and the interpreter cannot exit while something still refers to the iterator: by then its
    threads no longer get the interpreter lock, so deleting it waits for them for ever. Nothing but this generator
    refers to it, not even the traceback of an error. Who may leave the loop early closes it (`contextlib.closing`).

    Args:
      batches: a data set, distributed or not.

    Raises:
      UserError: the one that was raised while an example was read.
    """
    try:
        yield from batches
        return
    except tf.errors.OpError as error:
        mistake = _raised_user_error(error)
        failure = mistake or error.with_traceback(None)
        failure.__context__ = None
    # Outside of the block: no error that was handled, with frames that hold the iterator, becomes its context.
    raise failure


@dataclass(frozen=True)
class _NumPy:
    """A data set whose elements are NumPy arrays."""

    dataset: tf.data.Dataset

    def __iter__(self) -> Iterator[Any]:
        return self.dataset.as_numpy_iterator()


def _raised_user_error(error: tf.errors.OpError) -> UserError | None:
    """The UserError that was raised while an example was read, out of what TensorFlow made of it, or None."""
    # TensorFlow keeps nothing but the text: "...UserError: the message\nTraceback ...".
    found = re.search(r"UserError: (.+)", str(error))
    return UserError(found[1].strip()) if found else None


def examples_of_step(
    dataset: Dataset, step: int, *, batch_size: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> list[Example]:
    """The examples in the batch of a step, counted from 0; arguments as of `training_batches`."""
    place = _places(dataset, batch_size, seed, shard)
    return [dataset.examples[place(item)[1]] for item in range(step * batch_size, (step + 1) * batch_size)]


def _places(dataset: Dataset, batch_size: int, seed: int, shard: tuple[int, int]) -> Callable[[int], tuple[int, int]]:
    """The n-th example that a worker reads -> (epoch, index of the example)."""
    worker, workers = shard
    own = own_examples(dataset, shard)

    def place(item: int) -> tuple[int, int]:
        if own is not None:
            # No example has such an index, so this worker's order shares no random numbers with anything else.
            epoch, number = locate(item, len(own), seed, stream=len(dataset) + 1 + worker)
            return epoch, int(own[number])
        step, row = divmod(item, batch_size)
        return locate((step * workers + worker) * batch_size + row, len(dataset), seed)

    return place


def own_examples(dataset: Dataset, shard: tuple[int, int]) -> np.ndarray | None:
    """The indices of the examples in the shards k, k + n, ... of worker k of n; None where it shares all of them."""
    worker, workers = shard
    if workers == 1 or dataset.shards < workers:
        return None
    return np.flatnonzero(np.arange(len(dataset)) % dataset.shards % workers == worker)


def locate(position: int, num_examples: int, seed: int, *, stream: int | None = None) -> tuple[int, int]:
    """Position in the endless stream of training examples -> (epoch, index of the example).

    Args:
      position: from 0.
      num_examples: an epoch.
      seed: decides the order.
      stream: another number, another order; not below `num_examples`.
    """
    epoch, place = divmod(position, num_examples)
    return epoch, int(_order(num_examples, seed, epoch, num_examples if stream is None else stream)[place])


@functools.lru_cache(maxsize=4)  # batches straddle epochs, and a second pipeline may run beside the first
def _order(num_examples: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    # No example has the index of the stream, so its random numbers are shared with no augmentation.
    return np.random.default_rng([seed, epoch, stream]).permutation(num_examples)


def _equal_sizes(examples: Iterator[tuple], batch_size: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches consecutive (index, image, label) of equal size; holds one batch at a time."""
    group: list[tuple] = []
    for example in examples:
        if group and (len(group) == batch_size or example[1].shape != group[0][1].shape):
            yield tuple(np.stack(column) for column in zip(*group, strict=True))
            group = []
        group.append(example)
    if group:
        yield tuple(np.stack(column) for column in zip(*group, strict=True))


def _as_is(batches: tf.data.Dataset) -> tf.data.Dataset:
    """In a fixed order, not tuned by TensorFlow, and not sharded again by tf.distribute: `shard` has done that."""
    options = tf.data.Options()
    # The tuner sleeps for longer and longer, and whoever reaches the end of the data waits for it to wake up.
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)
