"""How images are brought into the memory there is: at once, in tiles, or by a model that resizes them, smaller.

What labelling takes say `memory.PredictionMemory` of a Keras model and `exported.ExportMemory` of an export. No
TensorFlow.
"""

import abc

from fcn_tf.data import crops
from fcn_tf.errors import OutOfMemory
from fcn_tf.io import system

DRAWN, LABELS = 12, 4  # bytes a pixel, measured, of an overlay and its PNG; of labels
STEP = 128  # pixels: only multiples of it are chosen as tile sizes
LARGEST_TILE = 2048  # pixels, of those that are chosen: larger ones are no faster
SAFE = 0.75  # of the memory, for a tile size that is chosen: less may be free for the next image


class Fitting(abc.ABC):
    """What it takes to label images with one network, and what there is.

    Runtimes, TensorFlow among them, hold on to what they took for the largest image so far: it is there for the next.

    Attributes:
      on_gpu: whether the network runs on a GPU, of whose memory only TensorFlow's allocator knows.
      longest_side: in pixels, what the network brings the longer side of images to; 0 where it takes them as they are.
      at_once: the longest side in pixels of images that are labelled at once where no tile size is given; 0: any.
    """

    on_gpu = False
    longest_side = 0
    at_once = 0

    def __init__(self) -> None:
        # Bytes: what the largest image so far takes; what the process held before the last; what was kept of all.
        self._taken, self._before, self._kept = 0, 0, 0

    @abc.abstractmethod
    def run(self, height: int, width: int, *, tile: int, kept: int, count: int) -> tuple[float, float]:
        """What the network and its scores take, beside the images and what is made of them; see `need`."""

    def available(self) -> system.Available:
        """Bytes that may be held, and that may be reserved, now; None where nobody says."""
        if self.on_gpu:
            return None, None
        left = system.memory_left()
        return None if left is None else left + self._kept, system.reservable()

    def ran(self) -> None:
        """To be called right after an image was labelled: by what the process has grown, the runtime holds on to it."""
        grown = max(0, system.memory_held() - self._before)
        self._kept = min(self._taken, self._kept + grown)

    def need(self, height: int, width: int, *, tile: int, kept: int = 0, count: int = 1) -> tuple[int, int]:
        """What images of this size take.

        Args:
          height: of the image.
          width: of the image.
          tile: side of the tiles it is labelled in; 0: it is labelled at once.
          kept: bytes a pixel of the results beside the labels.
          count: how many images are labelled at once.

        Returns:
          Bytes held, bytes reserved.
        """
        pixels = count * height * width
        held, reserved = self.run(height, width, tile=tile, kept=kept, count=count)
        held = max(held, pixels * DRAWN) + pixels * (LABELS + kept)
        return int(held), int(max(held, reserved))

    def fits(
        self, height: int, width: int, *, tile: int, available: system.Available, kept: int = 0, count: int = 1
    ) -> bool:
        """Whether there is the memory for images; arguments as for `tile_for` and `need`."""
        tile = tile or self._whole(height, width)
        return fits(self.need(height, width, tile=tile, kept=kept, count=count), available)

    def tile_for(
        self, height: int, width: int, *, tile: int, available: system.Available, name: str, kept: int = 0
    ) -> int:
        """Asks for the memory before it is taken, and chooses tiles where the image does not fit into it at once.

        Args:
          height: of the image.
          width: of the image.
          tile: as for `need`.
          available: bytes that may be held, and that may be reserved; None where unknown.
          name: of the image, for the error.
          kept: as for `need`.

        Returns:
          The side of the tiles: `tile`, or where that is 0 and the image too large for it, one that fits.

        Raises:
          OutOfMemory: if no tiles fit, or those asked for do not; then it names the largest --sliding_window that fits.
        """
        whole = tile or self._whole(height, width)
        need = self.need(height, width, tile=whole, kept=kept)
        if fits(need, available):
            return self._take(height, width, whole, kept)
        largest = crops.LARGEST if self.longest_side else LARGEST_TILE
        sides = range(min(largest, max(height, width) // STEP * STEP), 0, -STEP)
        fitting = (s for s in sides if fits(self.need(height, width, tile=s, kept=kept), available, SAFE))
        side = next(fitting, 0)
        if side and not tile:
            return self._take(height, width, side, kept)
        fix = f"add --sliding_window={side}" if side else "make it smaller, or let the program have more memory"
        how = f"in tiles of {tile}" if tile else f"even {'made smaller' if self.longest_side else 'in small tiles'}"
        least, share = (need, 1.0) if tile else (self.need(height, width, tile=STEP, kept=kept), SAFE)
        texts = ("takes about {:.1f} GB, {:.1f} GB are free", "reserves about {:.1f} GB, {:.1f} GB may be reserved")
        missing = [
            text.format(wanted / 1e9, there / 1e9)
            for text, wanted, there in zip(texts, least, available, strict=True)
            if there is not None and wanted > share * there
        ]
        raise OutOfMemory(
            f"{name}: labelling {width}x{height} pixels {how} {missing[0]}; {fix}.",
            flags=(f"--sliding_window={side}",) if side else (),
        )

    def _take(self, height: int, width: int, tile: int, kept: int) -> int:
        """Remembers what the runtime will hold on to, and returns the tile size."""
        self._before = system.memory_held()
        self._taken = max(self._taken, int(self.run(height, width, tile=tile, kept=kept, count=1)[0]))
        return tile

    def _whole(self, height: int, width: int) -> int:
        """The tile size of an image for which none is given, however much memory there is."""
        return self.at_once if max(height, width) > self.at_once > 0 else 0


def fits(need: tuple[int, int], available: system.Available, share: float = 1.0) -> bool:
    """Whether what is held and what is reserved, in bytes, is at most this share of what is available."""
    return all(there is None or wanted <= share * there for wanted, there in zip(need, available, strict=True))
