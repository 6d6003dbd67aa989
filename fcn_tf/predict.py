"""`--mode=predict`: labels any images, no ground truth needed.

Each image NAME becomes NAME_label.png, whose pixels are class ids (it looks black, because ids are small
numbers), and NAME_overlay.png, which shows them in colour over the image.
"""

import errno
import sys

import tqdm

from fcn_tf.config import Config
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.inference import inputs
from fcn_tf.inference.runs import load_run
from fcn_tf.inference.segmentation import Segmentation
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.io import files, images
from fcn_tf.io.run_dir import Run

_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # the next image would fare no better


def run(config: Config) -> int:
    """Labels every image that --input names.

    Args:
      config: uses input, output_dir, logs_dir, palette, tta and sliding_window.

    Returns:
      The exit status: 0, or 2 if an image could not be read, not be labelled in the memory there is, or its results
      not be written; the others are done all the same.

    Raises:
      UserError: without a trained model, images, or a folder that can be written.
      OSError: if nothing more can be written to that folder.
    """
    run_dir = Run(config.logs_dir)
    load_run(config.logs_dir)  # before the pictures are looked for
    output_dir = config.output_dir or run_dir.predict
    names = inputs.output_names(inputs.find_pictures(config.input))
    files.require_writable(output_dir, flag="--output_dir")
    segmenter = Segmenter.from_run(config.logs_dir, tta=config.tta, sliding_window=config.sliding_window, say=print)

    def label(path: str) -> Segmentation:
        picture = images.decode_image(read_file(path, fix="give another picture"), name=path)
        return segmenter.label(picture, name=path, confidence=False, probabilities=False)

    failed = 0
    for path, name in tqdm.tqdm(names.items(), unit="image", desc="predict", disable=None):
        try:
            found = label(path)
        except UserError as error:
            failed += 1
            tqdm.tqdm.write(f"skipped: {error}", file=sys.stderr)
            continue
        try:
            found.save(files.join(output_dir, name))
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
