"""What the files of a data set hold, looked at once: in parallel, and remembered by size and time of change.

FileScanCache are raw: they know no classes, so they stay true whatever flags are given.
"""

import contextlib
import functools
import gzip
import json
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import tqdm

from fcn_tf.data.base import Example
from fcn_tf.data.masks import histogram
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.read import read_file
from fcn_tf.errors import UserError
from fcn_tf.io import files, images, shards

_VERSION = 1  # of the cache's content
_KEPT = 300  # values a mask that are remembered, the most frequent: more than any data set has classes
_CHUNK = 256  # files in flight


@dataclass(frozen=True)
class PhotoInfo:
    """What there is to know of a photo without looking at it.

    Attributes:
      error: why it cannot be read, or "".
      width, height: in pixels, once turned as its EXIF data say.
      orientation: EXIF's, 1 to 8; from 5 on width and height were exchanged.
      fingerprint: perceptual hash, 256 bits as hexadecimal: whether each pixel of a thumbnail of 17x16 is darker
        than the next (dHash).
    """

    error: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 1
    fingerprint: str = ""


@dataclass(frozen=True)
class MaskInfo:
    """What there is to know of a mask.

    Attributes:
      error: why it cannot be read, or "".
      histogram: what it stores; None if it cannot be read.
    """

    error: str = ""
    histogram: Histogram | None = None


class FileScanCache:
    """Looks at files, and remembers.

    Args:
      cache: path of the file to remember in, outside the data; "" remembers nothing.
    """

    def __init__(self, cache: str = ""):
        self._cache = cache
        self._known: dict[str, list[Any]] = {}
        if cache and files.exists(cache):
            try:
                content = json.loads(gzip.decompress(files.read_bytes(cache)))
                self._known = content["files"] if content["version"] == _VERSION else {}
            except (OSError, ValueError, KeyError, TypeError, EOFError, zlib.error):
                self._known = {}  # it holds nothing that cannot be found again

    def photos(self, examples: Iterable[Example]) -> dict[str, PhotoInfo]:
        """{path: facts} of the photos of these examples."""
        found = self._look("photo", [example.image for example in examples])
        return {path: PhotoInfo(**fact) for path, fact in found.items()}

    def masks(self, examples: Iterable[Example]) -> dict[str, MaskInfo]:
        """{path: facts} of the masks of these examples."""
        found = self._look("mask", [example.label for example in examples if example.label is not None])
        return {path: _mask(fact) for path, fact in found.items()}

    def _look(self, kind: str, paths: list[str]) -> dict[str, dict[str, Any]]:
        paths = list(dict.fromkeys(paths))
        found: dict[str, dict[str, Any]] = {}
        new = []
        with ThreadPoolExecutor() as pool:
            whole = dict.fromkeys(map(shards.shard_path, paths))
            stamps = dict(zip(whole, pool.map(_stamp, whole), strict=True))
            for path in paths:
                stamp = stamps[shards.shard_path(path)]
                known = self._known.get(f"{kind} {path}")
                if stamp is not None and known is not None and known[0] == stamp:
                    found[path] = known[1]
                else:
                    new.append((path, stamp))
            with tqdm.tqdm(total=len(new), unit="file", desc=f"looking at {kind}s", disable=None) as bar:
                for start in range(0, len(new), _CHUNK):
                    part = new[start : start + _CHUNK]
                    for (path, stamp), fact in zip(
                        part, pool.map(functools.partial(_look_into, kind), [path for path, _ in part]), strict=True
                    ):
                        found[path] = fact
                        # An error may pass, of memory and permissions for two, and leave the stamp as it was.
                        if stamp is not None and "error" not in fact:
                            self._known[f"{kind} {path}"] = [stamp, fact]
                        bar.update()
        if new and self._cache:
            content = {"version": _VERSION, "files": self._known}
            with contextlib.suppress(OSError):  # what cannot be remembered is looked at again
                files.write_bytes(self._cache, gzip.compress(json.dumps(content).encode(), compresslevel=1))
        return {path: found[path] for path in paths}


def _stamp(path: str) -> list[int] | None:
    try:
        return list(files.stamp(path))
    except OSError:
        return None  # gone: looking at it will say so


def photo_in(data: bytes, *, name: str) -> PhotoInfo:
    """Looks at the bytes of a photo; `name` is what to call it in errors."""
    return PhotoInfo(**_look_at_photo(data, name))


def mask_in(data: bytes, *, name: str) -> MaskInfo:
    """Looks at the bytes of a mask; `name` is what to call it in errors."""
    return _mask(_look_at_mask(data, name))


def _look_into(kind: str, path: str) -> dict[str, Any]:
    try:
        return _LOOKS[kind](read_file(path), path)
    except UserError as error:
        return {"error": str(error)}


def _look_at_photo(data: bytes, name: str) -> dict[str, Any]:
    try:
        (width, height), orientation, thumbnail = images.probe_image(data, name=name)
    except UserError as error:
        return {"error": str(error)}
    if orientation >= 5:
        width, height = height, width
    bits = thumbnail[:, 1:] > thumbnail[:, :-1]
    fingerprint = np.packbits(bits).tobytes().hex()
    return {"width": width, "height": height, "orientation": orientation, "fingerprint": fingerprint}


def _look_at_mask(data: bytes, name: str) -> dict[str, Any]:
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
    }


def _mask(fact: dict[str, Any]) -> MaskInfo:
    if "error" in fact:
        return MaskInfo(error=fact["error"])
    counts = {value: count for value, count in fact["counts"]}
    return MaskInfo(histogram=Histogram(**{**fact, "counts": counts}))


_LOOKS = {"photo": _look_at_photo, "mask": _look_at_mask}
