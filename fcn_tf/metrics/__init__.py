"""Scores of predictions against the ground truth. Names load on first use."""

from fcn_tf import registry

_NAMES = {
    "summarize": "fcn_tf.metrics.confusion:summarize",
}

__all__ = list(_NAMES)
__getattr__ = registry.lazy(__name__, _NAMES)
