"""Batcher: the oldest picture first, others of its size with it, nothing for those who have gone, nothing lost."""

import numpy as np
import pytest

from fcn_tf.errors import OutOfMemory
from fcn_tf.serving.batching import Batcher
from fcn_tf.serving.limits import Refusal
from tests.serving.held import HeldSegmenter

SECONDS = 300


@pytest.fixture
def held():
    return HeldSegmenter(batch_size=3)


@pytest.fixture
def batches():
    return []


@pytest.fixture
def batcher(held, batches):
    made = Batcher(held, on_batch=lambda pictures, seconds: batches.append(pictures))
    yield made
    held.go_on.set()
    made.stop()
    made.join(SECONDS)


def picture(height, width, value=0):
    return np.full((height, width, 3), value, np.uint8)


def test_pictures_of_one_size_go_together_and_the_oldest_leads(held, batcher, batches):
    first = batcher.submit(picture(1, 1))
    assert held.began.wait(SECONDS) and first.running()
    sizes = [(2, 3), (4, 4), (2, 3), (3, 2), (2, 3), (2, 3), (4, 4)]
    waiting = [batcher.submit(picture(*size, i)) for i, size in enumerate(sizes)]
    assert len(batcher) == 7 and not any(each.running() for each in waiting)
    held.go_on.set()
    for i, (size, result) in enumerate(zip(sizes, waiting, strict=True)):
        np.testing.assert_array_equal(result.result(SECONDS).image, picture(*size, i))
    assert held.seen == [(1, (1, 1)), (3, (2, 3)), (2, (4, 4)), (1, (3, 2)), (1, (2, 3))]
    batcher.stop()
    batcher.join(SECONDS)
    assert batches == [1, 3, 2, 1, 1] and not batcher.alive


def test_what_nobody_waits_for_is_left_out(held, batcher):
    batcher.submit(picture(1, 1))
    assert held.began.wait(SECONDS)
    gone, alone, kept = batcher.submit(picture(2, 2)), batcher.submit(picture(3, 3)), batcher.submit(picture(2, 2))
    assert gone.cancel() and alone.cancel()
    held.go_on.set()
    kept.result(SECONDS)
    assert held.seen == [(1, (1, 1)), (1, (2, 2))]


@pytest.mark.parametrize("error", [OutOfMemory("no memory"), KeyError("fault")])
def test_an_error_is_that_of_its_batch_alone(held, batcher, error):
    held.error = error
    held.go_on.set()
    with pytest.raises(type(error)) as found:
        batcher.submit(picture(1, 1)).result(SECONDS)
    assert found.value is error
    held.error = None
    assert batcher.submit(picture(1, 1)).result(SECONDS).labels.shape == (1, 1) and batcher.alive


def test_stopping_refuses_what_waits_and_finishes_what_has_begun(held, batcher):
    begun = batcher.submit(picture(1, 1))
    assert held.began.wait(SECONDS)
    waiting, gone = batcher.submit(picture(1, 1)), batcher.submit(picture(1, 1))
    gone.cancel()
    batcher.stop()
    with pytest.raises(Refusal, match="the server is stopping"):
        waiting.result(SECONDS)
    with pytest.raises(Refusal, match="the server is stopping"):
        batcher.submit(picture(1, 1))
    held.go_on.set()
    assert begun.result(SECONDS).labels.shape == (1, 1)
