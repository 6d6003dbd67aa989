"""Runs a trained model over images. Names load on first use."""

from fcn_tf import registry

_NAMES = {
    "Segmenter": "fcn_tf.inference.segmenter:Segmenter",
    "Evaluator": "fcn_tf.inference.evaluator:Evaluator",
    "Predictor": "fcn_tf.inference.evaluator:Predictor",
    "load_model": "fcn_tf.inference.evaluator:load_model",
}

__all__ = list(_NAMES)
__getattr__ = registry.lazy(__name__, _NAMES)
