"""Bytes to pixels and back, through Pillow: every photo becomes RGB, every label map class ids."""

import io

import numpy as np
from PIL import Image, ImageOps

from fcn_tf.errors import UserError

# Pillow knows dozens of formats; these are the ones photos and label maps come in.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
IMAGE_PATTERNS = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.bmp", "*.tif", "*.tiff", "*.gif", "*.ppm", "*.pgm")


def decode_image(data: bytes, *, name: str) -> np.ndarray:
    """Decodes a photo.

    The turn noted in its EXIF data is applied; greyscale, palette, CMYK and 16-bit pictures become 8-bit RGB;
    an alpha channel is dropped.

    Args:
      data: a whole image file.
      name: what to call it in errors.

    Returns:
      uint8 (H, W, 3), RGB.

    Raises:
      UserError: if it cannot be decoded.
    """
    picture = _open(data, name, turn=True)
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        picture = Image.fromarray(_eight_bits(np.asarray(picture), name))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def probe_image(data: bytes, *, name: str) -> tuple[tuple[int, int], int, np.ndarray]:
    """Looks at a photo as cheaply as finding out whether it is whole allows.

    Returns:
      (width, height) as stored, before any EXIF turn; the EXIF orientation, 1 to 8; and a greyscale
      uint8 (16, 17) thumbnail of it as stored.

    Raises:
      UserError: if it cannot be decoded.
    """
    picture = _open(data, name, draft=True)
    size, picture = picture.info["size"], picture.copy()
    orientation = picture.getexif().get(0x0112, 1)
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = Image.fromarray(_eight_bits(np.asarray(picture), name))
    thumbnail = np.asarray(picture.convert("L").resize((17, 16), Image.Resampling.BOX))
    return size, orientation if orientation in range(1, 9) else 1, thumbnail


def decode_label(data: bytes, *, name: str) -> np.ndarray:
    """Decodes a label map to the values it stores.

    Palette images give their indices, 8 and 16-bit grey ones their values, two-valued ones 0 and 1. An alpha
    channel is dropped, and RGB whose channels are equal counts as grey. EXIF turns are not applied.

    Args:
      data: a whole image file.
      name: what to call it in errors.

    Returns:
      int32 (H, W).

    Raises:
      UserError: if it cannot be decoded, or is coded in colours.
    """
    pixels = np.asarray(_open(data, name))
    if pixels.ndim == 3:
        pixels = _grey(pixels, name)
    return _whole(pixels, name)


def decode_mask(data: bytes, *, name: str) -> tuple[np.ndarray, str]:
    """Decodes a mask of any kind to what it stores, and names its format.

    As `decode_label`, but colours are left to the caller.

    Returns:
      (H, W) whole numbers, as wide as they are stored, or uint8 (H, W, 3) RGB whose channels differ; and Pillow's
      name of the format.

    Raises:
      UserError: if it cannot be decoded.
    """
    picture = _open(data, name)
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        form, picture = picture.format, picture.convert("RGB")
    else:
        form = picture.format
    pixels = np.asarray(picture)
    if pixels.ndim == 3:
        if pixels.shape[-1] >= 3 and (pixels[..., 1:3] != pixels[..., :1]).any():
            return np.ascontiguousarray(pixels[..., :3]), form or ""
        pixels = pixels[..., 0]
    return pixels if pixels.dtype == np.uint8 else _whole(pixels, name), form or ""


def encode_png(pixels: np.ndarray, level: int = 6) -> bytes:
    """Encodes uint8 (H, W, 3) RGB, or class ids (H, W): in 8 bits where they fit, in 16 where not.

    Args:
      pixels: what to encode, without loss.
      level: of the compression, in [0, 9]. For photos 1 takes a third of the time of 6 and a tenth more space.

    Raises:
      ValueError: if a value fits neither.
    """
    if pixels.ndim == 2 and pixels.dtype != np.uint8:
        if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
            raise ValueError(f"A PNG holds values in [0, 65535], got [{pixels.min()}, {pixels.max()}].")
        pixels = pixels.astype(np.uint8 if pixels.size and pixels.max() <= 255 else np.uint16)
    return _encode(pixels, "PNG", compress_level=level)


def encode_jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """Encodes uint8 (H, W, 3) RGB or (H, W) grey; quality is Pillow's, in [1, 95]."""
    return _encode(pixels, "JPEG", quality=quality)


def _encode(pixels: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, form, **options)
    return file.getvalue()


def _open(data: bytes, name: str, *, turn: bool = False, draft: bool = False) -> Image.Image:
    if not data:
        raise UserError(f"{name}: the file is empty; expected an image. Copy it again.")
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        if draft:
            picture.info["size"] = picture.size
            # A JPEG is then read to its end, but computed at an eighth of its size.
            picture.draft("L", (max(picture.width // 8, 1), max(picture.height // 8, 1)))
        picture.load()
        if turn:
            ImageOps.exif_transpose(picture, in_place=True)
    except Exception as error:  # malformed bytes make Pillow's readers raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        if "cannot identify" in reason:
            reason = f"it begins with {data[:8]!r}"
        raise UserError(
            f"{name}: not a readable image ({reason}); expected a whole JPEG, PNG, WebP, BMP, TIFF or GIF. "
            "Copy it again, or remove it."
        ) from None
    return picture


def _whole(pixels: np.ndarray, name: str) -> np.ndarray:
    """Stored values -> int32, where they are whole numbers."""
    if pixels.dtype.kind == "f" and not ((pixels == np.trunc(pixels)) & (np.abs(pixels) < 2**31)).all():
        raise UserError(f"{name}: the label map holds fractions; expected whole class ids in an 8 or 16-bit PNG.")
    return pixels.astype(np.int32)


def _eight_bits(pixels: np.ndarray, name: str) -> np.ndarray:
    """Grey levels of 16 (or 32) bits -> uint8."""
    if pixels.dtype.kind == "f":
        raise UserError(f"{name}: a picture of floating point numbers; expected 8 or 16 bits. Convert it to PNG.")
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise UserError(
            f"{name}: grey levels from {pixels.min()} to {pixels.max()}; expected 8 or 16 bits. Convert it to PNG."
        )
    return (pixels.astype(np.int32) >> 8).astype(np.uint8)


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
