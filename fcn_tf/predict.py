"""`--mode=predict`: labels any pictures, no ground truth needed.

Each picture NAME gives NAME_label.png, whose pixels are class ids (it looks black, because ids are small
numbers), and NAME_overlay.png, which is made to be looked at.
"""

import errno
import hashlib
import os
import sys

import numpy as np
import tqdm

from fcn_tf.config import Config
from fcn_tf.data import palette
from fcn_tf.data.datasets import pairs
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, startup, system
from fcn_tf.io.run_dir import Run

_LABEL, _OVERLAY = "_label.png", "_overlay.png"
_LONGEST_STEM = 255 - len(_OVERLAY)  # bytes: what file systems take, and room for the longer ending
_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # the next picture would fare no better


def run(config: Config) -> int:
    """Labels every picture that --input names.

    Args:
      config: uses input, output_dir, logs_dir, tta, sliding_window and refine.

    Returns:
      The exit status: 0, or 2 if a picture could not be read, not be labelled in the memory there is, or its results
      not be written; the others are done all the same.

    Raises:
      UserError: without a trained model, pictures, or a folder that can be written.
      OSError: if nothing more can be written to that folder.
    """
    source = Run(config.logs_dir)
    facts = source.read_config()
    source.require_model()
    class_names, colors = facts["class_names"], [tuple(color) for color in facts["colors"]]
    output_dir = config.output_dir or source.predict
    names = output_names(find_pictures(config.input))
    files.require_writable(output_dir, flag="--output_dir")
    # Here, because it takes seconds and mistakes should show at once.
    startup.load_tensorflow()
    import tensorflow as tf

    from fcn_tf.inference import evaluator, views
    from fcn_tf.training import memory as preflight

    window = config.sliding_window
    looks = views.Scoring(tta=config.tta, window=window, refine=config.refine)
    model = evaluator.load_model(source)
    predictor = evaluator.Predictor(model, looks)
    memory = preflight.Labelling(model, scales=looks.scales if looks.tta else (), filtered=looks.refine != "none")
    # Of a GPU's memory only TensorFlow's allocator knows.
    on_gpu = bool(tf.config.list_physical_devices("GPU"))

    def label(path: str) -> tuple[np.ndarray, np.ndarray]:
        picture = images.decode_image(pairs.read_bytes(path, mend="give another picture"), name=path)
        height, width = picture.shape[:2]
        left = (None, None) if on_gpu else (system.memory_left(), system.reservable())
        memory.require(height, width, window=window, left=left, name=path)
        try:
            return picture, predictor.labels(picture[None])[0]
        except tf.errors.ResourceExhaustedError:
            smaller = f"less than {window}" if window else "SIZE"
            raise UserError(
                f"{path}: there is not enough memory to label {width}x{height} pixels; "
                f"label it piece by piece with --sliding_window={smaller}."
            ) from None

    failed = 0
    for path, name in tqdm.tqdm(names.items(), unit="image", desc="predict", disable=None):
        try:
            picture, labels = label(path)
        except UserError as error:
            failed += 1
            tqdm.tqdm.write(f"skipped: {error}", file=sys.stderr)
            continue
        overlay = explained(picture, labels, class_names, colors)
        try:
            files.write_bytes(files.join(output_dir, name + _LABEL), images.encode_png(labels))
            files.write_bytes(files.join(output_dir, name + _OVERLAY), images.encode_png(overlay, level=1))
        except OSError as error:
            if error.errno in _UNUSABLE:
                raise
            failed += 1
            tqdm.tqdm.write(
                f"skipped: {path}: its results cannot be written: {error.strerror or error}", file=sys.stderr
            )
            continue
        if not name.startswith(_stem(path)):
            tqdm.tqdm.write(f"note: {path} has too long a name for its results; they are {name}{_LABEL} and {_OVERLAY}")
    done = len(names) - failed
    print(f"{done} of {len(names)} pictures labelled" + (f"; written to {output_dir}" if done else ""))
    return 2 if failed else 0


def find_pictures(source: str) -> list[str]:
    """The pictures named by a file, a folder or a glob, sorted.

    Raises:
      UserError: if there are none.
    """
    if not source:
        raise UserError("--mode=predict needs --input: a picture, a folder or a glob such as 'photos/*.jpg'.")
    if files.is_dir(source):
        found = [files.join(source, name) for name in files.list_dir(source)]
        # Results of an earlier run into the same folder are no input.
        found = [path for path in found if not path.endswith((_LABEL, _OVERLAY))]
        found = [path for path in found if files.matches(os.path.basename(path), images.IMAGE_PATTERNS)]
    else:
        found = [path for path in files.glob(source) if not files.is_dir(path)]
    if not found:
        raise UserError(f"--input={source} names no picture; expected a file, a folder of pictures or a glob.")
    return found


def output_names(paths: list[str]) -> dict[str, str]:
    """A name of its own for the results of each path: its stem, numbered where others have the same.

    Names that differ in case alone count as the same, since on some disks they are. A stem that is too long for the
    name of a file gives way to its beginning and a hash of it all, the same in every call.
    """
    taken: set[str] = set()
    names = {}
    for path in paths:
        name, number = _fit(_stem(path)), 1
        while name.lower() in taken:
            number += 1
            name = _fit(_stem(path), f"_{number}")
        taken.add(name.lower())
        names[path] = name
    return names


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _fit(stem: str, ending: str = "") -> str:
    """`stem + ending`, in no more than `_LONGEST_STEM` bytes."""
    encoded, room = os.fsencode(stem), _LONGEST_STEM - len(ending)
    if len(encoded) > room:
        mark = "-" + hashlib.sha256(encoded).hexdigest()[:8]
        stem = encoded[: room - len(mark)].decode(errors="ignore") + mark  # no half of a character
    return stem + ending


def explained(
    picture: np.ndarray, labels: np.ndarray, class_names: list[str], colors: list[tuple[int, int, int]]
) -> np.ndarray:
    """The picture under its labels in colour, and below it a legend of the classes in it, largest first.

    Args:
      picture: uint8 (H, W, 3) RGB.
      labels: class ids (H, W).
      class_names: one a class.
      colors: one a class.

    Returns:
      uint8 (H', W', 3), at least as large as the picture, which is in its upper left corner.
    """
    areas = np.bincount(labels.ravel(), minlength=len(class_names))
    present = [i for i in np.argsort(-areas, kind="stable") if areas[i]]
    overlay = palette.overlay(picture, labels, colors)
    legend = palette.legend([class_names[i] for i in present], [colors[i] for i in present], width=overlay.shape[1])
    canvas = np.full((len(overlay) + len(legend), legend.shape[1], 3), 255, np.uint8)
    canvas[: len(overlay), : overlay.shape[1]] = overlay
    canvas[len(overlay) :] = legend
    return canvas
