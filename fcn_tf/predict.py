"""`--mode=predict`: labels any pictures and videos, no ground truth needed.

Each picture NAME becomes NAME_label.png, whose pixels are class ids (it looks black, because ids are small
numbers), and NAME_overlay.png, which shows them in colour over the picture; docs/predict.md has the other files.
"""

import os
from collections.abc import Callable, Mapping, Sequence

from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.inference import bulk, exported, inputs, segmenter
from fcn_tf.inference.exported import Export
from fcn_tf.inference.inputs import Input
from fcn_tf.inference.journal import Journal
from fcn_tf.inference.runs import TrainedRun, load_run
from fcn_tf.inference.segmentation import FolderOutput, folder_outputs
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.io import files, parts
from fcn_tf.io.parts import Part
from fcn_tf.io.run_dir import Run

_OF_PICTURES, _OF_VIDEOS = ("labels", "overlay", "legend", "areas"), ("overlay", "legend", "areas")  # by default
_IDLE_SECONDS = 3600.0  # temporary files that nobody has written to for so long are a killed process'

# Labels items with the outputs of pictures and videos, as `label_here`; returns how many could not be.
Label = Callable[[Config, Sequence[Input], Mapping[bool, Sequence[str]], str, Journal], int]


def label_here(
    config: Config, items: Sequence[Input], outputs: Mapping[bool, Sequence[str]], output_dir: str, journal: Journal
) -> int:
    """Labels pictures, then videos, in this process.

    Args:
      config: as of `run`.
      items: what to label.
      outputs: names in `registry.OUTPUTS`, of pictures (False) and videos (True).
      output_dir: where results go.
      journal: remembers them.

    Returns:
      How many could not be labelled.
    """
    predictor = bulk.BulkPredictor(load_segmenter(config), output_dir, journal)
    try:
        failed = predictor.pictures([item for item in items if not item.video], outputs[False])
        return failed + predictor.videos([item for item in items if item.video], outputs[True])
    finally:
        journal.save()


def run(config: Config, *, label: Label = label_here) -> int:
    """Labels everything that --input names, or the --part of it.

    Args:
      config: uses input, part, output_dir, outputs, overwrite, logs_dir, palette, inference_precision, runtime,
        quantize, tta and sliding_window.
      label: does it, here or elsewhere (examples/ray_predict.py).

    Returns:
      The exit status: 0, or 1 if a picture could not be read, not be labelled in the memory there is, or its results
      not be written; the others are done all the same.

    Raises:
      UserError: without a trained model, pictures, a folder that can be written, or the export that --runtime runs.
      OSError: if nothing more can be written to that folder.
    """
    trained = load_run(config.logs_dir).in_palette(config.palette)
    _export(config)  # what is wrong should show at once
    output_dir = config.output_dir or Run(config.logs_dir).predict
    found = inputs.find(config.input, output_dir=output_dir)
    if _beside_pictures(found.found, output_dir):
        print(f"note: results go to {output_dir}, among the pictures; another --output_dir keeps them apart")
    part = parts.parse(config.part) if config.part else None
    if part:
        whole, found = len(found.found), found.of_part(part)
        print(f"part {config.part}: {len(found.found)} of {whole}")
    files.require_writable(output_dir, flag="--output_dir")
    for folder in {os.path.dirname(files.join(output_dir, item.name)) for item in found.found}:
        if files.is_dir(folder):
            files.sweep(folder, idle_seconds=_IDLE_SECONDS)
    settings = {
        "model": list(Run(config.logs_dir).model_stamp()),
        "colors": [list(color) for color in trained.colors],
        "tta": config.tta,
        "sliding_window": config.sliding_window,
        "precision": config.inference_precision,
        "runtime": f"{config.runtime}, {config.quantize}",
    }
    journal = Journal(output_dir, settings, part=part)
    chosen = tuple(config.outputs.split(",")) if config.outputs else ()
    outputs = {video: chosen or (_OF_VIDEOS if video else _OF_PICTURES) for video in (False, True)}
    wanted = {name for item in found.found for name in outputs[item.video]}
    once = {
        files.join(output_dir, part.file(each.file) if part and each.of_pictures else each.file): each
        for name, each in folder_outputs().items()
        if name in wanted
    }
    for path, output in once.items():
        if not journal.began and files.exists(path) and not _is_the_same(path, output, trained):
            raise UserError(f"{path} is there already and would be replaced; move it, or give another --output_dir.")
    if passed_over := found.describe_passed_over():
        print(passed_over)

    todo = list(found.found)
    if not config.overwrite:
        todo = [item for item in todo if not journal.done(item, bulk.endings(item, outputs[item.video]))]
    if skipped := len(found.found) - len(todo):
        print(f"{skipped} of {len(found.found)} are done already (--overwrite does them again)")
    failed = label(config, todo, outputs, output_dir, journal) if todo else 0
    if found.found:
        journal.save()
    areas = [
        (item.shown, number if item.video else None, pixels)
        for item in found.found
        for number, pixels in enumerate(journal.frames(item) or ())
    ]
    for path, output in once.items():
        files.write_bytes(path, output.encode(trained.class_names, trained.colors, areas))
    done = len(found.found) - failed
    print(f"{done} of {len(found.found)} labelled" + (f"; written to {output_dir}" if done else ""))
    if part:
        of_all = " and ".join(each.file for each in once.values() if each.of_pictures)
        print(_after_parts(part, of_all))
    return 1 if failed else 0


def load_segmenter(config: Config) -> Segmenter:
    """What labels pictures as the flags of this mode say: the model of the run, or its export.

    Raises:
      UserError: if it is not there, or cannot be used.
    """
    trained = load_run(config.logs_dir).in_palette(config.palette)
    return segmenter.of_run(
        trained,
        _export(config),
        tta=config.tta,
        sliding_window=config.sliding_window,
        precision=config.inference_precision,
        say=bulk.write_line,
    )


def _beside_pictures(items: Sequence[Input], output_dir: str) -> bool:
    """Whether results come to lie in the folder that a picture of them is in."""
    folders = {(os.path.dirname(item.path), os.path.dirname(files.join(output_dir, item.name))) for item in items}
    return any(files.same(source, target) for source, target in folders)


def _after_parts(part: Part, of_all: str) -> str:
    """How the work is finished once all parts have run; `of_all` names the files that are made of all pictures."""
    return (
        f"when all of --part=1/{part.count} to {part.count}/{part.count} have run, the same command without --part "
        "labels what is still missing" + (f", and writes {of_all} of all pictures" if of_all else "")
    )


def _is_the_same(path: str, output: FolderOutput, trained: TrainedRun) -> bool:
    """Whether a file holds what would be written there, as where another part has been at work."""
    try:
        return not output.of_pictures and files.read_bytes(path) == output.encode(
            trained.class_names, trained.colors, ()
        )
    except OSError:
        return False


def _export(config: Config) -> Export | None:
    """The export that --runtime runs; None where that is the model itself."""
    plain = config.inference_precision == "auto" and not config.tta
    return exported.of_run(Run(config.logs_dir), config.runtime, quantize=config.quantize, plain=plain)
