"""A contender that learns: it trains on batches that lie in a folder, and scores the photos there. NumPy only.

The folder is written by `learner_fcn.Batches`: images.npy uint8 (N, S, S, 3) RGB and labels.npy uint8 (N, S, S), the
training examples in the order of their use; photos.npy uint8 (M, H, W, 3) and truth.npy uint8 (M, H, W) to score. Every
contender sees the same. Labels from `num_classes` on are no class.
"""

import io
import os
import time
from typing import Any

import numpy as np

from fcn_tf.io import files
from fcn_tf.metrics import confusion

_SIDE = 32  # sides of what peers are given are multiples of it


class Learner:
    """Learns, one turn at a time.

    Args:
      folder: see above.
      num_classes: C.
      batch_size: examples a step.
    """

    def __init__(self, *, folder: str, num_classes: int, batch_size: int):
        self._images, self._labels, self._photos, self._truth = (
            np.load(os.path.join(folder, f"{name}.npy"), mmap_mode="r")
            for name in ("images", "labels", "photos", "truth")
        )
        self._num_classes, self._batch_size = num_classes, batch_size
        self.done = 0  # steps

    def train(self, count: int) -> float:
        """Takes `count` more steps; the seconds they took."""
        began = time.perf_counter()
        for step in range(self.done, self.done + count):
            rows = slice(step * self._batch_size, (step + 1) * self._batch_size)
            loss = self._step(self._images[rows], self._labels[rows], step)
        if not np.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} after {self.done + count} steps")
        self.done += count
        return time.perf_counter() - began

    def score(self) -> float:
        """The mean IoU on the photos, each at its own size."""
        size = self._photos.shape[1:3]
        widened = [-side % _SIDE for side in size]
        counts = np.zeros((self._num_classes, self._num_classes + 1), np.int64)
        for photo, truth in zip(self._photos, self._truth, strict=True):
            padded = np.pad(photo, [*((0, width) for width in widened), (0, 0)], mode="edge")
            found = self._predict(padded[None])[0, : size[0], : size[1]]
            known = np.where(truth < self._num_classes, truth, 255)
            counts += confusion.confusion(known, found, num_classes=self._num_classes, ignore_label=255)
        return confusion.mean_iou(counts)

    def save(self, path: str) -> None:
        """Writes all that `load` needs to an .npz file."""
        stream = io.BytesIO()
        arrays: dict[str, Any] = {f"state{i:04d}": array for i, array in enumerate(self._state())}
        np.savez(stream, done=self.done, **arrays)
        files.write_bytes(path, stream.getvalue())

    def load(self, path: str) -> int:
        """Goes on where `save` was called; returns the steps that were done."""
        with np.load(path) as saved:
            names = sorted(name for name in saved.files if name != "done")
            self._restore([saved[name] for name in names])
            self.done = int(saved["done"])
        return self.done

    def _state(self) -> list[np.ndarray]:
        """Weights and the state of the optimiser."""
        raise NotImplementedError

    def _restore(self, state: list[np.ndarray]) -> None:
        """Takes over what `_state` gave."""
        raise NotImplementedError

    def _step(self, images: np.ndarray, labels: np.ndarray, number: int) -> float:
        """Takes one step; the loss before it."""
        raise NotImplementedError

    def _predict(self, images: np.ndarray) -> np.ndarray:
        """uint8 (1, H, W, 3) -> class ids (1, H, W)."""
        raise NotImplementedError
