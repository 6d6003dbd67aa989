"""Data sets, and the batches made of them. Names load on first use."""

from fcn_tf import registry

_NAMES = {
    "load": "fcn_tf.data.datasets:load",
    "Dataset": "fcn_tf.data.base:Dataset",
    "training_batches": "fcn_tf.data.pipeline:training_batches",
}

__all__ = list(_NAMES)
__getattr__ = registry.lazy(__name__, _NAMES)
