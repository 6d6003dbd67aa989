"""The VGG trunk (Simonyan & Zisserman 2014), as wide and deep as its weights file says."""

import keras

from fcn_tf.models import layers


def vgg(images, widths, *, mean_rgb, pooling="max", top=None, dtype="float32"):
    """Builds the trunk.

    Args:
      images: float (B, H, W, 3), RGB in [0, 255].
      widths: {"conv1_1": 64, ...}: output channels by name, in order.
      mean_rgb: (3,), subtracted from every pixel.
      pooling: "max", as VGG was trained, or "average".
      top: the layer that feeds pool5; the last ReLU unless given. Convolutions above it are not built.
      dtype: Keras dtype policy of the trunk's layers.

    Returns:
      {"stride8", "stride16"}: the outputs of pool3 and pool4; {"stride32"}: pool5 (always max), all
      (B, ceil(H / stride), ceil(W / stride), C).

    Raises:
      ValueError: if `top` is not a layer of this trunk.
    """
    pool = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}[pooling]
    # Float32 whatever the policy: bfloat16 would round the mean to half a grey level.
    x = keras.layers.Rescaling(1.0, [-float(m) for m in mean_rgb], name="subtract_mean", dtype="float32")(images)
    features = {}
    for name, width in widths.items():
        stage, index = name.removeprefix("conv").split("_")
        if index == "1" and stage != "1":
            x = pool(2, padding="same", name=f"pool{int(stage) - 1}", dtype=dtype)(x)
            features[f"stride{2 ** (int(stage) - 1)}"] = x
        x = layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal", name=name, dtype=dtype)(x)
        if top == name:
            break
        x = keras.layers.ReLU(name=f"relu{stage}_{index}", dtype=dtype)(x)
    if top is not None and top != name:
        raise ValueError(f"this VGG has no layer {top}, which the arch takes; it has {', '.join(widths)}.")
    x = keras.layers.MaxPooling2D(2, padding="same", name="pool5", dtype=dtype)(x)
    return {"stride8": features["stride8"], "stride16": features["stride16"], "stride32": x}
