"""Bytes to pixels and back, through Pillow: every photo becomes RGB, every label map class ids."""

import contextlib
import io
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fcn_tf.errors import OutOfMemory, UserError
from fcn_tf.io import files, system, texts

# Pillow knows dozens of formats; these are the ones photos and label maps come in.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
IMAGE_PATTERNS = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.bmp", "*.tif", "*.tiff", "*.gif", "*.ppm", "*.pgm")
UNREAD_PATTERNS = ("*.heic", "*.heif", "*.hif", "*.avif")  # what phones and cameras also save
_BRANDS = {  # of their first bytes, behind "ftyp"
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
# Pillow's limit is a number of pixels, whatever the memory: `_room` asks for that instead.
Image.MAX_IMAGE_PIXELS = None
_PHOTO_BYTES = 14  # a pixel, measured: Pillow's copies and ours of a turned photo in colour, the most there is
_MASK_BYTES = 32  # a pixel: those of a mask, and counting its colours (see data/masks/histogram.py)
_ASKED = 256_000_000  # bytes; pictures that take less are decoded without asking how much memory there is
_RUNS = 3  # zlib's Z_RLE
one_large_at_a_time = threading.Lock()  # whoever is about to take much memory: each may have all that is free
_ORIENTATION = 0x0112  # EXIF's tag
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of either byte order, and BigTIFF
_SUBFILE_TYPE = 254  # TIFF's tag; its bits 1 and 4: another size of the first picture, or its mask
_SIXTEEN = "of 16 bits"
_WHITE_14 = (1 << 14) - 1
_PNM = re.compile(rb"P([2356])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)")  # of PGM and PPM: width, height, highest value
# EXIF's orientation -> the Pillow transposition that turns a picture upright; 1 needs none.
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip


def decode_image(data: bytes, *, name: str, say: Callable[[str], Any] | None = None) -> np.ndarray:
    """Decodes a photo.

    The turn noted in its EXIF data is applied, where these can be read; greyscale, palette, CMYK and 16-bit pictures
    become 8-bit RGB; an alpha channel is dropped.

    Args:
      data: a whole image file.
      name: what to call it in errors.
      say: gets a line where little of 16 bits is left: see `darkness`.

    Returns:
      uint8 (H, W, 3), RGB.

    Raises:
      UserError: if it cannot be decoded; OutOfMemory where the memory that is free does not suffice.
    """
    with _reading(data, name) as picture:
        return _upright_rgb(picture, name, say)


def convert_image(picture: Image.Image, *, name: str, say: Callable[[str], Any] | None = None) -> np.ndarray:
    """Turns a Pillow image into what `decode_image` makes of its file.

    Args:
      picture: of any mode; it is not changed.
      name: what to call it in errors.
      say: as of `decode_image`.

    Returns:
      uint8 (H, W, 3), RGB.

    Raises:
      UserError: if its file cannot be decoded, or holds floating point numbers.
    """
    with _explained(name):
        picture.load()
        return _upright_rgb(picture, name, say)


def describe_unread(paths: Iterable[str]) -> str:
    """How many of some files are photos in formats that are not read, and what to do about it.

    Args:
      paths: of any files.

    Returns:
      What follows a clause, as "; 2 photos are .heic, which is not read: save them as JPEG"; "" where there are none.
    """
    kinds = [os.path.splitext(path)[1].lower() for path in paths if files.matches(path, UNREAD_PATTERNS)]
    if not kinds:
        return ""
    many, them = ("1 photo is", "it") if len(kinds) == 1 else (f"{len(kinds)} photos are", "them")
    formats = sorted(set(kinds))
    verb = "is" if len(formats) == 1 else "are"
    return f"; {many} {' and '.join(formats)}, which {verb} not read: save {them} as JPEG"


def darkness(highest: int, *, exact: bool = True) -> str:
    """What becomes of 16 bits up to this value, of which the upper 8 stay, and how to mend it; "" where all is well.

    A picture of 14 bits is told by its white, 16383: with any other highest value that is as large, it may as well be
    one of 16 bits that was taken in dim light.

    Args:
      highest: the highest value of a picture.
      exact: whether it is that to the bit; False where it is the most that it may be.
    """
    if 0 < highest < 1 << 12:
        bits = next(bits for bits in (8, 10, 12) if highest < 1 << bits)
    elif exact and highest == _WHITE_14:
        bits = 14
    else:
        return ""
    dark = {8: "black", 14: f"dim ({highest >> 8} of 255)"}.get(bits, f"nearly black ({highest >> 8} of 255)")
    mend = f"multiply values of {bits} bits by {1 << 16 - bits}"
    return f"no value above {highest} of 65535, so it becomes {dark}; {mend}"


def _upright_rgb(picture: Image.Image, name: str, say: Callable[[str], Any] | None) -> np.ndarray:
    turn = TURNS.get(_orientation(picture))
    if turn:
        picture = picture.transpose(Image.Transpose[turn])
    eight = _eight_bits(picture, name)
    pixels = np.asarray(eight if eight.mode == "RGB" else eight.convert("RGB"))
    highest, exact = _highest(picture, eight) if say is not None else (0, True)
    if say is not None and highest:
        if pixels.max() == 0 and eight is picture:
            say(f"{name}: 16 bits with no value above 255 of 65535: black, or of 8 bits, which times 256 would be seen")
        elif dark := darkness(highest, exact=exact):
            say(f"{name}: 16 bits with {dark}")
    return pixels


def _highest(picture: Image.Image, eight: Image.Image) -> tuple[int, bool]:
    """The highest value of 16 bits, given what `_eight_bits` makes of them, and whether it is exact.

    0 for a picture that has fewer bits. Of colours, Pillow has kept the upper 8: it is the most that it may be.
    """
    if 0 in picture.size:
        return 0, True
    if eight is not picture:
        return int(np.asarray(picture).max()), True
    if not picture.info.get(_SIXTEEN):
        return 0, True
    return 256 * int(np.asarray(picture.convert("RGB")).max()) + 255, False


class Probe(NamedTuple):
    """What `probe_image` finds out.

    Attributes:
      size: (width, height) as stored, before any EXIF turn.
      orientation: EXIF's, 1 to 8.
      thumbnail: greyscale uint8 (16, 17) of it as stored.
      highest: the highest value of a photo of 16 bits, for `darkness`: of colours, the most that it may be, for their
        lower 8 bits are not known; 0 where there are fewer bits.
      exact: whether that is the highest value to the bit.
    """

    size: tuple[int, int]
    orientation: int
    thumbnail: np.ndarray
    highest: int
    exact: bool


def probe_image(data: bytes, *, name: str) -> Probe:
    """Looks at a photo as cheaply as finding out whether it is whole allows.

    Raises:
      UserError: if it cannot be decoded.
    """
    with _reading(data, name, draft=True) as picture:
        size = picture.info["size"]
        eight = _eight_bits(picture, name)
        thumbnail = eight.convert("L").resize((17, 16), Image.Resampling.BOX)
        return Probe(size, _orientation(picture), np.asarray(thumbnail), *_highest(picture, eight))


def read_size(data: bytes, *, name: str) -> tuple[int, int]:
    """Reads how large a picture is from its header; no pixel is decoded.

    Returns:
      (width, height) as stored, before any EXIF turn.

    Raises:
      UserError: if it is no picture of a known format.
    """
    with _explained(name, data):
        return Image.open(io.BytesIO(data), formats=_FORMATS).size


def tell_pages(data: bytes, *, name: str, say: Callable[[str], Any]) -> None:
    """Says so where a TIFF or a GIF holds several pictures, of which the first is read.

    Args:
      data: a whole image file.
      name: what to call it.
      say: gets the line.
    """
    if further := _further_pages(data):
        say(f"{name}: holds {further + 1} pictures, of which the first is labelled; save the others as files")


def _further_pages(data: bytes) -> int:
    """How many there are after the first; 0 for other formats, and where it cannot be told.

    Smaller copies and masks of the first, as map TIFFs hold them, do not count.
    """
    if not data.startswith((*_TIFFS, b"GIF8")):
        return 0
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF", "GIF")) as picture:
            pages = range(1, getattr(picture, "n_frames", 1))
            return len(pages) if picture.format == "GIF" else sum(_is_page(picture, number) for number in pages)
    except Exception:  # malformed bytes make Pillow raise nearly anything; the first page may be sound all the same
        return 0


def _is_page(picture: Image.Image, number: int) -> bool:
    picture.seek(number)
    return not picture.tag_v2.get(_SUBFILE_TYPE, 0) & 5  # type: ignore[attr-defined]


def is_turned(data: bytes) -> bool:
    """Whether the EXIF data of a photo turn or mirror it, as `decode_image` does."""
    with _explained("", data):
        return _orientation(Image.open(io.BytesIO(data), formats=_FORMATS)) != 1


def decode_label(data: bytes, *, name: str) -> np.ndarray:
    """Decodes a label map to the values it stores.

    Palette images give their indices, 8 and 16-bit grey ones their values (PGM and PPM too, whatever the highest one
    that their header names), two-valued ones 0 and 1. An alpha channel is dropped, and RGB whose channels are equal
    counts as grey. EXIF turns are not applied.

    Args:
      data: a whole image file.
      name: what to call it in errors.

    Returns:
      int32 (H, W).

    Raises:
      UserError: if it cannot be decoded, or is coded in colours.
    """
    with _reading(data, name) as picture:
        pixels = np.asarray(picture)
    return _whole(_as_stored(_grey(pixels, name) if pixels.ndim == 3 else pixels, data), name)


class StoredMask(NamedTuple):
    """What `decode_mask` finds.

    Attributes:
      pixels: (H, W) whole numbers, as wide as they are stored, or uint8 (H, W, 3) RGB whose channels differ.
      format: Pillow's name of it.
      palette: uint8 (256, 3), the RGB colour of each index of a palette image; None for others.
      transparent: bool (H, W), pixels that an alpha channel or a transparent colour hides; None where all are to be
        seen. Those of colours are black; of numbers, as they are stored.
    """

    pixels: np.ndarray
    format: str
    palette: np.ndarray | None = None
    transparent: np.ndarray | None = None


def decode_mask(data: bytes, *, name: str) -> StoredMask:
    """Decodes a mask of any kind to what it stores, and names its format.

    As `decode_label`, but colours are left to the caller, and alpha below 128 hides a pixel. Where it hides all of
    them, it says nothing, unless they are of one grey, as of an empty drawing.

    Raises:
      UserError: if it cannot be decoded.
    """
    with _reading(data, name, pixel_bytes=_MASK_BYTES) as picture:
        form, palette = picture.format or "", _palette(picture)
        pixels = np.asarray(picture.convert("RGB") if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV") else picture)
        hidden = _transparent(picture, pixels)
    if pixels.ndim == 3:
        if _differ(pixels):
            pixels, hidden = pixels[..., :3], None if hidden is not None and hidden.all() else hidden
            pixels = np.ascontiguousarray(pixels if hidden is None else np.where(hidden[..., None], 0, pixels))
            if _differ(pixels):
                return StoredMask(pixels, form, None, hidden)
        pixels = pixels[..., 0]
    pixels = _as_stored(pixels, data)
    if hidden is not None and hidden.all() and (pixels != pixels[0, 0]).any():
        hidden = None
    return StoredMask(pixels if pixels.dtype == np.uint8 else _whole(pixels, name), form, palette, hidden)


def _differ(pixels: np.ndarray) -> bool:
    """Whether (H, W, channels) has colours that are no greys."""
    return pixels.shape[-1] >= 3 and bool((pixels[..., 1:3] != pixels[..., :1]).any())


def _transparent(picture: Image.Image, pixels: np.ndarray) -> np.ndarray | None:
    """Bool (H, W): the pixels of a decoded picture that are not to be seen; None where all are."""
    key = picture.info.get("transparency")  # one index or colour, or the alpha of each index
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        alpha = pixels[..., -1]
    elif picture.mode == "P" and isinstance(key, bytes):
        alpha = np.frombuffer(key.ljust(256, b"\xff")[:256], np.uint8)[pixels]
    elif picture.mode in ("P", "L", "RGB") and isinstance(key, int | tuple):
        same = pixels == np.array(key)
        alpha = np.where(same.all(axis=-1) if same.ndim == 3 else same, np.uint8(0), np.uint8(255))
    else:
        return None
    seen = alpha >= 128
    if not seen.any():
        seen = alpha > 0  # all of it is faint
    return None if seen.all() else ~seen


def _palette(picture: Image.Image) -> np.ndarray | None:
    """The colours of a palette image, uint8 (256, 3) RGB, black where it names none; None of others."""
    if picture.mode != "P":
        return None
    table = np.zeros((256, 3), np.uint8)
    named = np.array(picture.getpalette("RGB") or [], np.uint8)[: table.size]
    table.ravel()[: len(named)] = named
    return table


def encode_png(pixels: np.ndarray, *, quick: bool = False) -> bytes:
    """Encodes uint8 (H, W, 3) RGB, or class ids (H, W): in 8 bits where they fit, in 16 where not.

    Args:
      pixels: what to encode, without loss.
      quick: whether to look for runs of equal bytes alone. For a photo that takes a fifth of the time, and a hundredth
        more room.

    Raises:
      ValueError: if a value fits neither.
    """
    if pixels.ndim == 2 and pixels.dtype != np.uint8:
        if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
            raise ValueError(f"A PNG holds values in [0, 65535], got [{pixels.min()}, {pixels.max()}].")
        pixels = pixels.astype(np.uint8 if pixels.size and pixels.max() <= 255 else np.uint16)
    return _encode(pixels, "PNG", **({"compress_level": 1, "compress_type": _RUNS} if quick else {}))


def encode_jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """Encodes uint8 (H, W, 3) RGB or (H, W) grey; quality is Pillow's, in [1, 95]."""
    return _encode(pixels, "JPEG", quality=quality)


def _encode(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, form, **options)
    return file.getvalue()


@contextlib.contextmanager
def _reading(data: bytes, name: str, *, draft: bool = False, pixel_bytes: int = _PHOTO_BYTES) -> Iterator[Image.Image]:
    """Opens and decodes a picture. All that Pillow does with it belongs inside: what it raises becomes a UserError.

    Args:
      data: a whole image file.
      name: what to call it in errors.
      draft: whether an eighth of the size will do; the full one is `info["size"]`.
      pixel_bytes: what decoding takes.
    """
    if not data:
        raise UserError(f"{name}: the file is empty; expected an image. Copy it again.")
    with _explained(name, data):
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        picture.info[_SIXTEEN] = bool(re.search(";16[BLN]", str(getattr(picture, "tile", ""))))  # of raw modes
        with _room(picture, pixel_bytes, name):  # the file's header says the size, nothing else is read before
            if draft:
                picture.info["size"] = picture.size
                # A JPEG is then read to its end, but computed at an eighth of its size.
                picture.draft("L", (max(picture.width // 8, 1), max(picture.height // 8, 1)))
            picture.load()
            yield picture


@contextlib.contextmanager
def _explained(name: str, data: bytes = b"") -> Iterator[None]:
    """Makes a UserError of what Pillow raises."""
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise OutOfMemory(f"{name}: there is not enough memory left to decode it; {_MORE_MEMORY}.") from None
    except Exception as error:  # malformed bytes make Pillow's readers raise nearly anything
        reason = texts.reason(error)
        if "cannot identify" in reason:
            if data[4:8] == b"ftyp" and (form := _BRANDS.get(data[8:12])):
                raise UserError(
                    f"{name}: it is {form}, which is not read; expected {_EXPECTED}. Save it as JPEG."
                ) from None
            if data.startswith(_TIFFS):
                raise UserError(
                    f"{name}: a TIFF of a kind that is not read, or a damaged one; expected 1, 3 or 4 bands of 8 or 16 "
                    "bits, the bands of each pixel together. Save it so, or as PNG."
                ) from None
            reason = f"it begins with {data[:8]!r}"
        raise UserError(
            f"{name}: not a readable image ({reason}); expected {_EXPECTED}. Copy it again, or remove it."
        ) from None


_EXPECTED = "a whole JPEG, PNG, WebP, BMP, TIFF, GIF or PPM"
_MORE_MEMORY = "make it smaller, or let the program have more memory"


@contextlib.contextmanager
def _room(picture: Image.Image, pixel_bytes: int, name: str) -> Iterator[None]:
    """Keeps pictures that would not fit into memory from being decoded.

    Raises:
      OutOfMemory: if this one would not.
    """
    need = picture.width * picture.height * pixel_bytes
    if need < _ASKED:
        yield
        return
    with one_large_at_a_time:
        left = system.memory_left()
        if left is not None and need > left:
            raise OutOfMemory(
                f"{name}: decoding {picture.width}x{picture.height} pixels takes about {need / 1e9:.1f} GB, "
                f"{left / 1e9:.1f} GB are free; {_MORE_MEMORY}."
            )
        yield


def _orientation(picture: Image.Image) -> int:
    """EXIF's, 1 to 8; 1 where it is damaged, for the pixels may be sound all the same."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
        return int(found) if found in range(1, 9) else 1
    except Exception:  # Pillow reads these data only when asked, and raises nearly anything here too
        return 1


def _as_stored(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """Grey values (H, W) as a PGM or PPM stores them, which Pillow stretches to 255 or 65535; others as they are."""
    header = _PNM.match(data)
    if header is None:
        return pixels
    highest, in_color = int(header[4]), header[1] in b"36"
    if highest in (255, 65535) or (highest > 255 and in_color):  # of 16 bits in colour Pillow keeps 8
        return pixels
    stretched, kind = (65535, np.int32) if highest > 255 else (255, np.uint8)
    return np.rint(pixels * (highest / stretched)).astype(kind)


def _whole(pixels: np.ndarray, name: str) -> np.ndarray:
    """Stored values -> int32, where they are whole numbers."""
    if pixels.dtype.kind == "f" and not ((pixels == np.trunc(pixels)) & (np.abs(pixels) < 2**31)).all():
        raise UserError(f"{name}: the label map holds fractions; expected whole class ids in an 8 or 16-bit PNG.")
    return pixels.astype(np.int32)


def _eight_bits(picture: Image.Image, name: str) -> Image.Image:
    """Grey levels of 16 (or 32) bits -> 8; other pictures as they are."""
    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture
    pixels = np.asarray(picture)
    if pixels.dtype.kind == "f":
        raise UserError(f"{name}: a picture of floating point numbers; expected 8 or 16 bits. Convert it to PNG.")
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise UserError(
            f"{name}: grey levels from {pixels.min()} to {pixels.max()}; expected 8 or 16 bits. Convert it to PNG."
        )
    return Image.fromarray((pixels.astype(np.int32) >> 8).astype(np.uint8))


def _grey(pixels: np.ndarray, name: str) -> np.ndarray:
    """(H, W, channels) -> (H, W), where the colour channels agree."""
    colors = pixels[..., : 1 if pixels.shape[-1] == 2 else 3]
    if (colors != colors[..., :1]).any():
        shown = np.unique(colors.reshape(-1, colors.shape[-1])[:: max(1, colors.size // 30000)], axis=0)
        raise UserError(
            f"{name}: the label map is coded in colours (such as {tuple(map(int, shown[-1]))}); "
            "expected one class id a pixel. Convert it to an 8-bit PNG of class ids."
        )
    return colors[..., 0]
