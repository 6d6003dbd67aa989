"""Many pictures and videos, one after the other, to files: what `--mode=predict` does. No TensorFlow.

Reading, labelling and writing overlap; what cannot be read, labelled or written is named, and the others are done.
"""

import contextlib
import errno
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np
import tqdm

from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.inference.inputs import Input
from fcn_tf.inference.overlap import overlapped
from fcn_tf.inference.segmentation import Segmentation, picture_output, picture_outputs
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.io import files, georeference, images, videos
from fcn_tf.io.georeference import Georeference

_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # the next picture would fare no better
_LARGE = 48_000_000  # bytes of a picture in memory; nothing else is read or written beside a larger one
_MOST_FRAMES = 0.9  # of what a video says, which is rough: with fewer, it may be cut short or damaged
_FRAME = "/{:06d}"  # after the name of a video: the beginning of the files of a frame


class _Picture(NamedTuple):
    image: np.ndarray
    georeference: Georeference | None


class _Labelled(NamedTuple):
    segmentation: Segmentation
    georeference: Georeference | None


class _Written(NamedTuple):
    pixels: dict[int, int]  # by class id
    tile: int


def endings(item: Input, outputs: Sequence[str]) -> list[str]:
    """What the names of the results of a picture end in; of a video, of its overlay and its first frame."""
    made = [picture_output(name).ending for name in outputs if name in picture_outputs()]
    if not item.video:
        return made
    overlay = picture_output("overlay").ending
    return [videos.OVERLAY if ending == overlay else _FRAME.format(0) + ending for ending in made]


class Results(Protocol):
    """What is told of results once they are written, such as a `Journal`."""

    def add(self, item: Input, endings: Sequence[str], frames: Sequence[Mapping[int, int]]) -> None:
        """See `Journal.add`."""


