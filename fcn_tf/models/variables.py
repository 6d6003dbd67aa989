"""What holds for the variables of any model. Pure Keras."""

from collections.abc import Iterable

import keras


def not_finite(variables: Iterable[keras.Variable]) -> str | None:
    """The path of the first variable that holds a NaN or an infinity, or None."""
    for variable in variables:
        if variable.dtype.startswith(("float", "bfloat")):
            if not bool(keras.ops.all(keras.ops.isfinite(variable.value))):
                return variable.path
    return None
