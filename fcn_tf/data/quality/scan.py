"""Scans the files of a data set: in parallel, and each once, as long as its size and time of change stay.

What is kept knows no classes, so it stays valid whatever flags are given.
"""

import contextlib
import functools
import gzip
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tqdm

from fcn_tf.data.base import Example
from fcn_tf.data.masks import annotations, histogram
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.io import archives, files, images, shards, texts

_VERSION = 5  # of the cache's content
_KEPT = 300  # values a mask that are kept, the most frequent: more than any data set has classes
_CHUNK = 256  # files in flight


@dataclass(frozen=True)
class PhotoInfo:
    """What a scan of a photo keeps.

    Attributes:
      error: why it cannot be read, or "".
      width, height: in pixels, once turned as its EXIF data say.
      orientation: EXIF's, 1 to 8; from 5 on width and height were exchanged.
      fingerprint: perceptual hash, 256 bits as hexadecimal: whether each pixel of a thumbnail of 17x16 is darker
        than the next (dHash).
      highest, exact: the highest value of 16 bits, see `images.Probe`; 0 where there are fewer.
    """

    error: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    fingerprint: str = ""
    highest: int = 0
    exact: bool = True

    @property
    def darkness(self) -> str:
        """See `images.darkness`."""
        return images.darkness(self.highest, exact=self.exact)


@dataclass(frozen=True)
class MaskInfo:
    """What a scan of a mask keeps.

    Attributes:
      error: why it cannot be read, or "".
      histogram: what it stores; None if it cannot be read.
    """

    error: str = ""
    histogram: Histogram | None = None


class FileScanCache:
    """Scans files, and keeps what it finds.

    Args:
      cache: path of the file to keep it in, outside the data; "" keeps nothing.
    """

    def __init__(self, cache: str = ""):
        self._cache = cache
        self._known: dict[str, list[Any]] = {}
        if cache and files.exists(cache):
            try:
                content = texts.parse_json(archives.gunzip(files.read_bytes(cache)))
                if content["version"] == _VERSION:
                    self._known = {key: each for key, each in content["files"].items() if _is_entry(key, each)}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                self._known = {}  # it holds nothing that cannot be found again

    def photos(self, examples: Iterable[Example]) -> dict[str, PhotoInfo]:
        """{path: info} of the photos of these examples."""
        found = self._scan("photo", [example.image for example in examples])
        return {path: PhotoInfo(**info) for path, info in found.items()}

    def masks(self, examples: Iterable[Example]) -> dict[str, MaskInfo]:
        """{path: info} of the masks of these examples."""
        found = self._scan("mask", [example.label for example in examples if example.label is not None])
        return {path: _mask(info) for path, info in found.items()}

    def _scan(self, kind: str, paths: list[str]) -> dict[str, dict[str, Any]]:
        paths = list(dict.fromkeys(paths))
        found: dict[str, dict[str, Any]] = {}
        new = []
        with ThreadPoolExecutor() as pool:
            whole = dict.fromkeys(source for path in paths for source in _sources(path))
            # Of one that is gone, None: scanning it will say so.
            stamps = dict(zip(whole, pool.map(files.stamp_if_there, whole), strict=True))
            for path in paths:
                stamp = _together(stamps[source] for source in _sources(path))
                known = self._known.get(f"{kind} {path}")
                if stamp is not None and known is not None and known[0] == stamp:
                    found[path] = known[1]
                else:
                    new.append((path, stamp))
            with tqdm.tqdm(total=len(new), unit="file", desc=f"scanning {kind}s", disable=None) as bar:
                for start in range(0, len(new), _CHUNK):
                    part = new[start : start + _CHUNK]
                    for (path, stamp), info in zip(
                        part, pool.map(functools.partial(_scan_file, kind), [path for path, _ in part]), strict=True
                    ):
                        found[path] = info
                        # Errors of memory and permissions pass, and leave the stamp as it was.
                        if stamp is not None and "error" not in info:
                            self._known[f"{kind} {path}"] = [stamp, info]
                        bar.update()
        if new and self._cache:
            content = {"version": _VERSION, "files": self._known}
            with contextlib.suppress(OSError):  # what cannot be remembered is looked at again
                files.write_bytes(self._cache, gzip.compress(json.dumps(content).encode(), compresslevel=1))
        return {path: found[path] for path in paths}


def _sources(path: str) -> tuple[str, ...]:
    """The files whose change changes what is read from `path`."""
    if not annotations.is_address(path):
        return (shards.shard_path(path),)
    try:
        return annotations.sources(path)
    except (UserError, OSError):
        return (path,)  # no such file: drawing it will say what is wrong


def _together(stamps: Iterable[list[int] | None]) -> list[int] | None:
    known = list(stamps)
    return None if None in known else [number for stamp in known if stamp for number in stamp]


def photo_in(data: bytes, *, name: str) -> PhotoInfo:
    """Scans the bytes of a photo; `name` is what to call it in errors."""
    return PhotoInfo(**_scan_photo(data, name))


def mask_in(data: bytes, *, name: str) -> MaskInfo:
    """Scans the bytes of a mask; `name` is what to call it in errors."""
    return _mask(_scan_mask(data, name))


def _scan_file(kind: str, path: str) -> dict[str, Any]:
    try:
        return _SCANS[kind](read_file(path), path)
    except UserError as error:
        return {"error": str(error)}


def _scan_photo(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = images.probe_image(data, name=name)
    except UserError as error:
        return {"error": str(error)}
    width, height = found.size if found.orientation < 5 else found.size[::-1]
    bits = found.thumbnail[:, 1:] > found.thumbnail[:, :-1]
    return {
        "width": width,
        "height": height,
        "orientation": found.orientation,
        "fingerprint": np.packbits(bits).tobytes().hex(),
        "highest": found.highest,
        "exact": found.exact,
    }


def _scan_mask(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = histogram.count(data, name=name)
    except UserError as error:
        return {"error": str(error)}
    most = sorted(found.counts.items(), key=lambda item: -item[1])[:_KEPT]
    return {
        "in_color": found.in_color,
        "lossy": found.lossy,
        "width": found.width,
        "height": found.height,
        "distinct": found.distinct,
        "counts": most,
        "hidden": [value for value, _ in most if value in found.hidden],
        "transparent": found.transparent,
        "palette": [(index, found.palette[index]) for index, _ in most if found.palette],
    }


def _mask(info: dict[str, Any]) -> MaskInfo:
    if "error" in info:
        return MaskInfo(error=info["error"])
    counts = {value: count for value, count in info["counts"]}
    palette, hidden = dict(info["palette"]), tuple(info["hidden"])
    return MaskInfo(histogram=Histogram(**{**info, "counts": counts, "palette": palette, "hidden": hidden}))


def _is_entry(key: str, entry: Any) -> bool:
    """Whether a scan may have written this: files of others, or damaged ones, are scanned again."""
    try:
        _, info = entry
        if key.startswith("mask "):
            found = _mask(info).histogram
            if found is None:
                return True
            pairs = (*found.counts.items(), *found.palette.items())
            known = set(found.palette) in (set(), set(found.counts)) and type(found.transparent) is int
            return known and all(type(number) is int for pair in (*pairs, found.hidden) for number in pair)
        usual = asdict(PhotoInfo())
        return all(type(value) is type(usual[name]) for name, value in asdict(PhotoInfo(**info)).items())
    except (TypeError, ValueError, KeyError, AttributeError):
        return False


_SCANS = {"photo": _scan_photo, "mask": _scan_mask}