class BulkPredictor:
    """Labels pictures and videos.

    Args:
      segmenter: labels them.
      output_dir: where results go.
      results: remembers them.
      show_progress: whether to show bars, where standard error is a terminal, and say how fast it went.
    """

    def __init__(self, segmenter: Segmenter, output_dir: str, results: Results, *, show_progress: bool = True):
        self._segmenter, self._output_dir, self._results = segmenter, output_dir, results
        self._hide_bar = None if show_progress else True  # None: unless it is a terminal

    def pictures(self, items: Sequence[Input], outputs: Sequence[str]) -> int:
        """Labels pictures.

        Args:
          items: pictures.
          outputs: names in `registry.OUTPUTS`.

        Returns:
          How many could not be done.

        Raises:
          OSError: if nothing more can be written.
        """
        if not items:
            return 0

        def write(item: Input, labelled: _Labelled) -> _Written:
            paths = labelled.segmentation.save(files.join(self._output_dir, item.name), outputs=made)
            for path in paths:
                if labelled.georeference is not None and path.endswith(".png"):
                    labelled.georeference.write(path)
            return _Written(_pixels(labelled.segmentation), labelled.segmentation.tile)

        made = [name for name in outputs if name in picture_outputs()]
        results = overlapped(
            items,
            read=_read,
            label=lambda item, picture: _Labelled(self._label(picture.image, item, made), picture.georeference),
            write=write,
            alone=lambda picture: picture.image.nbytes > _LARGE,
        )
        failed, began = 0, time.perf_counter()
        with contextlib.closing(results):
            for item, result in tqdm.tqdm(
                results, total=len(items), unit="picture", desc="predict", disable=self._hide_bar
            ):
                written = _result(item, result)
                if written is None:
                    failed += 1
                    continue
                self._results.add(item, endings(item, outputs), [written.pixels])
                if written.tile:
                    how = "made smaller to" if self._segmenter.longest_side else "labelled in tiles of"
                    write_line(f"note: {item.path}: {how} {written.tile} pixels, for it exceeds the memory")
                if item.renamed:
                    write_line(
                        f"note: {item.path}: its results are called {item.name}_... (the name is too long, or taken)"
                    )
        self._write_rate(len(items) - failed, "pictures", began)
        return failed

    def videos(self, items: Sequence[Input], outputs: Sequence[str]) -> int:
        """Labels videos frame by frame; arguments, result and errors as those of `pictures`."""
        failed = 0
        for item in items:
            try:
                self._video(item, outputs)
            except (UserError, OSError) as error:
                _skip(item, error)
                failed += 1
        return failed

    def _video(self, item: Input, outputs: Sequence[str]) -> None:
        path = files.join(self._output_dir, item.name)
        made = [name for name in outputs if name in picture_outputs() and name != "overlay"]
        drawn = "overlay" in outputs
        frames: list[dict[int, int]] = []

        def write(number: int, segmentation: Segmentation) -> tuple[dict[int, int], np.ndarray | None]:
            segmentation.save(path + _FRAME.format(number), outputs=made)
            return _pixels(segmentation), segmentation.overlay() if drawn else None

        began = time.perf_counter()
        with contextlib.ExitStack() as stack:
            video, pictures = stack.enter_context(videos.reading(item.path))
            overlay = stack.enter_context(videos.writing(path + videos.OVERLAY, rate=video.rate)) if drawn else None
            results = overlapped(
                enumerate(pictures),
                read=lambda numbered: numbered[1],
                label=lambda numbered, picture: self._label(picture, item, made),
                write=lambda numbered, segmentation: write(numbered[0], segmentation),
            )
            stack.enter_context(contextlib.closing(results))
            bar = tqdm.tqdm(results, total=video.frames or None, unit="frame", desc=item.shown, disable=self._hide_bar)
            for _, result in bar:
                pixels, picture = result.result()
                frames.append(pixels)
                if overlay is not None and picture is not None:
                    overlay.add(picture)
        self._results.add(item, endings(item, outputs), frames)
        if len(frames) < _MOST_FRAMES * video.frames:
            _note(
                f"{item.path}: {len(frames)} frames could be read, though it says that it has about {video.frames}: is "
                "it whole?"
            )
        self._write_rate(len(frames), f"{item.path}: frames", began)

    def _label(self, image: np.ndarray, item: Input, outputs: Sequence[str]) -> Segmentation:
        needs = {picture_output(name).needs for name in outputs}
        confidence, probabilities = "confidence" in needs, "probabilities" in needs
        return self._segmenter.label(image, name=item.path, confidence=confidence, probabilities=probabilities)

    def _write_rate(self, count: int, what: str, began: float) -> None:
        if count and not self._hide_bar:
            write_line(f"{what}: {count}, {rate(count, time.perf_counter() - began)}")


def _read(item: Input) -> _Picture:
    data = read_file(item.path, fix="give another picture")
    image = images.decode_image(data, name=item.path, say=_note)
    images.tell_pages(data, name=item.path, say=_note)
    found = georeference.of(item.path, data)
    if found is not None and images.is_turned(data):
        _note(f"{item.path}: turned by its EXIF data, so its georeference, which is of the unturned one, is not kept")
        found = None
    return _Picture(image, found)


def _note(line: str) -> None:
    write_line(f"note: {line}")


def _pixels(segmentation: Segmentation) -> dict[int, int]:
    return {label: count for label, count in enumerate(segmentation.pixel_counts().tolist()) if count}


def _result(item: Input, result: Future[_Written]) -> _Written | None:
    """What became of a picture; None, and a line, if it failed."""
    try:
        return result.result()
    except (UserError, OSError) as error:
        _skip(item, error)
        return None


def _skip(item: Input, error: UserError | OSError) -> None:
    """Says that an item failed.

    Raises:
      OSError: if others would fare no better.
    """
    if isinstance(error, OSError):
        if error.errno in _UNUSABLE:
            raise error
        error = UserError(f"{item.path}: its results cannot be written: {error.strerror or error}")
    tqdm.tqdm.write(f"skipped: {error}", file=sys.stderr)


def rate(count: int, seconds: float) -> str:
    """How fast so many were done, such as "at 3.1 a second" or "in 1.5 s each"."""
    return f"at {count / seconds:.3g} a second" if count > seconds else f"in {seconds / count:.3g} s each"


def write_line(line: str) -> None:
    """Prints a line without damaging a progress bar."""
    tqdm.tqdm.write(line)
