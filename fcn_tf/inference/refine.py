"""Class scores that follow the edges of the photo: the guided filter of He, Sun and Tang 2010. OpenCV only.

Around every pixel the scores are fitted as a linear function of the photo's brightness, so they may jump where
the photo does and are smoothed where it is flat. An FCN scores every pixel for itself; this adds the
consistency between neighbours that it lacks.
"""

from collections.abc import Callable

import cv2
import numpy as np

RADIUS = 8  # pixels: as coarse as the finest feature map of an FCN-8s
EPSILON = 1e-3  # brightness in [0, 1] that varies less than its root counts as flat


def guided(scores: np.ndarray, image: np.ndarray, *, radius: int = RADIUS, epsilon: float = EPSILON) -> np.ndarray:
    """Filters scores, guided by the photo they are about.

    Args:
      scores: float32 (H, W, C); probabilities, for what is averaged should be comparable.
      image: uint8 (H, W, 3) RGB.
      radius: of the square window, in pixels; 0 changes nothing.
      epsilon: the larger, the more edges are smoothed over.

    Returns:
      float32 (H, W, C); still sums to 1 over classes where `scores` does.
    """
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    guide -= guide.mean()  # float32 would lose the variance of a bright, flat photo

    def blur(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    mean = blur(guide)
    variance = np.maximum(blur(guide * guide) - mean * mean, 0)
    filtered = np.empty_like(scores)
    for label in range(scores.shape[-1]):  # one at a time: the temporaries stay small
        score = np.ascontiguousarray(scores[..., label])
        score_mean = blur(score)
        slope = (blur(guide * score) - mean * score_mean) / (variance + epsilon)
        offset = score_mean - slope * mean
        filtered[..., label] = blur(slope) * guide + blur(offset)
    return filtered


REFINEMENTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray] | None] = {"none": None, "guided": guided}
