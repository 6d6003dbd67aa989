"""Networks: trunk, head, pretrained weights. Names load on first use."""

from fcn_tf import registry

_NAMES = {
    "build_model": "fcn_tf.models.build:build_model",
}

__all__ = list(_NAMES)
__getattr__ = registry.lazy(__name__, _NAMES)
