"""`--mode=predict`: labels any images, no ground truth needed.

Each image NAME becomes NAME_label.png, whose pixels are class ids (it looks black, because ids are small
numbers), and NAME_overlay.png, which shows them in colour over the image.
"""

import errno
import sys

import numpy as np
import tqdm

from fcn_tf.config import Config
from fcn_tf.data import palette
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.inference import inputs
from fcn_tf.io import files, images, system
from fcn_tf.io.run_dir import Run

_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # the next image would fare no better


def run(config: Config) -> int:
    """Labels every image that --input names.

    Args:
      config: uses input, output_dir, logs_dir, tta and sliding_window.

    Returns:
      The exit status: 0, or 2 if an image could not be read, not be labelled in the memory there is, or its results
      not be written; the others are done all the same.

    Raises:
      UserError: without a trained model, images, or a folder that can be written.
      OSError: if nothing more can be written to that folder.
    """
    run_dir = Run(config.logs_dir)
    settings = run_dir.read_config()
    run_dir.require_model()
    class_names, colors = settings["class_names"], [tuple(color) for color in settings["colors"]]
    output_dir = config.output_dir or run_dir.predict
    names = inputs.output_names(inputs.find_pictures(config.input))
    files.require_writable(output_dir, flag="--output_dir")
    # Here, because it takes seconds and mistakes should show at once.
    system.load_tensorflow()
    import tensorflow as tf

    from fcn_tf.inference import evaluator, memory, views

    tile = config.sliding_window
    options = views.InferenceOptions(tta=config.tta, tile=tile)
    model = evaluator.load_model(run_dir)
    predictor = evaluator.Predictor(model, options)
    estimate = memory.PredictionMemory(model, scales=options.scales if options.tta else ())
    # Of a GPU's memory only TensorFlow's allocator knows.
    on_gpu = bool(tf.config.list_physical_devices("GPU"))

    def label(path: str) -> tuple[np.ndarray, np.ndarray]:
        picture = images.decode_image(read_file(path, fix="give another picture"), name=path)
        height, width = picture.shape[:2]
        available = (None, None) if on_gpu else (system.memory_left(), system.reservable())
        estimate.require(height, width, tile=tile, available=available, name=path)
        try:
            return picture, predictor.labels(picture[None])[0]
        except tf.errors.ResourceExhaustedError:
            smaller = f"less than {tile}" if tile else "SIZE"
            raise UserError(
                f"{path}: there is not enough memory to label {width}x{height} pixels; "
                f"label it in tiles with --sliding_window={smaller}."
            ) from None

    failed = 0
    for path, name in tqdm.tqdm(names.items(), unit="image", desc="predict", disable=None):
        try:
            picture, labels = label(path)
        except UserError as error:
            failed += 1
            tqdm.tqdm.write(f"skipped: {error}", file=sys.stderr)
            continue
        overlay = palette.overlay_with_legend(picture, labels, class_names, colors)
        try:
            files.write_bytes(files.join(output_dir, name + inputs.LABEL), images.encode_png(labels))
            files.write_bytes(files.join(output_dir, name + inputs.OVERLAY), images.encode_png(overlay, level=1))
        except OSError as error:
            if error.errno in _UNUSABLE:
                raise
            failed += 1
            reason = error.strerror or error
            tqdm.tqdm.write(f"skipped: {path}: its results cannot be written: {reason}", file=sys.stderr)
            continue
        if not name.startswith(inputs.stem(path)):
            results = f"{name}{inputs.LABEL} and {inputs.OVERLAY}"
            tqdm.tqdm.write(f"note: {path} has too long a name for its results; they are {results}")
    done = len(names) - failed
    print(f"{done} of {len(names)} pictures labelled" + (f"; written to {output_dir}" if done else ""))
    return 2 if failed else 0
