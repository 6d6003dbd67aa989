"""One thread that runs the model, on as many waiting pictures of one size at a time as go together."""

import collections
import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fcn_tf.inference.segmentation import Segmentation
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.serving.limits import stopping


class _Job(NamedTuple):
    picture: np.ndarray
    result: "concurrent.futures.Future[Segmentation]"


class Batcher:
    """Labels pictures of many requests with one model.

    The oldest picture is always among the next ones, together with others of its size: under load the batches grow by
    themselves, and a lone request does not wait for company.

    Args:
      segmenter: the model.
      on_batch: gets the number of pictures and the seconds that each batch took, in the model's thread.
    """

    def __init__(self, segmenter: Segmenter, *, on_batch: Callable[[int, float], None]):
        self._segmenter, self._on_batch = segmenter, on_batch
        self._waiting: collections.deque[_Job] = collections.deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many pictures wait."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether pictures are taken."""
        return self._thread.is_alive() and not self._stopped

    def submit(self, picture: np.ndarray) -> "concurrent.futures.Future[Segmentation]":
        """Queues a picture, uint8 (H, W, 3) RGB.

        Returns:
          Its result to come, or what labelling it raised, or a `Refusal`. It is `running()` once the model has it;
          until then it may be cancelled.

        Raises:
          Refusal: after `stop`.
        """
        job = _Job(picture, concurrent.futures.Future())
        with self._changed:
            if self._stopped:
                raise stopping()
            self._waiting.append(job)
            self._changed.notify()
        return job.result

    def stop(self) -> None:
        """Refuses all pictures that wait; what the model has is finished."""
        with self._changed:
            self._stopped = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        for job in left:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(stopping())

    def join(self, seconds: float) -> None:
        """Waits, after `stop`, for the end of the thread."""
        self._thread.join(seconds)

    def _work(self) -> None:
        while self._label(self._next()):
            pass  # here nothing holds on to pictures, which are large: the next one may be long in coming

    def _label(self, batch: list[_Job]) -> bool:
        if not batch:
            return False
        began = time.monotonic()
        try:
            found = self._segmenter([job.picture for job in batch])
            for job, segmentation in zip(batch, found, strict=True):
                job.result.set_result(segmentation)
        except Exception as error:
            for job in batch:  # whatever it is, it must not end the thread
                if not job.result.done():
                    job.result.set_exception(error)
        self._on_batch(len(batch), time.monotonic() - began)
        return True

    def _next(self) -> list[_Job]:
        """The oldest picture and others of its size, without those that nobody waits for; [] after `stop`."""
        with self._changed:
            while not self._stopped:
                while self._waiting:
                    height, width = self._waiting[0].picture.shape[:2]
                    most = self._segmenter.batch_size(height, width)
                    batch: list[_Job] = []
                    others: list[_Job] = []
                    for job in self._waiting:
                        fits = len(batch) < most and job.picture.shape[:2] == (height, width)
                        if not fits:
                            others.append(job)
                        elif job.result.set_running_or_notify_cancel():
                            batch.append(job)
                    self._waiting = collections.deque(others)
                    if batch:
                        return batch
                self._changed.wait()
            return []
