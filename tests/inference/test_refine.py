"""The guided filter where its result is known."""

import cv2
import numpy as np
import pytest

from fcn_tf.inference import refine


@pytest.fixture
def scores():
    return np.random.default_rng(0).random((12, 15, 4), np.float32)


@pytest.fixture
def photo():
    return np.random.default_rng(1).integers(0, 256, (12, 15, 3)).astype(np.uint8)


def test_radius_0_changes_nothing(scores, photo):
    np.testing.assert_allclose(refine.guided(scores, photo, radius=0), scores, atol=1e-6)


@pytest.mark.parametrize("level", [0, 255])
def test_a_flat_photo_blurs_twice(scores, level):
    def blur(values):
        return cv2.blur(values, (5, 5), borderType=cv2.BORDER_REFLECT)

    result = refine.guided(scores, np.full((12, 15, 3), level, np.uint8), radius=2)
    np.testing.assert_allclose(result, blur(blur(scores)), atol=1e-6)


def test_constant_scores_stay(photo):
    flat = np.full((12, 15, 2), 0.3, np.float32)
    np.testing.assert_allclose(refine.guided(flat, photo, radius=3), 0.3, atol=1e-5)


def test_probabilities_still_sum_to_1(scores, photo):
    scores /= scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(refine.guided(scores, photo).sum(-1), 1, atol=1e-4)


def test_scores_equal_to_the_photo_stay():
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[:, 8:] = 255
    step = (photo[..., :1] / 255).astype(np.float32)
    np.testing.assert_allclose(refine.guided(step, photo, radius=2, epsilon=1e-6), step, atol=1e-3)


def test_a_blurred_border_moves_to_the_edge_in_the_photo():
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[:, 16:] = 200
    truth = photo[..., 0] > 0
    ramp = np.clip((np.arange(32) - 10) / 8, 0, 1).astype(np.float32)  # crosses 0.5 two pixels too early
    scores = np.stack([1 - ramp, ramp], axis=-1)[None].repeat(32, axis=0)
    before = (scores.argmax(-1) == truth).mean()
    after = (refine.guided(scores, photo, radius=4).argmax(-1) == truth).mean()
    assert after > before
