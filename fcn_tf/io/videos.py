"""Videos, frame by frame, through OpenCV: whatever it opens comes in, MPEG-4 goes out. Local files alone."""

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what it has to say is said by a UserError

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from fcn_tf.errors import UserError  # noqa: E402
from fcn_tf.io import files  # noqa: E402

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
_PATTERNS = (
    "*.mp4", "*.m4v", "*.mov", "*.avi", "*.mkv", "*.webm", "*.mpg", "*.mpeg", "*.wmv", "*.ts", "*.mts", "*.m2ts",
    "*.flv", "*.3gp",
)  # fmt: skip
_SOURCES = ("*.ts", "*.mts")  # which are TypeScript's, too
# Where the first two packets of an MPEG transport stream begin: of 188 bytes, of 204 with a checksum after each, of 192
# with a time before each.
_PACKETS = ((0, 188), (0, 204), (4, 196))
_SYNC = 0x47  # a packet's first byte
OVERLAY = "_overlay.mp4"
_SMALLEST = 2  # pixels of a side
_FRAMES_A_SECOND = 25.0  # of a video that does not say


def is_video(path: str) -> bool:
    """Whether a file is taken for a video: by its name, and where that may be a TypeScript source, by its first bytes.

    What cannot be read goes by its name: `reading` says what is wrong.
    """
    name = os.path.basename(path)
    if not files.matches(name, _PATTERNS) or not files.matches(name, _SOURCES):
        return files.matches(name, _PATTERNS)
    try:
        start = files.read_range(path, 0, 1 + max(second for _, second in _PACKETS))
    except OSError:
        return True
    return any(start[first : first + 1] == start[second : second + 1] == bytes([_SYNC]) for first, second in _PACKETS)


@dataclass(frozen=True)
class Video:
    """What a video says about itself.

    Attributes:
      frames: how many, roughly; 0 where it does not say.
      rate: frames a second.
    """

    frames: int
    rate: float


class VideoWriter:
    """Appends frames to a video; their size is that of the first."""

    def __init__(self, path: str, rate: float):
        self._path, self._rate, self._count = path, rate, 0
        self._writer: cv2.VideoWriter | None = None

    def add(self, frame: np.ndarray) -> None:
        """Adds a frame, uint8 (H, W, 3) RGB; an odd row or column is cut off, for the format takes none.

        Raises:
          OSError: if it cannot be written.
        """
        if self._writer is None:
            size = frame.shape[1], frame.shape[0]
            if min(size) < _SMALLEST:
                raise OSError(
                    f"a video of {size[0]}x{size[1]} pixels; MPEG-4 takes {_SMALLEST}x{_SMALLEST} or more, "
                    "--outputs=labels any size"
                )
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(self._path, cv2.CAP_FFMPEG, code, self._rate, size)
            if not self._writer.isOpened():
                raise OSError(
                    f"OpenCV cannot write a video of {size[0]}x{size[1]} pixels, {self._rate:g} frames a second"
                )
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        """Ends the video."""
        if self._writer is not None:
            self._writer.release()

    def require_whole(self) -> None:
        """Reads the closed video again: OpenCV does not say when the disk takes no more.

        Raises:
          OSError: if it lacks frames. Their index is at its end, so it lacks them all wherever it was cut.
        """
        if not self._count:
            return
        capture = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG)
        try:
            whole = capture.get(cv2.CAP_PROP_FRAME_COUNT) >= self._count and capture.read()[0]
        finally:
            capture.release()
        if not whole:
            raise OSError(f"the video of {self._count} frames came out incomplete; is the disk full?")


@contextlib.contextmanager
def reading(path: str) -> Iterator[tuple[Video, Iterator[np.ndarray]]]:
    """Opens a video.

    Args:
      path: of a local file.

    Yields:
      What it says about itself, and its frames, uint8 (H, W, 3) RGB, turned upright.

    Raises:
      UserError: if OpenCV cannot open it, or finds no frame in it.
    """
    if files.is_remote(path):
        raise UserError(f"{path}: videos are read from local disks alone; copy it to one.")
    try:
        files.open_regular(path).close()  # so that a missing file or a named pipe is told apart from a damaged one
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); give another video.") from None
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    try:
        done, first = capture.read()
        if not done:
            raise UserError(f"{path}: not a video that OpenCV can read; convert it to MP4 (H.264), or copy it again.")
        rate, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = rate if math.isfinite(rate) and rate > 0 else _FRAMES_A_SECOND
        yield Video(max(0, int(frames)), rate), _frames(capture, first)
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture, frame: np.ndarray) -> Iterator[np.ndarray]:
    done = True
    while done:
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        done, frame = capture.read()


@contextlib.contextmanager
def writing(path: str, *, rate: float) -> Iterator[VideoWriter]:
    """Writes a video whole or not at all.

    Args:
      path: of an .mp4 on a local disk.
      rate: frames a second.

    Raises:
      UserError: if `path` is remote.
      OSError: if it cannot be written, or comes out incomplete.
    """
    if files.is_remote(path):
        raise UserError(f"{path}: videos are written to local disks alone; give a local --output_dir.")
    with files.replacing(path, ending=".mp4") as temporary:
        writer = VideoWriter(temporary, rate)
        try:
            yield writer
        finally:
            writer.close()
        writer.require_whole()
