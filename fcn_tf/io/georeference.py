"""Where on Earth a picture lies: world files and GeoTIFF tags -> sidecar files of the pictures made from it.

A world file is six lines: x and y of a step by one pixel to the right, x and y of a step down, and x and y of the
centre of the upper left pixel. That of NAME.png is NAME.pgw, and GDAL looks for the coordinate reference system in
NAME.png.aux.xml. The tags are those of OGC 19-008r4, GeoTIFF 1.1.
"""

import io
import os
from dataclasses import dataclass

from PIL import Image

from fcn_tf.io import files

_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735  # GeoTIFF's tags
_RASTER_TYPE, _PROJECTED, _GEOGRAPHIC = 1025, 3072, 2048  # GeoKeys
_PIXEL_IS_POINT, _USER_DEFINED = 2, 32767
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class Georeference:
    """The sidecar files of a picture.

    Attributes:
      world: content of its world file, or None.
      projection: content of its .prj, or None.
      epsg: code of its coordinate reference system, or None.
    """

    world: bytes | None = None
    projection: bytes | None = None
    epsg: int | None = None

    def write(self, path: str) -> None:
        """Writes the sidecar files of a PNG of the same size.

        Args:
          path: of the PNG.

        Raises:
          OSError: if they cannot be written.
        """
        stem = os.path.splitext(path)[0]
        if self.world is not None:
            files.write_bytes(f"{stem}.pgw", self.world)
        if self.projection is not None:
            files.write_bytes(f"{stem}.prj", self.projection)
        if self.epsg is not None:
            text = f"<PAMDataset>\n  <SRS>EPSG:{self.epsg}</SRS>\n</PAMDataset>\n"
            files.write_bytes(f"{path}.aux.xml", text.encode())


def of(path: str, data: bytes) -> Georeference | None:
    """What is known about a picture, or None.

    Args:
      path: of the picture; files beside it are looked for.
      data: its content.
    """
    tags = _tags(data) if os.path.splitext(path)[1].lower() in _TIFF else {}
    world, projection = _first(*_world_files(path)), _first(*_projections(path))
    found = Georeference(world or _world(tags), projection, _epsg(_geokeys(tags)))
    return None if found == Georeference() else found


def beside(path: str) -> tuple[str, ...]:
    """The paths of the sidecar files that a picture may have."""
    return (*_world_files(path), *_projections(path))


def _world_files(path: str) -> tuple[str, ...]:
    stem, extension = os.path.splitext(path)
    short = extension[1:2] + extension[-1:] + "w"  # .jgw, .pgw, .tfw
    return tuple(f"{stem}.{each}" for each in (short, short.upper(), f"{extension[1:]}w", "wld"))


def _projections(path: str) -> tuple[str, ...]:
    stem, _ = os.path.splitext(path)
    return f"{stem}.prj", f"{stem}.PRJ"


def _first(*paths: str) -> bytes | None:
    return next((files.read_bytes(path) for path in paths if files.exists(path)), None)


def _tags(data: bytes) -> dict[int, tuple[float, ...]]:
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as picture:
            found = {tag: picture.getexif().get(tag) for tag in (_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS)}
    except Exception:  # malformed bytes make Pillow raise nearly anything; the pixels may be sound all the same
        return {}
    return {tag: tuple(value) for tag, value in found.items() if isinstance(value, tuple)}


def _geokeys(tags: dict[int, tuple[float, ...]]) -> dict[int, int]:
    """The GeoKeys whose values stand in the directory itself: short integers."""
    numbers = [int(number) for number in tags.get(_KEYS, ())]
    rows = (numbers[start : start + 4] for start in range(4, len(numbers) - 3, 4))
    return {key: value for key, location, _, value in rows if location == 0}


def _epsg(keys: dict[int, int]) -> int | None:
    code = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC))
    return None if code in (None, 0, _USER_DEFINED) else code


def _world(tags: dict[int, tuple[float, ...]]) -> bytes | None:
    """The world file that the tags amount to."""
    if len(matrix := tags.get(_TRANSFORMATION, ())) == 16:
        right, down = (matrix[0], matrix[4]), (matrix[1], matrix[5])
        origin = matrix[3], matrix[7]
    elif len(scale := tags.get(_SCALE, ())) >= 2 and len(tie := tags.get(_TIEPOINT, ())) >= 6:
        right, down = (scale[0], 0.0), (0.0, -scale[1])
        origin = tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]
    else:
        return None
    if _geokeys(tags).get(_RASTER_TYPE) != _PIXEL_IS_POINT:  # then the origin is the pixel's corner
        origin = origin[0] + (right[0] + down[0]) / 2, origin[1] + (right[1] + down[1]) / 2
    return "".join(f"{number!r}\n" for number in map(float, (*right, *down, *origin))).encode()
