"""The size that photos get where their longer side has a given length. No Keras."""

from collections.abc import Callable
from typing import Any


def fitted_size(height: Any, width: Any, side: int, *, largest: Callable[[Any, Any], Any] = max) -> tuple[Any, Any]:
    """(height, width) scaled so that the larger of both is `side`; each at least 1.

    Args:
      height: an integer, or whatever `largest` takes.
      width: the same.
      side: in pixels.
      largest: the larger of two.
    """
    longest = largest(height, width)
    # Half a pixel is rounded up, in whole numbers, so that every backend gets the same size.
    fitted = (largest((2 * length * side + longest) // (2 * longest), 1) for length in (height, width))
    return next(fitted), next(fitted)
