"""Fully convolutional segmentation in TensorFlow 2 / Keras 3.

Public names load on first use (PEP 562), so `import fcn_tf` costs no TensorFlow.
"""

import importlib

_HOMES = {"build_model": "fcn_tf.models.build", "UserError": "fcn_tf.errors"}

__all__ = list(_HOMES)
__version__ = "0.1.0"


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fcn_tf' has no attribute {name!r}")
