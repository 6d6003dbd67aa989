"""Trains a model: the loop, one step of it, and all that hangs on them. Names load on first use."""

from fcn_tf import registry

_NAMES = {
    "Trainer": "fcn_tf.training.loop:Trainer",
    "PixelLoss": "fcn_tf.training.losses:PixelLoss",
    "build_adam": "fcn_tf.training.optimizers:build_adam",
}

__all__ = list(_NAMES)
__getattr__ = registry.lazy(__name__, _NAMES)
