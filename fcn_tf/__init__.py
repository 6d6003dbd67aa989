"""Fully convolutional segmentation in TensorFlow 2 / Keras 3.

Public names load on first use (PEP 562), so `import fcn_tf` costs no TensorFlow.
"""

from fcn_tf import registry

_NAMES = {
    "Segmenter": "fcn_tf.inference.segmenter:Segmenter",
    "Segmentation": "fcn_tf.inference.segmentation:Segmentation",
    "load_run": "fcn_tf.inference.runs:load_run",
    "train_run": "fcn_tf.command.call:train_run",
    "build_model": "fcn_tf.models.build:build_model",
    "UserError": "fcn_tf.errors:UserError",
}

__all__ = list(_NAMES)
__version__ = "0.1.0"
__getattr__ = registry.lazy(__name__, _NAMES)
