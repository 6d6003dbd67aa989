"""A segmenter that a test holds back: what waits meanwhile is seen."""

import threading

import numpy as np

from fcn_tf.inference.segmentation import Segmentation
from tests import tiny_run


class HeldSegmenter:
    """Labels every pixel 0 once `go_on` is set.

    Attributes:
      began: set once it has been called.
      go_on: lets it go on.
      seen: the number and the (height, width) of the pictures of each call.
      error: is raised instead, unless None.
    """

    def __init__(self, batch_size=8):
        self.began, self.go_on = threading.Event(), threading.Event()
        self.seen, self.error, self._batch_size = [], None, batch_size

    def batch_size(self, height, width):
        return self._batch_size

    def __call__(self, pictures):
        self.seen.append((len(pictures), pictures[0].shape[:2]))
        self.began.set()
        assert self.go_on.wait(300)
        if self.error:
            raise self.error
        return [
            Segmentation(
                picture,
                np.zeros(picture.shape[:2], np.uint8),
                np.ones(picture.shape[:2], np.float32),
                class_names=tiny_run.SPEC.class_names,
                colors=tiny_run.COLORS,
            )
            for picture in pictures
        ]
