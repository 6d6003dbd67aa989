"""A trained model that computes in another type. Pure Keras."""

import keras

_ALWAYS_FLOAT32 = ("fit", "subtract_mean", "resize", "logits")  # of `build.build_network`, whatever the --precision


def in_precision(model: keras.Model, dtype: str) -> keras.Model:
    """The same network and weights, computing in another type.

    Args:
      model: stays as it was.
      dtype: "float32", "bfloat16" or "float16".

    Returns:
      A model of its own float32 weights.
    """
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"

    def converted(layer):
        chosen = "float32" if layer.name in _ALWAYS_FLOAT32 else policy
        return type(layer).from_config({**layer.get_config(), "dtype": chosen})

    copy = keras.models.clone_model(model, clone_function=converted)
    for variable, original in zip(copy.variables, model.variables, strict=True):
        variable.assign(original)
    return copy
