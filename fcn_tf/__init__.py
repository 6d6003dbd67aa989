"""Fully convolutional segmentation in TensorFlow 2 / Keras 3.

Public names load on first use (PEP 562), so `import fcn_tf` costs no TensorFlow.
"""

from typing import TYPE_CHECKING

from fcn_tf import registry

if TYPE_CHECKING:  # what `_NAMES` says, for those who look without running
    from fcn_tf.command.call import evaluate_run as evaluate_run
    from fcn_tf.command.call import export_run as export_run
    from fcn_tf.command.call import predict_run as predict_run
    from fcn_tf.command.call import train_run as train_run
    from fcn_tf.errors import UserError as UserError
    from fcn_tf.inference.runs import load_run as load_run
    from fcn_tf.inference.segmentation import Segmentation as Segmentation
    from fcn_tf.inference.segmenter import Segmenter as Segmenter
    from fcn_tf.models.build import build_model as build_model

_NAMES = {
    "Segmenter": "fcn_tf.inference.segmenter:Segmenter",
    "Segmentation": "fcn_tf.inference.segmentation:Segmentation",
    "load_run": "fcn_tf.inference.runs:load_run",
    "train_run": "fcn_tf.command.call:train_run",
    "evaluate_run": "fcn_tf.command.call:evaluate_run",
    "predict_run": "fcn_tf.command.call:predict_run",
    "export_run": "fcn_tf.command.call:export_run",
    "build_model": "fcn_tf.models.build:build_model",
    "UserError": "fcn_tf.errors:UserError",
}

__all__ = list(_NAMES)
__version__ = "0.1.0"
__getattr__ = registry.lazy(__name__, _NAMES)
